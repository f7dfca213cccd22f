"""The order along the Hilbert curve and the boxes over it."""

from __future__ import annotations

import pytest
import torch

from tirender.engine import runtime
from tirender.engine.bvh import _crowded, _curve_order, _sorted_keys, build_forest
from tirender.engine.kernels import bvh as kernels


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_the_curve_visits_every_cell_going_from_one_to_the_next(bits):
    cells = torch.cartesian_prod(*[torch.arange(2**bits)] * 3).float()
    codes = torch.empty(len(cells), dtype=torch.int64)
    runtime.launch(kernels.hilbert_codes, cells.t().contiguous(), bits, codes)
    assert torch.equal(codes.sort().values, torch.arange(len(cells)))
    steps = cells[codes.argsort()].diff(dim=0).abs()
    assert (steps.sum(1) == 1).all()


def test_at_20_bits_the_curve_leaves_no_coarse_cell_before_it_is_done():
    cells = torch.randint(0, 2**20, (3, 3000))
    codes = torch.empty(3000, dtype=torch.int64)
    runtime.launch(kernels.hilbert_codes, cells.float(), 20, codes)
    assert codes.max() < 2**60
    for shift in (18, 15):
        coarse = cells[:, codes.argsort()] >> shift
        runs = (coarse.diff() != 0).any(0).sum() + 1
        assert runs == coarse.unique(dim=1).shape[1]


def cloud_with_outlier(n: int) -> torch.Tensor:
    points = torch.rand(3, n)
    points[:, 7] = 1e10
    return points


def cloud_of_all_scales(n: int) -> torch.Tensor:
    return torch.randn(3, n) * 10 ** (torch.rand(1, n) * 60 - 30)


@pytest.mark.parametrize("make", [cloud_with_outlier, cloud_of_all_scales])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clusters_and_outliers_of_any_scale_are_resolved(make, dtype):
    points = make(5000).to(dtype)
    cloud = torch.zeros(5000, dtype=torch.int64)
    low = points.amin(1, keepdim=True)
    keys, order = _sorted_keys(points, low, (points - low).amax(), cloud, 1)
    assert _crowded(points, keys, order, 64)
    order = _curve_order(points, cloud, 1, 64)
    assert torch.equal(order.sort().values, torch.arange(5000))
    runs = points.double()[:, order[:4992]].view(3, -1, 16)
    if make is cloud_with_outlier:
        assert (runs.amax(2) - runs.amin(2)).amax(0).median() < 0.5
    else:  # of 60 orders of magnitude
        scales = runs.norm(dim=0).log10()
        assert (scales.amax(1) - scales.amin(1)).median() < 6


def test_extremes_end():
    """Denormal, huge and non-finite coordinates, all equal points: a permutation, in finite time."""
    special = torch.tensor([0.0, 1e-45, -1e-45, 3e38, -3e38, torch.inf, -torch.inf, torch.nan, 1.0])
    for dtype in (torch.float32, torch.float64):
        points = special[torch.randint(0, len(special), (3, 3000))].to(dtype)
        order = _curve_order(points, torch.zeros(3000, dtype=torch.int64), 1, 64)
        assert torch.equal(order.sort().values, torch.arange(3000))
    same = _curve_order(torch.ones(3, 3000), torch.zeros(3000, dtype=torch.int64), 1, 64)
    assert torch.equal(same, torch.arange(3000))


@pytest.mark.parametrize("sizes", [(1,), (0, 17, 0, 128, 129), (3000, 3)])
def test_boxes_bound_what_is_below_them(sizes):
    n = sum(sizes)
    lower = torch.randn(3, n)
    upper = lower + torch.rand(3, n)
    first = torch.tensor([0, *torch.tensor(sizes).cumsum(0)], dtype=torch.int32)
    cloud = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    forest, _lower = build_forest(lower, upper, first, cloud, leaf_bits=2)
    boxes, lowest = forest.boxes.view(-1, 6, 8), forest.lowest.view(-1, 8)
    for c, size in enumerate(sizes):
        begin = int(first[c])
        members = forest.order[begin : begin + size].long()
        assert torch.equal(members.sort().values, torch.arange(begin, begin + size))
        base = (begin >> 4) + 16 * c  # group_base
        span, count = 4, -(-size // 4)  # primitives of a child, and children of the level
        while count:
            for child in range(count):
                below = members[child * span : (child + 1) * span]
                group, slot = base + child // 8, child % 8
                assert torch.equal(boxes[group, :3, slot], lower[:, below].amin(1))
                assert torch.equal(boxes[group, 3:, slot], upper[:, below].amax(1))
                assert lowest[group, slot] == below.min() - begin
            for child in range(count, -(-count // 8) * 8):
                assert (boxes[base + child // 8, :3, child % 8] == torch.inf).all()
            groups = -(-count // 8)
            base, span, count = base + groups, span * 8, groups if groups > 1 else 0
