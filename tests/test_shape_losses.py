"""The losses on shapes from one kernel, against the three functions in torch."""

from __future__ import annotations

import pytest
import torch
from conftest import rounding
from mesh_cases import awkward_meshes, awkward_verts, degenerate_meshes, grads

from tirender.loss import mesh_edge_loss, mesh_laplacian_smoothing, mesh_normal_consistency, mesh_shape_losses
from tirender.structures import Meshes, join_meshes_as_batch
from tirender.utils import ico_sphere


def separately(meshes: Meshes, target_length: float = 0.0) -> tuple[torch.Tensor, ...]:
    return (
        mesh_edge_loss(meshes, target_length),
        mesh_normal_consistency(meshes),
        mesh_laplacian_smoothing(meshes, "uniform"),
    )


def bumpy_spheres(dtype: torch.dtype) -> tuple[Meshes, list[torch.Tensor]]:
    spheres = [ico_sphere(level).get_mesh_verts_faces(0) for level in (3, 1)]
    verts = [(v + 0.1 * torch.randn_like(v)).to(dtype).requires_grad_() for v, _ in spheres]
    return Meshes(verts, [f for _, f in spheres]), verts


@pytest.mark.parametrize("target_length", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["bumpy", "awkward"])
def test_values_and_gradients(name, dtype, target_length):
    if name == "bumpy":
        meshes, verts = bumpy_spheres(dtype)
    else:
        verts = awkward_verts(dtype)
        meshes = awkward_meshes(verts)
    tolerance = (1e-5 if dtype == torch.float32 else 1e-12) * rounding()
    ours, expected = mesh_shape_losses(meshes, target_length), separately(meshes, target_length)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
        options = {"retain_graph": True, "materialize_grads": True, "allow_unused": True}
        found = [torch.autograd.grad(loss, verts, **options) for loss in (a, b)]
        for ga, gb in zip(*found, strict=True):
            torch.testing.assert_close(ga, gb, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck():
    verts = awkward_verts()
    assert torch.autograd.gradcheck(lambda *v: mesh_shape_losses(awkward_meshes(list(v)), 0.2), verts)


def test_degenerate_meshes_have_finite_gradients():
    for meshes in degenerate_meshes():
        losses = mesh_shape_losses(meshes)
        assert all(loss.isfinite() for loss in losses)
        (grad,) = torch.autograd.grad(sum(losses), meshes.verts_packed())
        assert grad.isfinite().all()


def test_empty_meshes_have_none():
    empty = Meshes([torch.zeros(0, 3)], [torch.zeros(0, 3).long()])
    for meshes in (empty, Meshes([], []), Meshes([torch.rand(3, 3)], [torch.zeros(0, 3).long()])):
        losses = mesh_shape_losses(meshes)
        assert [loss.item() for loss in losses] == [0, 0, 0]
        sum(losses).backward()
    mixed = join_meshes_as_batch([ico_sphere(1), empty])
    for a, b in zip(mesh_shape_losses(mixed), separately(mixed), strict=True):
        torch.testing.assert_close(a, b)


def test_repeats_are_equal_to_the_bit():
    meshes, verts = bumpy_spheres(torch.float32)
    runs = [(losses := mesh_shape_losses(meshes), grads(sum(losses), verts)) for _ in range(3)]
    for losses, gradients in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(losses, runs[0][0], strict=True))
        assert all(torch.equal(a, b) for a, b in zip(gradients, runs[0][1], strict=True))


def test_bad_arguments():
    with pytest.raises(ValueError, match="meshes: expected Meshes"):
        mesh_shape_losses(torch.zeros(3))
    with pytest.raises(ValueError, match="target_length"):
        mesh_shape_losses(ico_sphere(0), "long")
