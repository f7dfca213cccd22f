"""Blending the fragments of a pixel into its colour.

The blends take dense ``Fragments`` with colors (N, H, W, K, C), or ``PackedFragments`` with colors (M, C), whose pixels
are reduced segment by segment in a fixed order; both give the same (N, H, W, C + 1) image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from tirender.checks import check_tensor, fail
from tirender.structures.fragments import Fragments, PackedFragments

EPS = 1e-10  # depth and weight of the background in the softmax blend

AnyFragments = Fragments | PackedFragments


class BlendParams(NamedTuple):
    """Settings of the blends.

    Attributes:
        sigma: width of an edge's transition, in NDC units squared.
        gamma: how softly nearer faces win over farther ones; 0 < gamma, small is hard.
        background_color: RGB of the background: C numbers or a tensor (C,).
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
    _check_colors(colors, fragments)
    background = background_tensor(blend_params, colors)
    if isinstance(fragments, PackedFragments):
        covered = (_counts(fragments) > 0).nonzero().squeeze(1)
        nearest = colors.index_select(0, fragments.offsets.long().index_select(0, covered))
        rgb = background.expand(len(fragments.offsets) - 1, -1).index_copy(0, covered, nearest)
        alpha = colors.new_zeros(len(rgb), 1).index_fill(0, covered, 1)
        return _to_images(torch.cat((rgb, alpha), dim=1), fragments)
    hit = fragments.pix_to_face[..., :1] >= 0
    return torch.cat((torch.where(hit, colors[..., 0, :], background), hit.to(colors.dtype)), dim=-1)


def sigmoid_alpha_blend(colors: torch.Tensor, fragments: AnyFragments, blend_params: BlendParams) -> torch.Tensor:
    """The nearest slot's colour, with the probability that any face covers the pixel as alpha (Liu et al. 2019, eq. 4).

    alpha = 1 - prod(1 - sigmoid(-dist / sigma)), computed in log space: its gradient divides by nothing that can be 0.

    Args:
        colors: (N, H, W, K, C), or (M, C) for packed fragments.
        fragments: ``pix_to_face`` and ``dists`` are read.
        blend_params: only ``sigma`` is read.
    Returns:
        (N, H, W, C + 1), differentiable in the colours and in ``dists``. Packed fragments have no colour where the
        pixel is empty: 1 there.
    Raises:
        ValueError: where the shapes do not fit.
    """
    _check_colors(colors, fragments)
    log_miss = _log_miss(fragments, blend_params)
    if isinstance(fragments, PackedFragments):
        white = BlendParams(background_color=(1.0,) * colors.shape[-1])
        rgb = hard_rgb_blend(colors, fragments, white)[..., :-1]
        alpha = -torch.expm1(_to_images(_pixel_sums(log_miss[:, None], fragments), fragments))
        return torch.cat((rgb, alpha), dim=-1)
    return torch.cat((colors[..., 0, :], -torch.expm1(log_miss.sum(-1, keepdim=True))), dim=-1)


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
        znear, zfar: the depths that map to 1 and 0: a number, or (N,), one an image.
    Returns:
        (N, H, W, C + 1), differentiable in the colours, ``zbuf`` and ``dists``; alpha is that of
        :func:`sigmoid_alpha_blend`.
    Raises:
        ValueError: where the shapes do not fit.
    """
    _check_colors(colors, fragments)
    if not blend_params.gamma > 0:
        fail("gamma", "a number above 0", blend_params.gamma)
    background = background_tensor(blend_params, colors)
    log_miss = _log_miss(fragments, blend_params)
    near, far = (_per_fragment(name, z, fragments) for name, z in (("znear", znear), ("zfar", zfar)))
    nearness = (far - fragments.zbuf) / (far - near)
    covered = torch.sigmoid(-fragments.dists / blend_params.sigma)

    # Exponents are taken relative to the nearest fragment's (or the background's), so that none overflows.
    if isinstance(fragments, PackedFragments):
        first = fragments.offsets[:-1].long().clamp(max=max(len(fragments) - 1, 0))
        hit = _counts(fragments) > 0
        top = nearness.index_select(0, first) if len(nearness) else nearness.new_zeros(len(first))
        top = torch.where(hit, top, 0).clamp(min=EPS)
        weights = covered * torch.exp((nearness - top.index_select(0, fragments.pixel_index)) / blend_params.gamma)
        sums = _pixel_sums(torch.cat((weights[:, None] * colors, weights[:, None], log_miss[:, None]), 1), fragments)
        weighted, total, log_miss = sums[:, :-2], sums[:, -2:-1], sums[:, -1:]
        top = top[:, None]
    else:
        filled = fragments.pix_to_face >= 0
        nearness = torch.where(filled, nearness, 0)
        top = nearness.max(dim=-1, keepdim=True).values.clamp(min=EPS)
        weights = torch.where(filled, covered * torch.exp((nearness - top) / blend_params.gamma), 0)
        weighted = (weights[..., None] * colors).sum(-2)
        total, log_miss = weights.sum(-1, keepdim=True), log_miss.sum(-1, keepdim=True)

    delta = torch.exp((EPS - top) / blend_params.gamma).clamp(min=EPS)
    rgb = (weighted + delta * background) / (total + delta)
    image = torch.cat((rgb, -torch.expm1(log_miss)), dim=-1)
    return _to_images(image, fragments) if isinstance(fragments, PackedFragments) else image


def background_tensor(blend_params: BlendParams, like: torch.Tensor) -> torch.Tensor:
    """The background colour as (C,), with the dtype and device of ``like`` (..., C)."""
    color = torch.as_tensor(blend_params.background_color, dtype=like.dtype, device=like.device)
    return check_tensor("background_color", color, (like.shape[-1],))


def _log_miss(fragments: AnyFragments, blend_params: BlendParams) -> torch.Tensor:
    """Logarithm of the probability that a fragment's face does not cover the pixel; 0 where empty."""
    if not blend_params.sigma > 0:
        fail("sigma", "a number above 0", blend_params.sigma)
    return torch.where(fragments.pix_to_face >= 0, -F.softplus(-fragments.dists / blend_params.sigma), 0)


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


def _check_colors(colors: torch.Tensor, fragments: AnyFragments) -> None:
    check_tensor("colors", colors, (*fragments.pix_to_face.shape, "C"))


def _counts(fragments: PackedFragments) -> torch.Tensor:
    return (fragments.offsets[1:] - fragments.offsets[:-1]).long()


def _pixel_sums(values: torch.Tensor, fragments: PackedFragments) -> torch.Tensor:
    """(M, C) summed over each pixel's fragments: (N * H * W, C)."""
    return torch.segment_reduce(values, "sum", lengths=_counts(fragments), axis=0, unsafe=True, initial=0)


def _to_images(pixels: torch.Tensor, fragments: PackedFragments) -> torch.Tensor:
    return pixels.view(fragments.n_images, *fragments.image_size, pixels.shape[-1])
