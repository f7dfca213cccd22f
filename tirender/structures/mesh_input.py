"""Checks of the arguments of ``Meshes``."""

from __future__ import annotations

from typing import Any

import torch

from tirender.checks import as_indices, check_range, check_tensor, fail
from tirender.structures.packing import PartsOrPadded, Ragged, check_ragged
from tirender.structures.topology import Topology


def check_faces(faces: PartsOrPadded, positions: Ragged) -> Topology:
    """Check faces against the vertices and return their topology, with a copy of them."""
    given, num_verts, device = check_ragged("faces", faces, as_indices), positions.rows.counts, positions.like.device
    packed, num_faces = given.packed(), given.rows.counts
    if not len(packed):
        packed = packed.to(device, torch.int64)
    if len(num_faces) != len(num_verts):
        fail("faces", f"{len(num_verts)} meshes as in verts", len(num_faces))
    if packed.device != device:
        fail("faces", f"a tensor on {device} as verts", packed.device)
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
    """Drop the rows of -1 from packed faces, and count the others of each mesh."""
    is_face = (faces != -1).any(dim=1)
    per_mesh = is_face.split(num_faces)
    if must_end:
        for i, mesh in enumerate(per_mesh):
            if bool((mesh[1:] & ~mesh[:-1]).any()):
                fail(f"faces[{i}]", "padding (-1) only at the end", "a face after it")
    return faces[is_face], [int(mesh.sum()) for mesh in per_mesh]


def check_selection(name: str, selection: Any, n_faces: int) -> torch.Tensor:
    """Return a selection (f,) of indices from 0 to ``n_faces`` - 1 as int64; else raise ``ValueError``."""
    selection = as_indices(name, check_tensor(name, selection, ("f",)))
    check_range(name, selection, n_faces, "faces")
    return selection
