"""Faces with materials: values worked out by hand, and the kernel against its twin in torch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import tirender.renderer as r
from tirender.renderer.mesh import material_shader
from tirender.renderer.mesh.material import Material, TextureMap
from tirender.renderer.mesh.material_shader import MaterialShader
from tirender.renderer.mesh.material_table import MapTable
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.structures import Meshes
from tirender.utils import ico_sphere

CPU = torch.device("cpu")
RED, GREEN, BLUE = torch.eye(3).unbind()
QUAD_FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
CORNERS = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])  # uv of a quad's corners, u to the right and v up


def quad(material: Material, *, depth: float = 0.0, behind: bool = False, colors: torch.Tensor | None = None) -> Meshes:
    """A square that fills the picture, or seen from behind, with its texture coordinates as the viewer sees them."""
    xy = CORNERS * 2 - 1
    verts = torch.cat([-xy[:, :1], xy[:, 1:], torch.full((4, 1), depth)], 1)  # +X is left
    faces = QUAD_FACES.flip(1) if behind else QUAD_FACES
    given = {} if colors is None else {"colors": [colors], "faces_colors": [faces]}
    textures = TexturesMaterial([material], [torch.zeros(2).long()], [CORNERS], [faces[:, None]], **given)
    return Meshes([verts], [faces], textures)


def draw(mesh: Meshes, light: object = None, size: int = 4, background: tuple[float, ...] = (1.0, 1.0, 1.0), **camera):
    """(size, size, 4): an orthographic picture from -Z; without a light, colours are those of full ambient light."""
    cameras = r.FoVOrthographicCameras(T=torch.tensor([[0.0, 0.0, 5.0]]), **camera)
    lights = r.AmbientLights() if light is None else light
    rasterizer = r.MeshRasterizer(cameras, r.RasterizationSettings(size, faces_per_pixel=None))
    shader = MaterialShader(cameras=cameras, lights=lights, blend_params=r.BlendParams(background_color=background))
    return shader(rasterizer(mesh), mesh)[0]


def image_of(*texels: object) -> TextureMap:
    """A map of one row of texels."""
    return TextureMap(lambda: torch.stack([torch.as_tensor(t, dtype=torch.float32) for t in texels])[None])


@pytest.fixture(params=["kernel", "torch"])
def path(request, monkeypatch):
    """Both ways to draw."""
    if request.param == "torch":
        monkeypatch.setattr(material_shader, "_is_drawn_by_kernel", lambda meshes, scene: False)
    return request.param


def close(image: torch.Tensor, *rgb: float) -> bool:
    return bool(torch.allclose(image[..., :3], torch.tensor(rgb).float(), atol=1e-5))


@pytest.mark.usefixtures("path")
class TestValues:
    def test_factor_times_colour_times_map(self):
        material = Material(base_color=(0.5, 1.0, 0.25, 1.0), base_map=image_of((0.8, 0.5, 1.0)))
        colors = torch.tensor([[0.5, 0.4, 1.0, 1.0]]).expand(4, 4)
        assert close(draw(quad(material, colors=colors)), 0.2, 0.2, 0.25)
        assert close(draw(quad(Material(base_color=(0.5, 1.0, 0.25, 1.0)), colors=colors)), 0.25, 0.4, 0.25)

    def test_a_map_lies_with_u_to_the_right_and_its_first_row_on_top(self):
        rows = TextureMap(lambda: torch.stack([torch.stack([RED, GREEN]), torch.stack([BLUE, RED])]), nearest=True)
        image = draw(quad(Material(base_map=rows)), size=2)
        assert torch.equal(image[..., :3], torch.stack([torch.stack([RED, GREEN]), torch.stack([BLUE, RED])]))

    def test_a_transform_moves_the_map(self):
        left_right = image_of(RED, BLUE)
        moved = TextureMap(left_right.read, transform=torch.tensor([[1.0, 0, 0.5], [0, 1, 0]]).numpy(), nearest=True)
        image = draw(quad(Material(base_map=moved)), size=2)
        assert torch.equal(image[0, :, :3], torch.stack([BLUE, RED]))
        tiles = TextureMap(left_right.read, transform=torch.tensor([[2.0, 0, 0], [0, 1, 0]]).numpy(), nearest=True)
        assert torch.equal(draw(quad(Material(base_map=tiles)))[0, :, :3], torch.stack([RED, BLUE] * 2))
        clamped = TextureMap(tiles.read, wrap=("clamp", "clamp"), transform=tiles.transform, nearest=True)
        assert torch.equal(draw(quad(Material(base_map=clamped)))[0, :, :3], torch.stack([RED, BLUE, BLUE, BLUE]))

    def test_blended_faces_let_what_is_behind_through(self):
        glass = quad(Material(base_color=(1.0, 0, 0, 0.25), alpha_mode="blend"), depth=-1.0)
        wall = quad(Material(base_color=(0.0, 0, 1, 1)), depth=1.0)
        image = draw(glass)
        assert close(image, 1.0, 0.75, 0.75)
        assert torch.allclose(image[..., 3], torch.tensor(0.25))
        both = draw(_scene(wall, glass))
        assert close(both, 0.25, 0, 0.75)
        assert torch.allclose(both[..., 3], torch.tensor(1.0))
        two_panes = quad(Material(base_color=(0.0, 1, 0, 0.5), alpha_mode="blend"), depth=0.0)
        assert close(draw(_scene(glass, wall, two_panes)), 0.25, 0.75 * 0.5, 0.75 * 0.5)

    def test_alpha_of_map_and_colour_count_too(self):
        material = Material(base_color=(1.0, 1, 1, 0.8), base_map=image_of((0.0, 0, 0, 0.5)), alpha_mode="blend")
        colors = torch.tensor([[1.0, 1, 1, 0.5]]).expand(4, 4)
        assert torch.allclose(draw(quad(material, colors=colors))[..., 3], torch.tensor(0.2))

    @pytest.mark.parametrize(("alpha", "cutoff", "drawn"), [(0.49, 0.5, 0.0), (0.51, 0.5, 1.0), (0.3, 0.25, 1.0)])
    def test_masked_faces_are_there_or_not(self, alpha, cutoff, drawn):
        material = Material(base_map=image_of((0.2, 0.4, 0.6, alpha)), alpha_mode="mask", alpha_cutoff=cutoff)
        image = draw(quad(material), background=(1.0, 1.0, 0.0))
        assert (image[..., 3] == drawn).all()
        assert close(image, 0.2, 0.4, 0.6) if drawn else close(image, 1, 1, 0)

    def test_opaque_faces_ignore_alpha(self):
        image = draw(quad(Material(base_map=image_of((0.2, 0.4, 0.6, 0.1)))))
        assert close(image, 0.2, 0.4, 0.6)
        assert (image[..., 3] == 1).all()

    def test_emission_is_added_and_needs_no_light(self):
        dark = r.AmbientLights(ambient_color=[[0.0, 0, 0]])
        material = Material(emission=(0.5, 2.0, 1.0), emission_map=image_of((1.0, 0.25, 0.5)))
        assert close(draw(quad(material), dark), 0.5, 0.5, 0.5)

    def test_unlit_faces_show_their_colour(self):
        dark = r.AmbientLights(ambient_color=[[0.0, 0, 0]])
        assert close(
            draw(quad(Material(base_color=(0.3, 0.6, 0.9, 1), emission=(1, 1, 1), unlit=True)), dark), 0.3, 0.6, 0.9
        )

    def test_occlusion_dims_ambient_light_alone(self):
        ambient = r.AmbientLights(ambient_color=[[0.8, 0.8, 0.8]])
        material = Material(occlusion_map=image_of((0.5, 0, 0)), occlusion_strength=0.5)
        assert close(draw(quad(material), ambient), *[0.8 * 0.75] * 3)
        lamp = r.DirectionalLights([[0.0] * 3], [[0.6] * 3], [[0.0] * 3], [[0.0, 0.0, -1.0]])
        assert close(draw(quad(material), lamp), 0.6, 0.6, 0.6)

    def test_double_sided_faces_are_lit_from_the_side_that_is_seen(self):
        lamp = r.DirectionalLights([[0.1] * 3], [[0.5] * 3], [[0.0] * 3], [[0.0, 0.0, -1.0]])
        for double_sided, expected in ((True, 0.6), (None, 0.6), (False, 0.1)):
            material = Material(double_sided=double_sided)
            assert close(draw(quad(material), lamp), 0.6, 0.6, 0.6)
            assert close(draw(quad(material, behind=True), lamp), *[expected] * 3)

    def test_highlights_have_the_material_s_colour_and_exponent(self):
        lamp = r.DirectionalLights([[0.0] * 3], [[0.0] * 3], [[1.0] * 3], [[0.0, 0.6, -0.8]])
        image = draw(quad(Material(specular=(0.5, 0.25, 0.0), shininess=2.0)), lamp, size=1)
        cosine = 0.8  # of the mirrored light and the view, in the picture's centre
        assert close(image, 0.5 * cosine**2, 0.25 * cosine**2, 0)

    def test_faces_without_coordinates_show_the_plain_colour(self):
        material = Material(base_map=image_of(RED), base_color=(1.0, 1, 1, 1), unmapped_color=(0.0, 0.5, 0.0))
        mesh = quad(material)
        mesh.textures = TexturesMaterial(
            [material], [torch.zeros(2).long()], [CORNERS], [torch.tensor([[[0, 1, 2]], [[-1, -1, -1]]])]
        )
        pixels = draw(mesh, size=8)[..., :3].reshape(-1, 3).unique(dim=0)
        assert torch.equal(pixels, torch.tensor([[0.0, 0.5, 0.0], [1.0, 0.0, 0.0]]))

    def test_faces_without_a_material_are_white(self):
        mesh = quad(Material())
        mesh.textures = TexturesMaterial([], [torch.full((2,), -1)])
        assert close(draw(mesh, background=(0.0, 0, 0)), 1, 1, 1)


def _scene(*meshes: Meshes) -> Meshes:
    from tirender.structures import join_meshes_as_batch, join_meshes_as_scene

    return join_meshes_as_scene(join_meshes_as_batch(list(meshes)))


LAMPS = {"right": (-1.0, 0, 0), "up": (0.0, 1, 0), "viewer": (0.0, 0, -1)}


@pytest.mark.parametrize(
    ("texel", "lamp", "expected"),
    [
        ((0.5, 0.5, 1.0), "viewer", 1.0),
        ((1.0, 0.5, 0.5), "right", 1.0),
        ((1.0, 0.5, 0.5), "up", 0.0),
        ((0.5, 1.0, 0.5), "up", 1.0),
        ((0.5, 0.0, 0.5), "up", 0.0),
        ((0.5 + 0.5 * 0.6, 0.5, 0.5 + 0.5 * 0.8), "right", 0.6),
        ((0.5 + 0.5 * 0.6, 0.5, 0.5 + 0.5 * 0.8), "viewer", 0.8),
    ],
)
@pytest.mark.parametrize("turned", [0, 1, 2, 3])
@pytest.mark.usefixtures("path")
def test_a_normal_map_bends_the_normal_along_u_and_v(texel, lamp, expected, turned):
    """Also where the texture is turned on the quad by quarters, and the map's coordinates turned back."""
    lights = r.DirectionalLights([[0.0] * 3], [[1.0] * 3], [[0.0] * 3], [LAMPS[lamp]])
    material = Material(normal_map=image_of(texel))
    assert close(draw(quad(material), lights), *[expected] * 3)
    angle = torch.tensor(turned * torch.pi / 2)
    matrix = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    back = TextureMap(material.normal_map.read, transform=torch.cat([matrix.T, torch.zeros(2, 1)], 1).numpy())
    mesh = quad(Material(normal_map=back))
    mesh.textures = TexturesMaterial(
        mesh.textures.materials, [torch.zeros(2).long()], [CORNERS @ matrix.T], [QUAD_FACES[:, None]]
    )
    assert close(draw(mesh, lights), *[expected] * 3)


