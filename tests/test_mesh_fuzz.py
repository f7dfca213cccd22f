"""Long tier: thousands of random meshes, many of them broken, through every loss and operator on meshes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tirender.loss import mesh_edge_loss, mesh_laplacian_smoothing, mesh_normal_consistency
from tirender.ops import (
    SubdivideMeshes,
    cot_laplacian,
    mesh_face_areas_normals,
    norm_laplacian,
    sample_points_from_meshes,
    taubin_smoothing,
)
from tirender.structures import Meshes

N_MESHES = 5000


def random_mesh(g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices, some equal, in a line or far apart, and faces, some with a vertex twice; few or none of both."""
    n_verts = int(torch.randint(0, 12, (), generator=g))
    n_faces = int(torch.randint(0, 20, (), generator=g)) if n_verts else 0
    scale = 10.0 ** float(torch.randint(-4, 4, (), generator=g))
    verts = scale * torch.randn(n_verts, 3, generator=g)
    kind = int(torch.randint(0, 5, (), generator=g))
    if kind == 1:
        verts = verts.round() * (torch.rand(3, generator=g) > 0.4)
    elif kind == 2 and n_verts:
        verts = verts[:1] + verts[:, :1] * torch.tensor([1.0, 1, 0])
    elif kind == 3 and n_verts:
        verts = verts[torch.randint(0, n_verts, (n_verts,), generator=g)]
    return verts, torch.randint(0, max(n_verts, 1), (n_faces, 3), generator=g)


def batches() -> Iterator[tuple[list[torch.Tensor], Meshes]]:
    g = torch.Generator().manual_seed(0)
    done = 0
    while done < N_MESHES:
        size = int(torch.randint(1, 5, (), generator=g))
        verts, faces = zip(*(random_mesh(g) for _ in range(size)))
        done += size
        yield [v.requires_grad_() for v in verts], Meshes(list(verts), list(faces))


def outputs(meshes: Meshes) -> Iterator[tuple[str, torch.Tensor]]:
    verts, faces = meshes.verts_packed(), meshes.faces_packed()
    yield "edge", mesh_edge_loss(meshes, 0.1)
    yield "normal", mesh_normal_consistency(meshes)
    for method in ("uniform", "cot", "cotcurv"):
        yield method, mesh_laplacian_smoothing(meshes, method)
    areas, normals = mesh_face_areas_normals(verts, faces)
    yield "areas", areas
    yield "normals", normals
    yield "taubin", taubin_smoothing(meshes, num_iter=2).verts_packed()
    yield "subdivide", SubdivideMeshes()(meshes).verts_packed()
    yield "inverse lengths", norm_laplacian(verts, meshes.edges_packed()).coalesce().values()
    matrix, inverse_areas = cot_laplacian(verts, faces)
    yield "cotangents", matrix.coalesce().values()
    yield "inverse areas", inverse_areas
    if not meshes.isempty():
        points, point_normals = sample_points_from_meshes(meshes, 10, return_normals=True)
        yield "points", points
        yield "point normals", point_normals


@pytest.mark.long
def test_values_and_gradients_are_finite():
    for i, (verts, meshes) in enumerate(batches()):
        for name, output in outputs(meshes):
            assert output.isfinite().all(), (i, name)
            if output.requires_grad:
                gradients = torch.autograd.grad(output.sum(), verts, retain_graph=True, allow_unused=True)
                assert all(grad is None or grad.isfinite().all() for grad in gradients), (i, name)
