"""Callers' own fragments, textures and lights in tirender's shaders, and fragments that were written into."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from tirender.ops import interpolate_face_attributes
from tirender.renderer import (
    AlphaCompositor,
    AmbientLights,
    FoVPerspectiveCameras,
    HardFlatShader,
    HardGouraudShader,
    HardPhongShader,
    MeshRasterizer,
    PointsRasterizationSettings,
    PointsRasterizer,
    PointsRenderer,
    RasterizationSettings,
    SoftPhongShader,
    SoftSilhouetteShader,
    SplatterPhongShader,
    TensorProperties,
    TexturesVertex,
    look_at_view_transform,
)
from tirender.structures import Meshes, Pointclouds
from tirender.utils import ico_sphere

OwnFragments = namedtuple("OwnFragments", ["pix_to_face", "zbuf", "bary_coords", "dists", "camera_centers"])
CAMERAS = FoVPerspectiveCameras(R=look_at_view_transform(3, 20, 30)[0], T=torch.tensor([[0.0, 0, 3]]))
COLORED = [HardPhongShader, SoftPhongShader, HardFlatShader, SplatterPhongShader]


def sphere(textures: type[TexturesVertex] = TexturesVertex) -> Meshes:
    mesh = ico_sphere(1)
    mesh.textures = textures(torch.rand(1, 42, 3, generator=torch.Generator().manual_seed(0)))
    return mesh


def fragments_of(mesh: Meshes):
    return MeshRasterizer(CAMERAS, RasterizationSettings(image_size=16, faces_per_pixel=2, blur_radius=1e-3))(mesh)


def shaders():
    return [shader(cameras=CAMERAS) for shader in COLORED] + [SoftSilhouetteShader()]


def test_fragments_of_a_callers_class():
    mesh = sphere()
    for shader in shaders():
        seen = fragments_of(mesh)
        tensors = (seen.pix_to_face, seen.zbuf, seen.bary_coords, seen.dists)
        longer = OwnFragments(*tensors, CAMERAS.get_camera_center())
        loose = SimpleNamespace(**dict(zip(OwnFragments._fields, tensors)))
        for fragments in (longer, loose):
            torch.testing.assert_close(shader(fragments, mesh), shader(seen, mesh), rtol=1e-4, atol=1e-4)
        with pytest.raises(ValueError, match="fragments: expected fragments with bary_coords, dists, got"):
            shader(SimpleNamespace(pix_to_face=seen.pix_to_face, zbuf=seen.zbuf), mesh)


def test_what_is_written_into_fragments_is_heeded():
    mesh = sphere()
    for shader in shaders():
        seen, whole = fragments_of(mesh), shader(fragments_of(mesh), mesh)
        seen.pix_to_face[:, :8] = -1
        image = shader(seen, mesh)
        assert not image[:, :8, :, 3].any()
        torch.testing.assert_close(image[:, 8:], whole[:, 8:], rtol=1e-4, atol=1e-4)
    seen = fragments_of(mesh)
    seen.zbuf.detach()[..., 0] += 1  # a view shares what it is a view of
    assert seen.packed is None
    assert seen.rasterization is None
    with torch.inference_mode():
        assert fragments_of(mesh).pix_to_face.max() >= 0


class NearestVertex(TexturesVertex):
    """The colour of the face's nearest corner, by writing into the coordinates, as programs do."""

    def sample_textures(self, fragments, faces_packed=None):
        weights = fragments.bary_coords
        nearest = torch.arange(3).reshape(1, 1, -1) == weights.max(-1).indices.unsqueeze(-1)
        weights *= 0
        weights[nearest] = 1
        return interpolate_face_attributes(fragments.pix_to_face, weights, self.verts_features_packed()[faces_packed])


