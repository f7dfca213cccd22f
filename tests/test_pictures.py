"""What programs written for PyTorch3D do with pictures: channels, exponents, backgrounds, writing into them.

Values are worked out by hand or by a plain formula.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import rounding

import tirender.renderer as r
from tirender.renderer.mesh.rasterizer import Fragments
from tirender.renderer.mesh.shader import ShaderBase
from tirender.renderer.points.rasterizer import PointFragments
from tirender.structures import Meshes, Pointclouds, Volumes
from tirender.utils import ico_sphere

COLOR_SHADERS = [
    r.HardPhongShader,
    r.SoftPhongShader,
    r.HardGouraudShader,
    r.SoftGouraudShader,
    r.HardFlatShader,
    r.TexturedSoftPhongShader,
    r.SplatterPhongShader,
]
OTHER_SHADERS = [r.SoftSilhouetteShader, r.HardDepthShader, r.SoftDepthShader, r.HardNormalShader]
SETTINGS = r.RasterizationSettings(image_size=(24, 32), blur_radius=1e-3, faces_per_pixel=6)
BLEND = r.BlendParams(1e-2, 1e-2)


def scene(channels: int = 3, requires_grad: bool = True):
    sphere = ico_sphere(1)
    verts = sphere.verts_packed().clone().requires_grad_(requires_grad)
    textures = r.TexturesVertex([torch.ones(len(verts), channels)])
    R, T = r.look_at_view_transform(2.2, 15.0, 30.0)
    return Meshes([verts], sphere.faces_list(), textures), r.FoVPerspectiveCameras(R=R, T=T), verts


def by_hand(fragments: Fragments) -> Fragments:
    return Fragments(fragments.pix_to_face, fragments.zbuf, fragments.bary_coords, fragments.dists)


# --- shininess 0 ---


@pytest.mark.parametrize("light", [r.PointLights, r.DirectionalLights])
@pytest.mark.parametrize("shader", COLOR_SHADERS)
@pytest.mark.parametrize("dense", [False, True], ids=["fused", "torch"])
def test_shininess_0_adds_the_specular_colour_everywhere(shader, light, dense):
    """On white texels, light that is the same everywhere is what ambient light is: 0.5 + 0.3 * 0.4 = 0.62."""
    meshes, cameras, verts = scene()
    place = {"location": ((3.0, 1.0, 2.0),)} if light is r.PointLights else {"direction": ((3.0, 1.0, 2.0),)}
    lights = light(specular_color=((0.3, 0.2, 0.1),), **place)
    shininess = torch.zeros(1, requires_grad=True)
    materials = r.Materials(specular_color=((0.4, 0.4, 0.4),), shininess=shininess)
    fragments = r.MeshRasterizer(cameras, SETTINGS)(meshes)
    fragments = by_hand(fragments) if dense else fragments
    image = shader(cameras=cameras, lights=lights, materials=materials, blend_params=BLEND)(fragments, meshes)
    same = light(ambient_color=((0.62, 0.58, 0.54),), specular_color=((0.0, 0.0, 0.0),), **place)
    expected = shader(cameras=cameras, lights=same, blend_params=BLEND)(fragments, meshes)
    torch.testing.assert_close(image, expected, rtol=1e-5 * rounding(), atol=1e-6 * rounding())
    grads = torch.autograd.grad(image.sum(), (shininess, verts))
    assert all(grad.isfinite().all() for grad in grads)


def test_the_limit_of_small_exponents_has_a_finite_gradient():
    for value in (0.0, 1e-3, 1.0):
        meshes, cameras, verts = scene()
        shininess = torch.tensor([value], requires_grad=True)
        shader = r.HardPhongShader(cameras=cameras, materials=r.Materials(shininess=shininess))
        image = r.MeshRenderer(r.MeshRasterizer(cameras, SETTINGS), shader)(meshes)
        assert all(grad.isfinite().all() for grad in torch.autograd.grad(image.sum(), (shininess, verts)))


# --- writing into a picture ---


def write_and_differentiate(image, leaf):
    image = image + 0 if not image.requires_grad else image
    expected = torch.autograd.grad(image[..., :-1].sum(), leaf, retain_graph=True)[0]
    image[..., -1] = 0
    assert torch.equal(torch.autograd.grad(image.sum(), leaf)[0], expected)


@pytest.mark.parametrize("shader", COLOR_SHADERS)
@pytest.mark.parametrize("dense", [False, True], ids=["fused", "torch"])
def test_pictures_may_be_written_into(shader, dense):
    meshes, cameras, verts = scene()
    fragments = r.MeshRasterizer(cameras, SETTINGS)(meshes)
    write_and_differentiate(shader(cameras=cameras)(by_hand(fragments) if dense else fragments, meshes), verts)


@pytest.mark.parametrize("shader", OTHER_SHADERS)
@pytest.mark.parametrize("dense", [False, True], ids=["fused", "torch"])
def test_other_pictures_may_be_written_into(shader, dense):
    meshes, cameras, verts = scene()
    fragments = r.MeshRasterizer(cameras, SETTINGS)(meshes)
    fragments = by_hand(fragments) if dense else fragments
    shade = shader() if shader is r.SoftSilhouetteShader else shader(cameras=cameras)
    image = shade(fragments, meshes)
    assert torch.autograd.grad(image.sum(), verts, retain_graph=True)[0].any()
    image[:, :12] = 0
    grad = torch.autograd.grad(image.sum(), verts)[0]
    assert grad.isfinite().all()
    assert grad.any()


@pytest.mark.parametrize("compositor", [r.AlphaCompositor, r.NormWeightedCompositor])
@pytest.mark.parametrize("background", [None, (0.1, 0.2, 0.3, 1.0)])
def test_pictures_of_points_may_be_written_into(compositor, background):
    points = (torch.rand(200, 3) - 0.5).requires_grad_()
    features = torch.rand(200, 4, requires_grad=True)
    R, T = r.look_at_view_transform(2.0)
    rasterizer = r.PointsRasterizer(r.FoVPerspectiveCameras(R=R, T=T), r.PointsRasterizationSettings(24, 0.1, 5))
    image = r.PointsRenderer(rasterizer, compositor(background))(Pointclouds([points], features=[features]))
    write_and_differentiate(image, features)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("marcher", [r.EmissionAbsorptionRaymarcher, r.AbsorptionOnlyRaymarcher])
def test_pictures_of_volumes_may_be_written_into(mode, marcher):
    densities = (0.2 * torch.rand(1, 1, 5, 5, 5)).requires_grad_()
    R, T = r.look_at_view_transform(3.0)
    rays = r.NDCMultinomialRaysampler(image_width=6, image_height=6, n_pts_per_ray=20, min_depth=1.0, max_depth=5.0)
    renderer = r.VolumeRenderer(rays, marcher(), mode)
    image = renderer(r.FoVPerspectiveCameras(R=R, T=T), Volumes(densities, torch.rand(1, 3, 5, 5, 5), 0.3))[0]
    image[:, :3] = 0
    grad = torch.autograd.grad(image.sum(), densities)[0]
    assert grad.any()
    assert grad.isfinite().all()


# --- channels ---


@pytest.mark.parametrize("shader", [r.HardPhongShader, r.HardFlatShader, r.HardGouraudShader, r.SoftPhongShader])
@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_any_number_of_channels(shader, channels):
    """Ambient light alone: material x light x texel."""
    meshes, cameras, _ = scene(channels, requires_grad=False)
    factors = torch.arange(1.0, channels + 1)[None] / 10
    materials = r.Materials(factors, torch.ones_like(factors), torch.ones_like(factors))
    lights = r.AmbientLights(ambient_color=2 * torch.ones_like(factors))
    blend = BLEND._replace(background_color=(0.0,) * channels)
    image = r.MeshRenderer(
        r.MeshRasterizer(cameras, r.RasterizationSettings(16)),
        shader(cameras=cameras, lights=lights, materials=materials, blend_params=blend),
    )(meshes)
    shown = 3 if channels == 1 and shader is r.SoftPhongShader else channels
    assert image.shape == (1, 16, 16, shown + 1)
    center = image[0, 8, 8]
    torch.testing.assert_close(center[:-1], (2 * factors[0]).expand(shown), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("materials", "lights", "message"),
    [
        (r.Materials(), r.AmbientLights(ambient_color=torch.ones(1, 6)), "materials.ambient_color: expected a shape"),
        (r.Materials(*[torch.ones(1, 6)] * 3), r.PointLights(), "materials.ambient_color: expected a shape"),
        (r.Materials(), r.PointLights(), "texels: expected a shape that broadcasts"),
    ],
)
@pytest.mark.parametrize("shader", [r.HardPhongShader, r.HardGouraudShader, r.SoftPhongShader, r.HardFlatShader])
def test_channels_that_do_not_fit(shader, materials, lights, message):
    meshes, cameras, _ = scene(6)
    renderer = r.MeshRenderer(r.MeshRasterizer(cameras, SETTINGS), shader(cameras=cameras))
    with pytest.raises(ValueError, match=message):
        renderer(meshes, lights=lights, materials=materials)


def test_materials_have_one_number_of_channels():
    four = ((0.1, 0.2, 0.3, 0.4),)
    assert r.Materials(four, four, four).diffuse_color.shape == (1, 4)
    with pytest.raises(ValueError, match=r"diffuse_color: expected shape \(N, 4\), got \(1, 3\)"):
        r.Materials(ambient_color=four)


# --- blends and backgrounds ---


def one_pixel(dists=-1.0):
    """A pixel well inside face 0 at depth 2, and an empty pixel."""
    pix_to_face = torch.tensor([[[[0], [-1]]]])
    return Fragments(
        pix_to_face, torch.where(pix_to_face < 0, -1.0, 2.0), None, torch.where(pix_to_face < 0, -1.0, dists)
    )


def test_softmax_blend_of_one_channel_is_grey_with_alpha():
    colors = torch.full((1, 1, 2, 1, 1), 0.25)
    image = r.softmax_rgb_blend(colors, one_pixel(), r.BlendParams(background_color=(0.1, 0.2, 0.3)))
    expected = torch.tensor([[0.25, 0.25, 0.25, 1.0], [0.1, 0.2, 0.3, 0.0]])
    torch.testing.assert_close(image[0, 0], expected)
    image = r.sigmoid_alpha_blend(colors, one_pixel(), r.BlendParams())
    torch.testing.assert_close(image[0, 0], torch.tensor([[0.25, 0.25, 0.25, 1.0], [0.25, 0.25, 0.25, 0.0]]))


@pytest.mark.parametrize(
    "background", [(0.1, 0.2, 0.3), ((0.1, 0.2, 0.3),), torch.tensor([[0.1, 0.2, 0.3]]), [0.1, 0.2, 0.3]]
)
def test_background_of_one_row(background):
    for blend in (r.hard_rgb_blend, r.softmax_rgb_blend):
        image = blend(torch.ones(1, 1, 2, 1, 3), one_pixel(), r.BlendParams(background_color=background))
        torch.testing.assert_close(image[0, 0, 1], torch.tensor([0.1, 0.2, 0.3, 0.0]))
    meshes, cameras, _ = scene()
    shader = r.HardPhongShader(cameras=cameras, blend_params=r.BlendParams(background_color=background))
    image = r.MeshRenderer(r.MeshRasterizer(cameras, SETTINGS), shader)(meshes)
    torch.testing.assert_close(image[0, 0, 0], torch.tensor([0.1, 0.2, 0.3, 0.0]))


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_grey_background_serves_any_number_of_channels(channels):
    colors = torch.rand(1, 1, 2, 1, channels)
    image = r.hard_rgb_blend(colors, one_pixel(), r.BlendParams(background_color=(0.5, 0.5, 0.5)))
    assert torch.equal(image[0, 0, 0], torch.cat([colors[0, 0, 0, 0], torch.ones(1)]))
    assert torch.equal(image[0, 0, 1], torch.tensor([0.5] * channels + [0.0]))
    with pytest.raises(ValueError, match=rf"background_color: expected shape \({channels}\), got \(3,\)"):
        r.hard_rgb_blend(colors, one_pixel(), r.BlendParams(background_color=(0.1, 0.2, 0.3)))


# --- fragments made by hand ---


@pytest.mark.parametrize("zbuf", [None, torch.tensor([]), torch.zeros(1, 1, 2, 7)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_what_is_not_read_may_be_anything(zbuf, dtype):
    """One face, its edge at squared distance 0.25 inside, sigma 0.5: alpha = sigmoid(0.5)."""
    pix_to_face = torch.tensor([[[[0], [-1]]]]).to(dtype)
    seen = Fragments(pix_to_face=pix_to_face, zbuf=zbuf, bary_coords=None, dists=torch.full((1, 1, 2, 1), -0.25))
    alpha = 1 / (1 + torch.exp(torch.tensor(-0.5)))
    image = r.sigmoid_alpha_blend(torch.full((1, 1, 2, 1, 3), 0.3), seen, r.BlendParams(sigma=0.5))
    torch.testing.assert_close(image[0, 0, :, 3], torch.stack([alpha, torch.zeros(())]))
    image = r.SoftSilhouetteShader(r.BlendParams(sigma=0.5))(seen, None)
    torch.testing.assert_close(image[0, 0, :, 3], torch.stack([alpha, torch.zeros(())]))


def test_what_is_read_is_checked():
    colors, blend = torch.rand(1, 1, 2, 1, 3), r.BlendParams()
    for change, message in (
        ({"dists": None}, "fragments.dists: expected a tensor, got NoneType"),
        ({"zbuf": torch.zeros(1, 1, 2, 7)}, r"fragments.zbuf: expected shape \(1, 1, 2, 1\), got \(1, 1, 2, 7\)"),
    ):
        with pytest.raises(ValueError, match=message):
            r.softmax_rgb_blend(colors, dataclasses.replace(one_pixel(), **change), blend)
    textures = r.TexturesAtlas(torch.rand(1, 2, 2, 2, 3))
    with pytest.raises(ValueError, match="fragments.bary_coords: expected a tensor, got NoneType"):
        textures.sample_textures(one_pixel())


def test_fragments_are_a_dataclass():
    meshes, cameras, _ = scene()
    fragments = r.MeshRasterizer(cameras, SETTINGS)(meshes)
    zbuf = torch.zeros_like(fragments.zbuf)
    other = dataclasses.replace(fragments, zbuf=zbuf)
    assert other.zbuf is zbuf
    assert other.pix_to_face is fragments.pix_to_face
    assert [field.name for field in dataclasses.fields(fragments)] == ["pix_to_face", "zbuf", "bary_coords", "dists"]
    assert set(dataclasses.asdict(fragments.detach())) == {"pix_to_face", "zbuf", "bary_coords", "dists"}
    assert one_pixel().detach().bary_coords is None


def test_point_fragments_are_a_named_tuple():
    R, T = r.look_at_view_transform(2.0)
    rasterizer = r.PointsRasterizer(r.FoVPerspectiveCameras(R=R, T=T), r.PointsRasterizationSettings(8, 0.1, 2))
    fragments = rasterizer(Pointclouds([torch.rand(20, 3) - 0.5]))
    idx, zbuf, dists = fragments
    assert fragments[0] is fragments.idx is idx
    assert fragments[-1] is fragments.dists is dists
    assert fragments[1:][0] is zbuf
    assert len(fragments) == 3
    other = fragments._replace(zbuf=None)
    assert isinstance(other, PointFragments)
    assert other.zbuf is None
    assert list(fragments._asdict()) == list(fragments._fields) == ["idx", "zbuf", "dists"]


# --- shaders of one's own ---


class Baker(ShaderBase):
    def forward(self, fragments, meshes, **kwargs):
        cameras = self._get_cameras(**kwargs)
        colors = r.phong_shading(
            meshes, fragments, self.lights, cameras, self.materials, meshes.sample_textures(fragments)
        )
        image = r.hard_rgb_blend(colors, fragments, self.blend_params)
        image[..., 3] = fragments.pix_to_face[..., 0] >= 0
        return image


def test_a_shader_of_ones_own_gets_the_cameras():
    meshes, cameras, verts = scene()
    rasterizer = r.MeshRasterizer(cameras, SETTINGS)
    expected = r.MeshRenderer(rasterizer, r.HardPhongShader(cameras=cameras))(meshes)
    for shader, kwargs in ((Baker(cameras=cameras), {}), (Baker(), {"cameras": cameras})):
        image = r.MeshRenderer(rasterizer, shader)(meshes, **kwargs)
        torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-5 * rounding())
        assert torch.autograd.grad(image.sum(), verts, retain_graph=True)[0].any()
    with pytest.raises(ValueError, match="cameras: expected a camera, given to the shader or to its call, got None"):
        Baker()(rasterizer(meshes), meshes)
