"""The fused shading kernel, against the same mathematics in torch on the same fragments."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from conftest import random_scene, rasterization

from tirender.engine import runtime
from tirender.engine.kernels import mesh_shading as kernels
from tirender.engine.kernels.lanes import LANES
from tirender.engine.kernels.lighting import (
    AMBIENT,
    BACKGROUND,
    CAMERA,
    DIFFUSE,
    LIGHT,
    N_PARAMS,
    SHININESS,
    SPECULAR,
    ZFAR,
    ZNEAR,
)
from tirender.engine.kernels.mesh_shading_lanes import mesh_shading_lanes_forward
from tirender.engine.mesh_shading import PADDINGS, ShadingMode, SurfaceSource, TextureSource, padding_code, shade_mesh
from tirender.engine.packed_fragments import PackedFragments
from tirender.renderer.blending import BlendParams, hard_rgb_blend, softmax_rgb_blend
from tirender.renderer.lighting import AmbientLights, DirectionalLights, PointLights
from tirender.renderer.mesh.texture_maps import check_padding, pack_maps, sample_maps

SIZE = (14, 18)
SIGMA, GAMMA = 1e-3, 1e-2
LIGHTS = {"unlit": AmbientLights, "directional": DirectionalLights, "point": PointLights}
KINDS = {name: light.fused_kind for name, light in LIGHTS.items()}
TEXTURES = [
    ("vertex", "border", True),
    *(("bilinear", padding, align) for padding in PADDINGS for align in (True, False)),
    *(("bilinear", pair, False) for pair in (("repeat", "border"), ("reflection", "repeat"))),
    ("nearest", "border", True),
    ("nearest", "repeat", False),
    ("atlas", "border", True),
]


def vector(params, column):
    """The three columns of a colour or position among the parameters of an image."""
    return params[..., column : column + 3]


class Scene:
    """A random scene with every input of the kernel as a leaf."""

    def __init__(
        self, n_faces, *, light="point", kind="vertex", padding="border", align=True, dtype=torch.float32, flat=False
    ):
        g = torch.Generator().manual_seed(n_faces)
        self.light, self.kind, self.padding, self.align, self.flat = (
            light,
            kind,
            check_padding("", padding),
            align,
            flat,
        )
        self.verts, self.faces, self.image = random_scene(n_faces, dtype=dtype)
        n = len(self.verts)
        rand = lambda *shape: torch.rand(*shape, generator=g, dtype=dtype)  # noqa: E731
        rows = n_faces if flat else n
        self.positions, self.normals = rand(rows, 3) * 2 - 1, rand(rows, 3) - 0.5
        self.maps = [rand(5, 7, 3), rand(4, 4, 3)]
        self.coords = rand(n, 3) if kind == "vertex" else rand(n, 2) * 3 - 1
        if kind == "atlas":
            self.maps = [rand(3, 3, 3) for _ in range(n_faces)]
            self.coords = torch.eye(3, dtype=dtype)[:, :2].contiguous()
        self.packed_maps = pack_maps(self.maps)
        self.texels = self.packed_maps.texels
        self.map_index = (torch.arange(n_faces) % len(self.maps)).int()
        params = rand(2, N_PARAMS)
        params[:, SHININESS] = 5 + 3 * params[:, SHININESS]
        vector(params, CAMERA).mul_(4).sub_(6)
        vector(params, LIGHT).mul_(4).sub_(4)
        params[:, ZNEAR], params[:, ZFAR] = 1.0, 10.0
        if light == "unlit":
            params[:, DIFFUSE:ZNEAR] = 0
        self.params = params
        self.leaves = [self.verts, self.positions, self.normals, self.coords, self.texels, self.params]
        for leaf in self.leaves:
            leaf.requires_grad_()

    def fragments(self, *, k, perspective=True):
        return rasterization(
            self.verts,
            self.faces,
            self.image,
            image_size=SIZE,
            faces_per_pixel=k,
            blur_radius=0.004 if k != 1 else 0.0,
            perspective_correct=perspective,
            clip_barycentric_coords=k != 1,
        )

    def coord_faces(self):
        return torch.arange(3, dtype=torch.int32).expand(len(self.faces), 3) if self.kind == "atlas" else self.faces

    def texture(self, coords, texels):
        if self.kind == "vertex":
            return TextureSource("vertex", coords, self.coord_faces())
        layout = torch.cat([self.packed_maps.first_texel[:, None], self.packed_maps.size], 1).int()
        layout = F.pad(layout, (0, 1), value=padding_code(*self.padding))
        return TextureSource(self.kind, coords, self.coord_faces(), texels, layout, self.map_index, self.align)

    def fused(self, r, soft):
        return shade_mesh(
            r.triangles,
            r.mode,
            *r.selection(),
            SurfaceSource(self.positions, self.normals, self.faces, self.flat),
            self.texture(self.coords, self.texels),
            self.params,
            ShadingMode(KINDS[self.light], soft, SIGMA, GAMMA),
        )

    def twin(self, r, soft):
        packed, p = PackedFragments.of(r), self.params

        def interpolate(values, rows):
            corners = values.index_select(0, rows.long().index_select(0, packed.pix_to_face).flatten())
            return (packed.bary_coords[..., None] * corners.view(-1, 3, values.shape[1])).sum(1)

        texels = interpolate(self.coords, self.coord_faces())
        if self.kind in ("bilinear", "nearest"):
            maps = self.packed_maps._replace(texels=self.texels)
            index = self.map_index.long().index_select(0, packed.pix_to_face)
            texels = sample_maps(maps, index, texels, self.kind, self.padding, self.align)
        elif self.kind == "atlas":
            texels = self.atlas(packed)
        n = packed.image_index
        if self.flat:
            points, normals = (v.index_select(0, packed.pix_to_face) for v in (self.positions, self.normals))
        else:
            points, normals = (interpolate(v, self.faces) for v in (self.positions, self.normals))
        row = p.index_select(0, n)
        ambient = vector(row, AMBIENT)
        if self.light == "unlit":
            settings = {"ambient_color": ambient}
        else:
            place = "location" if self.light == "point" else "direction"
            settings = {"diffuse_color": vector(row, DIFFUSE), "specular_color": vector(row, SPECULAR)}
            settings[place] = vector(row, LIGHT)
        lights = LIGHTS[self.light](**settings)
        lit = (ambient + lights.diffuse(normals=normals, points=points)) * texels + lights.specular(
            normals=normals, points=points, camera_position=vector(row, CAMERA), shininess=row[:, SHININESS]
        )
        # the blends take one background: shift each image's to 0 and back
        blend = BlendParams(SIGMA, GAMMA, (0.0, 0.0, 0.0))
        background = vector(p, BACKGROUND)[:, None, None]
        shifted = lit - vector(row, BACKGROUND)
        if soft:
            out = softmax_rgb_blend(shifted, packed, blend, znear=p[:, ZNEAR], zfar=p[:, ZFAR])
        else:
            out = hard_rgb_blend(shifted, packed, blend)
        return out + F.pad(background.expand(-1, *SIZE, -1), (0, 1))

    def atlas(self, packed):
        b = packed.bary_coords.detach()[:, :2]
        cell = (b * 3).long().clamp(0, 2)
        cell = torch.where((b.sum(1) * 3 - cell.sum(1) > 1)[:, None], 2 - cell, cell)
        return self.texels.index_select(0, (packed.pix_to_face * 3 + cell[:, 1]) * 3 + cell[:, 0])


def compare(scene, *, soft, k, perspective=True, rtol=1e-6):
    """With the gradient in the parameters and without: there other kernels may do the same."""
    r = scene.fragments(k=k, perspective=perspective)
    for leaves in (scene.leaves, scene.leaves[:-1]):
        scene.params.requires_grad_(len(leaves) == len(scene.leaves))
        ours, expected = scene.fused(r, soft), scene.twin(r, soft)
        torch.testing.assert_close(ours, expected, rtol=rtol, atol=rtol)
        up = torch.randn_like(ours)
        gradients = zip(
            torch.autograd.grad(ours, leaves, up, allow_unused=True, retain_graph=True),
            torch.autograd.grad(expected, leaves, up, allow_unused=True, retain_graph=True),
        )
        for a, b in gradients:
            if a is None or b is None:  # an input that this kind does not read
                assert a is None or not a.any()
                assert b is None or not b.any()
                continue
            torch.testing.assert_close(a, b, rtol=100 * rtol, atol=10 * rtol * max(float(b.abs().max()), 1.0))


@pytest.mark.parametrize("sigma", [SIGMA, 1e7])  # at the second the coverage is a half, inside and outside
def test_coverage_in_single_precision_matches_the_twin(monkeypatch, sigma):
    monkeypatch.setattr("test_mesh_shading.SIGMA", sigma)
    compare(Scene(40), soft=True, k=6, rtol=1e-4)


@pytest.mark.parametrize("light", LIGHTS)
def test_pixels_of_many_fragments_in_single_precision_match_the_twin(monkeypatch, light):
    monkeypatch.setattr("test_mesh_shading.GAMMA", 10.0)  # all are seen
    scene = Scene(2000, light=light)
    assert int(scene.fragments(k=50).selection()[0].diff().max()) > 2 * LANES
    compare(scene, soft=True, k=50, rtol=1e-4)


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize(("kind", "padding", "align"), TEXTURES)
@pytest.mark.parametrize(("soft", "k"), [(True, 6), (False, 1)])
def test_textures_match_the_twin(kind, padding, align, soft, k):
    compare(Scene(60, kind=kind, padding=padding, align=align, dtype=torch.float64), soft=soft, k=k)


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(("soft", "k"), [(True, 6), (True, 1), (False, 3)])
def test_lights_match_the_twin(light, flat, soft, k):
    compare(Scene(80, light=light, flat=flat, dtype=torch.float64), soft=soft, k=k, perspective=False)


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize(("n_faces", "k"), [(60, 6), (2000, 50)])
def test_depths_that_count_backwards_match_the_twin(n_faces, k):
    """With zfar below znear the farthest face has the most weight, as orthographic cameras of PyTorch3D's users do."""
    scene = Scene(n_faces, dtype=torch.float64)
    with torch.no_grad():
        scene.params[0, ZNEAR], scene.params[0, ZFAR] = 10.0, -10.0  # the other image as ever
    compare(scene, soft=True, k=k)
    assert scene.fused(scene.fragments(k=6), True).isfinite().all()


