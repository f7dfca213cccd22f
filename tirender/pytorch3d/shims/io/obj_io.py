"""What PyTorch3D's module of OBJ files imports, and its steps."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from tirender.io.files import read_source
from tirender.io.obj_io import Faces as _Faces
from tirender.io.obj_io import Properties as _Aux
from tirender.io.obj_io import _as_tuple, _parse
from tirender.pytorch3d.shims.common.datatypes import Device
from tirender.pytorch3d.shims.io.mtl_io import load_mtl, make_mesh_texture_atlas
from tirender.pytorch3d.shims.io.utils import PathOrStr, _check_faces_indices, _make_tensor, _open_file

__all__ = [
    "Device",
    "PathOrStr",
    "_Aux",
    "_Faces",
    "_check_faces_indices",
    "_format_faces_indices",
    "_load_obj",
    "_make_tensor",
    "_open_file",
    "load_mtl",
    "make_mesh_texture_atlas",
]


def _format_faces_indices(
    faces_indices: Any, max_index: int, device: Device, pad_value: int | None = None
) -> torch.Tensor:
    """Indices (F, 3) as files count them, from 1 on or from the end, as int64 from 0 on.

    Args:
        faces_indices: rows of three, or a flat list.
        max_index: how many things they index; others are a warning.
        device: of the result.
        pad_value: a value that stays, where a whole row has it.
    """
    indices = _make_tensor(faces_indices, 3, torch.int64, device)
    counted = torch.where(indices < 0, indices + max_index, indices - 1)
    if pad_value is not None:
        counted = torch.where((indices == pad_value).all(-1, keepdim=True), indices, counted)
    return _check_faces_indices(counted, max_index, pad_value)


def _load_obj(
    f_obj: Any,
    *,
    data_dir: str,
    load_textures: bool = True,
    create_texture_atlas: bool = False,
    texture_atlas_size: int = 4,
    texture_wrap: str | None = "repeat",
    path_manager: Any,
    device: Device = "cpu",
) -> tuple[torch.Tensor, _Faces, _Aux]:
    """As :func:`tirender.io.load_obj`, from a stream whose materials and images lie in the folder ``data_dir``."""
    source = dataclasses.replace(read_source(f_obj, path_manager), folder=str(data_dir))
    _, text, materials = _parse(source, load_textures)
    return _as_tuple(text, materials, create_texture_atlas, texture_atlas_size, texture_wrap, device)
