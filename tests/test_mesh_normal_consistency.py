"""Angles between neighbouring faces, against the definition pair by pair and PyTorch3D's values."""

from itertools import combinations

import pytest
import torch
from conftest import load_reference
from mesh_cases import awkward_meshes, awkward_verts, degenerate_meshes, grads

from tirender.loss import mesh_normal_consistency
from tirender.structures import Meshes
from tirender.utils import ico_sphere


def twin(verts, meshes):
    losses = []
    for v, faces in zip(verts, meshes.faces_list()):
        apexes = {}
        for face in faces.tolist():
            for k in range(3):
                apexes.setdefault(tuple(sorted((face[k - 2], face[k - 1]))), []).append(face[k])
        angles = [
            1 - torch.cosine_similarity(normal(v, a, b, c), -normal(v, a, b, d), dim=0)
            for (a, b), corners in apexes.items()
            for c, d in combinations(corners, 2)
        ]
        losses.append(torch.stack(angles).mean() if angles else torch.tensor(0.0, dtype=v.dtype))
    return torch.stack(losses).mean()


def normal(v, start, end, apex):
    return torch.linalg.cross(v[end] - v[start], v[apex] - v[start])


def test_matches_pytorch3d():
    case, _ = load_reference("mesh_loss/mesh_normal_consistency")
    verts = [case["in_verts0"].requires_grad_(), case["in_verts1"].requires_grad_()]
    loss = mesh_normal_consistency(Meshes(verts, [case["in_faces0"], case["in_faces1"]]))
    torch.testing.assert_close(loss, case["out_loss"], rtol=1e-6, atol=0)
    for i, grad in enumerate(torch.autograd.grad(loss, verts, case["up_loss"])):
        torch.testing.assert_close(grad, case[f"grad_verts{i}"], rtol=1e-4, atol=1e-7)


def test_matches_the_twin():
    verts = awkward_verts()
    meshes = awkward_meshes(verts)
    ours, expected = mesh_normal_consistency(meshes), twin(verts, meshes)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(grads(ours, verts), grads(expected, verts))


def test_degenerate_values_match_the_twin():
    for meshes in degenerate_meshes(torch.float64):
        torch.testing.assert_close(mesh_normal_consistency(meshes), twin(meshes.verts_list(), meshes))


def test_gradcheck():
    verts = awkward_verts()
    assert torch.autograd.gradcheck(lambda *v: mesh_normal_consistency(awkward_meshes(list(v))), verts)


@pytest.mark.parametrize("fourth", [[1, 0, 3], [0, 1, 3]])
def test_flat_and_folded(fourth):
    """Whichever way the second face is wound, a plane gives 0 and a fold 2."""
    faces = [torch.tensor([[0, 1, 2], fourth])]
    verts = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0]])
    folded = verts * torch.tensor([1.0, 1, 1]).where(torch.arange(4)[:, None] < 3, torch.tensor([1.0, -1, 1]))
    assert mesh_normal_consistency(Meshes([verts], faces)).item() == pytest.approx(0, abs=1e-7)
    assert mesh_normal_consistency(Meshes([folded], faces)).item() == pytest.approx(2, abs=1e-6)


def test_gradients_are_finite_without_area():
    for meshes in degenerate_meshes():
        loss = mesh_normal_consistency(meshes)
        assert loss.isfinite()
        grad = torch.autograd.grad(loss, meshes.verts_packed())[0]
        assert grad.isfinite().all()
        assert grad.abs().max() < 1e9


@pytest.mark.parametrize("n_faces", [0, 1])
def test_no_pair_gives_zero(n_faces):
    loss = mesh_normal_consistency(Meshes([torch.rand(3, 3)], [torch.tensor([[0, 1, 2]])[:n_faces]]))
    assert loss == 0
    loss.backward()
    assert mesh_normal_consistency(Meshes([], [])) == 0


def test_repeats_are_equal_to_the_bit():
    sphere = ico_sphere(2)
    verts = (sphere.verts_packed() + 0.05 * torch.randn(162, 3)).requires_grad_()
    runs = [
        torch.autograd.grad(mesh_normal_consistency(Meshes([verts], sphere.faces_list())), verts)[0] for _ in range(3)
    ]
    assert all(torch.equal(runs[0], run) for run in runs)
