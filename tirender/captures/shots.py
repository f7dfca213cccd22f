"""From what files say of photos to a capture: sizes, turns, masks and lenses are settled before pixels are read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tirender import __version__
from tirender.captures.capture import Capture
from tirender.captures.lenses import Lens
from tirender.captures.photo_cache import key_of
from tirender.captures.photos import Photos
from tirender.captures.undistortion import straight_lens, undistorted
from tirender.checks import check_tensor, fail
from tirender.io.files import Source, decode_bytes, read_image_header, read_source
from tirender.io.ply_reading import read_ply
from tirender.renderer import PerspectiveCameras
from tirender.structures import Pointclouds

MAX_PHOTOS = 20_000
ENDINGS = (".png", ".jpg", ".jpeg", ".JPG")  # that a name may leave out, or have another of
MAX_DISTANCE = 1e9  # of what is left; beyond, squares and products of float32 overflow
FAR, MAX_FAR = 256.0, 1e12  # an origin is taken off what is further out: in units of the cameras' extent, and at most
_QUARTERS = {6: 1, 3: 2, 8: 3}  # to the right, by EXIF's orientation
OFF_PIXELS, OFF_SHARE = 2.0, 0.02  # by which the sides of a photo may differ from those of its scaled lens


@dataclass(frozen=True)
class Shot:
    """A photo as files describe it: ``rotation @ x + translation`` is x in its camera's space, x right, y down.

    Attributes:
        name: of the photo.
        path: of its file.
        lens: that took it, for images of any size.
        rotation, translation: (3, 3) and (3,), float64.
        mask: path of an image, white where the object is; None for the photo's own alpha.
        is_aside: whether it is there to measure quality.
    """

    name: str
    path: str
    lens: Lens
    rotation: np.ndarray
    translation: np.ndarray
    mask: str | None = None
    is_aside: bool = False


@dataclass(frozen=True)
class Reduction:
    """How photos become smaller: averaged over areas, to a short side in pixels or by a factor; never enlarged."""

    short_side: int | None = None
    downscale: float = 1.0

    def __post_init__(self) -> None:
        if self.short_side is not None and not self.short_side >= 1:
            fail("short_side", "1 or more pixels", self.short_side)
        if not 1 <= self.downscale < float("inf"):
            fail("downscale", "a factor of 1 or more", self.downscale)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of what an image of that size becomes."""
        factor = self.downscale
        if self.short_side is not None:
            factor = max(factor, min(width, height) / self.short_side)
        return max(round(width / factor), 1), max(round(height / factor), 1)


@dataclass(frozen=True)
class _Plan:
    """How one photo is made ready."""

    shot: Shot  # with the pose of the photo as it is shown
    turn: int  # of the file's rows before its lens applies, EXIF's
    quarters: int  # turns to the right of the photo without distortion, until it is upright
    has_alpha: bool
    lens: Lens  # for the pixels of the file
    straight: Lens
    small: Lens  # the straight one, for the smaller image
    final: Lens  # that one, for the turned image


