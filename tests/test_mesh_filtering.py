"""Taubin smoothing, against dense matrices."""

import pytest
import torch
from mesh_cases import awkward_meshes, awkward_verts, degenerate_meshes

from tirender.ops.laplacian_matrices import norm_laplacian
from tirender.ops.mesh_filtering import taubin_smoothing
from tirender.structures import Meshes
from tirender.utils import ico_sphere


def twin(meshes, *, lambd, mu, num_iter):
    verts = meshes.verts_packed()
    for _ in range(num_iter):
        for share in (lambd, mu):
            weights = norm_laplacian(verts, meshes.edges_packed()).to_dense()
            total = weights.sum(1, keepdim=True)
            mean = weights @ verts / total
            verts = torch.where(total > 0, (1 - share) * verts + share * mean, verts)
    return verts


def test_matches_the_twin():
    meshes = awkward_meshes(awkward_verts())
    smooth = taubin_smoothing(meshes, 0.4, -0.3, 3)
    torch.testing.assert_close(smooth.verts_packed(), twin(meshes, lambd=0.4, mu=-0.3, num_iter=3))
    assert smooth.topology is meshes.topology


def test_noise_goes_and_size_stays():
    sphere = ico_sphere(3)
    noisy = sphere.offset_verts(0.03 * torch.randn(642, 3))
    radii = taubin_smoothing(noisy).verts_packed().norm(dim=1)
    assert radii.std() < 0.6 * noisy.verts_packed().norm(dim=1).std()
    assert radii.mean().item() == pytest.approx(1, abs=0.02)


def test_gradients():
    assert torch.autograd.gradcheck(
        lambda *v: taubin_smoothing(awkward_meshes(list(v)), num_iter=2).verts_packed(), awkward_verts()
    )
    for meshes in degenerate_meshes():
        smooth = taubin_smoothing(meshes, num_iter=2).verts_packed()
        assert smooth.isfinite().all()
        assert torch.autograd.grad(smooth.sum(), meshes.verts_packed())[0].isfinite().all()


def test_nothing_to_do():
    sphere = ico_sphere(0)
    assert torch.equal(taubin_smoothing(sphere, num_iter=0).verts_packed(), sphere.verts_packed())
    assert len(taubin_smoothing(Meshes([], []))) == 0
    with pytest.raises(ValueError, match="num_iter: expected an integer of 0 or more, got -1"):
        taubin_smoothing(sphere, num_iter=-1)