@pytest.mark.usefixtures("path")
def test_the_scale_of_a_normal_map_stretches_its_x_and_y():
    lights = r.DirectionalLights([[0.0] * 3], [[1.0] * 3], [[0.0] * 3], [LAMPS["right"]])
    material = Material(normal_map=image_of((0.8, 0.5, 0.9)), normal_scale=2.0)
    assert close(draw(quad(material), lights), *[1.2 / (1.2**2 + 0.8**2) ** 0.5] * 3)


def random_scene() -> tuple[Meshes, r.FoVPerspectiveCameras, r.PointLights]:
    """Two spheres with materials of all kinds, different tables each."""
    g = torch.Generator().manual_seed(0)
    picture, other = torch.rand(8, 6, 4, generator=g), torch.rand(5, 9, 3, generator=g)
    materials = [
        Material(
            base_map=TextureMap(lambda: picture, wrap=("repeat", "mirror")),
            base_color=(1, 0.5, 0.8, 0.9),
            alpha_mode="blend",
        ),
        Material(emission=(0.1, 0.2, 0), emission_map=TextureMap(lambda: other, nearest=True, uv_set=1)),
        Material(alpha_mode="mask", base_map=TextureMap(lambda: picture, wrap=("clamp", "repeat")), alpha_cutoff=0.4),
        Material(unlit=True, base_color=(0, 1, 0, 1)),
        Material(
            occlusion_map=TextureMap(lambda: other),
            occlusion_strength=0.7,
            double_sided=False,
            shininess=10.0,
            specular=(1.0, 0, 0),
        ),
    ]
    meshes, fields = [], []
    for level in (2, 1):
        sphere = ico_sphere(level)
        verts, faces = sphere.verts_packed(), sphere.faces_packed()
        uvs = torch.cat([verts[:, :2] * 2, verts[:, 1:]])
        sets = torch.stack([faces, faces + len(verts)], 1)
        sets[torch.rand(len(faces), generator=g) < 0.1] = -1
        fields.append(
            [
                torch.randint(-1, 5, (len(faces),), generator=g),
                uvs,
                sets,
                torch.rand(len(verts), 4, generator=g),
                torch.where(torch.rand(len(faces), 1, generator=g) < 0.2, -1, faces),
            ]
        )
        meshes.append((verts, faces))
    textures = TexturesMaterial(materials, *(list(values) for values in zip(*fields)))
    R, T = r.look_at_view_transform(2.5, 20, torch.tensor([30.0, 80.0]))
    lights = r.PointLights(location=[[0, 2.0, 3]])
    verts, faces = zip(*meshes)
    return Meshes(list(verts), list(faces), textures), r.FoVPerspectiveCameras(R=R, T=T), lights


