"""Sampling of texture maps of different sizes in one pass, and joining of several maps into one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from tirender.checks import check_choice
from tirender.engine.mesh_shading import PADDINGS

SAMPLING_MODES = ("bilinear", "nearest", "trilinear")
SYNONYMS = {"clamp": "border", "mirror": "reflection"}  # OpenGL's and glTF's words


def check_padding(name: str, value: Any) -> tuple[str, str]:
    """Return what lies beyond a map along u and v; ``value`` is one mode for both, or a pair."""
    pair = tuple(value) if isinstance(value, list | tuple) and len(value) == 2 else (value, value)
    u, v = (
        check_choice(name, SYNONYMS.get(mode, mode) if isinstance(mode, str) else mode, tuple(PADDINGS))
        for mode in pair
    )
    return u, v


class PackedMaps(NamedTuple):
    """Maps (H_i, W_i, C) concatenated to one tensor of texels.

    Attributes:
        texels: (sum of H_i * W_i, C).
        first_texel: (maps,) int64, the first texel of each map.
        size: (maps, 2) int64, the numbers of rows and columns of each map.
    """

    texels: torch.Tensor
    first_texel: torch.Tensor
    size: torch.Tensor


def pack_maps(maps: Sequence[torch.Tensor]) -> PackedMaps:
    """Concatenate the texels of one or more maps (H_i, W_i, C); a single contiguous map is not copied."""
    device, channels = maps[0].device, maps[0].shape[-1]
    size = torch.tensor([m.shape[:2] for m in maps], dtype=torch.int64, device=device)
    areas = size.prod(1)
    rows = [m.reshape(-1, channels) for m in maps]
    return PackedMaps(rows[0] if len(rows) == 1 else torch.cat(rows), areas.cumsum(0) - areas, size)


def sample_maps(
    maps: PackedMaps,
    map_index: torch.Tensor,
    uv: torch.Tensor,
    mode: str,
    padding: tuple[str, str],
    align_corners: bool,
) -> torch.Tensor:
    """Sample texture maps, each point in its own map, as ``torch.nn.functional.grid_sample`` does where it can.

    Args:
        maps: the maps, with the top row first.
        map_index: (M,) int64, the map of each point.
        uv: (M, 2), u to the right and v upwards, [0, 1] from edge to edge of the map.
        mode: "bilinear" or "nearest".
        padding: what lies beyond the map along u and along v: "zeros", "border", "reflection", or "repeat" with period
            1, where the outermost texels of both ends are neighbours (one and the same place if ``align_corners``).
        align_corners: True puts 0 and 1 at the centres of the outermost texels, False at their outer edges.
    Returns:
        (M, C), differentiable in the texels and, if bilinear, in uv. With "border" and "reflection" the gradient in a
        coordinate on the border, or beyond it with "border", is 0.
    """
    rows_columns = maps.size.index_select(0, map_index)
    size = rows_columns.flip(1)  # columns, rows: in the order of u, v
    repeats = torch.tensor([p == "repeat" for p in padding], device=uv.device)
    columns = [_position(uv[:, i], size[:, i], padding[i], align_corners) for i in range(2)]
    x = torch.stack(columns, 1)
    low = (x.detach().floor() if mode == "bilinear" else x.detach().round()).clamp(-2, 1 << 30)
    first_texel = maps.first_texel.index_select(0, map_index)

    def texel(right: int, up: int) -> torch.Tensor:
        cell = low.long() + torch.tensor([right, up], device=uv.device)
        cell = torch.where(repeats, cell.remainder(size), cell)
        inside = ((cell >= 0) & (cell < size)).all(1, keepdim=True)
        column, row_up = cell.clamp(min=0).minimum(size - 1).unbind(1)
        index = first_texel + (size[:, 1] - 1 - row_up) * size[:, 0] + column
        return torch.where(inside, maps.texels.index_select(0, index), 0)

    if mode == "nearest":
        return texel(0, 0)
    s, t = (x - low).clamp(0, 1).split(1, dim=1)
    return (1 - t) * ((1 - s) * texel(0, 0) + s * texel(1, 0)) + t * ((1 - s) * texel(0, 1) + s * texel(1, 1))


def join_maps(maps: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Place maps side by side in one map. A frame repeats the outermost texels of each, so that no sample mixes two.

    Args:
        maps: one or more maps (H_i, W_i, C).
    Returns:
        joined: (H, W, C), 0 between maps; differentiable.
        corners: the (row, column) of the first texel of each map.
    """
    places, (height, width) = pack_rectangles([(m.shape[0] + 2, m.shape[1] + 2) for m in maps])
    joined = maps[0].new_zeros(height, width, maps[0].shape[-1])
    for m, (row, column) in zip(maps, places):
        rows, columns = (torch.arange(-1, n + 1, device=m.device).clamp(0, n - 1) for n in m.shape[:2])
        framed = m.index_select(0, rows).index_select(1, columns)
        joined[row : row + len(rows), column : column + len(columns)] = framed
    return joined, [(row + 1, column + 1) for row, column in places]


def pack_rectangles(sizes: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Pack rectangles into rows ("shelves"), the highest first, within about a square.

    Args:
        sizes: the (height, width) of one or more rectangles.
    Returns:
        the (row, column) of each rectangle, and the (height, width) of the whole.
    """
    target = max(max(w for _, w in sizes), math.isqrt(sum(h * w for h, w in sizes)))
    places: list[tuple[int, int]] = [(0, 0)] * len(sizes)
    top = height = column = 0  # the current shelf: its first row, its height, its first free column
    width = 0
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i][0], -sizes[i][1])):
        h, w = sizes[i]
        if column and column + w > target:
            top, height, column = top + height, 0, 0
        places[i] = (top, column)
        height, column = max(height, h), column + w
        width = max(width, column)
    return places, (top + height, width)


def _position(u: torch.Tensor, size: torch.Tensor, padding: str, align_corners: bool) -> torch.Tensor:
    """Where a coordinate (M,) lies in its map of so many texels, from the centre of the first."""
    if padding == "repeat":
        u = u - u.detach().floor()
    x = u * (size - 1) if align_corners else u * size - 0.5
    if padding == "reflection":
        x = _reflect(x, size, align_corners)
    if padding in ("border", "reflection"):
        last = (size - 1).to(x.dtype)
        x = torch.where((x > 0) & (x < last), x, x.detach().clamp(min=0).minimum(last))
    return x


def _reflect(x: torch.Tensor, size: torch.Tensor, align_corners: bool) -> torch.Tensor:
    """Reflect positions at the map's ends until they lie inside."""
    low = 0.0 if align_corners else -0.5
    span = (size - 1 if align_corners else size).to(x.dtype)
    safe_span = span.clamp(min=1)
    offset = (x - low).abs()
    turns = (offset.detach() / safe_span).floor()
    rest = offset - turns * safe_span
    mirrored = low + torch.where(turns % 2 == 0, rest, safe_span - rest)
    return torch.where(span > 0, mirrored, 0)
