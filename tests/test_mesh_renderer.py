"""From meshes to images: PyTorch3D's renders and gradients, the fused and the torch path, a user's own shader."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import load_reference, rounding
from test_shading import CASES, load
from torch import nn

import tirender.renderer as r
from tirender.engine import runtime
from tirender.io import load_objs_as_meshes
from tirender.renderer.mesh.rasterizer import Fragments
from tirender.structures import Meshes
from tirender.utils import ico_sphere


class ByHand(nn.Module):
    """Passes a shader dense fragments made by hand, as a user's own rasterizer would."""

    def __init__(self, shader: nn.Module) -> None:
        super().__init__()
        self.shader = shader

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: object) -> torch.Tensor:
        dense = Fragments(fragments.pix_to_face, fragments.zbuf, fragments.bary_coords, fragments.dists)
        return self.shader(dense, meshes, **kwargs)


def renderer_of(path: Path, by_hand: bool = False):
    """Inputs and the renderer of a reference case."""
    data, meta, verts, texture, meshes, cameras, lights, materials, blend = load(path)
    if meta["shader"] == "SoftSilhouetteShader":
        shader: nn.Module = r.SoftSilhouetteShader(blend)
    else:
        shader = getattr(r, meta["shader"])(cameras=cameras, lights=lights, materials=materials, blend_params=blend)
    rasterizer = r.MeshRasterizer(cameras, r.RasterizationSettings(**meta["raster"]))
    return r.MeshRenderer(rasterizer, ByHand(shader) if by_hand else shader), meshes, data, (verts, texture)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_images_match_pytorch3d(path):
    """Gradients of the same cases are compared in test_shading, through the torch path, and just below."""
    renderer, meshes, data, _ = renderer_of(path)
    image, expected = renderer(meshes), torch.from_numpy(data["out_image"])
    if runtime.arch() != "cpu" and "Soft" in path.stem and "atlas" in path.stem:
        # an atlas has no filter: coordinates on the border of two cells fall to either by a rounding
        other = (image - expected).abs().amax(-1) > 1e-3
        assert other.sum() <= 40
        image, expected = image[~other], expected[~other]
    torch.testing.assert_close(image, expected, rtol=1e-4 * rounding(), atol=1e-5 * rounding())


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_fused_shaders_equal_those_on_dense_fragments_made_by_hand(path):
    images, grads = [], []
    for by_hand in (False, True):
        renderer, meshes, data, leaves = renderer_of(path, by_hand)
        images.append(renderer(meshes))
        grads.append(torch.autograd.grad(images[-1], leaves, torch.from_numpy(data["up_image"]), allow_unused=True))
    torch.testing.assert_close(*images, rtol=1e-4, atol=1e-5)
    for a, b in zip(*grads):
        assert (a is None) == (b is None) or not (b if a is None else a).any()
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


def test_cow_matches_pytorch3d(tutorial_data: Path):
    data, _ = load_reference("cow/renders")
    mesh = load_objs_as_meshes([tutorial_data / "cow_mesh" / "cow.obj"])
    verts = mesh.verts_packed()
    centre = verts.mean(0)
    mesh = mesh.offset_verts(-centre).scale_verts(1 / float((verts - centre).abs().max()))
    R, T = r.look_at_view_transform(2.7, data["in_elev"].float(), data["in_azim"].float())
    cameras = r.FoVPerspectiveCameras(R=R, T=T)
    lights = r.PointLights(location=[[0.0, 0.0, -3.0]])
    hard = r.MeshRenderer(
        r.MeshRasterizer(cameras, r.RasterizationSettings(image_size=128)),
        r.SoftPhongShader(cameras=cameras, lights=lights),
    )(mesh.extend(3))
    different = (hard - data["out_hard"]).abs().amax(-1) > 1e-3
    assert different.sum() <= 3  # pixels on an edge that fall to the other side, of 49152
    assert (hard - data["out_hard"]).abs()[~different].max() < 1e-3
    blur = float(torch.log(torch.tensor(1 / 1e-4 - 1, dtype=torch.float64))) * 1e-4
    settings = r.RasterizationSettings(image_size=128, blur_radius=blur, faces_per_pixel=50)
    soft = r.MeshRenderer(r.MeshRasterizer(cameras, settings), r.SoftSilhouetteShader())(mesh.extend(3))
    torch.testing.assert_close(soft[..., 3], data["out_silhouette"], rtol=1e-3, atol=1e-3)


