"""Iso-surfaces of volumes: marching cubes (Lorensen and Cline, 1987)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from tirender.checks import FLOATS, check_tensor, fail
from tirender.ops.marching_cubes_table import EDGES, triangle_table


def marching_cubes(
    vol_batch: torch.Tensor, isolevel: float | None = None, return_local_coords: bool = True
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Extract the surface on which each volume has a given value, interpolated linearly between grid points.

    Faces point towards higher values. Each vertex lies on an edge of the grid and is shared by the faces around it, so
    the surface is watertight except at the border of the volume. If grid points have exactly the given value, some
    faces have no area. On an ambiguous side of a cell, low corners are separated.

    Args:
        vol_batch: (N, D, H, W) float32 or float64, along z, y and x.
        isolevel: the value; None for the middle between the least and greatest value of each volume.
        return_local_coords: return vertices in [-1, 1], from the first grid point to the last, not in grid units.
    Returns:
        verts: N tensors (V_i, 3) as (x, y, z); differentiable in ``vol_batch``.
        faces: N int64 tensors (F_i, 3).
    Raises:
        ValueError: if the shape or dtype is wrong, ``isolevel`` is NaN, or a value next to the surface is not finite;
            if ``isolevel`` is None, also if any value is not finite.
    """
    check_tensor("vol_batch", vol_batch, ("N", "D", "H", "W"), FLOATS)
    if isolevel is not None and math.isnan(isolevel):
        fail("isolevel", "a number", isolevel)
    surfaces = [_surface(volume, isolevel) for volume in vol_batch]
    verts, faces = [v for v, _ in surfaces], [f for _, f in surfaces]
    if return_local_coords:
        last = vol_batch.new_tensor(vol_batch.shape[:0:-1]) - 1
        verts = [2 * v / last.clamp(min=1) - 1 for v in verts]
    return verts, faces


marching_cubes_naive = marching_cubes  # PyTorch3D's name of its implementation in Python


def _surface(volume: torch.Tensor, isolevel: float | None) -> tuple[torch.Tensor, torch.Tensor]:
    if min(volume.shape) < 2:
        return volume.new_zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64, device=volume.device)
    if isolevel is None:
        low, high = volume.detach().aminmax()
        isolevel = float(low / 2 + high / 2)
        if not math.isfinite(isolevel):
            fail("vol_batch", "finite values, as isolevel is None", "nan or inf")
    is_low = volume.detach().contiguous() < isolevel
    crossings = _crossings(is_low)
    return _interpolate(volume, isolevel, crossings), _faces(is_low, crossings)


def _crossings(is_low: torch.Tensor) -> torch.Tensor:
    """(V,): the grid edges between a low and a high point, as axis * n_points + index of the lower point, ascending.

    The axes are x, y and z, the last dimension of the volume first.
    """
    keys = []
    for axis, dim in enumerate((2, 1, 0)):
        size = is_low.shape[dim] - 1
        places = (is_low.narrow(dim, 0, size) != is_low.narrow(dim, 1, size)).nonzero()
        keys.append(axis * is_low.numel() + _linear(places, is_low))
    return torch.cat(keys)


def _interpolate(volume: torch.Tensor, isolevel: float, crossings: torch.Tensor) -> torch.Tensor:
    """(V, 3): the point of each edge at which the volume has the value."""
    _, height, width = volume.shape
    axis, lower = crossings // volume.numel(), crossings % volume.numel()
    upper = lower + crossings.new_tensor([1, width, width * height]).index_select(0, axis)
    values = volume.reshape(-1)
    start, end = values.index_select(0, lower), values.index_select(0, upper)
    if not bool((start.isfinite() & end.isfinite()).all()):
        fail("vol_batch", "finite values next to the surface", "nan or inf")
    share = (isolevel - start) / (end - start)
    place = torch.stack([lower % width, lower // width % height, lower // (width * height)], dim=1)
    return place + F.one_hot(axis, 3) * share[:, None]


def _faces(is_low: torch.Tensor, crossings: torch.Tensor) -> torch.Tensor:
    """(F, 3): the faces, cell by cell, as indices into ``crossings``."""
    cells, cases = _active_cells(is_low)
    triangles, offsets = (table.to(is_low.device) for table in triangle_table())
    first, counts = offsets.index_select(0, cases), offsets.diff().index_select(0, cases)
    ends = counts.cumsum(0)
    # triangle i of a cell is row first + i of the table
    cell = torch.arange(len(cells), device=cells.device).repeat_interleave(counts)
    row = torch.arange(len(cell), device=cells.device) + (first - ends + counts).index_select(0, cell)
    edges = triangles.index_select(0, row)

    corner = torch.tensor([[c >> 2, c >> 1 & 1, c & 1] for _, c in EDGES], device=cells.device)
    axis = torch.tensor([axis for axis, _ in EDGES], device=cells.device)
    key_of_edge = axis * is_low.numel() + _linear(corner, is_low)
    keys = cells.index_select(0, cell)[:, None] + key_of_edge[edges]
    return torch.searchsorted(crossings, keys)


def _active_cells(is_low: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest points (C,), ascending, of cells with low and high corners, and the low corners as bits (C,)."""
    depth, height, width = is_low.shape
    low = is_low.to(torch.uint8)
    cases = torch.zeros_like(low[1:, 1:, 1:])
    for corner in range(8):
        x, y, z = corner & 1, corner >> 1 & 1, corner >> 2
        cases |= low[z : depth - 1 + z, y : height - 1 + y, x : width - 1 + x] << corner
    places = ((cases != 0) & (cases != 255)).nonzero()
    return _linear(places, is_low), cases[places.unbind(1)].long()


def _linear(places: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """The indices in the flattened grid of points (n, 3), given as (z, y, x)."""
    return (places * places.new_tensor([grid.shape[1] * grid.shape[2], grid.shape[2], 1])).sum(1)
