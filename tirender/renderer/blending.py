"""Blending the fragments of a pixel into its colour, in torch: the twin of the fused kernel.

The blends take dense ``Fragments`` with colors (N, H, W, K, C), or ``PackedFragments`` with colors (M, C); both give
the same (N, H, W, C + 1) image. ``_DensePixels`` and ``_PackedPixels`` know where the fragments of a pixel are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from tirender.checks import as_tensor, check_tensor, fail
from tirender.structures.fragments import Fragments, PackedFragments

EPS = 1e-10  # depth and weight of the background in the softmax blend

AnyFragments = Fragments | PackedFragments


class BlendParams(NamedTuple):
    """Settings of the blends.

    Attributes:
        sigma: width of an edge's transition, in NDC units squared.
        gamma: how softly nearer faces win over farther ones; 0 < gamma, small is hard.
        background_color: RGB of the background: C numbers, or a tensor (C,) or (1, C). A grey, one number
            or three that are equal, serves any C.
    """

    sigma: float = 1e-4
    gamma: float = 1e-4
    background_color: torch.Tensor | Sequence[float] = (1.0, 1.0, 1.0)


def hard_rgb_blend(colors: torch.Tensor, fragments: AnyFragments, blend_params: BlendParams) -> torch.Tensor:
    """The nearest face's colour, opaque; the background's, transparent, where there is none.

    Args:
        colors: (N, H, W, K, C), or (M, C) for packed fragments.
        fragments: only ``pix_to_face`` (or ``offsets``) is read.
        blend_params: only ``background_color`` is read.
    Returns:
        (N, H, W, C + 1), differentiable in the colours.
    Raises:
        ValueError: where the shapes do not fit.
    """
    pixels = _pixels_of(fragments, colors)
    rgb = torch.where(pixels.hit, pixels.first(colors), background_tensor(blend_params, colors))
    return pixels.images(rgb, pixels.hit.to(colors.dtype))


def sigmoid_alpha_blend(colors: torch.Tensor, fragments: AnyFragments, blend_params: BlendParams) -> torch.Tensor:
    """The nearest slot's colour, with the probability that any face covers the pixel as alpha (Liu et al. 2019, eq. 4).

    alpha = 1 - prod(1 - sigmoid(-dist / sigma)), computed in log space: its gradient divides by nothing that can be 0.

    Args:
        colors: (N, H, W, K, C), or (M, C) for packed fragments.
        fragments: ``pix_to_face`` and ``dists`` are read.
        blend_params: only ``sigma`` is read.
    Returns:
        (N, H, W, C + 1), differentiable in the colours and in ``dists``. One channel is a grey, and gives
        (N, H, W, 4), as in PyTorch3D. Packed fragments have no colour where the pixel is empty: 1 there.
    Raises:
        ValueError: where the shapes do not fit.
    """
    pixels = _pixels_of(fragments, colors)
    colors = _at_least_rgb(colors)
    log_miss = pixels.sum(_log_miss(fragments, blend_params)[..., None])
    return pixels.images(pixels.first(colors), -torch.expm1(log_miss))


def softmax_rgb_blend(
    colors: torch.Tensor,
    fragments: AnyFragments,
    blend_params: BlendParams,
    znear: float | torch.Tensor = 1.0,
    zfar: float | torch.Tensor = 100,
) -> torch.Tensor:
    """Colours of all fragments, weighted by coverage and softly by nearness (SoftRas, Liu et al. 2019, eq. 2 and 3).

    Args:
        colors: (N, H, W, K, C), or (M, C) for packed fragments.
        fragments: ``pix_to_face``, ``zbuf`` and ``dists`` are read.
        blend_params: all of it is read.
        znear, zfar: the depths that map to 1 and 0: a number, or (N,), one an image. The background lies at ``zfar``
            and hides the colour of fragments that lie beyond; alpha counts them all the same.
    Returns:
        (N, H, W, C + 1), differentiable in the colours, ``zbuf`` and ``dists``; alpha is that of
        :func:`sigmoid_alpha_blend`. One channel is a grey, and gives (N, H, W, 4), as in PyTorch3D.
    Raises:
        ValueError: where the shapes do not fit.
    """
    pixels = _pixels_of(fragments, colors)
    if not blend_params.gamma > 0:
        fail("gamma", "a number above 0", blend_params.gamma)
    colors = _at_least_rgb(colors)
    near, far = (_per_fragment(name, z, fragments) for name, z in (("znear", znear), ("zfar", zfar)))
    filled = fragments.pix_to_face >= 0
    nearness = torch.where(filled, (far - slots(fragments, "zbuf")) / (far - near), 0)
    covered = torch.sigmoid(-slots(fragments, "dists") / blend_params.sigma)
    # exponents are taken relative to the nearest fragment's (or the background's), so that none overflows
    top = pixels.greatest(nearness).clamp(min=EPS)
    weights = torch.where(filled, covered * torch.exp((nearness - pixels.spread(top)) / blend_params.gamma), 0)
    log_miss = _log_miss(fragments, blend_params)
    sums = pixels.sum(torch.cat((weights[..., None] * colors, weights[..., None], log_miss[..., None]), -1))
    weighted, total, log_miss = sums[..., :-2], sums[..., -2:-1], sums[..., -1:]
    delta = torch.exp((EPS - top) / blend_params.gamma).clamp(min=EPS)
    background = background_tensor(blend_params, colors)
    return pixels.images((weighted + delta * background) / (total + delta), -torch.expm1(log_miss))


def _at_least_rgb(colors: torch.Tensor) -> torch.Tensor:
    """Colours (..., C), with a grey of one channel as three."""
    return colors.expand(*colors.shape[:-1], 3) if colors.shape[-1] == 1 else colors


def background_tensor(blend_params: BlendParams, like: torch.Tensor) -> torch.Tensor:
    """The background colour as (C,), with the dtype and device of ``like`` (..., C)."""
    color = as_tensor("background_color", blend_params.background_color, like.dtype, like.device)
    row, channels = color.reshape(-1) if color.dim() < 2 or len(color) == 1 else color, like.shape[-1]
    is_grey = row.dim() == 1 and len(row) in (1, 3) and len(row) != channels and bool((row == row[0]).all())
    return row[:1].expand(channels) if is_grey else check_tensor("background_color", row, (channels,))


def slots(fragments: AnyFragments, name: str) -> torch.Tensor:
    """A tensor of fragments that has one number a slot.

    Raises:
        ValueError: if it is None or has another shape, as may be in fragments made by hand.
    """
    return check_tensor(f"fragments.{name}", getattr(fragments, name), tuple(fragments.pix_to_face.shape))


def _log_miss(fragments: AnyFragments, blend_params: BlendParams) -> torch.Tensor:
    """Logarithm of the probability that a fragment's face does not cover the pixel; 0 where empty."""
    if not blend_params.sigma > 0:
        fail("sigma", "a number above 0", blend_params.sigma)
    dists = slots(fragments, "dists")
    return torch.where(fragments.pix_to_face >= 0, -F.softplus(-dists / blend_params.sigma), 0)