class UserShader(nn.Module):
    """As a user of PyTorch3D writes one; ``packed`` is all it takes to leave the dense tensors."""

    def __init__(self, cameras: r.CamerasBase, packed: bool) -> None:
        super().__init__()
        self.cameras, self.packed = cameras, packed

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: object) -> torch.Tensor:
        seen = fragments.packed if self.packed else fragments
        texels = meshes.sample_textures(seen)
        lights, materials = r.PointLights(location=[[0.0, 1.0, -2.0]]), r.Materials(shininess=10.0)
        colors = r.phong_shading(meshes, seen, lights, self.cameras, materials, texels)
        return r.softmax_rgb_blend(colors, seen, r.BlendParams(1e-3, 1e-2), znear=1.0, zfar=100.0)


def sphere_scene(n: int = 2, dtype: torch.dtype = torch.float32):
    sphere = ico_sphere(2)
    verts = sphere.verts_packed().to(dtype).requires_grad_()
    colors = torch.rand(len(verts), 3, dtype=dtype, requires_grad=True)
    meshes = Meshes([verts], sphere.faces_list(), r.TexturesVertex([colors])).extend(n)
    R, T = r.look_at_view_transform(2.7, 20.0, torch.linspace(0, 90, n))
    return meshes, r.FoVPerspectiveCameras(R=R, T=T), (verts, colors)


SOFT = r.RasterizationSettings(image_size=(30, 44), blur_radius=9e-3, faces_per_pixel=12)


def test_a_users_shader_on_dense_and_on_packed_fragments_equals_the_fused_one():
    meshes, cameras, leaves = sphere_scene()
    lights, materials = r.PointLights(location=[[0.0, 1.0, -2.0]]), r.Materials(shininess=10.0)
    fused = r.SoftPhongShader(
        cameras=cameras, lights=lights, materials=materials, blend_params=r.BlendParams(1e-3, 1e-2)
    )
    rasterizer = r.MeshRasterizer(cameras, SOFT)
    shaders = (fused, UserShader(cameras, packed=False), UserShader(cameras, packed=True))
    images = [r.MeshRenderer(rasterizer, shader)(meshes) for shader in shaders]
    up = torch.randn_like(images[0])
    grads = [torch.autograd.grad(image, leaves, up, retain_graph=True) for image in images]
    for image, pair in zip(images[1:], grads[1:]):
        torch.testing.assert_close(image, images[0], rtol=1e-4, atol=1e-5)
        for a, b in zip(pair, grads[0]):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


@pytest.mark.usefixtures("needs_f64")
def test_gradients_reach_cameras_lights_and_materials():
    meshes, _, _ = sphere_scene(1, torch.float64)
    leaves = {
        "T": torch.tensor([[0.0, 0.0, 2.7]], dtype=torch.float64),
        "fov": torch.tensor([50.0], dtype=torch.float64),
        "location": torch.tensor([[1.1, 1.2, -2.0]], dtype=torch.float64),
        "diffuse": torch.tensor([[0.5, 0.4, 0.3]], dtype=torch.float64),
        "shininess": torch.tensor([12.0], dtype=torch.float64),
    }

    def loss(T, fov, location, diffuse, shininess):
        cameras = r.FoVPerspectiveCameras(R=torch.eye(3, dtype=torch.float64)[None], T=T, fov=fov)
        lights = r.PointLights(location=location)
        shader = r.SoftPhongShader(
            cameras=cameras,
            lights=lights,
            materials=r.Materials(diffuse_color=diffuse, shininess=shininess),
            blend_params=r.BlendParams(sigma=1e-2, gamma=1e-1),
        )
        image = r.MeshRenderer(r.MeshRasterizer(cameras, r.RasterizationSettings(9, 0.02, 8)), shader)(meshes)
        return (image * weights).sum()

    weights = torch.rand(1, 9, 9, 4, dtype=torch.float64)
    inputs = tuple(leaf.requires_grad_() for leaf in leaves.values())
    assert all(g.abs().max() > 1e-4 for g in torch.autograd.grad(loss(*inputs), inputs))
    # the camera moves pixels over edges that are not soft: compare what does not
    fixed = inputs[:2]
    assert torch.autograd.gradcheck(lambda *rest: loss(*fixed, *rest), inputs[2:], eps=1e-6, atol=1e-4)


