"""Where pictures of a scene are taken from: around it, or through the cameras that belong to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tirender.checks import fail
from tirender.renderer.cameras import CamerasBase
from tirender.scenes.base import Scene
from tirender.scenes.cameras import SceneCamera, path_through
from tirender.vis.orbit import OrbitCamera

SPREAD = 0.15  # a shadow is so much wider than what casts it
SIDE = 512  # pixels along the short side of a picture of no other size


@dataclass(frozen=True)
class Shot:
    """A picture to take.

    Attributes:
        camera: of the picture.
        image_size: height and width.
    """

    camera: OrbitCamera | SceneCamera
    image_size: tuple[int, int]

    def cameras(self, device: torch.device | str) -> CamerasBase:
        """The camera as a batch of one."""
        if isinstance(self.camera, OrbitCamera):
            return self.camera.cameras(device)
        return self.camera.camera(self.image_size, device)


def orbit_shot(
    scene: Scene,
    image_size: tuple[int, int] | None = None,
    *,
    azimuth: float,
    elevation: float,
    fov: float,
    zoom: float = 1.0,
    look_at: Sequence[float] | None = None,
    distance: float | None = None,
    shadow: bool = False,
) -> Shot:
    """A picture from outside.

    Args:
        scene: to look at.
        image_size: height and width.
        azimuth, elevation, fov: in degrees, see ``OrbitCamera``.
        zoom: enlarges the middle of the picture by this factor.
        look_at: a place in the coordinates of the scene's file; None: what there is to see fills the picture.
        distance: from there, or from the scene's middle, in radii of the scene; None: the scene just fits.
        shadow: whether its shadow on the ground is to fit, too.
    """
    image_size = image_size or (SIDE, SIDE)
    camera = OrbitCamera(azimuth=azimuth, elevation=elevation, fov=fov, orientation=scene.orientation)
    if look_at is not None:
        camera.target = place_in(scene, look_at)
    if distance is None:
        points = torch.cat([scene.landmarks, _shadowed(scene)]) if shadow else scene.landmarks
        camera.hold(points, image_size, keep_target=look_at is not None)
    else:
        camera.distance = distance
    camera.fov = 2 * math.degrees(math.atan(math.tan(math.radians(fov) / 2) / zoom))
    return Shot(camera, image_size)


def turntable_shots(scene: Scene, n: int, image_size: tuple[int, int] | None = None, **settings: Any) -> list[Shot]:
    """Pictures from all around, from one distance; the arguments are those of :func:`orbit_shot`."""
    if settings.get("look_at") is None:
        settings["look_at"] = scene.centre.tolist()
    azimuth = settings.pop("azimuth")
    shots = [orbit_shot(scene, image_size, azimuth=azimuth + i * 360 / n, **settings) for i in range(n)]
    furthest = max(shot.camera.distance for shot in shots if isinstance(shot.camera, OrbitCamera))
    for shot in shots:
        if isinstance(shot.camera, OrbitCamera):
            shot.camera.distance = furthest
    return shots


def camera_shot(scene: Scene, name: str, image_size: tuple[int, int] | None = None) -> Shot:
    """The picture that one of the scene's cameras takes.

    Args:
        scene: with cameras.
        name: of the camera, or its index.
        image_size: height and width; None, or a square one: the shape that the camera has, with this short side.
    Raises:
        ValueError: the scene has no such camera.
    """
    return _through(scene.cameras[camera_index(scene, name)], image_size)


def camera_index(scene: Scene, name: str) -> int:
    """The index of one of the scene's cameras, which is given by its name or index.

    Raises:
        ValueError: the scene has no such camera.
    """
    by_name = {camera.name: i for i, camera in enumerate(scene.cameras)}
    indices = by_name | {str(i): i for i in range(len(scene.cameras))}
    if name not in indices:
        known = f"0 to {len(scene.cameras) - 1}" if scene.cameras else "a file with cameras, or a fit to views"
        fail("--camera", known, name)
    return indices[name]


def path_shots(scene: Scene, n: int, image_size: tuple[int, int] | None = None) -> list[Shot]:
    """``n`` pictures along a path through the scene's cameras.

    Raises:
        ValueError: the scene has fewer than two cameras.
    """
    if len(scene.cameras) < 2:
        fail("--camera-path", "a file with at least 2 cameras, or a fit to views", len(scene.cameras))
    shots = [_through(camera, image_size) for camera in path_through(scene.cameras, n)]
    return [Shot(shot.camera, shots[0].image_size) for shot in shots]


def place_in(scene: Scene, place: Sequence[float]) -> torch.Tensor:
    """A place (3,) in the coordinates of the scene's file, in those of the scene."""
    return ((torch.tensor([*place], dtype=torch.float64) - scene.centre.cpu()) / scene.scale).float()


def _shadowed(scene: Scene) -> torch.Tensor:
    """Points (P, 3) around the darkest part of the scene's shadow on the ground."""
    points = scene.landmarks
    up = points.new_tensor(scene.orientation.up)
    heights = (points @ up)[:, None]
    below = points + (heights.amin() - heights) * up
    return below + SPREAD * (below - (below.amin(0) + below.amax(0)) / 2)


def _through(camera: SceneCamera, image_size: tuple[int, int] | None) -> Shot:
    height, width = image_size or (SIDE, SIDE)
    if height == width and camera.aspect:
        aspect = min(max(camera.aspect, 1 / 16), 16)
        height, width = round(height / min(aspect, 1)), round(width * max(aspect, 1))
    return Shot(camera, (height, width))
