"""Arguments that can only mean one thing are cast: what they become, and what is still refused."""

from __future__ import annotations

import pytest
import torch

from tirender.renderer import TexturesAtlas, TexturesUV, TexturesVertex
from tirender.structures import Meshes, Pointclouds

V = torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 8.0]])
F = torch.tensor([[0, 1, 2], [1, 3, 2]])


# --- meshes and clouds ---


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8, torch.int16, torch.float16, torch.bfloat16])
def test_vertices_and_points_become_float32(dtype):
    for given in ([V.to(dtype)], V[None].to(dtype)):
        for values in (Meshes(given, [F]).verts_packed(), Pointclouds(given).points_packed()):
            assert values.dtype == torch.float32
            assert torch.equal(values, V)


def test_mixed_floats_become_float64():
    mesh = Meshes([V, V.double()], [F, F])
    assert [part.dtype for part in mesh.verts_list()] == [torch.float64] * 2
    assert Pointclouds([V, V.double()]).points_padded().dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8, torch.int16, torch.int32, torch.float16])
@pytest.mark.parametrize("padded", [False, True])
def test_faces_become_int64(dtype, padded):
    mesh = Meshes(V[None], F[None].to(dtype)) if padded else Meshes([V], [F.to(dtype)])
    assert mesh.faces_packed().dtype == torch.int64
    assert torch.equal(mesh.faces_packed(), F)


def test_float_faces_may_be_padded():
    faces = torch.cat([F, -torch.ones(1, 3, dtype=torch.int64)]).float()
    assert torch.equal(Meshes(V[None], faces[None]).faces_packed(), F)


def test_normals_take_the_dtype_of_vertices():
    mesh = Meshes([V.double()], [F], verts_normals=[V.half()])
    assert torch.equal(mesh.verts_normals_packed(), V.double())
    cloud = Pointclouds([V.double()], [V])
    assert torch.equal(cloud.normals_packed(), V.double())


def test_double_offsets_make_double_meshes():
    moved = Meshes([V], [F]).offset_verts(torch.full((4, 3), 0.1, dtype=torch.float64))
    assert moved.verts_packed().dtype == torch.float64
    assert torch.equal(moved.verts_packed(), V.double() + 0.1)
    assert torch.equal(Pointclouds([V]).offset(torch.tensor([1, 2, 3])).points_packed(), V + torch.tensor([1.0, 2, 3]))


def test_one_offset_keeps_given_normals():
    normals = torch.nn.functional.normalize(torch.rand(4, 3), dim=1)
    mesh = Meshes([V], [F], verts_normals=[normals])
    for offset in (torch.tensor([0.5, 1.0, 2.0]), torch.tensor([[0.5, 1.0, 2.0]])):
        assert torch.equal(mesh.offset_verts(offset).verts_normals_packed(), normals)
    turned = mesh.offset_verts(torch.zeros(4, 3)).verts_normals_packed()
    assert torch.equal(turned, Meshes([V], [F]).verts_normals_packed())


SCALES = [
    (torch.tensor([2.0, 3.0]), [[2, 2, 2], [3, 3, 3]]),
    (torch.tensor([2, 3]), [[2, 2, 2], [3, 3, 3]]),
    (torch.tensor([[2.0], [3.0]]), [[2, 2, 2], [3, 3, 3]]),
    (torch.tensor([[2.0, 3.0, 4.0], [5.0, 6.0, 7.0]]), [[2, 3, 4], [5, 6, 7]]),
    (torch.tensor([[2, 3, 4], [5, 6, 7], [8, 9, 10], [1, 1, 1]]), [[2, 3, 4], [5, 6, 7]]),
    (torch.tensor(2), [[2, 2, 2], [2, 2, 2]]),
    (3, [[3, 3, 3], [3, 3, 3]]),
]


@pytest.mark.parametrize(("scale", "factors"), SCALES)
def test_scale(scale, factors):
    first, second = V * torch.tensor(factors[0]), V[:3] * torch.tensor(factors[1])
    mesh = Meshes([V, V[:3]], [F, F[:1]]).scale_verts(scale)
    cloud = Pointclouds([V, V[:3]]).scale(scale)
    for parts in (mesh.verts_list(), cloud.points_list()):
        assert torch.equal(parts[0], first)
        assert torch.equal(parts[1], second)


@pytest.mark.parametrize("scale", [torch.rand(1), torch.rand(2, 2), torch.rand(2, 4, 3), "2", None, torch.rand(2) > 0])
def test_scale_refuses(scale):
    for call in (Meshes([V, V[:3]], [F, F[:1]]).scale_verts, Pointclouds([V, V[:3]]).scale):
        with pytest.raises(ValueError, match="scale: expected"):
            call(scale)


# --- batches ---


def test_split_may_leave_some():
    mesh, cloud = Meshes([V, V[:3]], [F, F[:1]]), Pointclouds([V, V[:3]])
    assert [len(part) for part in mesh.split([1])] == [1]
    assert [len(part) for part in cloud.split([0, 1])] == [0, 1]
    assert torch.equal(mesh.split([1])[0].verts_packed(), V)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int64])
def test_integer_tensors_index_clouds(dtype):
    cloud = Pointclouds([V, V[:3]])[torch.tensor([1, 0], dtype=dtype)]
    assert torch.equal(cloud.points_list()[0], V[:3])


def test_clouds_without_points_need_no_features():
    features, normals = torch.rand(4, 2), torch.rand(4, 3)
    cloud = Pointclouds([V, V[:0]], normals=[normals, None], features=[features, None])
    assert torch.equal(cloud.features_packed(), features)
    assert cloud.features_list()[1].shape == (0, 2)
    assert cloud.normals_list()[1].shape == (0, 3)
    with pytest.raises(ValueError, match="features: expected as many as points"):
        Pointclouds([V, V[:3]], features=[features, None])


def test_submeshes_of_integer_indices():
    part = Meshes([V], [F]).submeshes([[torch.tensor([1], dtype=torch.int32)]])
    assert torch.equal(part.verts_packed(), V[1:])
    assert torch.equal(part.faces_packed(), torch.tensor([[0, 2, 1]]))


# --- textures ---


def test_features_of_bytes_become_float32():
    features = torch.tensor([[0, 128, 255]] * 4, dtype=torch.uint8)
    textures = TexturesVertex([features])
    assert torch.equal(textures.verts_features_packed(), features.float())
    assert TexturesAtlas(torch.ones(1, 2, 2, 2, 3).half()).atlas_packed().dtype == torch.float32
    uv = TexturesUV(torch.rand(1, 4, 4, 3).half(), F[None].float(), torch.zeros(1, 4, 2).int())
    assert uv.maps_padded().dtype == uv.verts_uvs_padded().dtype == torch.float32
    assert uv.faces_uvs_padded().dtype == torch.int64


def test_no_mesh_has_the_textures_of_none():
    for textures in (
        TexturesVertex([V]),
        TexturesAtlas(torch.rand(1, 2, 2, 2, 3)),
        TexturesUV(torch.rand(1, 4, 4, 3), F[None], torch.rand(1, 4, 2)),
    ):
        none = Meshes([V], [F], textures)[torch.tensor([False])]
        assert type(none.textures) is type(textures)
        assert len(none.textures) == 0
        assert none.extend(2).clone().textures.isempty()
