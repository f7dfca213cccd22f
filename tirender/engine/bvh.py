"""Bounding volume hierarchies over the primitives of several clouds, over ``kernels/bvh.py``."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tirender.checks import all_finite, fail
from tirender.engine import runtime
from tirender.engine.kernels import bvh as kernels
from tirender.engine.kernels.bvh import Forest

MAX_PRIMITIVES = 1 << 28
LEAF_PADDING = 16  # primitives after the end: the last leaf too is read whole
CROWD_LEAVES = 4  # a cell of the curve that holds more leaves than this is divided again


def build_forest(
    lower: torch.Tensor, upper: torch.Tensor, first: torch.Tensor, cloud: torch.Tensor, leaf_bits: int
) -> tuple[Forest, torch.Tensor]:
    """Sort primitives along a Hilbert curve and bound them, in time n log n wherever they lie.

    Args:
        lower, upper: (D, n) corners of the primitives, D >= 3 and n >= 1; the same tensor for points. The first three
            rows are searched. NaN is near nothing.
        first: (C + 1,) int32, where each cloud begins, and n.
        cloud: (n,) int64, the cloud of each primitive, ascending.
        leaf_bits: log2 of the primitives in a leaf.
    Returns:
        the forest, and the sorted lower corners (D, n + padding).
    """
    n = lower.shape[1]
    if n > MAX_PRIMITIVES:
        fail("points", f"at most {MAX_PRIMITIVES}", n)
    centre = lower[:3] if lower is upper else (lower[:3] + upper[:3]) / 2
    order = _curve_order(centre, cloud, len(first) - 1, CROWD_LEAVES << leaf_bits)
    padded = F.pad(order, (0, LEAF_PADDING))
    sorted_lower = lower.index_select(1, padded)
    sorted_upper = sorted_lower if lower is upper else upper.index_select(1, padded)
    n_groups = (n >> (leaf_bits + 2)) + 16 * (len(first) - 1)
    boxes, lowest = lower.new_empty(n_groups * 6 * kernels.FAN), first.new_empty(n_groups * kernels.FAN)
    forest = Forest(order.int(), first, boxes, lowest)
    runtime.launch(kernels.build_boxes, leaf_bits, sorted_lower, sorted_upper, *forest)
    return forest, sorted_lower


def _curve_order(points: torch.Tensor, cloud: torch.Tensor, n_clouds: int, crowd: int) -> torch.Tensor:
    """(n,) int64: the points (3, n) of each cloud in turn, along a Hilbert curve; equal points by index.

    A cell of the curve with more than ``crowd`` points that differ gets a curve of its own. So clusters and outliers of
    any scale are resolved.
    """
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    if not all_finite(high - low):
        points = points.double().nan_to_num(0, 1e300, -1e300) / 4
        low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    keys, order = _sorted_keys(points, low, (high - low).amax(), cloud, n_clouds)
    while _crowded(points, keys, order, crowd):
        cell = F.pad((keys.diff() != 0).cumsum(0), (1, 0))
        n_cells = int(cell[-1]) + 1
        places = points.double().index_select(1, order)
        low, high = (
            places.new_zeros(3, n_cells).scatter_reduce(1, cell.expand(3, -1), places, reduce, include_self=False)
            for reduce in ("amin", "amax")
        )
        extent = (high - low).amax(0)
        keys, finer = _sorted_keys(places, low.index_select(1, cell), extent.index_select(0, cell), cell, n_cells)
        order = order.index_select(0, finer)
        if len(keys.unique_consecutive()) == n_cells:
            break  # what is left differs by less than the numbers can tell
    return order


def _sorted_keys(
    points: torch.Tensor, low: torch.Tensor, extent: torch.Tensor, group: torch.Tensor, n_groups: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n,) int64 keys in ascending order, and the points' indices in that order, equal keys by index.

    A key has the group in its high bits, and the place along the curve through [low, low + extent] in its low bits.
    """
    n = points.shape[1]
    index_bits, group_bits = (n - 1).bit_length(), (n_groups - 1).bit_length()
    # so many that even points on a line are few in a cell
    enough = min(2 * n.bit_length() // 3 + 1, (63 - group_bits) // 3, 20)
    bits = min(enough, (63 - group_bits - index_bits) // 3)
    is_packed = bits >= enough - 2 and not points.is_cuda
    if not is_packed:
        bits = enough
    cells = ((points - low) / torch.where(extent > 0, extent, 1)).mul_(2**bits - 1)
    codes = torch.empty(n, dtype=torch.int64, device=points.device)
    runtime.launch(kernels.hilbert_codes, cells, bits, codes)
    if n_groups > 1:
        codes += group << (3 * bits)
    if not is_packed:
        keys, order = codes.sort(stable=True)
        return keys, order
    # key and index in one number, which numpy sorts several times faster than torch sorts keys with indices
    packed = (codes << index_bits) + torch.arange(n)
    packed.numpy().sort()
    return packed >> index_bits, packed & ((1 << index_bits) - 1)


def _crowded(points: torch.Tensor, keys: torch.Tensor, order: torch.Tensor, crowd: int) -> bool:
    """Whether some cell of the curve holds more than ``crowd`` sorted points that do not coincide."""
    step = max(crowd // 2, 1)
    same = keys[:-crowd:step] == keys[crowd::step]
    if not bool(same.any()):
        return False
    starts = same.nonzero()[:, 0] * step
    a, b = (points.index_select(1, order.index_select(0, i)) for i in (starts, starts + crowd))
    return bool((a != b).any())