@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("mipmaps", [False, True])
@pytest.mark.parametrize("light", [r.PointLights, r.DirectionalLights, r.AmbientLights])
def test_the_kernel_draws_what_its_twin_does(monkeypatch, light, mipmaps, bent):
    mesh, cameras, _ = random_scene()
    if bent:
        texels = 0.5 + 0.3 * torch.rand(6, 7, 3, generator=torch.Generator().manual_seed(1))
        maps = [
            TextureMap(texels, wrap=("mirror", "repeat"), uv_set=i % 2) for i in range(len(mesh.textures.materials))
        ]
        changed = [replace(m, normal_map=found) for m, found in zip(mesh.textures.materials, maps)]
        mesh.textures.materials = (*changed[:-1], mesh.textures.materials[-1])
    size = (45, 35) if mipmaps else (90, 70)
    rasterizer = r.MeshRasterizer(cameras, r.RasterizationSettings(size, faces_per_pixel=None))
    shader = MaterialShader(
        mipmaps=mipmaps, cameras=cameras, lights=light(), blend_params=r.BlendParams(background_color=(0.2, 0.3, 0.4))
    )
    with torch.no_grad():
        fragments = rasterizer(mesh)
        ours = shader(fragments, mesh)
        monkeypatch.setattr(material_shader, "_is_drawn_by_kernel", lambda meshes, scene: False)
        twin = shader(fragments, mesh)
    torch.testing.assert_close(ours, twin, atol=1e-4, rtol=0)