@pytest.mark.parametrize("n_faces", [0, 1])
def test_few_faces(n_faces):
    scene = Scene(n_faces)
    scene.params.requires_grad_(False)
    r = scene.fragments(k=4)
    image = scene.fused(r, True)
    grads = torch.autograd.grad(image.sum(), scene.leaves[:4])
    assert all(g.isfinite().all() for g in grads)
    empty = image[..., 3] == 0
    assert torch.allclose(image[0][empty[0]][:, :3], vector(scene.params[0], BACKGROUND).expand(int(empty[0].sum()), 3))


@pytest.mark.parametrize(("soft", "with_grad"), [(True, True), (True, False), (False, True)])
def test_fragments_are_kept_for_soft_gradients_alone(monkeypatch, soft, with_grad):
    launched, launch = [], runtime.launch
    monkeypatch.setattr(runtime, "launch", lambda *args: launched.append(args) or launch(*args))
    scene = Scene(20)
    r = scene.fragments(k=4)
    with torch.set_grad_enabled(with_grad):
        scene.fused(r, soft)
    ((*_, pixels, weights, edges),) = [
        args for args in launched if args[0] in (kernels.mesh_shading_forward, mesh_shading_lanes_forward)
    ]
    n_pixels, n = (2 * SIZE[0] * SIZE[1], len(PackedFragments.of(r))) if soft and with_grad else (0, 0)
    assert [len(pixels), len(weights), len(edges)] == [n_pixels, n, n]