def capture_of(name: str, shots: Sequence[Shot], points: Any, colors: Any, reduction: Reduction) -> Capture:
    """A capture from what files say.

    Args:
        name: of the folder, for messages.
        shots: at least one.
        points, colors: (P, 3) arrays, floats and 8 bits; None where none are known.
        reduction: of the photos.
    Raises:
        ValueError: naming the file: no image, too large, or not of the proportions of its lens.
    """
    if not 0 < len(shots) <= MAX_PHOTOS:
        fail(name, f"1 to {MAX_PHOTOS} photos", len(shots))
    origin = _origin_of(name, shots)
    shots = [replace(shot, translation=shot.translation + shot.rotation @ origin) for shot in shots]
    points = None if points is None else points - origin
    for shot in shots:
        if not np.abs(shot.translation).max() < MAX_DISTANCE:
            fail(f"{name}, {shot.name}", f"a camera within {MAX_DISTANCE:g} of the others", shot.translation.tolist())
    if points is not None and len(points) and not np.abs(points).max() < MAX_DISTANCE:
        fail(name, f"points within {MAX_DISTANCE:g} of the cameras", f"{np.abs(points).max():g}")
    plans = [_plan(shot, reduction) for shot in shots]
    masks = "given" if any(shot.mask for shot in shots) else "alpha" if any(p.has_alpha for p in plans) else "none"
    sizes = [(plan.final.height, plan.final.width) for plan in plans]
    photos = Photos(lambda i: _made(plans[i], masks != "none"), sizes, masks, name, _key_of(plans, masks))
    numbers = torch.tensor([plan.final.intrinsics_ndc() for plan in plans])
    flip = torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64)  # x to the left and y up, for row vectors
    rotations = torch.stack([torch.from_numpy(plan.shot.rotation).T for plan in plans]) * flip
    translations = torch.stack([torch.from_numpy(plan.shot.translation) for plan in plans]) * flip
    cameras = PerspectiveCameras(numbers[:, :2], numbers[:, 2:], rotations.float(), translations.float())
    cloud = None
    if points is not None and len(points):
        cloud = Pointclouds([torch.from_numpy(points).float()], features=[torch.from_numpy(colors).float() / 255])
    aside = tuple(shot.is_aside for shot in shots)
    names = tuple(shot.name for shot in shots)
    return Capture(photos, cameras, cloud, names, aside if any(aside) else (), tuple(origin.tolist()))


def _origin_of(name: str, shots: Sequence[Shot]) -> np.ndarray:
    """(3,) what is to be taken off places, as of captures in coordinates of the earth; 0 where they are near."""
    with np.errstate(over="ignore", invalid="ignore"):
        centres = np.stack([-shot.rotation.T @ shot.translation for shot in shots])
    for shot, centre in zip(shots, centres):
        if not np.abs(centre).max() < MAX_FAR:
            fail(f"{name}, {shot.name}", f"a camera within {MAX_FAR:g} of the origin", centre.tolist())
    extent = float(np.ptp(centres, axis=0).max())
    middle = np.median(centres, axis=0)
    least = FAR * extent if extent > 0 else MAX_DISTANCE
    if np.abs(middle).max() <= least:
        return np.zeros(3)
    step = 2.0 ** np.floor(np.log2(extent)) if extent > 0 else 1.0
    return np.round(middle / step) * step


def _key_of(plans: Sequence[_Plan], masks: str) -> str | None:
    """A name for the pixels that become of photos; None where files vanish."""
    parts: list[object] = [__version__, masks]
    for plan in plans:
        parts.append((plan.turn, plan.quarters, plan.has_alpha, plan.lens, plan.straight, plan.small))
    files = [path for plan in plans for path in (plan.shot.path, plan.shot.mask) if path is not None]
    try:
        return key_of(parts, files)
    except OSError:
        return None


def photo_path(source: Source, name: str) -> str | None:
    """The file of a photo that another file names: of this name, or of this name with another ending; None for none."""
    stem, ending = os.path.splitext(name)
    with_other = [stem + other for other in ENDINGS] if ending.lower() in map(str.lower, ENDINGS) else []
    names = [name, *(name + other for other in ENDINGS), *with_other]
    return next((path for path in map(source.sibling, names) if path), None)