def test_textures_of_a_callers_class_read_dense_fragments():
    mesh = sphere(NearestVertex)
    image = HardPhongShader(cameras=CAMERAS, lights=AmbientLights())(fragments_of(mesh), mesh)[0]
    filled = image[..., 3] > 0
    assert filled.sum() > 50
    difference = (image[filled][:, None, :3] - mesh.textures.verts_features_packed()).abs().sum(-1)
    assert difference.min(1).values.max() < 1e-5


class FacingLight(TensorProperties):
    """Light by how far a normal points along a direction; points and normals have shape (N, H, W, K, 3)."""

    def __init__(self, direction=((0.0, 0, 1),)):
        super().__init__(ambient_color=((0.0, 0, 0),), direction=direction)

    def diffuse(self, normals, points):
        direction = self.direction[:, None, None, None]
        return F.relu((F.normalize(normals, dim=-1) * direction).sum(-1, keepdim=True)).expand(*points.shape)

    def specular(self, normals, points, camera_position, shininess):
        return torch.zeros_like(points)


@pytest.mark.parametrize("shader", [HardPhongShader, SoftPhongShader])
def test_lights_of_a_callers_class_read_dense_points(shader):
    mesh = sphere().extend(2)
    mesh.textures = TexturesVertex(torch.ones(2, 42, 3))
    light = FacingLight(direction=((0.0, 0, 1), (0.0, 0, -1)))
    first, second = shader(cameras=CAMERAS, lights=light)(fragments_of(mesh), mesh)
    both = (first[..., 3] > 0.99) & (second[..., 3] > 0.99)
    assert both.any()
    assert ((first[both][:, 0] < 1e-3) | (second[both][:, 0] < 1e-3)).all()  # lit from one side each
    assert first[both][:, 0].max() > 0.9


class Glow(torch.nn.Module):
    """A light that is no ``TensorProperties``, as networks that predict light are."""

    ambient_color = torch.full((1, 3), 0.25)

    def diffuse(self, normals, points):
        return torch.full_like(points, 0.5)

    def specular(self, normals, points, camera_position, shininess):
        return torch.zeros_like(points)


@pytest.mark.parametrize("shader", [HardPhongShader, HardFlatShader, HardGouraudShader])
def test_a_light_that_is_any_module(shader):
    mesh = sphere()
    mesh.textures = TexturesVertex(torch.ones(1, 42, 3))
    image = shader(cameras=CAMERAS, lights=Glow())(fragments_of(mesh), mesh)
    lit = image[image[..., 3] > 0][:, :3]
    torch.testing.assert_close(lit, torch.full_like(lit, 0.75))


class HalfEmptyRasterizer(PointsRasterizer):
    """Writes into the fragments of points."""

    def forward(self, point_clouds, **kwargs):
        fragments = super().forward(point_clouds, **kwargs)
        fragments.idx[:, :8] = -1
        return fragments


def test_what_is_written_into_fragments_of_points_is_heeded():
    points = sphere().verts_packed()
    cloud = Pointclouds([points], features=[torch.ones_like(points)])
    settings = PointsRasterizationSettings(image_size=16, radius=0.3)
    whole, half = (
        PointsRenderer(kind(CAMERAS, settings), AlphaCompositor())(cloud)
        for kind in (PointsRasterizer, HalfEmptyRasterizer)
    )
    assert whole[:, :8].any()
    assert not half[:, :8].any()
    torch.testing.assert_close(half[:, 8:], whole[:, 8:])


class MirroredColors(Meshes):
    """Meshes that sample in their own way."""

    def sample_textures(self, fragments):
        return 1 - super().sample_textures(fragments)


def test_a_callers_meshes_may_sample_otherwise():
    mesh = sphere()
    mirrored = MirroredColors(mesh.verts_list(), mesh.faces_list(), mesh.textures)
    shader = HardPhongShader(cameras=CAMERAS, lights=AmbientLights())
    plain, other = shader(fragments_of(mesh), mesh), shader(fragments_of(mirrored), mirrored)
    filled = plain[..., 3] > 0
    torch.testing.assert_close(other[filled][:, :3], 1 - plain[filled][:, :3], rtol=1e-4, atol=1e-4)
