"""Small meshes with everything that is awkward about meshes."""

from __future__ import annotations

import torch

from tirender.structures import Meshes

FAN = [[0, 1, 2], [1, 0, 3], [0, 1, 4], [2, 4, 1]]  # edge (0, 1) has three faces; vertex 5 none; the last is reversed
TETRAHEDRON = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]
DEGENERATE = [[0, 1, 2], [0, 0, 3], [1, 1, 1], [2, 3, 1]]


def awkward_verts(dtype: torch.dtype = torch.float64, seed: int = 0) -> list[torch.Tensor]:
    """Vertices for ``awkward_meshes``: leaves that want gradients."""
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 3, generator=g, dtype=dtype).requires_grad_() for n in (6, 4, 0, 3, 5)]


def awkward_meshes(verts: list[torch.Tensor]) -> Meshes:
    """A batch: three faces on an edge and an isolated vertex; closed; empty; one face; vertices without faces."""
    faces = [torch.tensor(f, dtype=torch.int64).reshape(-1, 3) for f in (FAN, TETRAHEDRON, [], [[2, 0, 1]], [])]
    return Meshes(verts, faces)


def degenerate_meshes(dtype: torch.dtype = torch.float32) -> list[Meshes]:
    """Batches with faces of no area and edges of no length; their vertices want gradients."""
    collapsed = torch.zeros(4, 3, dtype=dtype)
    collinear = torch.arange(4, dtype=dtype)[:, None].repeat(1, 3)
    sliver = torch.tensor([[0, 0, 0], [1, 0, 0], [0.5, 1e-20, 0], [0.5, -1e-7, 1e-9]], dtype=dtype)
    faces = [torch.tensor(f) for f in (TETRAHEDRON, DEGENERATE)]
    return [Meshes([v.clone().requires_grad_()], [f]) for v in (collapsed, collinear, sliver) for f in faces]


def grads(loss: torch.Tensor, verts: list[torch.Tensor]) -> list[torch.Tensor]:
    """Gradients in the vertices, 0 where there is none."""
    return list(torch.autograd.grad(loss, verts, allow_unused=True, materialize_grads=True))
