"""Scenes from what fits have found."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tirender.checks import fail
from tirender.fit_kinds import KINDS
from tirender.io.files import not_found
from tirender.io.orientation import Orientation, oriented
from tirender.scenes.base import Scene
from tirender.scenes.cameras import from_views
from tirender.scenes.field import FieldScene
from tirender.scenes.gaussians import GaussianScene
from tirender.scenes.mesh import MeshScene
from tirender.scenes.volume import VolumeScene
from tirender.structures import Gaussians, Meshes, Volumes

if TYPE_CHECKING:
    from tirender.fit_kinds.base import Fitted

CHECKPOINT = ".pt"


def fitted_scene(fitted: Fitted, config: Any, orientation: Orientation | None = None, place: bool = True) -> Scene:
    """The scene of a fit's result; volumes and fields stay where they are.

    Args:
        fitted: a mesh, a volume, Gaussians, or a radiance field.
        config: the fit's settings.
        orientation: which way up it stands; +Y up by default.
        place: whether to move and scale a mesh or Gaussians.
    """
    if isinstance(fitted, Meshes):
        return MeshScene(fitted, orientation=orientation, place=place)
    if isinstance(fitted, Gaussians):
        return GaussianScene(fitted, orientation=orientation, place=place)
    if isinstance(fitted, Volumes):
        return VolumeScene(fitted, step=config.sample_distance, place=False, orientation=orientation)
    return FieldScene(fitted, config.extent, config.sample_distance, orientation)


def load_fit(path: Path, device: torch.device | str, orientation: Callable[[Orientation], Orientation]) -> Scene:
    """The scene in a checkpoint of ``tirender fit``, with the cameras of the views that it was fitted to.

    Args:
        path: of the checkpoint.
        device: of the scene.
        orientation: returns that of the scene, from what the checkpoint says.
    Raises:
        ValueError: another checkpoint, or a damaged one.
        OSError: it cannot be opened.
    """
    from tirender.fit.checkpoint import load_checkpoint
    from tirender.fit.refinement import refined_record

    state = load_checkpoint(path, device)
    if state is None:
        raise not_found(path)
    settings, parameters = state.get("settings"), state.get("module")
    if not isinstance(settings, dict) or not isinstance(parameters, dict) or settings.get("kind") not in [*KINDS]:
        fail(str(path), "a checkpoint of tirender fit", "another one")
    about = state.get("about", {})  # earlier versions wrote none
    try:
        standing = oriented(about["up"], about["front"]) if "up" in about else Orientation()
        fitted, config = KINDS[settings["kind"]].restore(settings, parameters, device)
        scene = fitted_scene(fitted, config, orientation(standing))
        if about.get("cameras"):
            found = from_views(refined_record(about["cameras"], parameters))
            scene.cameras = tuple(c.moved(scene.centre, scene.scale) for c in found)
        if "scale" in about:
            _put_back(scene, about["centre"], about["scale"])
    except Exception as error:  # torch raises all kinds of errors for parameters of other models
        return fail(str(path), "a checkpoint of tirender fit", " ".join(str(error).split()))
    return scene


def _put_back(scene: Scene, centre: Any, scale: Any) -> None:
    """Let the scene's way back lead to the file that was fitted to, and not to the moved and scaled object."""
    numbers = torch.tensor([*centre, scale], dtype=torch.float64)
    if numbers.shape != (4,) or not bool(numbers.isfinite().all()) or not 0 < numbers[3] < math.inf:
        fail("about", "a centre and a scale", numbers.tolist())
    scene.centre = scene.centre * numbers[3] + numbers[:3]
    scene.scale = scene.scale * float(numbers[3])
