"""Points on meshes: where they lie, how often, their normals, textures and gradients."""

import numpy as np
import pytest
import torch
from mesh_cases import awkward_meshes, awkward_verts, degenerate_meshes

from tirender.ops.sample_points_from_meshes import sample_points_from_meshes
from tirender.renderer.mesh.textures import TexturesVertex
from tirender.structures import Meshes
from tirender.utils import ico_sphere, torus

TRIANGLES = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 5], [2, 0, 5], [0, 3, 5], [1, 1, 1], [2, 2, 2]])
FACES = torch.tensor([[0, 1, 2], [6, 6, 7], [3, 5, 4]])  # areas 0.5, 0 and 3; the last faces downwards


def test_faces_are_drawn_by_area_and_points_evenly_within():
    samples, normals = sample_points_from_meshes(Meshes([TRIANGLES], [FACES]), 20000, return_normals=True)
    lower = samples[0, :, 2] < 1
    assert lower.float().mean().item() == pytest.approx(0.5 / 3.5, abs=0.008)
    torch.testing.assert_close(samples[0, ~lower, 2], torch.full_like(samples[0, ~lower, 2], 5))
    coords = samples[0, ~lower, :2] / torch.tensor([2.0, 3.0])
    coords = torch.cat([coords, 1 - coords.sum(1, keepdim=True)], 1)
    assert coords.min() > -1e-6
    torch.testing.assert_close(coords.mean(0), torch.full((3,), 1 / 3), atol=0.006, rtol=0)
    expected = torch.eye(3) / 12 - 1 / 36  # of the uniform distribution on a triangle
    torch.testing.assert_close(coords.t().cov(), expected, atol=0.002, rtol=0)
    assert torch.equal(normals[0, :, 2], torch.where(lower, 1.0, -1.0))


@pytest.mark.parametrize("wants_grad", [False, True])
def test_faces_are_drawn_by_the_areas_that_they_have_now(wants_grad):
    verts = TRIANGLES.clone().requires_grad_(wants_grad)
    meshes = Meshes([verts], [FACES])
    for scale, share in ((1, 0.5 / 3.5), (0.5, 0.5 / (0.5 + 3 / 4))):
        with torch.no_grad():
            verts[3:6] *= scale
        lower = sample_points_from_meshes(meshes, 20000)[0, :, 2] < 1
        assert lower.float().mean().item() == pytest.approx(share, abs=0.012)


def test_batch_of_different_meshes():
    sphere, ring, none = ico_sphere(1), torus(0.5, 2, 10, 20), torch.zeros(0, 3)
    verts = [sphere.verts_packed(), none, ring.verts_packed() + 10, torch.rand(2, 3)]
    meshes = Meshes(verts, [sphere.faces_packed(), none.long(), ring.faces_packed(), none.long()])
    samples, normals = sample_points_from_meshes(meshes, 500, return_normals=True)
    assert samples.shape == normals.shape == (4, 500, 3)
    assert (samples[0].norm(dim=1) <= 1).all()
    assert (samples[0] * normals[0]).sum(1).min() > 0.7
    assert (samples[2] > 7).all()
    assert not samples[[1, 3]].any()
    assert not normals[[1, 3]].any()
    torch.testing.assert_close(normals[[0, 2]].norm(dim=2), torch.ones(2, 500))


def test_reproducible():
    mesh = ico_sphere(2)
    torch.manual_seed(3)
    first = sample_points_from_meshes(mesh, 100)
    other = sample_points_from_meshes(mesh, 100)
    torch.manual_seed(3)
    assert torch.equal(first, sample_points_from_meshes(mesh, 100))
    assert not torch.equal(first, other)


def test_textures_are_those_at_the_points():
    verts = [ico_sphere(1).verts_packed(), torch.zeros(0, 3), TRIANGLES]
    meshes = Meshes(verts, [ico_sphere(1).faces_packed(), torch.zeros(0, 3).long(), FACES], TexturesVertex(verts))
    samples, normals, textures = sample_points_from_meshes(meshes, 50, return_normals=True, return_textures=True)
    torch.testing.assert_close(textures, samples)
    assert normals.shape == (3, 50, 3)
    assert len(sample_points_from_meshes(meshes, 50, return_textures=True)) == 2


