"""Scenes from files, and from what fits have found."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tirender import datasets
from tirender.checks import fail
from tirender.fit import load_checkpoint
from tirender.fit_kinds import KINDS
from tirender.io import IO, load_gaussians, load_volume
from tirender.io.display import display_mesh
from tirender.io.file_mesh import FileMesh
from tirender.io.gaussians_io import holds_gaussians
from tirender.io.npz_io import array_names
from tirender.io.reading import KNOWN_SUFFIXES, read_mesh_file
from tirender.scenes.base import Scene
from tirender.scenes.cloud import CloudScene
from tirender.scenes.field import FieldScene
from tirender.scenes.gaussians import GaussianScene
from tirender.scenes.mesh import MeshScene
from tirender.scenes.volume import VolumeScene
from tirender.structures import Gaussians, Meshes, Pointclouds, Volumes

if TYPE_CHECKING:
    from tirender.fit_kinds.base import Fitted

CHECKPOINT = ".pt"
GAUSSIANS = (".ply", ".splat")
CLOUD_SUFFIXES = (".ply", ".npz", ".obj", ".off")


def load_scene(
    path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    io: IO | None = None,
    allow_parent: bool = False,
) -> Scene:
    """Load the scene in a file.

    Args:
        path: a mesh or a point cloud in a registered format (a .ply, .obj or .off without faces is a cloud), Gaussians
            (.splat, or a .ply with their properties), a volume (.npz with an array ``densities``), the
            ``checkpoint.pt`` of ``tirender fit``, or a folder with one; or a short name, see
            :func:`tirender.datasets.path_of`.
        device: of the scene.
        io: a registry of formats of your own; by default the formats of tirender, with all that they say of materials.
        allow_parent: whether materials and images may lie in the folder above the file's.
    Raises:
        ValueError: another kind of file, or a damaged one; the message names it.
        OSError: the file cannot be opened.
    """
    is_default = io is None
    io = IO() if io is None else io
    path = datasets.path_of(path)
    if path.is_dir() and (path / "checkpoint.pt").is_file():
        path = path / "checkpoint.pt"
    ending = path.suffix.lower()
    if ending == CHECKPOINT:
        return _load_fit(path, device)
    if ending == ".npz" and "densities" in array_names(path):
        return make_scene(load_volume(path, device), str(path))
    if ending in GAUSSIANS and holds_gaussians(path):
        return make_scene(load_gaussians(path, device), str(path))
    if is_default and ending in KNOWN_SUFFIXES:
        return _scene_of(read_mesh_file(path, allow_parent=allow_parent, center_far=True), device)
    structure = io.read(path, device)
    if structure is None:
        endings, names = ", ".join([*io.known_suffixes, ".splat", CHECKPOINT]), ", ".join(datasets.SHORT_NAMES)
        fail("FILE", f"one that ends in {endings}, or one of {names}", repr(str(path)))
    return make_scene(structure, str(path))


def _scene_of(mesh: FileMesh, device: torch.device | str) -> Scene:
    """The scene of what a file says: of its faces, or of its points where it has none."""
    origin = mesh.origin.tolist()
    if len(mesh.faces) or not mesh.name.lower().endswith(CLOUD_SUFFIXES):
        return MeshScene(display_mesh(mesh, device), mesh.name, origin)
    points, rgba = torch.from_numpy(mesh.verts.astype(np.float32)), mesh.verts_rgba
    if rgba is not None and (rgba[:, 3] < 1.0).any():
        warnings.warn(f"{mesh.name}: transparency of points is not shown", stacklevel=3)
    colors = None if rgba is None else [torch.from_numpy(rgba[:, :3].copy())]
    return CloudScene(Pointclouds([points], features=colors).to(device), mesh.name, origin=origin)


def make_scene(thing: Any, name: str = "scene") -> Scene:
    """The scene of a batch of one mesh, cloud or volume, or of Gaussians.

    Args:
        thing: ``Meshes``, ``Pointclouds``, ``Volumes`` or ``Gaussians``.
        name: for messages.
    Raises:
        ValueError: something else, or nothing that can be seen.
    """
    if isinstance(thing, Meshes):
        return MeshScene(thing, name)
    if isinstance(thing, Pointclouds):
        return CloudScene(thing, name)
    if isinstance(thing, Volumes):
        return VolumeScene(thing, name)
    if isinstance(thing, Gaussians):
        return GaussianScene(thing, name)
    return fail(name, "Meshes, Pointclouds, Volumes or Gaussians", type(thing).__name__)


def fitted_scene(fitted: Fitted, config: Any, place: bool = True) -> Scene:
    """The scene of a fit's result; volumes and fields stay where they are.

    Args:
        fitted: a mesh, a volume, Gaussians, or a radiance field.
        config: the fit's settings.
        place: whether to move and scale a mesh or Gaussians.
    """
    if isinstance(fitted, Meshes):
        return MeshScene(fitted, place=place)
    if isinstance(fitted, Gaussians):
        return GaussianScene(fitted, place=place)
    if isinstance(fitted, Volumes):
        return VolumeScene(fitted, step=config.sample_distance, place=False)
    return FieldScene(fitted, config.extent, config.sample_distance)


def _load_fit(path: Path, device: torch.device | str) -> Scene:
    """The scene in a checkpoint of ``tirender fit``."""
    state = load_checkpoint(path, device)
    if state is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    settings, parameters = state.get("settings"), state.get("module")
    if not isinstance(settings, dict) or not isinstance(parameters, dict) or settings.get("kind") not in [*KINDS]:
        fail(str(path), "a checkpoint of tirender fit", "another one")
    try:
        return fitted_scene(*KINDS[settings["kind"]].restore(settings, parameters, device))
    except Exception as error:  # torch raises all kinds of errors for parameters of other models
        return fail(str(path), "a checkpoint of tirender fit", " ".join(str(error).split()))
