"""Bins and tile-wise lists, against brute force; the tiles of a CPU and of a GPU give the same."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import random_scene, rasterization
from long_loops import count_rounds

from tirender.engine import runtime, tiles
from tirender.engine.mesh_rasterization import MeshRasterization
from tirender.engine.rasterize_clip import ClipTriangles, select_in_clip_space
from tirender.engine.rasterize_points import PointRasterization, select_points
from tirender.engine.tiles import TileGrid, bin_primitives, prefix_sum

MODE = {"image_size": (41, 26), "faces_per_pixel": 4, "blur_radius": 0.01}


def random_boxes(n: int, *, height: int, width: int) -> torch.Tensor:
    columns, rows = (torch.randint(0, size, (n, 2)).sort(1).values for size in (width, height))
    boxes = torch.cat([columns, rows], 1).int()
    boxes[torch.rand(n) < 0.1] = torch.tensor([0, -1, 0, -1], dtype=torch.int32)
    return boxes


@pytest.mark.parametrize("tile", [(8, 26), (4, 4), (41, 26), (1, 1)])
@pytest.mark.parametrize("n", [0, 1, 300])
def test_bins_hold_the_primitives_whose_boxes_meet_the_tile(tile, n):
    grid = TileGrid(41, 26, *tile, n_images=2)
    boxes, image = random_boxes(n, height=41, width=26), (torch.arange(n) * 2 // max(n, 1)).int()
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
        assert bins.max_overlaps[t] == overlap.sum()


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
    with pytest.raises(ValueError, match=r"fewer than 2\^31 - 1 overlaps in a band of rows, got 2147"):
        tiles._groups(torch.tensor([2**31]), grid)


def test_tiles_that_list_too_many_primitives_are_an_error(monkeypatch):
    boxes, image = torch.tensor([[0, 7, 0, 23]], dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    monkeypatch.setattr(tiles.runtime, "launch", lambda kernel, *args: args[-1].fill_(2**30))
    with pytest.raises(ValueError, match=r"fewer than 2\^31 - 1 overlaps with tiles, got 3221225472"):
        tiles.bin_primitives(boxes, image, TileGrid(24, 8, 8, 8, 1))


def test_pixels_of_boxes_are_counted_up_to_what_int32_holds():
    """Four boxes of 2^30 pixels in one tile: their sum would wrap around to 0."""
    side = 2**15
    boxes = torch.tensor([[0, side - 1, 0, side - 1]], dtype=torch.int32).repeat(4, 1)
    grid = TileGrid(side, side, side, side, 1)
    most = tiles.bin_primitives(boxes, torch.zeros(4, dtype=torch.int32), grid).max_overlaps
    assert most.tolist() == [2**31 - 1]
    with pytest.raises(ValueError, match="overlaps in a band of rows, got 2147483647"):
        tiles._groups(most, grid)


def test_images_that_keep_too_many_overlaps_are_an_error(monkeypatch):
    """Found before the second row of tiles, whose one pixel keeps them, is copied."""
    monkeypatch.setattr(tiles, "SCRATCH_RECORDS", 1)
    grid, none = TileGrid(16, 1, 8, 1, 1), torch.zeros(3, dtype=torch.int32)
    bins = tiles.Bins(none, none[:0], torch.ones(2, dtype=torch.int64))

    def list_tiles(listing, scratch_offsets, scratch):
        for values in (scratch.members, scratch.begin, scratch.count):
            if isinstance(values, torch.Tensor):  # on the device they are 0
                values.zero_()
        scratch.count[8 * listing.first_tile] = 1 if listing.first_tile == 0 else 2**31 - 2

    with pytest.raises(ValueError, match=r"fewer than 2\^31 - 1 overlaps kept in all images, got 2147"):
        tiles.list_overlaps(list_tiles, bins, grid, None, torch.zeros(0))


def test_images_of_too_many_pixels_are_an_error():
    with pytest.raises(ValueError, match=r"image_size: expected fewer than 2\^31 pixels in all images, got 5000000000"):
        rasterization(*random_scene(1), image_size=(50_000, 50_000)).selection()
    with pytest.raises(ValueError, match=r"image_size: expected fewer than 2\^31 pixels in all images, got 2500000000"):
        select_points(
            PointRasterization(torch.zeros(1, 3), torch.ones(1), torch.zeros(1).int(), 1, (50_000, 50_000), 1)
        )


def test_prefix_sum():
    assert prefix_sum(torch.tensor([3, 0, 2])).tolist() == [0, 3, 3, 5]
    assert prefix_sum(torch.zeros(0, dtype=torch.int64)).tolist() == [0]


def crowd(n: int) -> PointRasterization:
    """So many points in the four pixels of one image, the last in front."""
    points = torch.cat([torch.zeros(n, 2), torch.linspace(2, 1, n)[:, None]], 1)
    return PointRasterization(points, torch.full((n,), 2.0), torch.zeros(n, dtype=torch.int32), 1, (2, 2), 1)


def wall(n: int) -> MeshRasterization:
    """So many faces that fill one image of four pixels, the last in front."""
    corners = torch.tensor([[-9.0, -9.0], [9.0, -9.0], [0.0, 9.0]]).expand(n, 3, 2)
    verts = torch.cat([corners, torch.linspace(2, 1, n)[:, None, None].expand(n, 3, 1)], 2).reshape(-1, 3)
    faces = torch.arange(3 * n, dtype=torch.int32).view(-1, 3)
    return rasterization(verts, faces, faces.new_zeros(n), n_images=1, image_size=(2, 2), faces_per_pixel=1)


def clip_wall(n: int) -> ClipTriangles:
    """The same in clip space."""
    corners = torch.tensor([[-9.0, -9.0], [9.0, -9.0], [0.0, 9.0]]).expand(n, 3, 2)
    z = torch.linspace(0.9, -0.9, n)[:, None, None].expand(n, 3, 1)
    faces = torch.arange(3 * n, dtype=torch.int32).view(-1, 3)
    verts = torch.cat([corners, z, torch.ones_like(z)], 2).view(-1, 4)
    return ClipTriangles(verts, faces, ids=faces[:, 0], image=torch.zeros_like(faces[:, 0]), n_images=1)


@pytest.mark.parametrize(
    "select",
    [
        lambda: select_points(crowd(100_000))[1],
        lambda: wall(100_000).selection()[1],
        lambda: select_in_clip_space(clip_wall(100_000), (2, 2))[0],
    ],
    ids=["points", "faces", "faces in clip space"],
)
def test_a_tile_of_more_than_the_driver_lists_is_an_error(select):
    """Never a wrong picture without a word."""
    if runtime.arch() == "vulkan" and count_rounds(100_000) < 100_000:
        with pytest.raises(
            ValueError, match="primitives: expected no more than this Vulkan driver lists, got too many"
        ):
            select()
    else:
        assert (select() == 99_999).all()


def test_a_chunk_of_more_than_the_driver_counts_is_an_error(monkeypatch):
    monkeypatch.setattr(tiles, "COUNTS", 1)  # all points in one chunk
    scattered = dataclasses.replace(crowd(100_000), image_size=(40, 40), radius=torch.full((100_000,), 0.01))
    if runtime.arch() == "vulkan" and count_rounds(100_000) < 100_000:
        with pytest.raises(
            ValueError, match="primitives: expected no more than this Vulkan driver lists, got too many"
        ):
            select_points(scattered)
    else:
        select_points(scattered)