def test_gradients_reach_vertices_colours_and_lights():
    mesh, cameras, lights = random_scene()
    verts = mesh.verts_packed().clone().requires_grad_()
    colors = [t.clone().requires_grad_() for t in mesh.textures._colors]
    lights.location = lights.location.clone().requires_grad_()
    textures = mesh.textures.clone()
    textures._colors = colors
    moved = Meshes(list(verts.split(mesh.num_verts_per_mesh().tolist())), mesh.faces_list(), textures)
    settings = r.RasterizationSettings((40, 30), faces_per_pixel=None)
    image = MaterialShader(cameras=cameras, lights=lights)(r.MeshRasterizer(cameras, settings)(moved), moved)
    for grad in torch.autograd.grad(image.square().sum(), [verts, *colors, lights.location]):
        assert grad.isfinite().all()
        assert grad.any()


def test_a_mesh_cut_at_the_near_plane_is_drawn(monkeypatch):
    material = Material(base_map=image_of(RED, BLUE))
    mesh = quad(material)
    R, T = r.look_at_view_transform(eye=((0.3, 0.2, -0.4),), at=((0.3, 0.0, 0.6),))
    cameras = r.FoVPerspectiveCameras(znear=0.5, R=R, T=T)
    verts = torch.stack([mesh.verts_packed()[:, 0], mesh.verts_packed()[:, 2] - 0.3, mesh.verts_packed()[:, 1]], 1)
    floor = mesh.update_padded(verts[None])
    fragments = r.MeshRasterizer(cameras, r.RasterizationSettings(32, faces_per_pixel=None))(floor)
    assert fragments.rasterization.clipping is not None
    image = MaterialShader(cameras=cameras, lights=r.AmbientLights())(fragments, floor)[0]
    seen = image[image[..., 3] == 1]
    assert len(seen) > 50
    torch.testing.assert_close(seen[:, 0] + seen[:, 2], torch.ones(len(seen)))  # red, blue and mixtures


