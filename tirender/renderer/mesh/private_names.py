"""PyTorch3D's private attributes of textures, which published code reads and assigns."""

from __future__ import annotations

from typing import Any

import torch

from tirender.checks import fail
from tirender.renderer.mesh.textures_base import PerMesh, TexturesBase
from tirender.structures.private_names import attribute


def _as_list(field: str) -> Any:
    """The attribute for a field as a list."""
    return attribute(lambda textures: textures._list(field), lambda textures, value: _assign(textures, field, value))


def _as_padded(field: str) -> Any:
    """The attribute for a field as a padded tensor; what is written into it is heeded, unless the field has gradients.

    Given as a list of one size without gradients, the field is stored padded from then on.
    """

    def read(textures: TexturesBase) -> torch.Tensor:
        values = getattr(textures, field)
        is_list = isinstance(values, list) and len({t.shape for t in values}) == 1
        if is_list and not any(t.requires_grad for t in values):
            setattr(textures, field, torch.stack(values))
        return getattr(textures, f"{field[1:]}_padded")()

    return attribute(read, lambda textures, value: _assign(textures, field, value))


def _assign(textures: TexturesBase, field: str, value: PerMesh | None) -> None:
    """Replace a field; None, by which PyTorch3D forgets what it has derived, changes nothing."""
    if value is None:
        return
    if len(value) != len(textures):
        fail(field[1:], f"{len(textures)} meshes", len(value))
    fields = {name: getattr(textures, name) for name in textures._fields} | {field: value}
    setattr(textures, field, getattr(textures._like(*fields.values()), field))


class PrivateNamesOfVertexTextures:
    """The attributes of ``TexturesVertex``."""

    _verts_features_list = _as_list("_verts_features")
    _verts_features_padded = _as_padded("_verts_features")


class PrivateNamesOfAtlases:
    """The attributes of ``TexturesAtlas``."""

    _atlas_list = _as_list("_atlas")
    _atlas_padded = _as_padded("_atlas")


class PrivateNamesOfUVTextures:
    """The attributes of ``TexturesUV``."""

    _maps_list = _as_list("_maps")
    _maps_padded = _as_padded("_maps")
    _faces_uvs_list = _as_list("_faces_uvs")
    _faces_uvs_padded = _as_padded("_faces_uvs")
    _verts_uvs_list = _as_list("_verts_uvs")
    _verts_uvs_padded = _as_padded("_verts_uvs")
