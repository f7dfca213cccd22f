"""Metallic-roughness materials in pictures: a white furnace, lights, maps, and the kernel against its twin in torch."""

from __future__ import annotations

import math

import pytest
import torch

import tirender.renderer as r
from tirender.renderer.environment import cube_directions, cube_of, prefilter
from tirender.renderer.mesh import physical_shader
from tirender.renderer.mesh.material import Material, TextureMap
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.renderer.tone_mapping import decode_srgb, encode_srgb
from tirender.structures import Meshes, join_meshes_as_batch, join_meshes_as_scene
from tirender.utils import ico_sphere

DARK = [[0.0, 0.0, 0.0]]
CORNERS = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
QUAD_FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def ball(*materials: Material, level: int = 3) -> Meshes:
    """A sphere whose faces have the materials in turn, with longitude and latitude as texture coordinates."""
    sphere = ico_sphere(level)
    verts, faces = sphere.verts_packed(), sphere.faces_packed()
    uv = torch.stack([0.5 + torch.atan2(verts[:, 0], verts[:, 2]) / (2 * math.pi), verts[:, 1].acos() / math.pi], 1)
    which = torch.arange(len(faces)) % len(materials)
    textures = TexturesMaterial(materials, [which], [uv], [faces[:, None]])
    return Meshes([verts], [faces], textures, verts_normals=[verts])


def quad(material: Material, depth: float = 0.0) -> Meshes:
    """A square that fills the picture."""
    xy = CORNERS * 2 - 1
    verts = torch.cat([-xy[:, :1], xy[:, 1:], torch.full((4, 1), depth)], 1)
    textures = TexturesMaterial([material], [torch.zeros(2).long()], [CORNERS], [QUAD_FACES[:, None]])
    return Meshes([verts], [QUAD_FACES], textures)


def camera(size: int = 24, distance: float = 3.0, azimuth: float = 20.0):
    R, T = r.look_at_view_transform(distance, 15.0, azimuth)
    cameras = r.FoVPerspectiveCameras(R=R, T=T, fov=45.0)
    return cameras, r.MeshRasterizer(cameras, r.RasterizationSettings(size, faces_per_pixel=None))


def draw(mesh: Meshes, lights: object, cameras=None, **kwargs) -> torch.Tensor:
    cameras, rasterizer = cameras or camera()
    shader = r.PBRShader(lights, cameras=cameras, **{"tone_mapping": "linear", **kwargs})
    return shader(rasterizer(mesh), mesh)


def front():
    cameras = r.FoVOrthographicCameras(T=torch.tensor([[0.0, 0.0, 5.0]]))
    return cameras, r.MeshRasterizer(cameras, r.RasterizationSettings(4, faces_per_pixel=None))


def surroundings(size: int = 8, seed: int = 0, **kwargs) -> r.EnvironmentLights:
    radiance = torch.rand(6, size, size, 3, generator=torch.Generator().manual_seed(seed))
    return r.EnvironmentLights(radiance, **kwargs)


@pytest.fixture
def twin(monkeypatch):
    """Draws with the kernel, then in torch."""

    def both(*args, **kwargs) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            by_kernel = draw(*args, **kwargs)
            with monkeypatch.context() as patched:
                patched.setattr(physical_shader, "_wants_grad", lambda *of: True)
                return by_kernel, draw(*args, **kwargs)

    return both


def image(*size: int, channels: int = 3, seed: int = 0, **kwargs) -> TextureMap:
    texels = torch.rand(*size, channels, generator=torch.Generator().manual_seed(seed))
    return TextureMap(lambda: texels, **kwargs)


EVERYTHING = (
    Material(base_color=(0.8, 0.7, 0.9, 1.0), base_map=image(8, 8), metallic=0.9, roughness=0.7),
    Material(
        base_map=image(4, 8, channels=4, seed=1),
        metallic=1.0,
        roughness=1.0,
        metallic_roughness_map=image(8, 4, seed=2),
        normal_map=TextureMap(lambda: 0.5 + 0.3 * torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(3))),
        normal_scale=0.7,
        occlusion_map=image(4, 4, seed=4),
        occlusion_strength=0.6,
        emission=(0.5, 0.2, 2.0),
        emission_map=image(4, 4, seed=5, wrap=("mirror", "clamp")),
        alpha_mode="blend",
    ),
    Material(base_color=(0.3, 0.6, 0.2, 0.4), alpha_mode="mask", alpha_cutoff=0.3, double_sided=False),
    Material(base_color=(0.3, 0.6, 0.2, 0.4), unlit=True),
)