def test_renderer_with_fragments_and_arguments_for_one_call():
    meshes, cameras, _ = sphere_scene()
    renderer = r.MeshRendererWithFragments(r.MeshRasterizer(), r.SoftPhongShader(cameras=cameras))
    image, fragments = renderer(meshes, cameras=cameras, raster_settings=r.RasterizationSettings((20, 10)))
    assert image.shape == (2, 20, 10, 4)
    assert fragments.pix_to_face.shape == (2, 20, 10, 1)
    dark = renderer(
        meshes,
        cameras=cameras,
        raster_settings=r.RasterizationSettings((20, 10)),
        lights=r.AmbientLights(ambient_color=[[0.0] * 3]),
    )[0]
    assert (dark[..., :3][dark[..., 3] > 0.9] < 1e-3).all()
    renderer.rasterizer.raster_settings.image_size = 8  # stays assignable
    assert renderer(meshes, cameras=cameras)[0].shape == (2, 8, 8, 4)
    renderer.rasterizer.raster_settings.blur_radius = -1.0  # and is checked when used
    with pytest.raises(ValueError, match="blur_radius: expected a finite number >= 0, got -1.0"):
        renderer(meshes, cameras=cameras)


def test_depth_and_normals():
    meshes, cameras, (verts, _) = sphere_scene()
    renderer = r.MeshRenderer(r.MeshRasterizer(cameras, SOFT), r.HardDepthShader(cameras=cameras))
    depth = renderer(meshes)
    assert depth.shape == (2, 30, 44, 1)
    assert abs(float(depth.detach().min()) - 1.7) < 0.05
    assert (depth[:, 0, 0] == 100.0).all()
    soft = r.MeshRenderer(renderer.rasterizer, r.SoftDepthShader(cameras=cameras))(meshes)
    middle = (slice(None), slice(12, 18), slice(18, 26))
    torch.testing.assert_close(soft[middle], depth[middle], rtol=0, atol=0.3)
    normals = r.MeshRenderer(renderer.rasterizer, r.HardNormalShader())(meshes)
    towards = cameras.get_camera_center() / cameras.get_camera_center().norm(dim=1, keepdim=True)
    torch.testing.assert_close(normals[:, 15, 22], towards, rtol=0, atol=0.1)
    for image in (depth, soft, normals):
        assert torch.autograd.grad(image.sum(), verts, retain_graph=True)[0].isfinite().all()


def test_splatter_blends_neighbours():
    meshes, cameras, (verts, _) = sphere_scene()
    shader = r.SplatterPhongShader(cameras=cameras, blend_params=r.BlendParams(sigma=0.5))
    image = r.MeshRenderer(r.MeshRasterizer(cameras, r.RasterizationSettings(24)), shader)(meshes)
    assert image.shape == (2, 24, 24, 4)
    assert torch.autograd.grad(image.sum(), verts)[0].isfinite().all()


@pytest.mark.parametrize("textures", [torch.float32, torch.float64])
@pytest.mark.parametrize("camera", [torch.float32, torch.float64])
@pytest.mark.parametrize("shader", [r.SoftPhongShader, r.SplatterPhongShader])
def test_images_have_the_dtype_of_the_vertices(shader, textures, camera):
    sphere = ico_sphere(0)
    meshes = Meshes(
        [sphere.verts_packed()], [sphere.faces_packed()], r.TexturesVertex([torch.rand(12, 3).to(textures)])
    )
    cameras = r.FoVPerspectiveCameras(T=torch.tensor([[0.0, 0.0, 2.7]], dtype=camera))
    assert cameras.T.dtype == camera
    shader = shader(cameras=cameras, blend_params=r.BlendParams(sigma=0.5))
    assert r.MeshRenderer(r.MeshRasterizer(cameras, r.RasterizationSettings(4)), shader)(meshes).dtype == torch.float32


def test_backfaces_are_culled():
    meshes, cameras, _ = sphere_scene()
    inside_out = Meshes(meshes.verts_list(), [f.flip(1) for f in meshes.faces_list()])
    settings = r.RasterizationSettings(16, cull_backfaces=True)
    front, back = (r.MeshRasterizer(cameras, settings)(m) for m in (meshes, inside_out))
    seen = front.pix_to_face[0, 8, 8, 0], back.pix_to_face[0, 8, 8, 0]
    assert front.zbuf[0, 8, 8, 0] + 1.5 < back.zbuf[0, 8, 8, 0]
    assert seen[0] != seen[1]


