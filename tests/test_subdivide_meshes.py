"""Subdivision: geometry, features, gradients, and that the topology is derived once."""

import pytest
import torch
from mesh_cases import awkward_meshes, awkward_verts

from tirender.ops.subdivide_meshes import SubdivideMeshes
from tirender.structures import Meshes
from tirender.utils import ico_sphere

TRIANGLE = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 4, 0]])
FACE = torch.tensor([[0, 1, 2]])


def test_one_face():
    mesh = SubdivideMeshes()(Meshes([TRIANGLE], [FACE]))
    assert mesh.verts_packed().tolist() == [[0, 0, 0], [2, 0, 0], [0, 4, 0], [1, 0, 0], [0, 2, 0], [1, 2, 0]]
    assert mesh.faces_packed().tolist() == [[0, 3, 4], [1, 5, 3], [2, 4, 5], [5, 4, 3]]
    torch.testing.assert_close(mesh.faces_areas_packed(), torch.ones(4))
    assert (mesh.faces_normals_packed()[:, 2] == 1).all()


def test_agrees_with_ico_sphere():
    fine = SubdivideMeshes()(ico_sphere(1))
    assert torch.equal(fine.faces_packed(), ico_sphere(2).faces_packed())
    verts = torch.nn.functional.normalize(fine.verts_packed(), dim=1)
    torch.testing.assert_close(verts, ico_sphere(2).verts_packed())


def test_each_mesh_of_a_batch_is_subdivided_as_if_alone():
    verts = awkward_verts()
    meshes = awkward_meshes(verts)
    feats = torch.cat([v.detach() * 2 for v in verts])
    fine, fine_feats = SubdivideMeshes(meshes)(meshes, feats)
    assert torch.equal(fine_feats, fine.verts_packed() * 2)
    for i in range(len(meshes)):
        alone = SubdivideMeshes()(meshes[i])
        assert torch.equal(fine.verts_list()[i], alone.verts_packed())
        assert torch.equal(fine.faces_list()[i], alone.faces_packed())
    # it is valid: Meshes checks the indices
    assert Meshes(fine.verts_list(), fine.faces_list()).num_faces_per_mesh().tolist() == [16, 16, 0, 4, 0]


def test_features_are_packed_unless_built_with_meshes():
    meshes = ico_sphere(0).extend(3)
    for feats in (meshes.verts_padded(), meshes.verts_packed()):
        fine, fine_feats = SubdivideMeshes()(meshes, feats)
        assert fine_feats.shape == (3 * 42, 3)
        assert torch.equal(fine_feats, fine.verts_packed())
        fine, fine_feats = SubdivideMeshes(meshes)(meshes, feats)
        assert torch.equal(fine_feats, fine.verts_padded())


def test_topology_is_derived_once():
    sphere = ico_sphere(1)
    subdivide = SubdivideMeshes(sphere)
    first, second = subdivide(sphere), subdivide(sphere.offset_verts(torch.rand(42, 3)))
    assert first.topology is second.topology
    assert subdivide(ico_sphere(0)).topology is not first.topology


def test_gradcheck():
    subdivide = SubdivideMeshes()
    assert torch.autograd.gradcheck(lambda *v: subdivide(awkward_meshes(list(v))).verts_packed(), awkward_verts())
    feats = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: subdivide(Meshes([TRIANGLE], [FACE]), f)[1], feats)


def test_empty():
    assert len(SubdivideMeshes()(Meshes([], []))) == 0
    assert SubdivideMeshes()(Meshes([torch.zeros(0, 3)], [torch.zeros(0, 3).long()])).isempty()


def test_refuses_other_features():
    with pytest.raises(ValueError, match=r"feats: expected shape \(3, D\), one row a vertex, got \(4, 2\)"):
        SubdivideMeshes()(Meshes([TRIANGLE], [FACE]), torch.rand(4, 2))