@pytest.mark.parametrize("metallic", [0.0, 1.0])
@pytest.mark.parametrize("roughness", [0.2, 0.6, 1.0])
def test_a_white_surface_in_white_surroundings_is_not_seen(roughness, metallic, twin):
    """The white furnace, within 2 %; and the twin to 1e-4."""
    white = r.EnvironmentLights(torch.ones(6, 8, 8, 3))
    for image in twin(ball(Material(metallic=metallic, roughness=roughness)), white):
        assert (image[..., :3] - 1).abs().max() < 0.02
    for image in twin(ball(Material(metallic=metallic, roughness=roughness)), r.AmbientLights()):
        assert (image[..., :3] - 1).abs().max() < 0.02
    if metallic and roughness == 1:
        lossy, _ = twin(ball(Material(metallic=1.0, roughness=1.0)), white, multiple_scattering=False)
        assert lossy[0, 12, 12, 0] < 0.75


@pytest.mark.parametrize("mipmaps", [False, True])
@pytest.mark.parametrize("tone_mapping", ["linear", "srgb", "neutral"])
def test_the_kernel_and_its_twin_draw_the_same(twin, tone_mapping, mipmaps):
    lamps = [
        surroundings().turned(50.0, (1.0, 2.0, 0.5)),
        r.PointLights([[0.1, 0.2, 0.1]], [[2.0, 1.5, 1.0]], location=[[1.0, 2.0, 2.0]]),
        r.DirectionalLights(DARK, [[0.5, 0.5, 1.0]], direction=[[-1.0, 0.5, 1.0]]),
    ]
    kernel, torch_image = twin(ball(*EVERYTHING), lamps, tone_mapping=tone_mapping, mipmaps=mipmaps, exposure=0.8)
    assert kernel.isfinite().all()
    assert (kernel - torch_image).abs().max() < 1e-4
    flat = twin(ball(*EVERYTHING), lamps, flat=True, multiple_scattering=False, shadows=64)
    assert (flat[0] - flat[1]).abs().max() < 1e-4


@pytest.mark.parametrize("light", [-0.1, float("nan"), float("inf")])
def test_light_that_is_no_light_is_refused_where_it_is_not_learned(light):
    with pytest.raises(ValueError, match="radiance: expected finite numbers of at least 0"):
        r.EnvironmentLights(torch.full((4, 8, 3), light))
    r.EnvironmentLights(torch.full((4, 8, 3), -0.1, requires_grad=True))  # a step of a fit may lead there


def test_normals_without_a_direction_see_nothing(twin):
    mesh = quad(Material(metallic=0.0, roughness=0.5))
    without = Meshes(mesh.verts_list(), mesh.faces_list(), mesh.textures, verts_normals=[torch.zeros(4, 3)])
    for seen in twin(without, surroundings(), front()):
        assert seen.isfinite().all()


def test_a_map_counts_where_its_factors_say_nothing(twin):
    rough_metal = TextureMap(torch.tensor([[[0.0, 0.7, 1.0]]]))
    mapped, said = Material(metallic_roughness_map=rough_metal), Material(metallic=1.0, roughness=0.7)
    for one, other in zip(twin(ball(mapped), surroundings()), twin(ball(said), surroundings())):
        assert torch.allclose(one, other, atol=1e-5)
    assert ball(mapped).textures.is_physical


def test_several_pictures_have_lights_and_cameras_of_their_own(twin):
    R, T = r.look_at_view_transform(3.0, 10.0, [0.0, 120.0])
    cameras = r.FoVPerspectiveCameras(R=R, T=T, fov=45.0)
    rasterizer = r.MeshRasterizer(cameras, r.RasterizationSettings(16, faces_per_pixel=1))
    lamp = r.DirectionalLights(DARK, [[1.0] * 3], direction=[[0.0, 0, 1], [1.0, 0, 0]])
    kernel, torch_image = twin(ball(Material(roughness=0.5)).extend(2), lamp, (cameras, rasterizer))
    assert (kernel - torch_image).abs().max() < 1e-4
    assert (kernel[0] - kernel[1]).abs().max() > 0.1


def test_surroundings_lie_where_the_picture_says():
    picture = torch.zeros(16, 32, 3)
    picture[:, 12:20, 0] = 1.0  # the middle is -Z
    picture[:, 20:28, 1] = 1.0  # +X on the right of it
    picture[:3] = torch.tensor([0.0, 0, 1.0])  # above is +Y
    towards = torch.eye(3).repeat_interleave(2, 0) * torch.tensor([1.0, -1.0] * 3)[:, None]  # +x -x +y -y +z -z
    maps = r.EnvironmentLights(picture, size=16).maps()
    found = maps.mirrored(towards, torch.zeros(6, 1))
    expected = torch.tensor([[0.0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]])
    sides = [0, 1, 2, 4, 5]
    assert torch.allclose(found[sides], expected[sides], atol=0.01)
    turned = r.EnvironmentLights(picture, size=16).turned(90.0)  # what was at -Z is now at -X
    seen = turned.maps().mirrored(towards @ turned.rotation.T, torch.zeros(6, 1))
    assert torch.allclose(seen[1], torch.tensor([1.0, 0, 0]), atol=0.01)


