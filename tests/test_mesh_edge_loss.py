"""Edge lengths, against the definition edge by edge and PyTorch3D's values."""

import pytest
import torch
from conftest import load_reference
from mesh_cases import awkward_meshes, awkward_verts, degenerate_meshes, grads

from tirender.loss import mesh_edge_loss
from tirender.structures import Meshes


def twin(verts, meshes, target_length):
    losses = []
    for v, faces in zip(verts, meshes.faces_list()):
        edges = {tuple(sorted(pair)) for a, b, c in faces.tolist() for pair in ((a, b), (b, c), (c, a))}
        lengths = [((v[a] - v[b]).norm() - target_length) ** 2 for a, b in sorted(edges)]
        losses.append(torch.stack(lengths).mean() if lengths else torch.tensor(0.0, dtype=v.dtype))
    return torch.stack(losses).mean()


def test_matches_pytorch3d():
    case, meta = load_reference("mesh_loss/mesh_edge_loss")
    verts = [case["in_verts0"].requires_grad_(), case["in_verts1"].requires_grad_()]
    loss = mesh_edge_loss(Meshes(verts, [case["in_faces0"], case["in_faces1"]]), **meta["kwargs"])
    torch.testing.assert_close(loss, case["out_loss"], rtol=1e-6, atol=0)
    for i, grad in enumerate(torch.autograd.grad(loss, verts, case["up_loss"])):
        torch.testing.assert_close(grad, case[f"grad_verts{i}"], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("target_length", [0.0, 0.7])
def test_matches_the_twin(target_length):
    verts = awkward_verts()
    meshes = awkward_meshes(verts)
    ours, expected = mesh_edge_loss(meshes, target_length), twin(verts, meshes, target_length)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(grads(ours, verts), grads(expected, verts))


def test_gradcheck():
    verts = awkward_verts()
    assert torch.autograd.gradcheck(lambda *v: mesh_edge_loss(awkward_meshes(list(v)), 0.3), verts)
    assert torch.autograd.gradgradcheck(lambda *v: mesh_edge_loss(awkward_meshes(list(v)), 0.3), verts)


def test_gradients_are_finite_without_length():
    for meshes in degenerate_meshes():
        loss = mesh_edge_loss(meshes, 0.5)
        assert loss.isfinite()
        assert torch.autograd.grad(loss, meshes.verts_packed())[0].isfinite().all()


@pytest.mark.parametrize(
    "meshes", [Meshes([], []), Meshes([torch.full((3, 3), torch.nan)], [torch.zeros(0, 3).long()])]
)
def test_empty_gives_zero(meshes):
    loss = mesh_edge_loss(meshes)
    assert loss == 0
    loss.backward()


def test_repeats_are_equal_to_the_bit():
    verts = awkward_verts(torch.float32)
    runs = [torch.cat(grads(mesh_edge_loss(awkward_meshes(verts), 0.2), verts)) for _ in range(3)]
    assert all(torch.equal(runs[0], run) for run in runs)
