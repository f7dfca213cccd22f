"""Scenes from what fits have found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tirender.checks import fail
from tirender.fit_kinds import KINDS
from tirender.io.files import not_found
from tirender.io.orientation import Orientation, oriented
from tirender.scenes.base import Scene
from tirender.scenes.cameras import SceneCamera, from_views
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
    restored = restore_fit(path, device)
    try:
        scene = fitted_scene(restored.fitted, restored.config, orientation(restored.orientation))
        scene.cameras = tuple(c.moved(scene.centre, scene.scale) for c in restored.cameras)
        scene.backdrop = restored.backdrop
        _put_back(scene, restored.centre, restored.scale)
    except Exception as error:  # of parameters that are no numbers
        return fail(str(path), "a checkpoint of tirender fit", " ".join(str(error).split()))
    return scene


@dataclass(frozen=True)
class RestoredFit:
    """What a checkpoint of ``tirender fit`` holds, or something else that is exported in the same way.

    Attributes:
        fitted: a mesh, a volume, Gaussians, or a radiance field.
        config: the fit's settings, or None.
        orientation: which way up it stands.
        cameras: of the views that it was fitted to.
        centre, scale: ``place * scale + centre`` is a place in the file that was fitted to.
        backdrop: see ``Scene``.
    """

    fitted: Fitted
    config: Any = None
    orientation: Orientation = Orientation()
    cameras: tuple[SceneCamera, ...] = ()
    centre: Sequence[float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    backdrop: tuple[float, float, float] | None = None


def restore_fit(path: Path, device: torch.device | str) -> RestoredFit:
    """What is in a checkpoint; raises as :func:`load_fit` does."""
    from tirender.fit.checkpoint import load_checkpoint

    state = load_checkpoint(path, device)
    if state is None:
        raise not_found(path)
    settings, parameters = state.get("settings"), state.get("module")
    if not isinstance(settings, dict) or not isinstance(parameters, dict) or settings.get("kind") not in [*KINDS]:
        fail(str(path), "a checkpoint of tirender fit", "another one")
    try:
        fitted, config = KINDS[settings["kind"]].restore(settings, parameters, device)
        return restored_fit(fitted, config, state.get("about", {}), parameters)  # earlier versions wrote no "about"
    except Exception as error:  # torch raises all kinds of errors for parameters of other models
        return fail(str(path), "a checkpoint of tirender fit", " ".join(str(error).split()))


def restored_fit(fitted: Fitted, config: Any, about: Mapping[str, Any], parameters: Mapping[str, Any]) -> RestoredFit:
    """What is fitted, with what its target says of itself.

    Args:
        fitted, config: see :class:`RestoredFit`.
        about: see ``Target.about``.
        parameters: of the fitted module, which may have refined the cameras.
    """
    from tirender.fit.refinement import refined_record

    standing = oriented(about["up"], about["front"]) if "up" in about else Orientation()
    cameras = from_views(refined_record(about["cameras"], parameters)) if about.get("cameras") else ()
    centre, scale = (about["centre"], about["scale"]) if "scale" in about else ([0.0] * 3, 1.0)
    numbers = torch.tensor([*centre, scale], dtype=torch.float64)
    if numbers.shape != (4,) or not bool(numbers.isfinite().all()) or not 0 < numbers[3] < math.inf:
        fail("about", "a centre and a scale", numbers.tolist())
    backdrop = about.get("backdrop")
    if backdrop is not None:
        color = torch.tensor([*backdrop], dtype=torch.float64)
        if color.shape != (3,) or not bool(((color >= 0) & (color <= 1)).all()):
            fail("about", "a colour of three numbers in [0, 1]", backdrop)
        backdrop = tuple(color.tolist())
    return RestoredFit(fitted, config, standing, cameras, numbers[:3].tolist(), float(numbers[3]), backdrop)


def _put_back(scene: Scene, centre: Sequence[float], scale: float) -> None:
    """Let the scene's way back lead to the file that was fitted to, and not to the moved and scaled object."""
    scene.centre = scene.centre * scale + torch.tensor([*centre], dtype=torch.float64)
    scene.scale = scene.scale * scale
