"""PyTorch3D's private attributes, read and assigned."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from tirender.renderer import TexturesAtlas, TexturesUV, TexturesVertex, VolumeSampler
from tirender.structures import Meshes, Pointclouds, Volumes
from tirender.transforms import Scale, Transform3d, Translate

TRIANGLE, FACE = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2]])
SQUARE, FACES = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2], [0, 2, 3]])


def meshes() -> Meshes:
    return Meshes([TRIANGLE, SQUARE], [FACE, FACES])


def test_sizes():
    found = meshes()
    assert (found._N, found._V, found._F) == (2, 4, 2)
    assert (found._num_verts_per_mesh.tolist(), found._num_faces_per_mesh.tolist()) == ([3, 4], [1, 2])
    clouds = Pointclouds([TRIANGLE, SQUARE])
    assert (clouds._N, clouds._P, clouds._num_points_per_cloud.tolist()) == (2, 4, [3, 4])


def test_assigned_vertices_are_heeded():
    found = meshes()
    areas = found.faces_areas_packed()
    found._verts_list = [2 * verts for verts in found._verts_list]
    torch.testing.assert_close(found.faces_areas_packed(), 4 * areas)
    topology = found.topology
    found._verts_list[0] = TRIANGLE
    assert found.verts_list()[0] is TRIANGLE
    assert found.topology is topology
    found._verts_list[1] *= 2
    torch.testing.assert_close(found.verts_packed(), torch.cat([TRIANGLE, 4 * SQUARE]))
    found._verts_padded = found._verts_padded + 1
    torch.testing.assert_close(found.verts_packed(), torch.cat([TRIANGLE, 4 * SQUARE]) + 1)
    found._verts_padded *= 2
    torch.testing.assert_close(found._verts_packed, 2 * torch.cat([TRIANGLE, 4 * SQUARE]) + 2)


def test_other_numbers_of_vertices_and_faces():
    found = meshes()
    found._verts_list[0] = SQUARE
    assert found.num_verts_per_mesh().tolist() == [4, 4]
    found._faces_list[0] = FACES
    assert found.faces_packed().tolist() == [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]
    with pytest.raises(ValueError, match="faces"):
        found._verts_list = [TRIANGLE[:2], SQUARE]
    with pytest.raises(ValueError, match="faces"):
        found._faces_padded = torch.full((2, 1, 3), 4)


def test_normals_and_areas():
    found = meshes()
    found._compute_packed()
    found._compute_face_areas_normals(refresh=True)
    found._compute_vertex_normals()
    torch.testing.assert_close(found._faces_areas_packed, torch.full((3,), 0.5))
    torch.testing.assert_close(found._faces_normals_packed, torch.tensor([[0.0, 0, 1]] * 3))
    torch.testing.assert_close(found._verts_normals_packed, torch.tensor([[0.0, 0, 1]] * 7))
    found._set_verts_normals(-found.verts_normals_padded())
    torch.testing.assert_close(found.verts_normals_packed(), torch.tensor([[0.0, 0, -1]] * 7))
    found._set_verts_normals([torch.ones(3, 3), torch.zeros(4, 3)])
    assert found.verts_normals_packed().sum() == 9
    found._verts_normals_packed = torch.ones(7, 3)
    assert found.verts_normals_list()[1].sum() == 12
    with pytest.raises(ValueError, match="verts_normals"):
        found._set_verts_normals(torch.ones(2, 3, 3))


def test_gradients_reach_what_was_assigned():
    leaf = TRIANGLE.clone().requires_grad_()
    found = meshes()
    found._verts_list[0] = 3 * leaf
    found.verts_padded().sum().backward()
    torch.testing.assert_close(leaf.grad, torch.full_like(leaf, 3))


def test_lists_are_copied_as_lists():
    found = meshes()._verts_list
    for copied in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found)), found[:]):
        assert type(copied) is list
        torch.testing.assert_close(copied, [TRIANGLE, SQUARE])


def test_assigned_points_and_features_are_heeded():
    clouds = Pointclouds([TRIANGLE, SQUARE], features=[TRIANGLE, SQUARE])
    clouds._features_list = [torch.ones(3, 2), torch.zeros(4, 2)]
    assert clouds.features_packed().sum() == 6
    clouds._features_list[1] = torch.ones(4, 2)
    assert clouds.features_packed().sum() == 14
    clouds._points_list[0] = 2 * TRIANGLE
    torch.testing.assert_close(clouds.points_packed(), torch.cat([2 * TRIANGLE, SQUARE]))
    clouds._points_padded = torch.ones(2, 4, 3)
    assert clouds.points_packed().sum() == 21
    clouds._normals_padded = torch.ones(2, 4, 3)
    assert clouds.normals_packed().sum() == 21
    with pytest.raises(ValueError, match="as many as points"):
        clouds._points_list = [SQUARE, SQUARE]
    assert clouds._points_packed is clouds.points_packed()


def test_assigned_vertex_features_are_heeded():
    textures = TexturesVertex([torch.zeros(3, 4), torch.zeros(4, 4)])
    found = Meshes([TRIANGLE, SQUARE], [FACE, FACES], textures)
    found.textures._verts_features_list[0] = torch.ones(3, 4)
    assert textures.verts_features_packed().sum(1).tolist() == [4, 4, 4, 0, 0, 0, 0]
    textures._verts_features_padded = textures._verts_features_padded[..., :1] + 2
    assert textures.verts_features_packed()[:, 0].tolist() == [3, 3, 3, 2, 2, 2, 2]
    assert found.clone().textures._verts_features_padded.shape == (2, 4, 1)


def test_assigned_maps_are_heeded():
    textures = TexturesUV([torch.zeros(2, 2, 3)], [FACE], [TRIANGLE[:, :2]])
    textures._maps_padded = torch.ones(1, 4, 4, 3)
    textures._maps_list = None  # by which PyTorch3D forgets the list
    assert textures.faces_verts_textures_packed().tolist() == [[[1, 1, 1]] * 3]
    textures._maps_padded[0, -1, 0] = 0.5  # the lower left, at the first corner
    assert textures.faces_verts_textures_packed()[0, 0].tolist() == [0.5] * 3
    textures._verts_uvs_padded = torch.ones(1, 3, 2)
    assert textures.faces_verts_uvs_packed().tolist() == [[[1, 1]] * 3]
    assert textures._faces_uvs_padded.tolist() == [[[0, 1, 2]]]
    with pytest.raises(ValueError, match="maps"):
        textures._maps_padded = torch.ones(2, 4, 4, 3)
    with pytest.raises(ValueError, match="maps"):
        textures._maps_padded = torch.ones(1, 4, 4)


def test_what_is_written_into_padded_maps_is_heeded():
    textures = TexturesUV([torch.zeros(2, 2, 3)], [FACE], [TRIANGLE[:, :2]])
    textures._maps_padded.requires_grad_()
    textures.faces_verts_textures_packed().sum().backward()
    assert textures._maps_padded.grad.sum() == 9
    leaf = torch.zeros(2, 2, 3, requires_grad=True)
    textures = TexturesUV([leaf], [FACE], [TRIANGLE[:, :2]])
    assert textures._maps_padded.shape == (1, 2, 2, 3)
    assert textures.maps_list()[0] is leaf


def test_maps_of_several_sizes_stay_as_they_are():
    textures = TexturesUV([torch.zeros(2, 2, 3), torch.ones(4, 4, 3)], [FACE, FACE], [TRIANGLE[:, :2]] * 2)
    assert textures._maps_padded.shape == (2, 4, 4, 3)
    assert [tuple(m.shape) for m in textures._maps_list] == [(2, 2, 3), (4, 4, 3)]


def test_assigned_atlases_are_heeded():
    textures = TexturesAtlas([torch.zeros(1, 2, 2, 3)])
    textures._atlas_padded = torch.ones(1, 1, 4, 4, 3)
    assert textures.atlas_packed().shape == (1, 4, 4, 3)
    assert textures._atlas_list[0].sum() == 48


def test_assigned_matrices_are_heeded():
    transform = Transform3d()
    transform._matrix = torch.diag(torch.tensor([2.0, 3, 4, 1]))[None]
    assert transform.transform_points(torch.ones(1, 3)).tolist() == [[2, 3, 4]]
    transform._matrix[:, 3, 0] = 10
    assert transform.transform_points(torch.ones(1, 3)).tolist() == [[12, 3, 4]]
    composed = Translate(1.0, 0.0, 0.0).compose(transform)
    assert composed._matrix.tolist() == Translate(1.0, 0.0, 0.0).get_matrix().tolist()
    with pytest.raises(ValueError, match="matrix"):
        transform._matrix = torch.eye(3)


def test_factors_of_transforms():
    composed = Scale(2.0).compose(Translate(1.0, 0, 0), Scale(3.0))
    first, second = composed._transforms
    torch.testing.assert_close(composed._matrix @ first.get_matrix() @ second.get_matrix(), composed.get_matrix())
    composed._transforms = []
    torch.testing.assert_close(composed.get_matrix(), Scale(2.0).get_matrix())


def test_directions_of_rays_in_volumes():
    volumes = Volumes(torch.zeros(2, 1, 4, 4, 4), voxel_size=0.5, volume_translation=(3.0, 1.0, 2.0))
    points, directions = torch.rand(2, 5, 3), torch.rand(2, 5, 3)
    turned = VolumeSampler(volumes)._get_ray_directions_transform().transform_points(directions)
    expected = volumes.world_to_local_coords(points + directions) - volumes.world_to_local_coords(points)
    torch.testing.assert_close(turned, expected, rtol=1e-4, atol=1e-5)