def test_batches_scenes_and_parts_keep_their_materials():
    mesh, _, _ = random_scene()
    expected = mesh.textures.faces_verts_textures_packed()
    twice = mesh.extend(2)
    n = mesh.num_faces_per_mesh().tolist()
    parts = twice.textures.faces_verts_textures_packed().split([n[0], n[0], n[1], n[1]])
    assert torch.equal(torch.cat([parts[0], parts[2]]), expected)
    assert torch.equal(mesh[1].textures.faces_verts_textures_packed(), expected[n[0] :])
    assert torch.equal(mesh.textures.join_scene().faces_verts_textures_packed(), expected)
    white = Meshes([torch.rand(3, 3)], [torch.tensor([[0, 1, 2]])], TexturesMaterial([], [torch.tensor([-1])]))
    joined = white.textures.join_batch([mesh.textures])
    assert torch.equal(joined.faces_verts_textures_packed(), torch.cat([torch.ones(1, 3, 3), expected]))
    ids = torch.tensor([5, 2, 7])
    part = mesh.submeshes([[ids], []])
    assert torch.equal(part.textures.faces_verts_textures_packed(), expected[ids])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TexturesMaterial([], [torch.tensor([0, 1])]), "faces_material: expected indices of the 0 materials"),
        (
            lambda: TexturesMaterial(
                [Material()], [torch.tensor([0])], [CORNERS[:0]], [torch.zeros(1, 1, 3, dtype=torch.long)]
            ),
            "faces_uvs: expected indices of the 0 rows of verts_uvs, got 0",
        ),
        (
            lambda: MapTable.of([Material(base_map=TextureMap(torch.rand(1, 1, 3), uv_set=-1))], CPU),
            "base_map.uv_set: expected an integer of 0 or more, got -1",
        ),
        *(
            (
                lambda image=image: MapTable.of([Material(normal_map=TextureMap(image))], CPU),
                r"normal_map.image: expected floats \(H, W, 3\) or \(H, W, 4\), got",
            )
            for image in (torch.rand(0, 1, 3), torch.rand(2, 2, 1), torch.rand(2, 3), torch.zeros(2, 2, 3).byte())
        ),
        (
            lambda: TexturesMaterial([Material()], [torch.tensor([-2])]),
            "faces_material: expected indices of materials, or -1",
        ),
        (
            lambda: TexturesMaterial([Material()], [torch.tensor([0])], [CORNERS], [torch.tensor([[[0, 1, 4]]])]),
            "faces_uvs: expected indices of the 4 rows of verts_uvs, got 4",
        ),
        (
            lambda: TexturesMaterial([Material()], [torch.tensor([0])], colors=[torch.rand(2, 4)]),
            "faces_colors: expected a value, as colors",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_fragments_made_by_hand_are_refused():
    mesh = quad(Material())
    fragments = r.MeshRasterizer(r.FoVOrthographicCameras(), r.RasterizationSettings(4))(mesh)
    by_hand = type(fragments)(fragments.pix_to_face, fragments.zbuf, fragments.bary_coords, fragments.dists)
    with pytest.raises(ValueError, match="fragments: expected those of a rasterizer, got fragments made by hand"):
        MaterialShader(cameras=r.FoVOrthographicCameras())(by_hand, mesh)


@pytest.mark.usefixtures("path")
class TestSides:
    """Of a sphere from outside, one side is seen: whether both are lit must not matter, whatever camera looks."""

    @pytest.mark.parametrize("flat", [False, True])
    @pytest.mark.parametrize("camera", [r.FoVPerspectiveCameras, r.FoVOrthographicCameras, r.OrthographicCameras])
    def test_the_side_that_is_seen_is_the_front(self, camera, flat):
        R, T = r.look_at_view_transform(1.6, 20, 30)
        cameras, lights = camera(R=R, T=T), r.DirectionalLights(direction=[[1.0, 2, 3]])
        images = []
        for double_sided in (False, True):
            sphere = ico_sphere(2)
            sphere.textures = TexturesMaterial(
                [Material(double_sided=double_sided)], [torch.zeros(320, dtype=torch.int64)]
            )
            fragments = r.MeshRasterizer(cameras, r.RasterizationSettings(32))(sphere)
            images.append(MaterialShader(flat, cameras=cameras, lights=lights)(fragments, sphere))
        assert torch.equal(*images)

    @pytest.mark.parametrize("flat", [False, True])
    @pytest.mark.parametrize("behind", [False, True])
    @pytest.mark.parametrize(
        ("outwards", "double_sided", "lit"), [(True, None, True), (False, None, True), (False, False, False)]
    )
    def test_normals_say_which_side_is_the_front(self, flat, behind, outwards, double_sided, lit):
        """A lamp at the viewer; faces of either winding, whose normals point to the viewer or away."""
        square = quad(Material(double_sided=double_sided), behind=behind)
        normal = torch.tensor([[0.0, 0.0, -1.0 if outwards else 1.0]])
        rows = [torch.zeros(2, 3, dtype=torch.int64)]
        square = Meshes(
            square.verts_list(),
            square.faces_list(),
            square.textures,
            corner_normals=[normal],
            faces_corner_normals=rows,
        )
        cameras = r.FoVOrthographicCameras(T=torch.tensor([[0.0, 0.0, 5.0]]))
        lights = r.DirectionalLights([[0.1] * 3], [[0.8] * 3], [[0.0] * 3], [[0.0, 0.0, -1.0]])
        fragments = r.MeshRasterizer(cameras, r.RasterizationSettings(4))(square)
        image = MaterialShader(flat, cameras=cameras, lights=lights)(fragments, square)
        assert close(image, *[0.9 if lit else 0.1] * 3)


class TestGouraud:
    def test_light_at_the_corners_is_interpolated(self):
        """Of three corners, one faces the lamp, one stands across it, one half way: 0.1 + 0.8 (1, 0, 0.5)."""
        verts = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]])
        normals = torch.tensor([[0.0, 0, -1], [1, 0, 0], [3**0.5 / 2, 0, -0.5]])
        faces = torch.tensor([[0, 1, 2]])
        textures = TexturesMaterial([Material(emission=(0.0, 0.25, 0.0))], [torch.zeros(1, dtype=torch.int64)])
        mesh = Meshes([verts], [faces], textures, corner_normals=[normals], faces_corner_normals=[faces])
        cameras = r.FoVOrthographicCameras(T=torch.tensor([[0.0, 0.0, 5.0]]))
        lights = r.DirectionalLights([[0.1] * 3], [[0.8] * 3], [[0.0] * 3], [[0.0, 0.0, -1.0]])
        fragments = r.MeshRasterizer(cameras, r.RasterizationSettings(65))(mesh)
        image = MaterialShader(gouraud=True, cameras=cameras, lights=lights)(fragments, mesh)
        bary = fragments.bary_coords[..., 0, :]
        expected = (bary @ torch.tensor([0.9, 0.1, 0.5]))[..., None] + torch.tensor([0.0, 0.25, 0.0])
        seen = fragments.pix_to_face[..., 0] >= 0
        torch.testing.assert_close(image[..., :3][seen], expected[seen])
        assert int(seen.sum()) > 1000

    def test_both_sides_and_transparency_count(self):
        see_through = Material(base_color=(1.0, 0.0, 0.0, 0.25), alpha_mode="blend")
        cameras, lights = r.FoVOrthographicCameras(T=torch.tensor([[0.0, 0.0, 5.0]])), r.AmbientLights()
        lamp = r.DirectionalLights([[0.0] * 3], [[1.0] * 3], [[0.0] * 3], [[0.0, 0.0, -1.0]])
        for behind in (False, True):
            mesh = quad(see_through, behind=behind)
            fragments = r.MeshRasterizer(cameras, r.RasterizationSettings(4, faces_per_pixel=None))(mesh)
            for light in (lights, lamp):
                image = MaterialShader(gouraud=True, cameras=cameras, lights=light)(fragments, mesh)
                assert close(image, 1.0, 0.75, 0.75)

    def test_images_have_their_own_lights_and_other_textures_do_too(self):
        spheres = ico_sphere(1).extend(2)
        spheres.textures = r.TexturesVertex([torch.ones(42, 3)] * 2)
        R, T = r.look_at_view_transform(3.0, 0.0, torch.tensor([0.0, 90.0]))
        cameras = r.FoVPerspectiveCameras(R=R, T=T)
        lights = r.DirectionalLights([[0.0] * 3], [[1.0] * 3], [[0.0] * 3], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        images = {}
        for textures in (r.TexturesVertex([torch.ones(42, 3)] * 2), r.TexturesAtlas([torch.ones(80, 1, 1, 3)] * 2)):
            spheres.textures = textures
            fragments = r.MeshRasterizer(cameras, r.RasterizationSettings(32))(spheres)
            images[type(textures)] = MaterialShader(gouraud=True, cameras=cameras, lights=lights)(fragments, spheres)
        expected = r.HardGouraudShader(cameras=cameras, lights=lights)(fragments, _white(spheres))
        for image in images.values():
            torch.testing.assert_close(image[..., :3], expected[..., :3], atol=1e-5, rtol=0)


def _white(meshes: Meshes) -> Meshes:
    meshes = meshes.clone()
    meshes.textures = r.TexturesVertex([torch.ones_like(v) for v in meshes.verts_list()])
    return meshes


def test_gradients_of_the_background_alone():
    background = torch.tensor([0.2, 0.4, 0.6], requires_grad=True)
    image = draw(quad(Material(base_color=(1.0, 1.0, 1.0, 0.25), alpha_mode="blend")), background=background)
    image[..., :3].sum().backward()
    torch.testing.assert_close(background.grad, torch.full((3,), 16 * 0.75))


def test_gradients_of_given_corner_normals_alone():
    mesh = quad(Material())
    normals = torch.nn.functional.normalize(torch.tensor([[0.3, 0.2, -1.0]]).repeat(4, 1), dim=1).requires_grad_()
    light = r.PointLights(location=[[1.0, 2.0, -3.0]])

    def lit() -> torch.Tensor:
        with_normals = Meshes(
            mesh.verts_list(),
            mesh.faces_list(),
            mesh.textures,
            corner_normals=[normals],
            faces_corner_normals=[QUAD_FACES],
        )
        with torch.no_grad():
            draw(with_normals, light)  # what a picture without gradients keeps does not take them from the next
        first = draw(with_normals, light)
        with torch.no_grad():
            normals.mul_(torch.tensor([1.0, 1.0, 0.5]))
        assert not torch.equal(draw(with_normals, light), first)
        return draw(with_normals, light)[..., :3].sum()

    lit().backward()
    assert normals.grad.abs().sum() > 0


@pytest.mark.parametrize("n_sets", [0, 2])
def test_empty_textures_can_be_joined(n_sets: int):
    empty = TexturesMaterial([], [])
    assert len(empty.join_batch([])) == 0
    sets = {"verts_uvs": [CORNERS], "faces_uvs": [QUAD_FACES[:, None].repeat(1, n_sets, 1)]} if n_sets else {}
    textures = TexturesMaterial([Material()], [torch.zeros(2).long()], **sets)
    for joined in (empty.join_batch([textures]), textures.join_batch([empty])):
        assert joined.packed().faces_uvs.shape == (2, n_sets, 3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"base_color": (1.0, 0.0, 0.0)}, "base_color: expected 4 numbers"),
        ({"emission": torch.ones(4)}, "emission"),
        ({"roughness": float("nan")}, "roughness: expected a finite number"),
        ({"metallic": torch.ones(2)}, "metallic"),
        ({"alpha_mode": "BLEND"}, "alpha_mode: expected 'opaque' or 'mask' or 'blend'"),
        ({"base_map": torch.rand(4, 4, 3)}, "base_map: expected TextureMap, got Tensor"),
    ],
)
def test_materials_that_cannot_be_are_named(given, expected):
    with pytest.raises(ValueError, match=expected):
        Material(**given)