def test_maps_follow_the_light():
    lights = r.EnvironmentLights(torch.nn.Parameter(torch.ones(6, 4, 4, 3)))
    with torch.no_grad():
        first = lights.maps()
        assert lights.maps() is first
        lights.radiance.mul_(2)
        assert torch.allclose(lights.maps().levels[-1], torch.tensor(2.0))
        assert lights.double().maps().levels[0].dtype == torch.float64
        lights.radiance.data = torch.full((6, 4, 4, 3), 3.0)
        assert torch.allclose(lights.maps().levels[-1], torch.tensor(3.0))
    of_parts = r.EnvironmentLights(torch.ones(6, 4, 4, 3))
    for value in range(4):  # which may come to lie where another one was
        of_parts.radiance = torch.full((6, 4, 4, 3), float(value))
        if value != 2:
            assert torch.allclose(of_parts.maps().levels[-1], torch.tensor(float(value)))


def test_large_pictures_are_averaged():
    """Texels of the cube map are means, and all of the light arrives."""
    picture = torch.zeros(64, 128, 3)
    picture[::2, ::2] = 4.0
    assert abs(float(cube_of(picture, 4).mean()) - 1) < 0.1


def test_a_mirror_shows_the_surroundings():
    radiance = cube_directions(32).float().view(6, 32, 32, 3) / 2 + 0.5
    mesh = quad(Material(metallic=1.0, roughness=0.0))
    seen = draw(mesh, r.EnvironmentLights(radiance), front())[0, :, :, :3]
    assert torch.allclose(seen, torch.tensor([0.5, 0.5, 0.0]), atol=0.02)  # the camera looks along +Z, from -Z


def test_prefiltered_maps_are_means():
    y = cube_directions(32).float()[:, 1:2]
    maps = prefilter((1 + y).expand(-1, 3).reshape(6, 32, 32, 3).contiguous())
    up = torch.tensor([[0.0, 1.0, 0.0]])
    assert abs(float(maps.scattered(up)[0, 0]) - (1 + 2 / 3)) < 0.02  # the mean height, weighted by the cosine
    heights = [float(maps.mirrored(up, torch.tensor([[roughness]]))[0, 0]) for roughness in (0.0, 0.3, 0.6, 1.0)]
    assert heights == sorted(heights, reverse=True)
    constant = prefilter(torch.full((6, 16, 16, 3), 0.7))
    assert all(torch.allclose(level, torch.tensor(0.7)) for level in constant.levels)


