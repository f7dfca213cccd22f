"""Photos as fits compare with them: of any size, one size at a time, on a background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from tirender.captures import Capture, Photos
from tirender.checks import fail
from tirender.fit.views import Views
from tirender.renderer.gaussians.cameras import pixel_cameras


class Batch(NamedTuple):
    """Photos of one size.

    Attributes:
        numbers: of these.
        size: height and width.
        share: of all the photos of a step that these are.
        images: (B, H, W, 3), on their backgrounds.
        backgrounds: (B, 3), or None for black.
    """

    numbers: list[int]
    size: tuple[int, int]
    share: float
    images: torch.Tensor
    backgrounds: torch.Tensor | None


def as_capture(photos: Capture | Views) -> Capture:
    """Views as a capture."""
    if isinstance(photos, Capture):
        return photos
    names = tuple(map(str, range(len(photos))))
    return Capture(Photos.of(photos.on_black, photos.silhouettes), photos.cameras, None, names)


def image_on(photos: Capture, i: int, background: Any = None) -> torch.Tensor:
    """Photo i, (H, W, 3); where it has a mask on a background, three numbers, by default black."""
    image, mask = photos.image(i), None if background is None else photos.mask(i)
    return image if mask is None else image + (1 - mask[..., None]) * torch.as_tensor(background).to(image)


def batches(photos: Capture, chosen: Sequence[int], backgrounds: Sequence[Any]) -> Iterator[Batch]:
    """The chosen photos, each on its background (three numbers or None), all of one size at once."""
    for size in dict.fromkeys(photos.sizes[i] for i in chosen):
        rows = [row for row, i in enumerate(chosen) if photos.sizes[i] == size]
        images = torch.stack([image_on(photos, chosen[row], backgrounds[row]) for row in rows])
        behind = [backgrounds[row] for row in rows if backgrounds[row] is not None]
        colors = torch.stack([torch.as_tensor(color) for color in behind]).to(images) if behind else None
        yield Batch([chosen[row] for row in rows], size, len(rows) / len(chosen), images, colors)


def pinholes(photos: Capture) -> tuple[torch.Tensor, torch.Tensor]:
    """View matrices (N, 4, 4) and intrinsics (N, 3, 3) in pixels, for column vectors.

    Raises:
        ValueError: the cameras are no pinholes.
    """
    if len(set(photos.sizes)) == 1:
        viewmats, intrinsics, model = pixel_cameras(photos.cameras, photos.sizes[0])
    else:
        each = [pixel_cameras(photos.cameras[[i]], size) for i, size in enumerate(photos.sizes)]
        viewmats, intrinsics = (torch.cat([found[k] for found in each]) for k in (0, 1))  # type: ignore[misc]
        model = each[0][2]
    if model != "pinhole":
        fail("photos", "pinhole cameras", model)
    return viewmats, intrinsics