def _per_fragment(name: str, value: float | torch.Tensor, fragments: AnyFragments) -> float | torch.Tensor:
    """A number, or one an image (N,), as something to be broadcast with ``zbuf``."""
    if not isinstance(value, torch.Tensor) or value.dim() == 0:
        return value
    n_images = fragments.n_images if isinstance(fragments, PackedFragments) else len(fragments.pix_to_face)
    if value.dim() != 1 or len(value) not in (1, n_images):
        fail(name, f"a number or shape ({n_images},)", tuple(value.shape))
    if isinstance(fragments, PackedFragments):
        return value if len(value) == 1 else value.index_select(0, fragments.image_index)
    return value[:, None, None, None]


class _DensePixels:
    """Pixels of dense fragments: values are (N, H, W, K, ...), those of pixels (N, H, W, ...)."""

    def __init__(self, fragments: Fragments) -> None:
        self.hit = fragments.pix_to_face[..., :1] >= 0  # (N, H, W, 1) whether there is a fragment

    def first(self, values: torch.Tensor) -> torch.Tensor:
        """The value in the first slot, also where it is empty."""
        return values[..., 0, :]

    def greatest(self, values: torch.Tensor) -> torch.Tensor:
        """The greatest of a pixel's values, (N, H, W, 1)."""
        return values.max(dim=-1, keepdim=True).values

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values.sum(-2)

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """One value a pixel (N, H, W, 1), as one a fragment."""
        return values

    def images(self, rgb: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        return torch.cat((rgb, alpha), -1)


class _PackedPixels:
    """Pixels of packed fragments, sorted by depth: values are (M, ...), those of pixels (N * H * W, ...)."""

    def __init__(self, fragments: PackedFragments) -> None:
        self.fragments = fragments
        self.counts = (fragments.offsets[1:] - fragments.offsets[:-1]).long()
        self.hit = (self.counts > 0)[:, None]

    def first(self, values: torch.Tensor) -> torch.Tensor:
        """The value of the nearest fragment; 1 where there is none."""
        covered = self.hit.squeeze(1).nonzero().squeeze(1)
        nearest = values.index_select(0, self.fragments.offsets.long().index_select(0, covered))
        return values.new_ones(len(self.counts), values.shape[1]).index_copy(0, covered, nearest)

    def greatest(self, nearness: torch.Tensor) -> torch.Tensor:
        """The greatest nearness, that of the nearest fragment (N * H * W, 1); 0 where there is none."""
        return torch.where(self.hit, self.first(nearness[:, None]), 0)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Summed segment by segment, in a fixed order."""
        return torch.segment_reduce(values, "sum", lengths=self.counts, axis=0, unsafe=True, initial=0)

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """One value a pixel (N * H * W, 1), as one a fragment (M,)."""
        return values[:, 0].index_select(0, self.fragments.pixel_index)

    def images(self, rgb: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        image = torch.cat((rgb, alpha), -1)
        return image.view(self.fragments.n_images, *self.fragments.image_size, image.shape[-1])


def _pixels_of(fragments: AnyFragments, colors: torch.Tensor) -> _DensePixels | _PackedPixels:
    """The pixels that fragments with these colours (N, H, W, K, C) or (M, C) lie in."""
    check_tensor("colors", colors, (*fragments.pix_to_face.shape, "C"))
    return _PackedPixels(fragments) if isinstance(fragments, PackedFragments) else _DensePixels(fragments)
