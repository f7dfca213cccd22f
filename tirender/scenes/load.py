"""Scenes from files."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch

from tirender import datasets
from tirender.checks import fail
from tirender.fields import VolumeModel
from tirender.fit import DeformedMesh, TextureMap, VertexColors, load_checkpoint
from tirender.fit.nerf import NerfConfig
from tirender.io import IO, load_volume
from tirender.io.npz_io import array_names
from tirender.scenes.base import Scene
from tirender.scenes.cloud import CloudScene
from tirender.scenes.field import FieldScene
from tirender.scenes.mesh import MeshScene
from tirender.scenes.volume import VolumeScene
from tirender.structures import Meshes, Pointclouds, Volumes
from tirender.utils import ico_sphere

ENDINGS = (".obj", ".off", ".glb", ".gltf", ".ply", ".npz", ".pt")


def load_scene(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Scene:
    """The scene in a file.

    Args:
        path: a mesh (.obj, .off, .glb, .gltf, .ply with faces), a cloud (.ply without, .npz with an array ``verts``), a
            volume (.npz with an array ``densities``), the ``checkpoint.pt`` of ``tirender fit``, or a folder with one;
            or a short name, see :func:`tirender.datasets.path_of`.
        device: where the scene goes.
    Raises:
        ValueError: another kind of file, or a damaged one; the message names it.
        OSError: the file cannot be opened.
    """
    path = datasets.path_of(path)
    if path.is_dir() and (path / "checkpoint.pt").is_file():
        path = path / "checkpoint.pt"
    kind, name = path.suffix.lower(), str(path)
    if kind not in ENDINGS:
        fail("FILE", f"one that ends in {', '.join(ENDINGS)}, or one of {', '.join(datasets.SHORT_NAMES)}", repr(name))
    if kind == ".pt":
        return _load_fit(path, device)
    if kind == ".npz" and "densities" in array_names(path):
        return make_scene(load_volume(path, device), name)
    if kind == ".npz":
        return make_scene(IO().load_pointcloud(path, device), name)
    mesh = IO().load_mesh(path, device=device)
    is_cloud = kind == ".ply" and mesh.isempty()
    return make_scene(IO().load_pointcloud(path, device) if is_cloud else mesh, name)


def make_scene(thing: Any, name: str = "scene") -> Scene:
    """The scene of a batch of one mesh, cloud or volume.

    Args:
        thing: ``Meshes``, ``Pointclouds`` or ``Volumes``.
        name: what messages call it.
    Raises:
        ValueError: something else, or nothing that can be seen.
    """
    if isinstance(thing, Meshes):
        return MeshScene(thing, name)
    if isinstance(thing, Pointclouds):
        return CloudScene(thing, name)
    if isinstance(thing, Volumes):
        return VolumeScene(thing, name)
    return fail(name, "Meshes, Pointclouds or Volumes", type(thing).__name__)


def _load_fit(path: Path, device: torch.device | str) -> Scene:
    """What ``tirender fit`` saved."""
    state = load_checkpoint(path, device)
    if state is None:
        raise FileNotFoundError(2, "No such file or directory", str(path))
    settings, parameters = state.get("settings"), state.get("module")
    if not isinstance(settings, dict) or not isinstance(parameters, dict) or settings.get("kind") not in FITTED:
        fail(str(path), "a checkpoint of tirender fit", "another one")
    try:
        return FITTED[settings["kind"]](settings, parameters, device)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        return fail(str(path), "a checkpoint of tirender fit", " ".join(str(error).split()))


def _fitted_mesh(settings: dict[str, Any], parameters: dict[str, torch.Tensor], device: torch.device | str) -> Scene:
    source = ico_sphere(settings["level"], device)
    textures: torch.nn.Module | None = None
    if settings.get("texture") == "vertex":
        textures = VertexColors(source)
    elif settings.get("texture") == "uv":
        textures = TextureMap(source, parameters["textures.levels.0"].shape[2])
    module = DeformedMesh(source, textures)
    module.load_state_dict(parameters)
    return MeshScene(module().detach())


def _fitted_volume(settings: dict[str, Any], parameters: dict[str, torch.Tensor], device: torch.device | str) -> Scene:
    size = parameters["log_densities"].shape[1:]
    model = VolumeModel(fail, size, settings["extent"] / size[0])
    model.load_state_dict(parameters)
    return VolumeScene(model.to(device).volumes().detach(), step=_step(settings), place=False)


def _fitted_field(settings: dict[str, Any], parameters: dict[str, torch.Tensor], device: torch.device | str) -> Scene:
    known = {field.name for field in dataclasses.fields(NerfConfig)}
    config = NerfConfig(**{name: value for name, value in settings.items() if name in known})
    field = config.make_field()
    field.load_state_dict({k.removeprefix("field."): v for k, v in parameters.items() if k.startswith("field.")})
    return FieldScene(field.to(device), settings["extent"], _step(settings))


def _step(settings: dict[str, Any]) -> float:
    """The distance between the samples along a ray."""
    near, far = settings["min_depth"], settings["max_depth"]
    depth = settings["extent"] if near is None or far is None else far - near
    return depth / max(settings["n_pts_per_ray"] - 1, 1)


FITTED = {
    "mesh": _fitted_mesh,
    "silhouette": _fitted_mesh,
    "images": _fitted_mesh,
    "volume": _fitted_volume,
    "nerf": _fitted_field,
}