def test_no_camera_for_no_mesh():
    cameras = r.FoVPerspectiveCameras(R=torch.zeros(0, 3, 3), T=torch.zeros(0, 3))
    none = Meshes([], [], r.TexturesVertex([]))
    for shader in (r.SoftPhongShader(cameras=cameras), r.SoftSilhouetteShader(), r.HardDepthShader(cameras=cameras)):
        image = r.MeshRenderer(r.MeshRasterizer(cameras, r.RasterizationSettings(5)), shader)(none)
        assert image.shape[:3] == (0, 5, 5)
    one = ico_sphere(0)
    with pytest.raises(ValueError, match="cameras: expected 1 camera or one for each of the 1 meshes, got 0"):
        r.MeshRasterizer(cameras)(one)


def test_an_empty_batch_and_an_empty_mesh():
    _, cameras, _ = sphere_scene(1)
    empty = Meshes([torch.zeros(0, 3)], [torch.zeros(0, 3, dtype=torch.int64)], r.TexturesVertex([torch.zeros(0, 3)]))
    for shader in (r.SoftPhongShader(cameras=cameras), r.SoftSilhouetteShader()):
        image = r.MeshRenderer(r.MeshRasterizer(cameras, r.RasterizationSettings(5)), shader)(empty)
        assert image.shape == (1, 5, 5, 4)
        assert (image[..., 3] == 0).all()
        assert (image[..., :3] == 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": None}, "cameras: expected a camera, given to the rasterizer or to its call, got None"),
        ({"cameras": 3}, "cameras: expected 1 camera or one for each of the 2 meshes, got 3"),
        ({"sigma": 0.0}, "sigma: expected a number above 0, got 0.0"),
        ({"textures": None}, "meshes.textures: expected textures, got None"),
        ({"shader": r.HardGouraudShader}, "meshes.textures: expected TexturesVertex, got TexturesAtlas"),
    ],
)
def test_bad_input(change, message):
    meshes, cameras, _ = sphere_scene()
    if "textures" in change:
        meshes.textures = None
    if "shader" in change:
        meshes.textures = r.TexturesAtlas([torch.rand(320, 2, 2, 3)] * 2)
    if "cameras" in change:
        number = change["cameras"]
        cameras = None if number is None else r.FoVPerspectiveCameras(T=torch.rand(number, 3))
    blend = r.BlendParams(sigma=change.get("sigma", 1e-4))
    shader = change.get("shader", r.SoftPhongShader)(cameras=cameras, blend_params=blend)
    with pytest.raises(ValueError, match=message):
        r.MeshRenderer(r.MeshRasterizer(cameras, SOFT), shader)(meshes)


def test_fragments_of_other_meshes_are_refused():
    meshes, cameras, _ = sphere_scene()
    fragments = r.MeshRasterizer(cameras, SOFT)(meshes)
    shader = r.SoftPhongShader(cameras=cameras[0])
    other = Meshes([meshes.verts_list()[0]] * 2, [meshes.faces_list()[0][:5]] * 2, meshes.textures)
    with pytest.raises(ValueError, match="fragments: expected those of 1 meshes, got 2 images"):
        shader(fragments, meshes[0])
    with pytest.raises(ValueError, match="fragments: expected those of meshes with 10 faces, got those of 640 faces"):
        shader(fragments, other)
    by_hand = Fragments(fragments.pix_to_face, fragments.zbuf, fragments.bary_coords, fragments.dists)
    with pytest.raises(ValueError, match="fragments: expected those of 1 meshes, got 2 images"):
        shader(by_hand, meshes[0])


@pytest.mark.parametrize("shader", [r.SoftPhongShader, r.HardGouraudShader])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"lights": r.PointLights(location=torch.rand(3, 3))},
            r"lights\.\w+: expected 1 or 2 rows of \w numbers, got shape \(3, 3\)",
        ),
        ({"materials": r.Materials(shininess=torch.rand(3))}, r"materials\.\w+: expected 1 or 2 rows of \w"),
        (
            {"cameras": r.FoVPerspectiveCameras(T=torch.rand(3, 3))},
            "cameras: expected 1 camera or one for each of the 2",
        ),
        ({"zfar": torch.rand(3)}, "zfar: expected 1 or 2 rows of 1 numbers"),
    ],
)
def test_properties_of_another_number_of_images(shader, change, message):
    meshes, cameras, _ = sphere_scene()
    fragments = r.MeshRasterizer(cameras, SOFT)(meshes)
    with pytest.raises(ValueError, match=message):
        shader(cameras=cameras)(fragments, meshes, **change)


