"""Maps with smaller versions of themselves, for pixels that are larger than their texels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.forward_ad import unpack_dual
from torch.utils.weak import WeakTensorKeyDictionary

from tirender.renderer.mesh.texture_maps import PackedMaps, sample_maps
from tirender.structures.keeping import compute_to_keep, version_of

_chains: Any = WeakTensorKeyDictionary()  # of maps without gradients: their version, and their MipChain
_views: Any = WeakTensorKeyDictionary()  # of batches of maps without gradients: the single maps


class MipChain(NamedTuple):
    """A map and its levels.

    Attributes:
        texels: (n, C), level after level.
        sizes: the rows and columns of each level, from the map's own to (1, 1).
    """

    texels: torch.Tensor
    sizes: list[tuple[int, int]]


class PackedMipmaps(NamedTuple):
    """Several maps with their levels.

    Attributes:
        levels: all levels of all maps.
        first_level: (maps,) int64, the row in ``levels`` of each map itself.
        n_smaller: (levels,) int64, how many smaller levels follow each.
    """

    levels: PackedMaps
    first_level: torch.Tensor
    n_smaller: torch.Tensor


def mip_chain(image: torch.Tensor) -> MipChain:
    """Halve a map (H, W, C) until one texel is left; a texel is the mean of what it covers (Williams 1983).

    Sides are halved and rounded down. Differentiable. The result is kept for as long as the map lives and is not
    written to, if it wants no gradient.
    """
    if image.requires_grad or image.is_inference():  # the latter do not tell when they are written to
        return _halve(image)
    kept = _chains.get(image)
    if kept is None or kept[0] != version_of(image):
        kept = _chains[image] = (version_of(image), compute_to_keep(partial(_halve, image)))
    return kept[1]  # type: ignore[no-any-return]


def unbind_maps(maps: torch.Tensor) -> Sequence[torch.Tensor]:
    """``maps.unbind(0)``; the very same views each time if they want no gradient, so that their levels are kept."""
    if maps.requires_grad or maps.is_inference() or unpack_dual(maps).tangent is not None:
        return maps.unbind(0)
    views = _views.get(maps)
    if views is None or any(view.requires_grad for view in views):
        views = _views[maps] = maps.detach().unbind(0)  # views of the maps themselves would keep them alive
    return views  # type: ignore[no-any-return]


def _halve(image: torch.Tensor) -> MipChain:
    levels = [image]
    while max(levels[-1].shape[:2]) > 1:
        size = tuple(max(n // 2, 1) for n in levels[-1].shape[:2])
        levels.append(F.interpolate(levels[-1].permute(2, 0, 1)[None], size=size, mode="area")[0].permute(1, 2, 0))
    texels = torch.cat([level.reshape(-1, image.shape[-1]) for level in levels])
    return MipChain(texels, [(level.shape[0], level.shape[1]) for level in levels])


def pack_mipmaps(maps: Sequence[torch.Tensor], smaller: bool = True) -> PackedMipmaps:
    """Concatenate one or more maps (H_i, W_i, C), each with its smaller levels where asked."""
    if smaller:
        chains = [mip_chain(m) for m in maps]
    else:
        chains = [MipChain(m.reshape(-1, m.shape[-1]), [(m.shape[0], m.shape[1])]) for m in maps]
    device = maps[0].device
    size = torch.tensor([s for chain in chains for s in chain.sizes], device=device)
    areas = size.prod(1)
    texels = chains[0].texels if len(chains) == 1 else torch.cat([chain.texels for chain in chains])
    counts = [len(chain.sizes) for chain in chains]
    n_smaller = torch.tensor([n - 1 - i for n in counts for i in range(n)], device=device)
    first = torch.tensor([*accumulate(counts[:-1], initial=0)], device=device)
    return PackedMipmaps(PackedMaps(texels, areas.cumsum(0) - areas, size), first, n_smaller)


def sample_mipmaps(
    maps: PackedMipmaps,
    map_index: torch.Tensor,
    uv: torch.Tensor,
    slopes: torch.Tensor | None,
    padding: tuple[str, str],
    align_corners: bool,
) -> torch.Tensor:
    """Sample maps between the two levels whose texels are about as large as a pixel.

    Args:
        maps: the maps.
        map_index, uv, padding, align_corners: see :func:`sample_maps`.
        slopes: (M, 2, 2), how u and v (rows) change from a pixel to the next to the right and below; None samples the
            maps themselves.
    Returns:
        (M, C), differentiable in the texels and in uv; the level is held fixed.
    """
    first = maps.first_level.index_select(0, map_index)

    def read(rows: torch.Tensor) -> torch.Tensor:
        return sample_maps(maps.levels, rows, uv, "bilinear", padding, align_corners)

    if slopes is None:
        return read(first)
    level = footprint_level(slopes.detach(), maps.levels.size.index_select(0, first))
    level = level.minimum(maps.n_smaller.index_select(0, first).to(level))
    low = level.floor()
    rest = (level - low)[:, None]
    rows = first + low.long()
    following = torch.where(maps.n_smaller.index_select(0, rows) > 0, rows + 1, rows)
    return (1 - rest) * read(rows) + rest * read(following)


def footprint_level(slopes: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """The level whose texels are as large as a pixel.

    Half of log2 of the squared length of the longer axis of the ellipse that a round pixel covers in the map (Heckbert,
    "Fundamentals of texture mapping and image warping", 1989).

    Args:
        slopes: (M, 2, 2), see :func:`sample_mipmaps`.
        size: (M, 2), rows and columns of the map.
    Returns:
        (M,) of 0 or more; 0 where texels are larger.
    """
    right, down = (slopes * size.flip(1)[:, :, None]).unbind(2)
    a, b, c = (right * right).sum(1), (right * down).sum(1), (down * down).sum(1)
    longer = (a + c + ((a - c) ** 2 + 4 * b * b).sqrt()) / 2
    return torch.where(longer > 1, longer, 1).log() / (2 * math.log(2))
