"""Lists of the Gaussians of each tile: complete, without superfluous entries, and in order."""

from __future__ import annotations

import math

import pytest
import torch
from splat_cases import flat

from tirender.engine import runtime
from tirender.engine.gaussian_tiles import Gaussians2D, TileLists, depth_order, list_tiles
from tirender.engine.kernels.composite_gaussians import ROWS
from tirender.engine.kernels.lanes import LANES

LIMITS = torch.tensor([0.999, 1 / 255, 1e-4])


def gaussians(n: int, height: int, width: int, n_images: int = 1, longest: float = 40.0) -> Gaussians2D:
    """Random ellipses in and around images."""
    g = torch.Generator().manual_seed(0)
    means = (torch.rand(n_images, n, 2, generator=g) * 1.4 - 0.2) * torch.tensor([width, height])
    axes = 0.55 * torch.tensor(longest).pow(torch.rand(n_images, n, 2, generator=g)).double()
    angle = torch.rand(n_images, n, generator=g) * 7
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).view(n_images, n, 2, 2).double()
    conic = turn @ axes.pow(-2).diag_embed() @ turn.mT
    conics = torch.stack([conic[..., 0, 0], conic[..., 0, 1], conic[..., 1, 1]], -1).float()
    opacities, depths = (torch.rand(n_images, n, generator=g) for _ in range(2))
    return flat(means, conics, torch.rand(n_images, n, 3, generator=g), opacities, depths)


def alphas(g: Gaussians2D, e: int, height: int, width: int) -> torch.Tensor:
    """(H, W) in float64."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    dx, dy = (g.means2d[e] - torch.stack([x, y], -1)).double().unbind(-1)
    a, b, c = g.conics[e].double()
    return g.opacities[e] * torch.exp(-((a * dx + 2 * b * dy) * dx + c * dy * dy) / 2)


def peak(g: Gaussians2D, e: int, y: float, left: float, right: float) -> float:
    """The greatest alpha between two points of a row, in float64."""
    a, b, c = g.conics[e].tolist()
    x0, y0 = g.means2d[e].tolist()
    v = y - y0
    u = min(max(-b / a * v, left - x0), right - x0)
    return float(g.opacities[e]) * math.exp(-((a * u + 2 * b * v) * u + c * v * v) / 2)


def listed(tiles: TileLists, tile: int) -> list[tuple[int, int, int]]:
    """The Gaussians of a tile with their rows."""
    begin, end = tiles.lists.offsets[tile : tile + 2].tolist()
    return [(int(tiles.order[r]), rows & 0xFFFF, rows >> 16) for r, rows, _ in tiles.lists.entries[begin:end].tolist()]


@pytest.mark.parametrize(("height", "width"), [(40, 70), (16, 16), (1, 1), (5, 90)])
@pytest.mark.parametrize("longest", [3.0, 40.0, 4000.0])
def test_lists_are_complete_and_exact(height, width, longest):
    g = gaussians(150, height, width, longest=longest)
    tiles = list_tiles(g, height, width, 1, LIMITS)
    seen = torch.stack([alphas(g, e, height, width) >= 1 / 255 for e in range(150)])
    for tile in range(tiles.sizes.tiles_per_image):
        x0, y0 = tile % tiles.sizes.tiles_x * LANES, tile // tiles.sizes.tiles_x * ROWS
        members = {e: (first, last) for e, first, last in listed(tiles, tile)}
        for e in range(150):
            rows = seen[e, y0 : y0 + ROWS, x0 : x0 + LANES].any(1).nonzero()[:, 0]
            if e in members:
                first, last = members[e]
                assert first <= last
                if len(rows):
                    assert first <= rows[0]
                    assert last >= rows[-1]
                for row in (first, last):  # the ellipse crosses it, if only between two pixels
                    around = [y0 + row + 0.5 + shift for shift in (-0.02, 0.0, 0.02)]
                    assert max(peak(g, e, y, x0 + 0.48, x0 + LANES - 0.48) for y in around) > 0.999 / 255
            else:
                assert not len(rows)


def test_nearest_first_ties_by_index():
    g = gaussians(500, 64, 64)
    depths = (torch.rand(500) * 20).floor()
    g = Gaussians2D(g.means2d, g.conics, g.colors, g.opacities, g.image, depths, g.drawn)
    tiles = list_tiles(g, 64, 64, 1, LIMITS)
    for tile in range(16):
        members = [e for e, _, _ in listed(tiles, tile)]
        assert members == sorted(members, key=lambda e: (float(depths[e]), e))
        assert len(members) > 20


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_depth_order(dtype):
    depths = torch.tensor([3.0, -1.0, float("inf"), 0.0, -1e30, 2.0, 2.0, 1e-40, 5.0], dtype=dtype)
    image = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 1], dtype=torch.int32)
    drawn = torch.ones(9, 2, dtype=torch.int32)
    drawn[8] = 0
    assert depth_order(depths, image, drawn).tolist() == [4, 1, 3, 0, 2, 7, 5, 6]
    assert depth_order(depths, image, 0 * drawn).tolist() == []


def test_images_have_their_own_lists():
    g = gaussians(100, 40, 50, n_images=3)
    tiles = list_tiles(g, 40, 50, 3, LIMITS)
    per_image = tiles.sizes.tiles_per_image
    for i in range(3):
        own = slice(100 * i, 100 * i + 100)
        alone = Gaussians2D(*(getattr(g, k)[own] for k in ("means2d", "conics", "colors", "opacities")), g.image[:100],
                            g.depths[own], g.drawn[own])  # fmt: skip
        single = list_tiles(alone, 40, 50, 1, LIMITS)
        for tile in range(per_image):
            ours = [(e - 100 * i, *rows) for e, *rows in listed(tiles, i * per_image + tile)]
            assert ours == listed(single, tile)


def test_what_is_not_listed():
    g = gaussians(8, 30, 30, longest=3.0)
    g.means2d[:] = 15
    g.opacities[:] = 0.5
    g.opacities[1] = 0.003
    g.opacities[2] = 0
    g.conics[3, 0] = -1
    g.conics[4] = float("nan")
    g.means2d[5] = float("inf")
    g.means2d[6] = 1e30
    g.drawn[7] = 0
    tiles = list_tiles(g, 30, 30, 1, LIMITS)
    assert {e for tile in range(4) for e, _, _ in listed(tiles, tile)} == {0}


def test_places_are_those_of_the_entries():
    tiles = list_tiles(gaussians(300, 50, 60), 50, 60, 1, LIMITS)
    entries = tiles.lists.entries
    assert torch.equal(entries[:, 2].sort().values, torch.arange(len(entries)).int())
    for r, _, place in entries.tolist():
        assert tiles.places[r] <= place < tiles.places[r + 1]
    assert torch.equal(entries, list_tiles(gaussians(300, 50, 60), 50, 60, 1, LIMITS).lists.entries) or (
        runtime.arch() != "cpu"
    )


@pytest.mark.parametrize("n", [0, 1])
def test_few(n):
    tiles = list_tiles(gaussians(n, 20, 20), 20, 20, 1, LIMITS)
    assert len(tiles.lists.offsets) == 5
    assert len(tiles.places) == n + 1
