"""Scenes from files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tirender import datasets
from tirender.checks import fail
from tirender.io import IO, load_gaussians, load_volume
from tirender.io.display import display_mesh
from tirender.io.file_mesh import FileMesh
from tirender.io.files import not_found
from tirender.io.gaussians_io import holds_gaussians, orientation_of_gaussians
from tirender.io.npz_io import array_names
from tirender.io.orientation import Orientation, orientation_of_format, oriented
from tirender.io.reading import KNOWN_SUFFIXES, read_mesh_file
from tirender.scenes.base import Scene
from tirender.scenes.cameras import from_file
from tirender.scenes.cloud import CloudScene
from tirender.scenes.fitted import CHECKPOINT, load_fit
from tirender.scenes.gaussians import GaussianScene
from tirender.scenes.mesh import MeshScene
from tirender.scenes.volume import VolumeScene
from tirender.structures import Gaussians, Meshes, Pointclouds, Volumes

GAUSSIANS = (".ply", ".splat")
CLOUD_SUFFIXES = (".ply", ".npz", ".obj", ".off", ".glb", ".gltf")


def load_scene(
    path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    io: IO | None = None,
    allow_parent: bool = False,
    up: str | Sequence[float] | None = None,
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
        up: the axis of the file that points up (x, y, z, -x, -y or -z), or a vector; None: what the file says, or its
            format has, see :func:`tirender.io.orientation.orientation_of_format` and, for Gaussians,
            :func:`tirender.io.gaussians_io.orientation_of_gaussians`.
    Raises:
        ValueError: another kind of file, or a damaged one; the message names it.
        OSError: the file cannot be opened.
    """
    is_default = io is None
    io = IO() if io is None else io
    known = datasets.orientation_of(path)
    path = datasets.path_of(path)
    if path.is_dir() and (path / "checkpoint.pt").is_file():
        path = path / "checkpoint.pt"
    if is_default and not path.exists():  # before its ending is looked at
        raise not_found(path)
    ending = path.suffix.lower()

    def orientation(of_file: Orientation) -> Orientation:
        standing = known or of_file
        return standing if up is None else oriented(up, standing.front)

    if ending == CHECKPOINT:
        return load_fit(path, device, orientation)
    if ending == ".npz" and "densities" in array_names(path):
        return make_scene(load_volume(path, device), str(path), orientation(Orientation()))
    if ending in GAUSSIANS and holds_gaussians(path):
        return make_scene(load_gaussians(path, device), str(path), orientation(orientation_of_gaussians(path)))
    if is_default and ending in KNOWN_SUFFIXES:
        mesh = read_mesh_file(path, allow_parent=allow_parent, center_far=True)
        return _scene_of(mesh, device, orientation(mesh.orientation))
    if path.is_dir() and is_default:
        kind = "a folder of photos; tirender fit fits to it" if any(path.glob("transforms*.json")) else "another folder"
        fail(str(path), "a file, or the folder of a fit, with checkpoint.pt", kind)
    structure = io.read(path, device)
    if structure is None:
        endings, names = ", ".join([*io.known_suffixes, ".splat", CHECKPOINT]), ", ".join(datasets.SHORT_NAMES)
        fail("FILE", f"one that ends in {endings}, or one of {names}", repr(str(path)))
    return make_scene(structure, str(path), orientation(orientation_of_format(ending)))


def _scene_of(mesh: FileMesh, device: torch.device | str, orientation: Orientation) -> Scene:
    """The scene of what a file says: of its faces, or of its points where it has none."""
    origin = mesh.origin.tolist()
    if mesh.lights:
        warnings.warn(f"{mesh.name}: its lights are not shown", stacklevel=3)
    if len(mesh.faces) or not mesh.name.lower().endswith(CLOUD_SUFFIXES):
        scene = MeshScene(display_mesh(mesh, device), mesh.name, origin, orientation)
        scene.cameras = from_file(mesh.cameras, scene.centre, scene.scale)
        return scene
    points, rgba = torch.from_numpy(mesh.verts.astype(np.float32)), mesh.verts_rgba
    if rgba is not None and (rgba[:, 3] < 1.0).any():
        warnings.warn(f"{mesh.name}: transparency of points is not shown", stacklevel=3)
    colors = None if rgba is None else [torch.from_numpy(rgba[:, :3].copy())]
    cloud = Pointclouds([points], features=colors).to(device)
    return CloudScene(cloud, mesh.name, origin=origin, orientation=orientation)


def make_scene(thing: Any, name: str = "scene", orientation: Orientation | None = None) -> Scene:
    """The scene of a batch of one mesh, cloud or volume, or of Gaussians.

    Args:
        thing: ``Meshes``, ``Pointclouds``, ``Volumes`` or ``Gaussians``.
        name: for messages.
        orientation: which way up it stands; +Y up by default.
    Raises:
        ValueError: something else, or nothing that can be seen.
    """
    if isinstance(thing, Meshes):
        return MeshScene(thing, name, orientation=orientation)
    if isinstance(thing, Pointclouds):
        return CloudScene(thing, name, orientation=orientation)
    if isinstance(thing, Volumes):
        return VolumeScene(thing, name, orientation=orientation)
    if isinstance(thing, Gaussians):
        return GaussianScene(thing, name, orientation=orientation)
    return fail(name, "Meshes, Pointclouds, Volumes or Gaussians", type(thing).__name__)
