"""Checks of what ``Meshes`` is constructed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tirender.checks import INTEGERS, check_tensor, fail
from tirender.structures.topology import Topology

PartsOrPadded = Sequence[torch.Tensor] | torch.Tensor


def pack_parts(
    name: str, value: PartsOrPadded, dtype: torch.dtype | tuple[torch.dtype, ...]
) -> tuple[torch.Tensor, list[int]]:
    """Check a list of (n_i, 3) tensors or a (N, n, 3) tensor; return it packed with its n_i."""
    if isinstance(value, torch.Tensor):
        check_tensor(name, value, ("N", "n", 3), dtype)
        return value.reshape(-1, 3), [value.shape[1]] * len(value)
    if not isinstance(value, (list, tuple)):
        fail(name, "a list of tensors or a padded tensor", type(value).__name__)
    parts = [_empty_as_rows(part) for part in value]
    for i, part in enumerate(parts):
        check_tensor(f"{name}[{i}]", part, ("n", 3))
    like = next((part for part in parts if len(part)), parts[0] if parts else torch.zeros(0, 3))
    parts = [part if len(part) else like.new_zeros(0, 3) for part in parts]
    for i, part in enumerate(parts):
        check_tensor(f"{name}[{i}]", part, dtype=dtype, like=like)
    return concatenate(parts, like), [len(part) for part in parts]


def check_faces(faces: PartsOrPadded, verts: torch.Tensor, num_verts: list[int]) -> Topology:
    """Check faces against the packed vertices; return their topology."""
    if isinstance(faces, (list, tuple)):  # integer dtypes may differ; an empty tensor may be of any
        faces = [
            f.long() if isinstance(f, torch.Tensor) and (f.dtype in INTEGERS or not f.numel()) else f for f in faces
        ]
    packed, num_faces = pack_parts("faces", faces, INTEGERS)
    packed = packed.to(verts.device if not len(packed) else packed.device, torch.int64, copy=True)
    if len(num_faces) != len(num_verts):
        fail("faces", f"{len(num_verts)} meshes as in verts", len(num_faces))
    if packed.device != verts.device:
        fail("faces", f"a tensor on {verts.device} as verts", packed.device)
    if len(packed) and int(packed.min()) < 0:
        packed, num_faces = _without_padding(packed, num_faces, must_end=isinstance(faces, torch.Tensor))
    topology = Topology(packed, num_verts, num_faces)
    limits = topology.num_verts_per_mesh.index_select(0, topology.face_to_mesh)[:, None]
    outside = (packed < 0) | (packed >= limits)
    if bool(outside.any()):
        row, corner = (int(i) for i in outside.nonzero()[0])
        mesh = int(topology.face_to_mesh[row])
        face = row - int(topology.first_face[mesh])
        expected = f"vertex indices from 0 to {num_verts[mesh] - 1}" if num_verts[mesh] else "no faces without vertices"
        fail(f"faces[{mesh}]", expected, f"{int(packed[row, corner])} in face {face}")
    return topology


def _without_padding(faces: torch.Tensor, num_faces: list[int], must_end: bool) -> tuple[torch.Tensor, list[int]]:
    """Drop the rows of -1."""
    kept = (faces != -1).any(dim=1)
    per_mesh = kept.split(num_faces)
    if must_end:
        for i, mesh in enumerate(per_mesh):
            if bool((mesh[1:] & ~mesh[:-1]).any()):
                fail(f"faces[{i}]", "padding (-1) only at the end", "a face after it")
    return faces[kept], [int(mesh.sum()) for mesh in per_mesh]


def check_selection(name: str, selection: Any, n_faces: int) -> None:
    check_tensor(name, selection, ("f",), INTEGERS)
    if len(selection) and not 0 <= int(selection.min()) <= int(selection.max()) < n_faces:
        fail(name, f"face indices from 0 to {n_faces - 1}", f"{int(selection.min())} to {int(selection.max())}")


def _empty_as_rows(part: Any) -> Any:
    return part.reshape(0, 3) if isinstance(part, torch.Tensor) and part.shape == (0,) else part


def concatenate(parts: Sequence[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    if len(parts) == 1:
        return parts[0].contiguous()
    return torch.cat(list(parts)) if parts else like.new_zeros(0, 3)
