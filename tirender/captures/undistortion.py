"""Photos as a lens without distortion would have taken them."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

from tirender.captures.lenses import Lens
from tirender.checks import fail

LEAST_SIZE, MOST_SIZE, N_SIZES = 0.2, 2.0, 361  # of the straight image in units of the other's, and how many are tried
N_BORDER = 64  # places along each border that must be in the photo
ROWS_AT_ONCE = 256
SPACING = 8  # pixels between those whose place is computed; the others' are interpolated
OFF = 0.01  # pixels that interpolation may be off; where it is more, each pixel's place is computed


@functools.lru_cache(maxsize=64)
def straight_lens(lens: Lens) -> Lens:
    """The pinhole that shows as much as a lens does and nothing else.

    The focal lengths stay, so that the middle of a photo keeps its size; the image becomes larger or smaller around
    the principal point until it is the largest whose borders the photo shows, up to twice as large.

    Raises:
        ValueError: a lens whose image is folded, or of which less than a fifth would be left.
    """
    if lens.is_pinhole:
        return lens
    (fx, fy), (cx, cy) = lens.focal, lens.centre
    width, height = lens.width, lens.height
    along = torch.linspace(0, 1, N_BORDER, dtype=torch.float64)
    zero, one = torch.zeros_like(along), torch.ones_like(along)
    sides = ((along, zero), (along, one), (zero, along), (one, along))
    border = torch.cat([torch.stack(side, 1) for side in sides]) * torch.tensor([width, height])
    rays = (border - torch.tensor([cx, cy], dtype=torch.float64)) / torch.tensor([fx, fy], dtype=torch.float64)
    sizes = torch.linspace(0, MOST_SIZE, N_SIZES, dtype=torch.float64)[1:]
    scaled = rays * sizes[:, None, None]
    places = lens.project(torch.cat([scaled, torch.ones_like(scaled[..., :1])], 2))
    limit = places.new_tensor([width, height])
    is_inside = ((places >= 0) & (places <= limit)).all(-1)  # False for NaN
    from_centre = (places - places.new_tensor([cx, cy])).norm(dim=-1)
    is_rising = torch.cat([from_centre[:1] > 0, from_centre[1:] > from_centre[:-1]])
    is_good = (is_inside & (is_rising | (rays.norm(dim=1) == 0))).all(1)
    n_good = int(is_good.long().cumprod(0).sum())
    if n_good == 0 or float(sizes[n_good - 1]) < LEAST_SIZE:
        fail("lens", f"a straight image of at least {LEAST_SIZE:g} times the size of the photo", f"less, of {lens}")
    size = float(sizes[n_good - 1])
    new_width, new_height = max(int(width * size), 1), max(int(height * size), 1)
    centre = (cx * size * new_width / (width * size), cy * size * new_height / (height * size))
    return Lens("PINHOLE", new_width, new_height, (fx, fy), centre)


def undistorted(image: torch.Tensor, lens: Lens, straight: Lens | None = None) -> torch.Tensor:
    """A photo (H, W, C), uint8 or floats, by another lens; what it does not show repeats its border.

    Args:
        image: of the size of ``lens``.
        lens: that took it.
        straight: a pinhole; None for :func:`straight_lens`.
    """
    straight = straight or straight_lens(lens)
    if straight == lens:
        return image
    pixels = image.float().movedim(2, 0)[None]
    rows = []
    for top in range(0, straight.height, ROWS_AT_ONCE):
        grid = _sampling_grid(lens, straight, top, min(top + ROWS_AT_ONCE, straight.height))
        rows.append(F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)[0])
    moved = torch.cat(rows, 1).movedim(0, 2)
    return moved if image.is_floating_point() else moved.round().to(image.dtype)


def _sampling_grid(lens: Lens, straight: Lens, top: int, bottom: int) -> torch.Tensor:
    """(1, H, W, 2) where a lens shows what another shows in rows of pixels, for ``grid_sample``.

    A lens bends smoothly, and computing all places would take most of the time. In the middle between four computed
    places, where interpolation is off the most, the true place is computed, too.
    """
    shape = (bottom - top, straight.width)
    rows, columns = (torch.arange(-(-(n - 1) // SPACING) + 1, dtype=torch.float64) * SPACING for n in shape)
    nodes = _places(lens, straight, rows + top, columns)
    if min(nodes.shape[:2]) > 1:
        middles = _places(lens, straight, rows[:-1] + top + SPACING / 2, columns[:-1] + SPACING / 2)
        means = (nodes[:-1, :-1] + nodes[1:, :-1] + nodes[:-1, 1:] + nodes[1:, 1:]) / 4
        if bool((means - middles).abs().max() < OFF):  # False for NaN
            size = ((len(rows) - 1) * SPACING + 1, (len(columns) - 1) * SPACING + 1)
            steps = nodes.float().movedim(2, 0)[None]
            places = F.interpolate(steps, size, mode="bilinear", align_corners=True)[..., : shape[0], : shape[1]]
            return _normalized(places.movedim(1, 3), lens)
    every_row, every_column = torch.arange(top, bottom, dtype=torch.float64), torch.arange(shape[1]).double()
    return _normalized(_places(lens, straight, every_row, every_column)[None], lens).float()


def _places(lens: Lens, straight: Lens, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """(H, W, 2) where a lens shows, in pixels, what another shows in the pixels of rows and columns."""
    y, x = torch.meshgrid(rows + 0.5, columns + 0.5, indexing="ij")
    u = (torch.stack([x, y], -1) - y.new_tensor(straight.centre)) / y.new_tensor(straight.focal)
    return lens.project(torch.cat([u, torch.ones_like(u[..., :1])], -1))


def _normalized(places: torch.Tensor, lens: Lens) -> torch.Tensor:
    """Pixels of a lens as ``grid_sample`` counts them, from -1 to 1."""
    return 2 * places / places.new_tensor([lens.width, lens.height]) - 1