@pytest.mark.parametrize("kind", ["bilinear", "vertex"])
def test_repeats_are_equal_to_the_bit(kind):
    scene = Scene(300, kind=kind)
    scene.params.requires_grad_(kind == "bilinear")
    leaves = [leaf for leaf in scene.leaves if leaf.requires_grad]
    runs = []
    for _ in range(3):
        image = scene.fused(scene.fragments(k=8), True)
        grads = torch.autograd.grad(image.cos().sum(), leaves, allow_unused=True)
        runs.append([image, *(g for g in grads if g is not None)])
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run))


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck():
    scene = Scene(5, kind="bilinear", align=False, dtype=torch.float64)
    r = scene.fragments(k=3)
    selection = r.selection()
    assert len(selection[1]) > 15

    def image(*leaves):
        scene.verts, scene.positions, scene.normals, scene.coords, scene.texels, scene.params = leaves
        copy = type(r.triangles)(leaves[0], scene.faces, scene.image, 2)
        return shade_mesh(
            copy,
            r.mode,
            *selection,
            SurfaceSource(leaves[1], leaves[2], scene.faces),
            scene.texture(*leaves[3:5]),
            leaves[5],
            ShadingMode(KINDS["point"], True, 0.05, 0.5),
        )

    assert torch.autograd.gradcheck(image, tuple(scene.leaves), eps=1e-7, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("with_params", [True, False])
def test_a_black_hole_of_a_normal_and_a_light_at_the_surface_stay_finite(with_params):
    scene = Scene(40)
    scene.params.requires_grad_(with_params)
    with torch.no_grad():
        scene.normals.zero_()
        vector(scene.params, LIGHT)[:] = scene.positions[0]
        vector(scene.params, CAMERA)[:] = scene.positions[1]
        scene.params[:, SHININESS] = 0.5  # d/dx x ** 0.5 is infinite at 0
    image = scene.fused(scene.fragments(k=4), True)
    assert image.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(image.sum(), scene.leaves[:4]))
