"""Arguments that can only mean one thing are cast: what they become, and what is still refused."""

from __future__ import annotations

import math

import pytest
import torch

import tirender.ops as ops
import tirender.renderer as r
import tirender.transforms as t
from tirender.renderer import TexturesAtlas, TexturesUV, TexturesVertex
from tirender.structures import Meshes, Pointclouds, Volumes
from tirender.utils import ico_sphere

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


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int64])
def test_integer_tensors_index_volumes_and_transforms(dtype):
    index = torch.tensor([1, 0], dtype=dtype)
    densities = torch.rand(2, 1, 2, 3, 4)
    assert torch.equal(Volumes(densities)[index].densities(), densities.flip(0))
    matrix = torch.rand(2, 4, 4)
    assert torch.equal(t.Transform3d(matrix=matrix)[index].get_matrix(), matrix.flip(0))
    assert torch.equal(r.FoVPerspectiveCameras(T=matrix[:, 0, :3])[index].T, matrix[:, 0, :3].flip(0))


def test_clouds_without_points_need_no_features():
    features, normals = torch.rand(4, 2), torch.rand(4, 3)
    cloud = Pointclouds([V, V[:0]], normals=[normals, None], features=[features, None])
    assert torch.equal(cloud.features_packed(), features)
    assert cloud.features_list()[1].shape == (0, 2)
    assert cloud.normals_list()[1].shape == (0, 3)
    with pytest.raises(ValueError, match="features: expected as many as points"):
        Pointclouds([V, V[:3]], features=[features, None])


def test_no_clouds_have_no_normals():
    none = Pointclouds([], [])
    assert none.normals_list() is none.normals_padded() is none.normals_packed() is None
    assert Pointclouds([], [], []).features_list() is None


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


# --- cameras and lights ---


@pytest.mark.parametrize(
    "kind", [r.FoVPerspectiveCameras, r.FoVOrthographicCameras, r.PerspectiveCameras, r.OrthographicCameras]
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float16])
def test_cameras_of_integers(kind, dtype):
    R, T = torch.eye(3)[None], torch.tensor([[0.0, 1.0, 3.0]])
    expected, given = kind(R=R, T=T), kind(R=R.to(dtype), T=T.to(dtype))
    points = torch.rand(5, 3)
    assert given.R.dtype == given.T.dtype == torch.float32
    assert torch.equal(given.transform_points(points), expected.transform_points(points))
    override = kind().transform_points(points, R=R.to(dtype), T=T.to(dtype))
    assert torch.equal(override, expected.transform_points(points))


