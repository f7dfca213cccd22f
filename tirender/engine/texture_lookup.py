"""Textures and cube maps read at given coordinates, with mip levels, over ``kernels/texture_lookup.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import texture_lookup as kernels
from tirender.engine.partial_sums import part_bounds, part_count

FILTERS = {
    "nearest": kernels.NEAREST,
    "linear": kernels.LINEAR,
    "linear-mipmap-nearest": kernels.LINEAR_MIPMAP_NEAREST,
    "linear-mipmap-linear": kernels.LINEAR_MIPMAP_LINEAR,
}
BOUNDARIES = {"wrap": kernels.WRAP, "clamp": kernels.CLAMP, "zero": kernels.ZERO, "cube": kernels.CUBE}


@dataclass(frozen=True)
class LookupMode:
    """How textures are read.

    Args:
        filtering: a key of ``FILTERS``.
        boundary: a key of ``BOUNDARIES``.
    """

    filtering: str
    boundary: str


@runtime.not_compiled
def look_up(
    levels: Sequence[torch.Tensor],
    coords: torch.Tensor,
    changes: torch.Tensor | None,
    bias: torch.Tensor | None,
    mode: LookupMode,
    gathered: bool = False,
) -> torch.Tensor:
    """Colours at the coordinates of each pixel.

    Args:
        levels: the texture (N or 1, H_t, W_t, C), for a cube map (N or 1, 6, S, S, C), and its mip levels, which are
            half as large each; float32 or float64. 1 where all images have one texture.
        coords: (N, H, W, 2) in [0, 1] from edge to edge, (0, 0) where the first texel begins; for a cube map (N, H, W,
            3) directions of any length.
        changes: (N, H, W, 4 or 6) changes of each coordinate with x and y of the pixel; None where no level is
            chosen by them.
        bias: (N, H, W) added to the level that is chosen, or the level itself without ``changes``.
        mode: how textures are read.
        gathered: whether the gradients of the mip levels go to the texture, from which :func:`mip_levels` has made
            them, and not to the levels.
    Returns:
        (N, H, W, C), differentiable in the levels, in ``coords`` but with "nearest", and, with "linear-mipmap-linear",
        in ``changes`` and ``bias`` where they choose a place between two levels. Where a coordinate is not finite, or a
        direction has no length, the colour is 0.
    """
    size, channels = coords.shape[:3], levels[0].shape[-1]
    changes = coords.new_zeros(0, 2 * coords.shape[3]) if changes is None else changes.reshape(-1, changes.shape[3])
    bias = coords.new_zeros(0) if bias is None else bias.reshape(-1)
    look = kernels.Lookup(
        filtering=FILTERS[mode.filtering],
        boundary=BOUNDARIES[mode.boundary],
        image_pixels=max(size[1] * size[2], 1),
        shared=len(levels[0]) == 1,
    )
    places = (coords.reshape(-1, coords.shape[3]), changes, bias)
    out = _LookUp.apply(look, gathered, *places, *levels)
    return out.view(*size, channels)


def mip_levels(texture: torch.Tensor, n_most: int | None) -> list[torch.Tensor]:
    """The mip levels of a texture, each the means of two by two texels of the one before, without gradient.

    Args:
        texture: (..., H, W, C).
        n_most: how many are made at the most; None: until one has a single texel.
    Raises:
        ValueError: where a side is odd, and not 1, before that.
    """
    levels: list[torch.Tensor] = []
    level = texture.detach()
    while max(level.shape[-3:-1]) > 1 and (n_most is None or len(levels) < n_most):
        for side in level.shape[-3:-1]:
            if side > 1 and side % 2:
                raise ValueError(
                    f"tex: expected sides that are even, or 1, at each mip level below max_mip_level, got a level of "
                    f"{tuple(level.shape[-3:-1])} texels; max_mip_level={len(levels)} ends before it"
                )
        for axis in (-3, -2):
            if level.shape[axis] > 1:
                pairs = level.unflatten(axis, (-1, 2))
                level = (pairs.select(axis, 0) + pairs.select(axis, 1)) * 0.5
        levels.append(level)
    return levels


def _gather(grads: list[torch.Tensor]) -> torch.Tensor:
    """The gradient of a texture from those of itself and its mip levels: the adjoint of :func:`mip_levels`."""
    total = grads[-1]
    for finer in reversed(grads[:-1]):
        for axis in (-3, -2):
            if finer.shape[axis] > total.shape[axis]:
                total = total.repeat_interleave(2, axis) * 0.5
        total = finer + total
    return total


class _LookUp(FirstOrder):
    @staticmethod
    def forward(ctx: Any, look: Any, gathered: bool, coords: Any, changes: Any, bias: Any, *levels: Any) -> Any:
        coords, changes, bias = (x.detach().contiguous() for x in (coords, changes, bias))
        tables = [level.detach().flatten(0, -2) for level in levels]
        texels = tables[0].contiguous() if len(tables) == 1 else torch.cat(tables)
        firsts = [0]
        for table in tables:
            firsts.append(firsts[-1] + len(table))
        layout = [[first, *level.shape[-3:-1]] for first, level in zip(firsts, levels)]
        places = kernels.Places(
            levels=torch.tensor(layout, dtype=torch.int32, device=coords.device),
            texels=texels,
            coords=coords,
            changes=changes,
            bias=bias,
        )
        out = coords.new_zeros(len(coords), texels.shape[1])
        if len(coords):
            runtime.launch(kernels.texture_lookup_forward, look, *places, out)
        ctx.look, ctx.gathered, ctx.shapes = look, gathered, [level.shape for level in levels]
        ctx.save_for_backward(*places)
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: torch.Tensor) -> Any:
        places = kernels.Places(*ctx.saved_tensors)
        texels, n_pixels, wanted = places.texels, len(places.coords), any(ctx.needs_input_grad[5:])
        n_parts = part_count(texels.numel() if wanted else 0, n_pixels)
        grads = [torch.zeros_like(x) for x in (places.coords, places.changes, places.bias)]
        grad_texels = texels.new_zeros(n_parts, len(texels) if wanted else 0, texels.shape[1])
        if n_pixels:
            bounds, atomic = part_bounds(n_pixels, n_parts, texels.device), runtime.is_parallel_device()
            runtime.launch(
                kernels.texture_lookup_adjoint,
                ctx.look,
                *places,
                grad_out.contiguous(),
                bounds,
                atomic,
                *grads,
                grad_texels,
            )
        if not wanted:
            return (None, None, *grads, *(None for _ in ctx.shapes))
        sums = grad_texels.sum(0) if n_parts > 1 else grad_texels[0]
        tables = [t.view(shape) for t, shape in zip(sums.split([s[:-1].numel() for s in ctx.shapes]), ctx.shapes)]
        if ctx.gathered:
            tables = [_gather(tables), *(None for _ in ctx.shapes[1:])]  # type: ignore[list-item]
        return (None, None, *grads, *tables)
