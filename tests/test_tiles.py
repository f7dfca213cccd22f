"""Bins and tile-wise lists, against brute force; the tiles of a CPU and of a GPU give the same."""

from __future__ import annotations

import pytest
import torch
from conftest import random_scene, rasterization

from tirender.ops import tiles
from tirender.ops.tiles import TileGrid, bin_primitives, prefix_sum

MODE = {"image_size": (41, 26), "faces_per_pixel": 4, "blur_radius": 0.01}


def random_boxes(n: int, height: int, width: int) -> torch.Tensor:
    columns, rows = (torch.randint(0, size, (n, 2)).sort(1).values for size in (width, height))
    boxes = torch.cat([columns, rows], 1).int()
    boxes[torch.rand(n) < 0.1] = torch.tensor([0, -1, 0, -1], dtype=torch.int32)
    return boxes


@pytest.mark.parametrize("tile", [(8, 26), (4, 4), (41, 26), (1, 1)])
@pytest.mark.parametrize("n", [0, 1, 300])
def test_bins_hold_the_primitives_whose_boxes_meet_the_tile(tile, n):
    grid = TileGrid(41, 26, *tile, n_images=2)
    boxes, image = random_boxes(n, 41, 26), (torch.arange(n) * 2 // max(n, 1)).int()
    if n == 0:
        boxes = boxes.view(0, 4)
    bins = bin_primitives(boxes, image, grid)
    assert len(bins.offsets) == grid.n_tiles + 1
    for t in range(grid.n_tiles):
        n_image, row, column = (
            t // (grid.shape[0] * grid.shape[1]),
            t // grid.shape[1] % grid.shape[0],
            t % grid.shape[1],
        )
        low, high = boxes[:, [0, 2]], boxes[:, [1, 3]]
        first = torch.tensor([column * tile[1], row * tile[0]])
        last = torch.minimum(first + torch.tensor([tile[1], tile[0]]), torch.tensor([26, 41])) - 1
        overlap = (torch.minimum(high, last) - torch.maximum(low, first) + 1).clamp(min=0).prod(1)
        overlap = torch.where(image == n_image, overlap, 0)
        members = bins.members[bins.offsets[t] : bins.offsets[t + 1]]
        assert torch.equal(members.long(), overlap.nonzero().squeeze(1))
        assert bins.room[t] == overlap.sum()


@pytest.mark.parametrize("mode", [MODE, MODE | {"blur_radius": 0.0, "faces_per_pixel": 1}])
def test_small_tiles_as_on_a_gpu_choose_the_same(monkeypatch, mode):
    scene = random_scene(300)
    bands = rasterization(*scene, **mode).selection()
    small = classmethod(lambda cls, height, width, n: cls(height, width, 4, 4, n))
    monkeypatch.setattr(TileGrid, "of", small)
    for a, b in zip(bands, rasterization(*scene, **mode).selection()):
        assert torch.equal(a, b)


def test_scratch_memory_in_several_rounds_gives_the_same(monkeypatch):
    scene = random_scene(300)
    once = rasterization(*scene, **MODE).selection()
    monkeypatch.setattr(tiles, "SCRATCH_RECORDS", 500)
    for a, b in zip(once, rasterization(*scene, **MODE).selection()):
        assert torch.equal(a, b)


def test_a_band_with_too_many_overlaps_is_an_error():
    grid = TileGrid(8, 8, 8, 8, 1)
    with pytest.raises(ValueError, match=r"primitives: expected fewer than 2\^31 overlaps in a band of rows, got 2147"):
        tiles._groups(torch.tensor([2**31]), grid)


def test_prefix_sum():
    assert prefix_sum(torch.tensor([3, 0, 2])).tolist() == [0, 3, 3, 5]
    assert prefix_sum(torch.zeros(0, dtype=torch.int64)).tolist() == [0]