def points_of_ply(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """The points (P, 3) of a PLY file, and their colours as bytes, grey where there are none."""
    read = read_ply(source, with_faces=False)
    points = np.asarray(read.verts, dtype=np.float64)
    if not np.isfinite(points).all():
        fail(source.name, "finite positions", "others")
    colors: np.ndarray = np.full((len(points), 3), 128, np.uint8)
    if read.verts_rgba is not None:
        colors = (np.asarray(read.verts_rgba)[:, :3] * 255).round().clip(0, 255).astype(np.uint8)
    return points, colors


def check_new(seen: set[str], path: str, where: str) -> None:
    """Note the file of a photo; ValueError if it was seen before, as few bytes could ask for any number of photos."""
    if path in seen:
        fail(where, "a photo of its own", f"{path} once more")
    seen.add(path)


def warn_of_missing(where: str, missing: Sequence[str], n: int) -> None:
    """Warn of photos that are not there; ``ValueError`` if none of n is.

    Args:
        where: they should be.
        missing: their names.
        n: the number of photos that the files list.
    """
    if not missing:
        return
    some = ", ".join(map(repr, missing[:3])) + ", ..." * (len(missing) > 3)
    if len(missing) == n:
        fail(where, "the photos of its cameras", f"none of the {n}: no {some}")
    warnings.warn(f"{where}: {len(missing)} of {n} photos are missing and left out: {some}", stacklevel=3)


def _plan(shot: Shot, reduction: Reduction) -> _Plan:
    """What becomes of a photo.

    Programs that find cameras read the rows of a photo as they are stored, or as EXIF turns them: the size of the lens
    says which. Where they are read as stored, the photo is turned together with its camera, so that its top is up.
    """
    header = read_image_header(shot.path)
    stored = (header.width, header.height)
    lens, turn = shot.lens, 1
    if not _fits(lens, *stored):
        turn = header.turn
        if turn == 1 or not _fits(lens, *header.turned_size):
            fail(shot.path, f"an image of the proportions {lens.width} x {lens.height}", f"{stored[0]} x {stored[1]}")
        stored = header.turned_size
    lens = lens if stored == (lens.width, lens.height) else lens.resized(*stored)
    if shot.mask is not None:
        mask = read_image_header(shot.mask)
        if (mask.width, mask.height) != stored:
            fail(shot.mask, f"an image of {stored[0]} x {stored[1]}", f"{mask.width} x {mask.height}")
    try:
        straight = straight_lens(lens)
    except ValueError as error:
        raise ValueError(f"{shot.path}: {error}") from error
    small = final = straight.resized(*reduction.size(straight.width, straight.height))
    quarters = _QUARTERS.get(header.turn, 0) if turn == 1 else 0
    for _ in range(quarters):
        shot, final = _turned(shot, final)
    return _Plan(shot, turn, quarters, header.alpha and shot.mask is None, lens, straight, small, final)


def _turned(shot: Shot, lens: Lens) -> tuple[Shot, Lens]:
    """The camera of a photo that is turned to the right by a quarter."""
    (fx, fy), (cx, cy) = lens.focal, lens.centre
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = replace(shot, rotation=turn @ shot.rotation, translation=turn @ shot.translation)
    return turned, replace(lens, width=lens.height, height=lens.width, focal=(fy, fx), centre=(lens.height - cy, cx))


def _fits(lens: Lens, width: int, height: int) -> bool:
    """Whether an image could be one of the lens, made larger or smaller."""
    for a, b, c, d in ((width, height, lens.width, lens.height), (height, width, lens.height, lens.width)):
        if abs(d * a / c - b) > max(OFF_PIXELS, OFF_SHARE * b):
            return False
    return True


def _made(plan: _Plan, has_masks: bool) -> torch.Tensor:
    """A photo (H, W, 3 or 4), uint8, as :class:`Photos` wants it."""
    data = read_source(plan.shot.path).data
    pixels = decode_bytes(data, plan.shot.path, alpha=plan.has_alpha, turn=plan.turn)
    if plan.shot.mask is not None:
        mask = decode_bytes(read_source(plan.shot.mask).data, plan.shot.mask)[..., :1]
        pixels = torch.cat([pixels, mask], 2)
    expected = (plan.lens.height, plan.lens.width)
    check_tensor(plan.shot.path, pixels, (*expected, pixels.shape[2]))  # unless it has changed since
    if pixels.shape[2] == 4 and bool((pixels[..., 3] < 255).any()):
        alpha = pixels[..., 3:].float()
        pixels = torch.cat([(pixels[..., :3] * (alpha / 255)).round(), alpha], 2).to(torch.uint8)
    pixels = _smaller(undistorted(pixels, plan.lens, plan.straight), plan.small.width, plan.small.height)
    if plan.quarters:
        pixels = pixels.rot90(-plan.quarters, (0, 1))
    if has_masks and pixels.shape[2] == 3:
        pixels = torch.cat([pixels, torch.full_like(pixels[..., :1], 255)], 2)
    return pixels


def _smaller(image: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """A photo (H, W, C), uint8, averaged over areas."""
    if image.shape[:2] == (height, width):
        return image
    small = F.interpolate(image.movedim(2, 0)[None].float(), (height, width), mode="area")
    return small[0].movedim(0, 2).round().to(torch.uint8)
