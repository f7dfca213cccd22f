"""Laplacian smoothing, against dense matrices and PyTorch3D's values."""

import pytest
import torch
from conftest import load_reference
from mesh_cases import awkward_meshes, awkward_verts, degenerate_meshes, grads

from tirender.loss import mesh_laplacian_smoothing
from tirender.ops.laplacian_matrices import cot_laplacian
from tirender.structures import Meshes

METHODS = ("uniform", "cot", "cotcurv")


def twin(verts, meshes, method):
    losses = []
    for v, mesh in zip(verts, (meshes[i] for i in range(len(meshes)))):
        if not len(v):
            losses.append(v.sum())
            continue
        matrix, inverse_areas = (m.detach().to_dense() for m in cot_laplacian(v, mesh.faces_packed()))
        total = matrix.sum(1, keepdim=True)
        if method == "uniform":
            vectors = mesh.laplacian_packed().to_dense() @ v
        elif method == "cot":
            vectors = matrix @ v * torch.where(total > 0, 1 / total, total) - v
        else:
            vectors = (matrix @ v - total * v) * inverse_areas / 4
        losses.append(vectors.norm(dim=1).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("method", METHODS)
def test_matches_pytorch3d(method):
    case, _ = load_reference(f"mesh_loss/laplacian_{method}")
    verts = [case["in_verts0"].requires_grad_(), case["in_verts1"].requires_grad_()]
    loss = mesh_laplacian_smoothing(Meshes(verts, [case["in_faces0"], case["in_faces1"]]), method=method)
    torch.testing.assert_close(loss, case["out_loss"], rtol=1e-6, atol=0)
    for i, grad in enumerate(torch.autograd.grad(loss, verts, case["up_loss"])):
        expected = case[f"grad_verts{i}"]
        torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("method", METHODS)
def test_matches_the_twin(method):
    verts = awkward_verts()
    meshes = awkward_meshes(verts)
    ours, expected = mesh_laplacian_smoothing(meshes, method), twin(verts, meshes, method)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(grads(ours, verts), grads(expected, verts))


def test_gradcheck_uniform():
    verts = awkward_verts()
    assert torch.autograd.gradcheck(lambda *v: mesh_laplacian_smoothing(awkward_meshes(list(v))), verts)


@pytest.mark.parametrize(("method", "expected"), [("uniform", 5.0), ("cot", 5.0), ("cotcurv", 0.0)])
def test_isolated_vertex(method, expected):
    """Alone it gives its distance from the origin, except where weights are not normalised."""
    verts = torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 3, 4]], requires_grad=True)
    loss = mesh_laplacian_smoothing(Meshes([verts], [torch.tensor([[0, 1, 2]])]), method)
    assert loss.item() == pytest.approx(expected / 4)
    grad = torch.autograd.grad(loss, verts)[0]
    torch.testing.assert_close(grad, torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0.15, 0.2]]) * (expected / 5))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_finite_without_area(method):
    for meshes in degenerate_meshes():
        loss = mesh_laplacian_smoothing(meshes, method)
        assert loss.isfinite()
        assert torch.autograd.grad(loss, meshes.verts_packed())[0].isfinite().all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1e-20, 1e-3, 1.0, 1e3, 1e8])
def test_a_face_without_area_pulls_no_harder_for_its_size(method, size):
    """Its cotangents are noise, that once grew with the square of its size."""
    line = torch.tensor([[0.1, 0.2, 0.3]]) * torch.tensor([[0.0], [1.0], [3.0]]) + torch.tensor([1.0, 2.0, 3.0])
    verts = (size * line).requires_grad_()
    loss = mesh_laplacian_smoothing(Meshes([verts], [torch.tensor([[0, 1, 2]])]), method)
    assert float(loss.detach()) * size ** (1 if method == "cotcurv" else -1) < 1e7
    assert torch.autograd.grad(loss, verts)[0].isfinite().all()


@pytest.mark.parametrize("method", METHODS)
def test_empty_gives_zero(method):
    for meshes in (Meshes([], []), Meshes([torch.full((2, 3), torch.nan)], [torch.zeros(0, 3).long()])):
        loss = mesh_laplacian_smoothing(meshes, method)
        assert loss == 0
        loss.backward()


def test_refuses_another_method():
    with pytest.raises(ValueError, match="method: expected 'uniform' or 'cot' or 'cotcurv', got 'mean'"):
        mesh_laplacian_smoothing(Meshes([], []), "mean")