def test_intrinsics_of_integers():
    given = r.PerspectiveCameras(
        focal_length=torch.tensor([500]),
        principal_point=torch.tensor([[32, 24]]),
        T=torch.tensor([[0, 0, 2]]),
        in_ndc=False,
        image_size=torch.tensor([[48, 64]]),
    )
    point = given.transform_points(torch.tensor([[0.02, 0.04, 0.0]]))
    torch.testing.assert_close(point[0, :2], torch.tensor([500 * 0.01 + 32, 500 * 0.02 + 24]))
    K = torch.tensor([[[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]])
    point = r.PerspectiveCameras(K=K).transform_points(torch.tensor([[1.0, 3.0, 4.0]]))
    torch.testing.assert_close(point, torch.tensor([[0.5, 1.5, 0.25]]))


@pytest.mark.parametrize("kind", [r.PerspectiveCameras, r.OrthographicCameras])
@pytest.mark.parametrize(
    "focal_length", [torch.tensor([[2.0], [3.0]]), torch.tensor([2.0, 3.0]), [2.0, 3.0], [[2], [3]]]
)
def test_focal_lengths_are_widened(kind, focal_length):
    cameras = kind(R=torch.eye(3).expand(2, 3, 3), focal_length=focal_length)
    assert cameras.focal_length.tolist() == [[2, 2], [3, 3]]
    others = kind(R=torch.eye(3).expand(3, 3, 3), focal_length=torch.ones(3, 2))
    assert r.join_cameras_as_batch([cameras, others]).focal_length.tolist() == [[2, 2], [3, 3], [1, 1], [1, 1], [1, 1]]


def test_lights_of_integers():
    meshes = Meshes([V], [F], TexturesVertex([torch.ones(4, 3)]))
    R, T = r.look_at_view_transform(20, 10, 20)
    cameras = r.FoVPerspectiveCameras(R=R, T=T)
    rasterizer = r.MeshRasterizer(cameras, r.RasterizationSettings(16))
    images = []
    for dtype in (torch.float32, torch.int64):
        lights = r.PointLights(
            location=torch.tensor([[0, 0, 9]], dtype=dtype), ambient_color=torch.ones(1, 3, dtype=dtype)
        )
        materials = r.Materials(shininess=torch.tensor([2], dtype=dtype))
        shader = r.HardPhongShader(cameras=cameras, lights=lights, materials=materials)
        images.append(r.MeshRenderer(rasterizer, shader)(meshes))
    assert torch.equal(*images)


def test_background_of_points():
    """A colour short of one number gets an alpha of 1."""
    image = r.AlphaCompositor((0.25,))(-torch.ones(1, 1, 2, 2).long(), torch.zeros(1, 1, 2, 2), torch.rand(2, 3))
    assert image[0, :, 0, 0].tolist() == [0.25, 1.0]
    image = r.AlphaCompositor(torch.tensor([[0.25, 0.5]]))(
        -torch.ones(1, 1, 2, 2).long(), torch.zeros(1, 1, 2, 2), torch.rand(2, 3)
    )
    assert image[0, :, 0, 0].tolist() == [0.25, 0.5]


# --- operators ---


def test_packed_samples_of_padded_vertices():
    """A ramp of 0, 1, 2, 3 from left to right: x in [-1, 1] is 1.5 (x + 1)."""
    ramp = torch.arange(4.0).expand(2, 1, 4, 4)
    verts = 2 * torch.rand(2, 7, 3) - 1
    packed = ops.vert_align(ramp, verts, return_packed=True)
    assert packed.shape == (14, 1)
    torch.testing.assert_close(packed[:, 0], 1.5 * (verts[..., 0].flatten() + 1))
    clouds = Pointclouds([verts[0], verts[1, :3]])
    torch.testing.assert_close(ops.vert_align(ramp, clouds, return_packed=True), packed[[*range(10)]])


def test_contiguous_results():
    assert ops.vert_align(torch.rand(2, 5, 4, 4), torch.rand(2, 7, 3)).is_contiguous()
    for kind in (r.FoVPerspectiveCameras, r.FoVOrthographicCameras, r.PerspectiveCameras, r.OrthographicCameras):
        assert kind().get_projection_transform().get_matrix().is_contiguous()
    samples = ops.sample_points_from_meshes(ico_sphere(0).extend(2), 10, return_normals=True)
    assert all(sample.is_contiguous() for sample in samples)
    rays = r.RayBundle(torch.rand(1, 5, 3), torch.rand(1, 5, 3), torch.rand(1, 5, 7), torch.rand(1, 5, 2))
    sampled = r.VolumeSampler(Volumes(torch.rand(1, 1, 3, 3, 3), torch.rand(1, 4, 3, 3, 3)))(rays)
    assert all(sample.is_contiguous() for sample in sampled)


def test_rays_that_do_not_fit_each_other():
    sampler = r.VolumeSampler(Volumes(torch.rand(2, 1, 3, 3, 3)))
    rays = r.RayBundle(torch.rand(2, 5, 3), torch.rand(2, 6, 3), torch.rand(2, 5, 7), torch.rand(2, 5, 2))
    with pytest.raises(ValueError, match="rays_origins, rays_directions, rays_lengths: expected shapes that broadcast"):
        sampler(rays)


def test_graph_convolution_of_nothing():
    layer = ops.GraphConv(5, 2)
    assert repr(layer) == "GraphConv(5 -> 2, directed=False)"
    assert layer(torch.tensor([]), torch.tensor([])).shape == (0, 2)


# --- transforms ---


def test_angles_of_integers_and_conventions_as_lists():
    angles = torch.tensor([[1, 2, 3]])
    expected = t.euler_angles_to_matrix(angles.float(), "XZY")
    assert torch.equal(t.euler_angles_to_matrix(angles, "XZY"), expected)
    assert torch.equal(t.euler_angles_to_matrix(angles, ["X", "Z", "Y"]), expected)
    back = t.matrix_to_euler_angles(expected, ["X", "Z", "Y"])
    torch.testing.assert_close(t.euler_angles_to_matrix(back, ("X", "Z", "Y")), expected)
    for wrong in (["X", "ZY"], ["X", "X", "Y"], ["x", "y", "z"], [0, 1, 2], ["XY", "Z", "X"], None):
        with pytest.raises(ValueError, match="convention: expected three letters"):
            t.euler_angles_to_matrix(angles, wrong)


@pytest.mark.parametrize(
    ("transform", "kind"),
    [
        (lambda: t.Rotate(t.random_rotations(3)), t.Rotate),
        (lambda: t.RotateAxisAngle(torch.rand(3)), t.Rotate),
        (lambda: t.Scale(torch.rand(3, 3) + 1), t.Scale),
        (lambda: t.Translate(torch.rand(3, 3)), t.Translate),
        (lambda: t.Transform3d(matrix=torch.rand(3, 4, 4)), t.Transform3d),
        (lambda: t.Translate(torch.rand(3, 3)).scale(2.0), t.Transform3d),
    ],
)
@pytest.mark.parametrize(
    "index", [1, slice(1, 3), [2, 0], (2, 0), torch.tensor([1]), torch.tensor([True, False, True])]
)
def test_the_class_of_selected_transforms(transform, kind, index):
    transforms = transform()
    picked, rows = (
        transforms[index],
        [index] if isinstance(index, int) else list(index) if isinstance(index, tuple) else index,
    )
    assert isinstance(picked, kind)
    assert torch.equal(picked.get_matrix(), transforms.get_matrix()[rows])
    torch.testing.assert_close(picked.inverse().get_matrix(), picked.get_matrix().inverse(), rtol=1e-4, atol=1e-4)
    assert len(transforms) == 3


def test_compose_refuses_other_things():
    with pytest.raises(ValueError, match="others: expected Transform3d, got Tensor"):
        t.Transform3d().compose(torch.eye(4))


def test_small_angles_are_continued_as_in_pytorch3d():
    """Beyond a cosine of c = 1 - b the arc cosine goes on along its tangent: at 1 it is acos(c) - b / sqrt(1 - c^2)."""
    identity = torch.eye(3, dtype=torch.float64)[None]
    half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))[None]
    for bound in (1e-4, 1e-2):
        end = math.acos(1 - bound)
        expected = end - bound / math.sin(end)
        assert float(t.so3_rotation_angle(identity, cos_bound=bound)) == pytest.approx(expected, abs=1e-9)
        assert float(t.so3_relative_angle(half_turn, half_turn, cos_bound=bound)) == pytest.approx(expected, abs=1e-9)
        assert float(t.so3_rotation_angle(half_turn, cos_bound=bound)) == pytest.approx(math.pi - expected, abs=1e-9)
    assert float(t.so3_rotation_angle(torch.eye(3)[None])) == pytest.approx(0.00707, abs=1e-5)
    assert float(t.so3_rotation_angle(torch.eye(3)[None], cos_bound=0.0)) == 0
    turn = t.axis_angle_to_matrix(torch.tensor([[0.3, 0.0, 0.0]]))
    assert float(t.so3_rotation_angle(turn)) == pytest.approx(0.3, abs=1e-6)
    R = torch.eye(3)[None].requires_grad_()
    assert torch.autograd.grad(t.so3_relative_angle(R, R.detach()).sum(), R)[0].isfinite().all()
