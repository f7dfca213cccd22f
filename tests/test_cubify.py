"""Cubes for voxels: the surface, its order, alignment and textures."""

import pytest
import torch

from tirender.ops.cubify import cubify
from tirender.ops.sample_points_from_meshes import sample_points_from_meshes

CUBE = [[0, 1, 4], [1, 5, 4], [4, 5, 6], [5, 7, 6], [0, 4, 6], [0, 6, 2], [0, 3, 1], [0, 2, 3], [6, 7, 3], [6, 3, 2]]
CUBE += [[1, 7, 5], [1, 3, 7]]


def volume(meshes):
    a, b, c = meshes.verts_packed()[meshes.faces_packed()].unbind(1)
    return (a * torch.linalg.cross(b, c)).sum().item() / 6


def test_one_voxel():
    voxels = torch.zeros(2, 2, 2, 2)
    voxels[1, 0, 0, 0] = 0.5
    meshes = cubify(voxels, 0.5)
    assert meshes.num_faces_per_mesh().tolist() == [0, 12]
    expected = [[x, y, z] for y in (-1, 1) for x in (-1, 1) for z in (-1, 1)]
    assert meshes.verts_list()[1].tolist() == expected
    assert meshes.faces_list()[1].tolist() == CUBE


def test_axes():
    """Voxels are (z, y, x); vertices (x, y, z)."""
    voxels = torch.zeros(1, 3, 4, 5)
    voxels[0, 2, 1, 3] = 1
    low, high = cubify(voxels, 0.5).get_bounding_boxes()[0].unbind(1)
    torch.testing.assert_close(low, torch.tensor([3 * 2 / 4 - 1, 1 * 2 / 3 - 1, 2 * 2 / 2 - 1]))
    torch.testing.assert_close(high, torch.tensor([4 * 2 / 4 - 1, 2 * 2 / 3 - 1, 3 * 2 / 2 - 1]))


@pytest.mark.parametrize(("align", "low", "high"), [("topleft", -1, 3), ("corner", -1, 1), ("center", -2, 2)])
def test_align(align, low, high):
    verts = cubify(torch.ones(1, 2, 2, 2), 0.5, align=align).verts_packed()
    assert verts.min() == low
    assert verts.max() == high


def test_watertight_and_outward():
    voxels = torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    meshes = cubify(voxels, 0.6, align="corner")
    assert meshes.verts_packed().dtype == torch.float64
    assert volume(meshes) == pytest.approx(int((voxels >= 0.6).sum()) * 8 / (4 * 5 * 6))
    faces = meshes.faces_packed()
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert sorted(directed.tolist()) == sorted(directed.flip(1).tolist())  # each edge as often one way as the other
    assert len(torch.unique(meshes.verts_list()[0], dim=0)) == len(meshes.verts_list()[0])
    for verts, used in zip(meshes.verts_list(), meshes.faces_list()):
        assert used.unique().tolist() == list(range(len(verts)))


def test_features_become_textures():
    voxels = torch.zeros(2, 2, 2, 3)
    voxels[0, 0, 0] = voxels[0, 1, 1, 2] = 1
    feats = torch.rand(2, 3, 2, 2, 3, requires_grad=True)
    meshes = cubify(voxels, 0.5, feats=feats, align="center")
    samples, normals, colors = sample_points_from_meshes(meshes, 300, return_normals=True, return_textures=True)
    inside = samples[0] - 1e-3 * normals[0]
    x, y, z = ((inside + 1) / 2 * torch.tensor([2.0, 1, 1])).round().long().unbind(1)
    assert (voxels[0, z, y, x] == 1).all()
    torch.testing.assert_close(colors[0], feats[0, :, z, y, x].t())
    grad = torch.autograd.grad(colors.sum(), feats)[0]
    assert (grad.sum(1)[0] != 0).equal(voxels[0] > 0)


def test_empty():
    assert cubify(torch.zeros(2, 3, 3, 3), 0.5).isempty()
    assert len(cubify(torch.zeros(0, 3, 3, 3), 0.5)) == 0
    assert cubify(torch.ones(1, 1, 1, 1), 0.5).verts_packed().abs().max() == 1


def test_refuses():
    with pytest.raises(ValueError, match="align: expected 'topleft' or 'corner' or 'center', got 'top'"):
        cubify(torch.ones(1, 2, 2, 2), 0.5, align="top")
    with pytest.raises(ValueError, match=r"voxels: expected shape \(N, D, H, W\), got \(2, 2, 2\)"):
        cubify(torch.ones(2, 2, 2), 0.5)
    with pytest.raises(ValueError, match=r"feats: expected shape \(1, K, 2, 2, 2\), got \(1, 3, 2, 2\)"):
        cubify(torch.ones(1, 2, 2, 2), 0.5, feats=torch.ones(1, 3, 2, 2))