def test_gradients():
    def sample(*verts):
        torch.manual_seed(0)
        return sample_points_from_meshes(awkward_meshes(list(verts)), 20, return_normals=True)

    assert torch.autograd.gradcheck(sample, awkward_verts())


def test_repeats_are_equal_to_the_bit():
    sphere, up = ico_sphere(3), torch.randn(1, 5000, 3)
    runs = []
    for _ in range(3):
        torch.manual_seed(0)
        verts = sphere.verts_packed().clone().requires_grad_()
        samples = sample_points_from_meshes(Meshes([verts], sphere.faces_list()), 5000)
        runs.append(torch.autograd.grad(samples, verts, up)[0])
    assert all(torch.equal(runs[0], run) for run in runs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_faces_without_area(dtype):
    for meshes in degenerate_meshes(dtype):
        samples, normals = sample_points_from_meshes(meshes, 1000, return_normals=True)
        assert samples.dtype == normals.dtype == dtype
        grad = torch.autograd.grad(samples.sum() + normals.square().sum(), meshes.verts_packed())[0]
        assert samples.isfinite().all()
        assert normals.isfinite().all()
        assert grad.isfinite().all()


def test_a_mesh_without_area_has_all_its_faces_drawn():
    verts = torch.arange(6.0)[:, None].repeat(1, 3)
    samples = sample_points_from_meshes(Meshes([verts, TRIANGLES], [torch.tensor([[0, 0, 0], [4, 4, 4]]), FACES]), 1000)
    assert (samples[0, :, 0] == 4).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_meshes_of_any_size_beside_each_other():
    """Areas from 1e-14 to 1e14, and none: each mesh is sampled by its own areas."""
    verts = [TRIANGLES * 1e7, TRIANGLES * 0, TRIANGLES * 1e-7]
    samples = sample_points_from_meshes(Meshes(verts, [FACES] * 3), 5000)
    for mesh, scale in ((0, 1e7), (2, 1e-7)):
        assert (samples[mesh, :, 2] < scale).float().mean().item() == pytest.approx(0.5 / 3.5, abs=0.02)


def test_small_faces_are_not_lost():
    """100,000 faces of 1e-8 of the area are drawn 1e-3 of the time; a float32 sum would not notice them."""
    big, small = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), torch.tensor([[5.0, 0, 0], [6, 0, 0], [5, 1e-8, 0]])
    faces = torch.cat([torch.tensor([[0, 1, 2]]), torch.tensor([[3, 4, 5]]).repeat(100_000, 1)])
    samples = sample_points_from_meshes(Meshes([torch.cat([big, small])], [faces]), 200_000)
    share = (samples[0, :, 0] >= 5).float().mean().item()
    assert share == pytest.approx(1e-3, rel=0.2)


def test_no_samples():
    assert sample_points_from_meshes(ico_sphere(0), 0).shape == (1, 0, 3)


def test_a_count_of_numpy():
    assert sample_points_from_meshes(ico_sphere(0), np.int64(5)).shape == (1, 5, 3)


def test_refuses():
    with pytest.raises(ValueError, match="meshes: expected at least one mesh with faces, got 0 empty meshes"):
        sample_points_from_meshes(Meshes([], []))
    with pytest.raises(ValueError, match="meshes: expected finite vertices, got nan or inf"):
        sample_points_from_meshes(Meshes([TRIANGLES / 0], [FACES]))
    with pytest.raises(ValueError, match="meshes: expected finite areas, got inf"):
        sample_points_from_meshes(Meshes([TRIANGLES * 1e30], [FACES]))
    with pytest.raises(ValueError, match="meshes: expected textures, as return_textures asks for, got None"):
        sample_points_from_meshes(Meshes([TRIANGLES], [FACES]), return_textures=True)
    with pytest.raises(ValueError, match="num_samples: expected an integer of 0 or more, got -1"):
        sample_points_from_meshes(Meshes([TRIANGLES], [FACES]), -1)
