"""Cameras that belong to a scene: those that its file lists, and those that took the views of a fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tirender.checks import FLOATS, check_tensor, fail
from tirender.io.file_mesh import FileCamera
from tirender.renderer import OrthographicCameras, PerspectiveCameras
from tirender.renderer.cameras import CamerasBase

FLIP = (-1.0, 1.0, -1.0)  # view space has +X left and looks along +Z, cameras of files +X right and -Z
FRUSTUM_DEPTH = 0.08  # of the cameras' distance from the scene's middle
MAX_CAMERAS = 100_000
"""The largest number of cameras that are read from a checkpoint."""


@dataclass(frozen=True)
class SceneCamera:
    """A camera in the coordinates of its scene.

    Attributes:
        name: as in the file.
        R, T: (3, 3) and (3,), see ``CamerasBase``.
        focal: focal lengths along x and y, in half heights of the picture; of an orthographic one, half heights of the
            picture for one unit of the scene.
        principal: where its axis meets the picture, to the left and up from the middle, in half heights.
        aspect: width over height of its pictures; None for any.
        is_orthographic: whether its rays are parallel.
    """

    name: str
    R: torch.Tensor
    T: torch.Tensor
    focal: tuple[float, float]
    principal: tuple[float, float] = (0.0, 0.0)
    aspect: float | None = None
    is_orthographic: bool = False

    def camera(self, image_size: tuple[int, int], device: torch.device | str = "cpu") -> CamerasBase:
        """It, for pictures of this height and width, which show its whole height."""
        to_ndc = image_size[0] / min(image_size)
        kind = OrthographicCameras if self.is_orthographic else PerspectiveCameras
        return kind(
            focal_length=torch.tensor([self.focal]) * to_ndc,
            principal_point=torch.tensor([self.principal]) * to_ndc,
            R=self.R[None],
            T=self.T[None],
            device=device,
        )

    def moved(self, centre: torch.Tensor, scale: float) -> SceneCamera:
        """It, in a scene that was moved and scaled, so that ``new * scale + centre`` is the old place."""
        T = ((centre.double() @ self.R.double()) + self.T.double()) / scale
        focal = (self.focal[0] * scale, self.focal[1] * scale) if self.is_orthographic else self.focal
        return replace(self, T=T.float(), focal=focal)


def from_file(cameras: Sequence[FileCamera], centre: torch.Tensor, scale: float) -> tuple[SceneCamera, ...]:
    """The cameras of a file whose scene was moved and scaled; those that see nothing are left out.

    Args:
        cameras: as the file lists them.
        centre, scale: of the scene, see ``Scene``.
    """
    found = []
    for i, camera in enumerate(cameras):
        matrix = torch.from_numpy(camera.matrix).double()
        axes = F.normalize(matrix[:3, :3], dim=0)
        R = axes * axes.new_tensor(FLIP)
        eye = (matrix[:3, 3] - centre) / scale
        if camera.kind == "orthographic":
            focal, is_flat = scale / max(camera.half_height or 1.0, 1e-12), True
        else:
            focal, is_flat = 1 / math.tan((camera.fov_y or 1.0) / 2), False
        if not (bool(R.isfinite().all()) and bool(eye.isfinite().all()) and 0 < focal < math.inf):
            continue
        aspect = camera.aspect
        if is_flat and camera.half_width and camera.half_height:
            aspect = camera.half_width / camera.half_height
        name = camera.name or str(i)
        found.append(SceneCamera(name, R.float(), -(eye @ R).float(), (focal, focal), (0.0, 0.0), aspect, is_flat))
    return tuple(found)


def to_file(camera: SceneCamera, centre: np.ndarray, scale: float) -> FileCamera:
    """A camera as files have it, for a scene that is moved and scaled back; see :func:`from_file`.

    Args:
        camera: whose axis meets the middle of its pictures.
        centre, scale: of the scene, see ``Scene``.
    """
    R, T = camera.R.double(), camera.T.double()
    matrix = np.eye(4)
    matrix[:3, :3] = (R * R.new_tensor(FLIP)).numpy()
    matrix[:3, 3] = (-(R @ T)).numpy() * scale + centre
    near = 0.01 * scale
    if camera.is_orthographic:
        half = scale / camera.focal[1]
        width = half * (camera.aspect or 1.0)
        return FileCamera(camera.name, "orthographic", matrix, None, camera.aspect, width, half, near, 100.0 * scale)
    fov = 2 * math.atan(1 / camera.focal[1])
    return FileCamera(camera.name, "perspective", matrix, fov, camera.aspect, near=near)


def from_views(saved: Any) -> tuple[SceneCamera, ...]:
    """The cameras of a fit's views, from what its checkpoint says; see ``fit.views.camera_record``.

    Raises:
        ValueError: it says something else.
    """
    if not isinstance(saved, dict):
        fail("cameras", "a dict", type(saved).__name__)
    size = saved.get("image_size")
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)):
        fail("cameras, image_size", "height and width", size)
    height, width = size
    R = _rows(saved, "R", (3, 3))
    if len(R) > MAX_CAMERAS:
        fail("cameras", f"at most {MAX_CAMERAS}", len(R))
    to_half_heights = min(height, width) / height
    T, focal, principal = (_rows(saved, name, (n,), len(R)) for name, n in (("T", 3), ("focal", 2), ("principal", 2)))
    focal, principal = focal * to_half_heights, principal * to_half_heights
    return tuple(
        SceneCamera(str(i), R[i], T[i], tuple(focal[i].tolist()), tuple(principal[i].tolist()), width / height)
        for i in range(len(R))
    )


def frusta_of(cameras: Sequence[SceneCamera]) -> list[list[list[float]]]:
    """(N, 5, 3): the eye of each camera, and the corners of its picture at a depth, in the scene."""
    if not cameras:
        return []
    eyes = torch.stack([-camera.R @ camera.T for camera in cameras])
    depth = FRUSTUM_DEPTH * max(float(eyes.norm(dim=1).median()), 1.0)
    frusta = []
    for camera, eye in zip(cameras, eyes, strict=True):
        aspect = camera.aspect or 1.0
        corners = torch.tensor([[aspect, 1.0], [-aspect, 1.0], [-aspect, -1.0], [aspect, -1.0]])
        xy = (corners - torch.tensor(camera.principal)) / torch.tensor(camera.focal)
        if not camera.is_orthographic:
            xy = depth * xy
        in_view = F.pad(xy, (0, 1), value=depth)
        frusta.append(torch.cat([eye[None], (in_view - camera.T) @ camera.R.T]).tolist())
    return frusta


def _rows(saved: dict[Any, Any], name: str, shape: tuple[int, ...], n: int | None = None) -> torch.Tensor:
    """An entry of n rows; n=None: any number."""
    tensor = check_tensor(f"cameras, {name}", saved.get(name), ("N" if n is None else n, *shape), FLOATS)
    if not bool(tensor.isfinite().all()):
        fail(f"cameras, {name}", "finite numbers", "others")
    return tensor.cpu().float()


def path_through(cameras: Sequence[SceneCamera], n: int) -> list[SceneCamera]:
    """``n`` cameras along a smooth path through others, in their order, from the first to the last.

    Places lie on a Catmull-Rom spline through theirs. Rotations are turned evenly between neighbours.

    Args:
        cameras: at least two.
        n: at least one.
    Raises:
        ValueError: fewer cameras.
    """
    if len(cameras) < 2:
        fail("cameras", "at least 2, for a path", len(cameras))
    eyes = torch.stack([-camera.R @ camera.T for camera in cameras])
    made = []
    for place in torch.linspace(0, len(cameras) - 1, n).tolist():
        i = min(int(place), len(cameras) - 2)
        t, here, there = place - i, cameras[i], cameras[i + 1]
        R = _between(here.R, there.R, t)
        eye = _spline(eyes[max(i - 1, 0)], eyes[i], eyes[i + 1], eyes[min(i + 2, len(eyes) - 1)], t)
        focal, principal = (
            tuple(a + t * (b - a) for a, b in zip(getattr(here, name), getattr(there, name)))
            for name in ("focal", "principal")
        )
        made.append(SceneCamera(f"{place:.2f}", R, -(eye @ R), focal, principal, here.aspect, here.is_orthographic))  # type: ignore[arg-type]
    return made


def _spline(before: torch.Tensor, a: torch.Tensor, b: torch.Tensor, after: torch.Tensor, t: float) -> torch.Tensor:
    """The point at t in [0, 1] from a to b."""
    m, n = (b - before) / 2, (after - a) / 2
    return (2 * t**3 - 3 * t**2 + 1) * a + (t**3 - 2 * t**2 + t) * m + (3 * t**2 - 2 * t**3) * b + (t**3 - t**2) * n


def _between(a: torch.Tensor, b: torch.Tensor, t: float) -> torch.Tensor:
    """The rotation at t in [0, 1] on the shortest way from a to b."""
    from tirender.transforms import axis_angle_to_matrix, matrix_to_axis_angle

    return a @ axis_angle_to_matrix(t * matrix_to_axis_angle(a.T @ b))
