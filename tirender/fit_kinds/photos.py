"""Photos as what fits approach: loaded, made smaller, and split into those fitted to and those held out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import Numbers, Option, Target

if TYPE_CHECKING:
    import torch

    from tirender.captures import Capture
    from tirender.fit import FitRun, Views
    from tirender.fit.quality import Watch

DOWNSCALE = Option(
    "downscale", "make photos smaller by this factor, instead of to --size", Numbers(1, 1.0, 64.0), metavar="X"
)
SIZE_OF_VIEWS = 128
MOST_HELD_OUT = 25  # of photos that files set aside, as NeRF's synthetic scenes do with 200


@dataclass(frozen=True, kw_only=True)
class PhotosTarget(Target):
    """Photos of a scene; ``held_out`` are others, which measure quality and are not fitted to."""

    photos: Capture | Views
    held_out: Capture | Views | None = None

    def about(self) -> dict[str, Any]:
        from tirender.captures import Capture
        from tirender.fit.views import camera_record

        is_whole = isinstance(self.photos, Capture) and not self.photos.has_masks  # fitted on black
        behind = {"backdrop": [0.0, 0.0, 0.0]} if is_whole else {}
        return {**super().about(), "cameras": camera_record(self.photos), **behind}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the photos that measure quality."""
        from tirender.fit.photos import as_capture

        return as_capture(_truth(self)).names


def is_photos(source: str) -> bool:
    """Whether a source is a folder or a JSON file, and not a mesh."""
    return Path(source).is_dir() or source.lower().endswith(".json")


def load_photos(given: Mapping[str, Any], device: str, default_size: int | None = None) -> Capture:
    """The photos of SOURCE, made ready; of a folder of photos without cameras, these are found first.

    Args:
        given: ``source``, ``size``, ``downscale``, ``allow_parent``.
        device: of cameras and points.
        default_size: short side in pixels where neither a size nor a factor is given; None for photos as they are.
    Raises:
        ValueError, OSError: see :func:`~tirender.captures.load_capture`.
    """
    from tirender.captures import cameras_in, load_capture

    source, size, downscale = given["source"], given.get("size"), given.get("downscale")
    if size is None and downscale is None:
        size = default_size
    found = cameras_in(source) or _reconstructed(source)
    if len(found) > 1:
        print(f"tirender: {source}: the cameras of {found[0]}, not of {found[1]}", file=sys.stderr)
    capture = load_capture(source, size, downscale or 1.0, bool(given.get("allow_parent"))).to(device)
    capture.photos.prepare("photos")
    return capture


def _reconstructed(source: str) -> list[Path]:
    """The cameras of plain photos, found now; none where there are no photos or no pycolmap."""
    from tirender.captures import cameras_in
    from tirender.captures.loading import cameras_of_others
    from tirender.captures.reconstruct import LEAST_PHOTOS, has_pycolmap, photos_in, reconstruct

    names = photos_in(source)[1] if Path(source).is_dir() and has_pycolmap() else []
    if not names:
        return []
    if len(names) >= LEAST_PHOTOS:
        words = f"photos without cameras; these are found first (tirender capture){cameras_of_others(source)}"
        print(f"tirender: {source}: {words}", file=sys.stderr)
    print(f"tirender: {reconstruct(source)}", file=sys.stderr)
    return cameras_in(source)


def split_photos(capture: Capture) -> tuple[Capture, Capture | None]:
    """The photos to fit to, and those that are held out: what the files set aside, or every eighth."""
    photos, held_out = capture.split()
    if held_out is not None and any(capture.aside):
        held_out = held_out[evenly_spread(len(held_out), MOST_HELD_OUT)]
    return photos, held_out


def evenly_spread(n: int, n_chosen: int) -> list[int]:
    """The indices of some of n things, evenly spread; all of them if there are not more."""
    n_chosen = min(n, n_chosen)
    return [(2 * i + 1) * n // (2 * n_chosen) for i in range(n_chosen)]


def data_of_photos(target: PhotosTarget) -> list[torch.Tensor]:
    """The tensors of photos that must be the same when a fit is resumed."""
    from tirender.fit.photos import as_capture

    capture = as_capture(target.photos)
    return [capture.cameras.T, *(capture.photos[i] for i in range(len(capture)))]


def draw_photo(run: FitRun, target: PhotosTarget, most: int | None = None) -> None:
    """Draw a photo beside what its camera sees of a fit in progress; held out where some are.

    Args:
        run, target: of the fit.
        most: short side of the pictures in pixels, at most.
    """
    import torch
    import torch.nn.functional as F

    from tirender import vis
    from tirender.fit.held_out import seen_by
    from tirender.fit.photos import as_capture, image_on

    truth = seen_by(run.module, as_capture(_truth(target))[[0]], target.held_out is None, 0)
    scale = min((most or max(truth.sizes[0])) / min(truth.sizes[0]), 1)
    height, width = (round(side * scale) for side in truth.sizes[0])
    rendered = run.module(truth.cameras[[0]], (height, width))[0]
    image, mask = image_on(truth, 0), truth.mask(0)
    both = image if mask is None else torch.cat([image, mask[..., None]], 2)
    both = F.interpolate(both.movedim(2, 0)[None], (height, width), mode="area")[0].movedim(0, 2)
    vis.compare_view(rendered, both[..., :3], None if mask is None else both[..., 3], f"iter: {run.step}")


def quality_of_photos(run: FitRun, target: PhotosTarget, watch: Watch | None = None) -> dict[str, float]:
    """Numbers, by name, that say how like the photos are that were held out, else those fitted to."""
    from tirender.fit.held_out import photo_quality

    are_fitted = target.held_out is None
    prefix = "fitted" if are_fitted else "held_out"
    found = photo_quality(run.module, _truth(target), are_fitted=are_fitted, watch=watch)
    return {f"{prefix}_{name}": value for name, value in found.items()}


def _truth(target: PhotosTarget) -> Any:
    return target.photos if target.held_out is None else target.held_out