def test_assigned_properties_are_checked_at_use():
    meshes, cameras, _ = sphere_scene()
    lights = r.PointLights()
    renderer = r.MeshRenderer(r.MeshRasterizer(cameras, SOFT), r.SoftPhongShader(cameras=cameras, lights=lights))
    for wrong in (torch.zeros(1, 4), torch.zeros(1, 2), ((0.0, 1.0, 0.0),)):
        lights.location = wrong
        with pytest.raises(ValueError, match="lights.location: expected"):
            renderer(meshes)


def test_reading_fragments_without_grad_keeps_their_gradients():
    meshes, cameras, (verts, _) = sphere_scene()
    fragments = r.MeshRasterizer(cameras, SOFT)(meshes)
    with torch.no_grad():
        assert fragments.zbuf.max() > 1
        assert len(fragments.packed.dists)
    assert torch.autograd.grad(fragments.zbuf.sum() + fragments.packed.dists.sum(), verts)[0].any()


def test_fields_of_fragments_can_be_assigned():
    meshes, cameras, _ = sphere_scene()
    fragments = r.MeshRasterizer(cameras, SOFT)(meshes)
    shader = r.SoftPhongShader(cameras=cameras)
    before = shader(fragments, meshes)
    fragments.bary_coords = fragments.bary_coords.flip(-1)
    assert fragments.packed is None
    assert (shader(fragments, meshes) - before).abs().max() > 1e-3
    assert Fragments(fragments.pix_to_face, fragments.zbuf, fragments.bary_coords).dists is None


def test_autocast_changes_nothing():
    meshes, cameras, (verts, _) = sphere_scene()
    renderer = r.MeshRenderer(r.MeshRasterizer(cameras, SOFT), r.SoftPhongShader(cameras=cameras))
    expected = renderer(meshes)
    with torch.autocast("cpu", torch.bfloat16):
        image = renderer(meshes)
        fragments = renderer.rasterizer(meshes)
        assert fragments.bary_coords.dtype == torch.float32
    assert torch.equal(image, expected)
    assert torch.autograd.grad(image.sum(), verts)[0].isfinite().all()


def test_a_camera_without_znear_does_not_look_at_the_rest_of_the_batch():
    near = torch.tensor([[-1.0, -1.0, 3.0], [1.0, -1.0, 3.0], [0.0, 1.0, 3.0], [0.0, 0.0, float("inf")]])
    far = torch.tensor([[0.0, 0.0, 1e5], [1.0, 0.0, 1e5], [0.0, 1.0, 1e5], [0.0, 0.0, float("nan")]])
    faces = torch.tensor([[0, 1, 2]])
    cameras = r.PerspectiveCameras()
    together = r.MeshRasterizer(cameras, r.RasterizationSettings(16))(Meshes([near, far], [faces, faces]))
    assert (together.pix_to_face[0] >= 0).sum() > 10


def test_a_mesh_beyond_zfar_has_the_colour_of_the_background_and_its_own_alpha():
    """As the documentation of ``zfar`` says: soft shaders put the background there."""
    mesh = ico_sphere(2)
    mesh.textures = r.TexturesVertex([torch.zeros_like(mesh.verts_packed())])
    R, T = r.look_at_view_transform(5.0)
    alphas = []
    for zfar, color in ((100.0, [0.0, 0.0, 0.0]), (3.0, [0.25, 0.5, 1.0])):
        cameras = r.FoVPerspectiveCameras(R=R, T=T, zfar=zfar)
        rasterizer = r.MeshRasterizer(cameras, r.RasterizationSettings(32))
        blend = r.BlendParams(background_color=(0.25, 0.5, 1.0))
        lights = r.AmbientLights()
        image = r.MeshRenderer(rasterizer, r.SoftPhongShader(cameras=cameras, lights=lights, blend_params=blend))(mesh)
        alphas.append(image[..., 3])
        seen = image[image[..., 3] > 0]
        torch.testing.assert_close(seen[:, :3], torch.tensor([color]).expand(len(seen), 3))
        assert image[0, 0, 0].tolist()[:3] == [0.25, 0.5, 1.0]
    assert torch.equal(*alphas)
    assert float(alphas[0].max()) > 0.9