def test_gradients_of_surroundings():
    generator = torch.Generator().manual_seed(1)
    radiance = torch.rand(6, 4, 4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    towards = torch.randn(3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    roughness = torch.tensor([[0.3], [0.7], [0.05]], dtype=torch.float64).requires_grad_()

    def look(radiance, towards, roughness):
        maps = prefilter(radiance)
        return maps.mirrored(towards, roughness), maps.scattered(towards)

    assert torch.autograd.gradcheck(look, (radiance, towards, roughness), fast_mode=True)
    picture = torch.rand(4, 8, 3, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: cube_of(p, 4), (picture,), fast_mode=True)


def test_all_maps_and_numbers_have_gradients():
    """In the direction of a random change, each gradient is the difference of the pictures."""
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> torch.Tensor:
        return (0.3 + 0.4 * torch.rand(shape, generator=generator)).requires_grad_()

    leaves = {
        "base": leaf(4), "base_map": leaf(8, 8, 3), "metallic": leaf(), "roughness": leaf(), "rough_map": leaf(4, 4, 3),
        "normal_map": leaf(4, 4, 3), "normal_scale": leaf(), "occlusion_map": leaf(4, 4, 3), "strength": leaf(),
        "emission": leaf(3), "emission_map": leaf(4, 4, 3), "radiance": leaf(6, 4, 4, 3), "lamp": leaf(1, 3),
        "place": leaf(1, 3), "intensity": leaf(),
    }  # fmt: skip

    # smooth, as maps have small steps at the edges of a cube
    leaves["radiance"] = (0.6 + 0.4 * cube_directions(8).float().view(6, 8, 8, 3)).requires_grad_()

    # nearly straight, as what looks away from the camera has edges too
    straight = torch.tensor([0.5, 0.5, 0.9]) + 0.1 * torch.rand(4, 4, 3, generator=generator)
    leaves["normal_map"] = straight.requires_grad_()

    def picture(values: dict[str, torch.Tensor], is_surrounded: bool = True) -> torch.Tensor:
        def as_map(name: str) -> TextureMap:
            return TextureMap(lambda: values[name])

        material = Material(
            base_color=values["base"],
            base_map=as_map("base_map"),
            metallic=values["metallic"],
            roughness=values["roughness"],
            metallic_roughness_map=as_map("rough_map"),
            normal_map=as_map("normal_map"),
            normal_scale=values["normal_scale"],
            occlusion_map=as_map("occlusion_map"),
            occlusion_strength=values["strength"],
            emission=values["emission"],
            emission_map=as_map("emission_map"),
        )
        lights = [
            r.EnvironmentLights(values["radiance"], intensity=values["intensity"]),
            r.PointLights(DARK, values["lamp"], location=values["place"] + torch.tensor([[1.0, 1.0, 2.0]])),
        ]
        return draw(ball(material, level=2), lights if is_surrounded else lights[1:])

    weights = torch.rand(1, 24, 24, 4, generator=generator)
    weights[..., 3] = 0
    for name, value in leaves.items():
        is_surrounded = name != "normal_map"  # which moves directions over those edges
        change, step = torch.randn(value.shape, generator=generator), 2e-3
        (grad,) = torch.autograd.grad((picture(leaves, is_surrounded) * weights).sum(), value)
        with torch.no_grad():
            low, high = (
                (picture({**leaves, name: value + s * change}, is_surrounded) * weights).sum() for s in (-step, step)
            )
        slope = float(high - low) / (2 * step)
        assert abs(float((grad * change).sum()) - slope) < 0.02 * abs(slope) + 0.05, name
        assert grad.isfinite().all()


def test_what_was_drawn_in_inference_mode_may_be_fitted_afterwards():
    material = Material(metallic=0.5, roughness=0.4, base_map=image(4, 4))
    mesh, lights = ball(material), surroundings(4)
    with torch.inference_mode():
        first = draw(mesh, lights)
    lights.radiance.requires_grad_()
    mesh.textures.materials = (Material(metallic=torch.tensor(0.5, requires_grad=True), base_map=image(4, 4)),)
    draw(mesh, lights).sum().backward()
    assert lights.radiance.grad.isfinite().all()
    assert mesh.textures.materials[0].metallic.grad.isfinite()
    with torch.no_grad():
        assert torch.allclose(draw(mesh, lights)[..., 3], first[..., 3])


def test_gradients_repeat_to_the_bit():
    radiance = torch.rand(6, 8, 8, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    texels = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    material = Material(base_map=TextureMap(lambda: texels), metallic=0.5, roughness=0.4)
    runs = [
        torch.autograd.grad(draw(ball(material), r.EnvironmentLights(radiance)).sum(), (radiance, texels)) for _ in "ab"
    ]
    assert all(torch.equal(a, b) for a, b in zip(*runs))


def test_colours_are_decoded_lit_and_encoded():
    grey = Material(base_color=(0.5, 0.25, 0.75, 1.0), roughness=1.0, metallic=0.0, unlit=True)
    linear = draw(quad(grey), [], front())[0, 0, 0, :3]
    assert torch.allclose(linear, decode_srgb(torch.tensor([0.5, 0.25, 0.75])), atol=1e-6)
    assert torch.allclose(
        draw(quad(grey), [], front(), tone_mapping="srgb")[0, 0, 0, :3], torch.tensor([0.5, 0.25, 0.75])
    )
    brighter = draw(quad(grey), [], front(), tone_mapping="srgb", exposure=1.5)[0, 0, 0, :3]
    assert torch.allclose(brighter, encode_srgb(1.5 * linear), atol=1e-5)


def test_the_background_is_as_given_and_alpha_blends_light():
    glass = Material(base_color=(1.0, 1.0, 1.0, 0.25), alpha_mode="blend", unlit=True)
    blend = r.BlendParams(background_color=(0.2, 0.4, 0.6))
    seen = draw(quad(glass), [], front(), tone_mapping="srgb", blend_params=blend)[0, 0, 0]
    assert torch.allclose(
        seen, torch.tensor([0.25 + 0.75 * 0.2, 0.25 + 0.75 * 0.4, 0.25 + 0.75 * 0.6, 0.25]), atol=1e-5
    )


def test_lamps_light_as_strongly_as_they_say():
    dull = quad(Material(base_color=(1.0, 1.0, 1.0, 1.0), metallic=0.0, roughness=1.0))
    lamps = [r.DirectionalLights(DARK, [[s] * 3], direction=[[0.0, 0.0, -1.0]]) for s in (1.0, 2.5)]
    one, both = draw(dull, lamps[0], front())[0, 0, 0, 0], draw(dull, lamps, front())[0, 0, 0, 0]
    assert abs(float(one) - 1) < 0.05
    assert torch.allclose(both, 3.5 * one)


@pytest.mark.parametrize(
    ("light", "visible"),  # and where the shadow shows beside the square
    [
        (r.PointLights(DARK, [[1.0] * 3], location=[[0.0, 0.0, -3.0]]), -0.7),
        (r.PointLights(DARK, [[1.0] * 3], location=[[0.0, 0.0, -0.5]]), -0.9),
        (r.DirectionalLights(DARK, [[1.0] * 3], direction=[[0.5, 0.0, -1.0]]), -0.9),
    ],
)
def test_shadows(light, visible):
    """A small square before a wall: under it no light arrives, beside it all of it does."""
    wall, small = quad(Material(roughness=1.0), depth=1.0), quad(Material(roughness=1.0), depth=0.0)
    small = small.scale_verts(0.2).offset_verts(torch.tensor([-0.4, 0.0, 0.0]))
    scene = join_meshes_as_scene(join_meshes_as_batch([wall, small]))
    cameras = r.FoVOrthographicCameras(T=torch.tensor([[0.0, 0.0, 5.0]]))
    view = cameras, r.MeshRasterizer(cameras, r.RasterizationSettings(40, faces_per_pixel=1))
    free, hard = draw(scene, light, view)[0, ..., 0], draw(scene, light, view, shadows=256)[0, ..., 0]
    soft = draw(scene, light, view, shadows=256, shadow_softness=3)[0, ..., 0]
    column = round((1 - visible) * 20 - 0.5)  # +X is left
    assert hard[20, column] == 0
    assert free[20, column] > 0.1
    lit = hard > 0
    assert torch.equal(hard[lit], free[lit])
    assert 0.6 < lit.float().mean() < 0.99
    assert ((soft > 0) & (soft < 0.98 * free)).sum() > 5


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match=r"radiance: .*cube map"):
        r.EnvironmentLights(torch.rand(5, 8, 8, 3))
    with pytest.raises(ValueError, match="size: .*power of 2"):
        r.EnvironmentLights(torch.rand(6, 12, 12, 3))
    with pytest.raises(ValueError, match="rotation"):
        r.EnvironmentLights(torch.rand(6, 8, 8, 3), torch.eye(4))
    with pytest.raises(ValueError, match="rotation: .*finite"):
        r.EnvironmentLights(torch.rand(6, 8, 8, 3), torch.full((3, 3), float("nan")))
    with pytest.raises(ValueError, match="radiance: .*finite"):
        r.EnvironmentLights(torch.full((6, 8, 8, 3), float("nan"))).maps()
    with pytest.raises(ValueError, match="lights: .*EnvironmentLights"):
        draw(quad(Material()), [object()], front())
    with pytest.raises(ValueError, match="at most one"):
        draw(quad(Material()), [surroundings(), surroundings()], front())
    with pytest.raises(ValueError, match="tone_mapping"):
        r.PBRShader(lights=[], tone_mapping="aces")
    for name, value in (
        ("exposure", -1.0),
        ("shadows", 64.5),
        ("shadows", 1 << 20),
        ("shadow_softness", -1),
        ("shadow_softness", 1000),
    ):
        with pytest.raises(ValueError, match=f"^{name}: "):
            r.PBRShader(lights=[], **{name: value})
    with pytest.raises(ValueError, match="^size: .*power of 2"):
        r.studio_lights(1 << 20)


def test_other_textures_are_dull_dielectrics():
    mesh = ico_sphere(2)
    mesh.textures = r.TexturesVertex([torch.full_like(mesh.verts_packed(), 0.5)])
    seen = draw(mesh, r.AmbientLights())
    assert torch.isfinite(seen).all()
    assert 0.15 < float(seen[0, 12, 12, 0]) < 0.3


def test_the_studio_is_kept_and_even():
    with torch.no_grad():
        seen = draw(ball(Material(roughness=0.8)), r.studio_lights())
    inside = seen[0][seen[0, ..., 3] == 1][:, :3]
    assert 1 < float(inside.max()) < 1.3
    assert 0.1 < float(inside.min()) < 0.3
    assert r.studio_lights().maps() is r.studio_lights().maps()
