"""Photos of a scene with their cameras, and points of it."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F

from tirender.checks import FLOATS, check_tensor, fail
from tirender.io.colmap import ColmapCamera, load_colmap
from tirender.io.files import Source, decode_image
from tirender.renderer import PerspectiveCameras
from tirender.structures import Pointclouds

HELD_OUT = 8  # every so manieth photo measures quality
MAX_PIXELS = 512 << 20  # in all photos, after they are made smaller


@dataclass(frozen=True)
class Capture:
    """N photos of a scene, without lens distortion.

    Attributes:
        images: (N, H, W, 3) in [0, 1].
        cameras: N perspective cameras with intrinsics in NDC.
        points: one cloud of points of the scene, with colours as features; None where none are known.
        names: of the photos.
    """

    images: torch.Tensor
    cameras: PerspectiveCameras
    points: Pointclouds | None
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(check_tensor("images", self.images, ("N", "H", "W", 3), FLOATS))
        if not len(self.cameras) == len(self.names) == n or n == 0:
            fail("cameras", f"at least one, and one for each of the {n} images", len(self.cameras))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[1], self.images.shape[2]

    def __getitem__(self, index: list[int]) -> Capture:
        """Some of the photos."""
        cameras = self.cameras[index]
        assert isinstance(cameras, PerspectiveCameras)
        names = tuple(self.names[i] for i in index)
        return replace(self, images=self.images[index], cameras=cameras, names=names)

    def split(self, every: int = HELD_OUT) -> tuple[Capture, Capture | None]:
        """The photos to fit to, and every so manieth, from the first on, to measure quality with; None of fewer."""
        if len(self) < every:
            return self, None
        held_out = list(range(0, len(self), every))
        return self[[i for i in range(len(self)) if i % every]], self[held_out]

    def to(self, device: torch.device | str) -> Capture:
        """On a device."""
        points = None if self.points is None else self.points.to(device)
        cameras = self.cameras.clone().to(device)
        assert isinstance(cameras, PerspectiveCameras)
        return replace(self, images=self.images.to(device), cameras=cameras, points=points)


def is_capture(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a reconstruction by COLMAP."""
    return _reconstruction_in(Path(folder)) is not None


def load_capture(folder: str | os.PathLike[str], short_side: int | None = None) -> Capture:
    """Read photos and their reconstruction by COLMAP; lens distortion is taken out.

    Args:
        folder: holds the photos in ``images``, and the reconstruction, as ``.bin`` or ``.txt``, in ``sparse/0``,
            ``sparse``, ``colmap/sparse/0`` or itself.
        short_side: of the photos in pixels; larger ones are averaged over areas. None leaves them as they are.
    Returns:
        the photos in the order of their names, in the reconstruction's space.
    Raises:
        ValueError: naming the file: damaged, missing, too many pixels, or photos of different sizes.
        OSError: a file cannot be opened.
    """
    folder = Path(folder)
    sparse = _reconstruction_in(folder)
    if sparse is None:
        fail(str(folder), "a reconstruction by COLMAP in sparse/0", "none")
    reconstruction = load_colmap(sparse)
    photos = Source(b"", str(sparse), str(folder / "images"))
    images: list[torch.Tensor] = []
    intrinsics: list[list[float]] = []
    for photo in reconstruction.images:
        found = photos.read_sibling(photo.name)
        if found is None:
            fail(str(folder / "images"), "every photo of the reconstruction", f"no {photo.name!r}")
        picture = decode_image(found.data, found.name)
        picture = _smaller(undistorted(picture, photo.camera), short_side)
        if images and picture.shape != images[0].shape:
            sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in (images[0], picture)]
            fail(found.name, f"{sizes[0]} pixels as {reconstruction.images[0].name}", sizes[1])
        if (len(images) + 1) * picture[..., 0].numel() > MAX_PIXELS:
            fail(found.name, f"at most {MAX_PIXELS} pixels in all photos", "more")
        images.append(picture)
        intrinsics.append(_in_ndc(photo.camera))
    numbers = torch.tensor(intrinsics)
    flip = torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64)  # x to the left and y up, for row vectors
    rotations = torch.stack([torch.from_numpy(photo.rotation).T for photo in reconstruction.images]) * flip
    translations = torch.stack([torch.from_numpy(photo.translation) for photo in reconstruction.images]) * flip
    cameras = PerspectiveCameras(numbers[:, :2], numbers[:, 2:], rotations.float(), translations.float())
    points = torch.from_numpy(reconstruction.points).float()
    colors = torch.from_numpy(reconstruction.colors).float() / 255
    cloud = Pointclouds([points], features=[colors]) if len(points) else None
    return Capture(torch.stack(images), cameras, cloud, tuple(photo.name for photo in reconstruction.images))


def undistorted(image: torch.Tensor, camera: ColmapCamera) -> torch.Tensor:
    """A photo (H, W, C) as a lens without distortion would have taken it; what it does not show repeats its border."""
    if not any((*camera.radial, *camera.tangential)):
        return image
    grid = _sampling_grid(camera, image.shape[0], image.shape[1])
    moved = F.grid_sample(image.movedim(2, 0)[None], grid, padding_mode="border", align_corners=False)
    return moved[0].movedim(0, 2)


@functools.lru_cache(maxsize=1)
def _sampling_grid(camera: ColmapCamera, height: int, width: int) -> torch.Tensor:
    """(1, H, W, 2) where a lens shows what one without distortion shows at each pixel, for ``grid_sample``."""
    size = torch.tensor([width, height], dtype=torch.float64)
    scale = size / torch.tensor([camera.width, camera.height])  # the file may have been scaled since
    focal, centre = (torch.tensor(v, dtype=torch.float64) * scale for v in (camera.focal, camera.centre))
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) + 0.5 for n in (height, width)), indexing="ij")
    u = (torch.stack([x, y], -1) - centre) / focal
    squares = u.square()
    r = squares.sum(-1, keepdim=True)
    (k1, k2), (p1, p2) = camera.radial, camera.tangential
    tangential = 2 * u.prod(-1, keepdim=True) * torch.tensor([p1, p2]) + torch.tensor([p2, p1]) * (r + 2 * squares)
    place = (u * (1 + k1 * r + k2 * r * r) + tangential) * focal + centre
    return (2 * place / size - 1).float()[None]


def _reconstruction_in(folder: Path) -> Path | None:
    """The folder below this one, or itself, that has the files of a reconstruction."""
    folders = [folder / name for name in ("sparse/0", "sparse", "colmap/sparse/0", ".")]
    return next((f for f in folders if any((f / f"cameras.{end}").is_file() for end in ("bin", "txt"))), None)


def _smaller(image: torch.Tensor, short_side: int | None) -> torch.Tensor:
    short = min(image.shape[:2])
    if short_side is None or short_side >= short:
        return image
    height, width = (max(round(short_side * n / short), 1) for n in image.shape[:2])
    return F.interpolate(image.movedim(2, 0)[None], (height, width), mode="area")[0].movedim(0, 2).contiguous()


def _in_ndc(camera: ColmapCamera) -> list[float]:
    """Focal lengths and principal point, x and y each, in NDC."""
    half = min(camera.width, camera.height) / 2
    (fx, fy), (cx, cy) = camera.focal, camera.centre
    return [fx / half, fy / half, (camera.width / 2 - cx) / half, (camera.height / 2 - cy) / half]
