"""Spheres of nearly equal triangles, subdivided from an icosahedron."""

from __future__ import annotations

import torch

from tirender.budget import spend
from tirender.checks import as_device, check_integer
from tirender.structures import Meshes
from tirender.structures.topology import Topology

BYTES_A_FACE = 150  # while it is divided, measured
# Coordinates of the icosahedron, rounded to four digits as in PyTorch3D, so that the spheres agree.
_SHORT, _LONG = 0.5257, 0.8507
_FACES = (
    *((0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11)),  # around vertex 0
    *((1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6), (7, 1, 8)),
    *((3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9)),  # around vertex 3, opposite
    *((4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1)),
)


def ico_sphere(level: int = 0, device: torch.device | str | None = None) -> Meshes:
    """A unit sphere: an icosahedron with its faces divided into four ``level`` times.

    Args:
        level: 0 or more; the sphere has 10 * 4^level + 2 vertices and 20 * 4^level faces.
        device: where the mesh lives; the CPU if None.
    Returns:
        a batch of one mesh, float32, faces outwards; the vertices of lower levels come first.
    Raises:
        ValueError: if level is not an integer of 0 or more, or so large that the sphere exceeds the
            ``tirender.io.budget``.
    """
    level, device = check_integer("level", level, 0), as_device("device", device)
    n_faces = 20 * 4 ** min(level, 30)
    spend("level", BYTES_A_FACE * n_faces, f"a sphere of {n_faces} faces")
    verts, topology = _icosahedron()
    for _ in range(level):
        middles = verts.index_select(0, topology.edges.reshape(-1)).reshape(-1, 2, 3).mean(1)
        verts = torch.nn.functional.normalize(torch.cat([verts, middles]), dim=1)
        topology = _quartered(topology)
    return Meshes([verts], [topology.faces_packed]).to(device)


def _icosahedron() -> tuple[torch.Tensor, Topology]:
    """The icosahedron as the corners of three perpendicular rectangles."""
    rectangle = [(-_SHORT, _LONG), (_SHORT, _LONG), (-_SHORT, -_LONG), (_SHORT, -_LONG)]
    first = torch.tensor([(x, y, 0.0) for x, y in rectangle])
    third = torch.tensor([(y, 0.0, x) for y in (_LONG, -_LONG) for x in (-_SHORT, _SHORT)])
    verts = torch.cat([first, first.roll(1, dims=1), third])
    return verts, Topology(torch.tensor(_FACES), [len(verts)], [len(_FACES)])


def _quartered(topology: Topology) -> Topology:
    """Each face divided into its three corners and its middle; the midpoint of edge e is vertex V + e."""
    a, b, c = topology.faces_packed.unbind(1)
    bc, ca, ab = (topology.faces_to_edges + topology.n_verts).unbind(1)
    quarters = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (bc, ca, ab)]
    faces = torch.cat([torch.stack(quarter, dim=1) for quarter in quarters])
    return Topology(faces, [topology.n_verts + len(topology.edges)], [len(faces)])
