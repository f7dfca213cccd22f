"""The torch path from fragments to images, dense and packed, against PyTorch3D's images and gradients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from reference.rasterize import rasterize
from test_meshes import pytorch3d_slip

from tirender.renderer.blending import BlendParams, hard_rgb_blend, sigmoid_alpha_blend, softmax_rgb_blend
from tirender.renderer.cameras import FoVPerspectiveCameras
from tirender.renderer.lighting import AmbientLights, DirectionalLights, PointLights
from tirender.renderer.materials import Materials
from tirender.renderer.mesh.shading import (
    _phong_shading_with_pixels,
    flat_shading,
    gouraud_shading,
    phong_shading,
)
from tirender.renderer.mesh.textures import TexturesAtlas, TexturesUV, TexturesVertex
from tirender.structures import Meshes
from tirender.structures.fragments import Fragments, PackedFragments

CASES = sorted((Path(__file__).parent / "data" / "reference" / "mesh_render").glob("*.npz"))
LIGHTS = {"point": PointLights, "directional": DirectionalLights, "ambient": AmbientLights}


def pack(dense):
    """The packed fragments of dense ones."""
    filled = dense.pix_to_face >= 0
    offsets = torch.cat((torch.zeros(1, dtype=torch.long), filled.sum(-1).flatten().cumsum(0))).int()
    n, height, width, _ = filled.shape
    return PackedFragments(
        n,
        (height, width),
        lambda: (offsets, dense.pix_to_face[filled]),
        lambda: (dense.zbuf[filled], dense.bary_coords[filled], dense.dists[filled]),
    )


def see(meshes, cameras, *, image_size, blur_radius=0.0, faces_per_pixel=1, perspective_correct=True):
    """Dense fragments of the meshes, one an image."""
    view = cameras.get_world_to_view_transform().transform_points(meshes.verts_padded())
    projection = cameras.get_projection_transform().compose(cameras.get_ndc_camera_transform())
    ndc = projection.transform_points(view)
    verts = torch.cat((ndc[..., :2], view[..., 2:]), -1)
    counts = [len(f) for f in meshes.faces_list()]
    first = np.cumsum([0, *counts[:-1]])
    packed_verts = torch.cat([v[: len(w)] for v, w in zip(verts, meshes.verts_list())])
    return Fragments(
        *rasterize(
            packed_verts,
            meshes.faces_packed(),
            first,
            counts,
            (image_size, image_size),
            blur_radius=blur_radius,
            faces_per_pixel=faces_per_pixel,
            perspective_correct=perspective_correct,
            clip_barycentric_coords=blur_radius > 0,
        )
    )


def load(path, dtype=torch.float32):
    data = np.load(path)
    meta = json.loads(str(data["meta"]))

    def tensor(name):
        value = torch.from_numpy(data[name])
        return value.to(dtype) if value.is_floating_point() else value

    verts, texture = tensor("in_verts").requires_grad_(), tensor("in_texture").requires_grad_()
    faces = tensor("in_faces")
    if meta["texture"] == "uv":
        textures = TexturesUV(texture, [faces], [tensor("in_verts_uvs")])
    else:
        textures = TexturesVertex(texture) if meta["texture"] == "vertex" else TexturesAtlas([texture])
    meshes = Meshes([verts], [faces], textures).extend(2)
    cameras = FoVPerspectiveCameras(R=tensor("in_R"), T=tensor("in_T"))
    lights = LIGHTS[meta["lights"]](**{k: [v] for k, v in meta["light_args"].items()})
    materials = Materials(specular_color=[meta["materials"]["specular_color"]], shininess=20.0)
    return data, meta, verts, texture, meshes, cameras, lights, materials, BlendParams(**meta["blend"])


def shade(shader, meshes, seen, cameras, lights, materials, blend_params):
    """PyTorch3D's shaders, composed from the functions under test."""
    if shader == "SoftSilhouetteShader":
        return sigmoid_alpha_blend(torch.ones_like(seen.bary_coords), seen, blend_params)
    if "Gouraud" in shader:
        colors = gouraud_shading(meshes, seen, lights, cameras, materials)
    else:
        light = flat_shading if "Flat" in shader else phong_shading
        colors = light(meshes, seen, lights, cameras, materials, meshes.sample_textures(seen))
    if shader.startswith("Soft"):
        return softmax_rgb_blend(colors, seen, blend_params, znear=cameras.znear, zfar=cameras.zfar)
    return hard_rgb_blend(colors, seen, blend_params)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_matches_pytorch3d(path):
    data, meta, verts, texture, meshes, cameras, lights, materials, blend_params = load(path)
    dense = see(meshes, cameras, **meta["raster"])
    if "Gouraud" in path.stem:
        # Vertex 40 is lit at exactly 90 degrees, where diffuse light has a kink: take PyTorch3D's side of it.
        assert torch.equal(meshes.verts_packed()[40], torch.tensor([1.0, 0.0, 0.0]))
        torch.testing.assert_close(lights.location, torch.tensor([[1.0, 2.0, -2.0]]))
        lights.location = torch.tensor([[1.0 - 1e-6, 2.0, -2.0]])
    for seen in (dense, pack(dense)):
        image = shade(meta["shader"], meshes, seen, cameras, lights, materials, blend_params)
        torch.testing.assert_close(image, torch.from_numpy(data["out_image"]), rtol=1e-4, atol=1e-5)
        grad_verts, grad_texture, grad_normals = torch.autograd.grad(
            image,
            (verts, texture, meshes.faces_normals_packed()),
            torch.from_numpy(data["up_image"]),
            retain_graph=True,
            allow_unused=True,
        )
        for name, grad in (("grad_verts", grad_verts), ("grad_texture", grad_texture)):
            if name in data:
                expected = torch.from_numpy(data[name])
                if name == "grad_verts" and "Flat" in path.stem:
                    expected[:, 2] -= pytorch3d_slip(meshes.detach(), grad_normals).view(2, -1).sum(0)
                torch.testing.assert_close(grad, expected, rtol=1e-3, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("shader", ["HardPhong", "SoftPhong", "SoftGouraud", "HardFlat"])
def test_a_light_and_a_material_for_each_image(shader):
    """Batched parameters give what each image gives with its own; packed and dense agree, with gradients."""
    data, meta, verts, _, meshes, cameras, _, _, blend_params = load(CASES[2], torch.float64)
    location = torch.tensor([[1.0, 2.0, -2.0], [-2.0, 1.0, 3.0]], requires_grad=True)
    shininess = torch.tensor([5.0, 30.0], requires_grad=True)
    lights, materials = PointLights(location=location), Materials(shininess=shininess)
    seen = see(meshes, cameras, image_size=24, blur_radius=1e-3, faces_per_pixel=4)
    images = shade(shader, meshes, seen, cameras, lights, materials, blend_params)
    packed = shade(shader, meshes, pack(seen), cameras, lights, materials, blend_params)
    torch.testing.assert_close(packed, images)
    up = torch.rand(images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    leaves = (verts, location, shininess)
    for a, b in zip(*(torch.autograd.grad(x, leaves, up, retain_graph=True) for x in (images, packed)), strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b)
    for i in (0, 1):
        camera = FoVPerspectiveCameras(R=cameras.R[i : i + 1], T=cameras.T[i : i + 1])
        light, material = PointLights(location=location[i : i + 1]), Materials(shininess=shininess[i : i + 1])
        alone = see(meshes[i], camera, image_size=24, blur_radius=1e-3, faces_per_pixel=4)
        image = shade(shader, meshes[i], alone, camera, light, material, blend_params)
        torch.testing.assert_close(image[0], images[i])


def test_two_runs_are_equal_to_the_bit():
    def run():
        data, meta, verts, texture, *scene, blend_params = load(
            next(p for p in CASES if p.stem == "SoftPhongShader_uv_point")
        )
        meshes, cameras, lights, materials = scene
        seen = see(meshes, cameras, **meta["raster"])
        image = shade("SoftPhongShader", meshes, seen, cameras, lights, materials, blend_params)
        return (image, *torch.autograd.grad(image, (verts, texture), torch.from_numpy(data["up_image"])))

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))


def test_phong_shading_gives_the_points_it_lit():
    *_, meshes, cameras, lights, materials, _ = load(CASES[2])
    seen = see(meshes, cameras, image_size=16)
    texels = meshes.sample_textures(seen)
    colors, points = _phong_shading_with_pixels(meshes, seen, lights, cameras, materials, texels)
    assert torch.equal(colors, phong_shading(meshes, seen, lights, cameras, materials, texels))
    hit = seen.pix_to_face[0] >= 0
    back = cameras.get_world_to_view_transform().transform_points(points.view(2, -1, 3)).view_as(points)
    torch.testing.assert_close(back[0][hit][:, 2], seen.zbuf[0][hit])


@pytest.mark.parametrize("shading", [flat_shading, phong_shading])
def test_degenerate_meshes_have_finite_gradients(shading):
    """Zero-area faces and unused vertices have zero normals; the light and the camera sit on a vertex."""
    verts = torch.tensor(
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [5.0, 5.0, 5.0]], requires_grad=True
    )
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 0, 0]])
    meshes = Meshes([verts], [faces], TexturesVertex(torch.rand(1, 5, 3)))
    cameras = FoVPerspectiveCameras(R=torch.eye(3)[None], T=torch.zeros(1, 3))
    seen = pack(
        Fragments(
            pix_to_face=torch.arange(3).view(1, 1, 3, 1),
            zbuf=torch.ones(1, 1, 3, 1),
            bary_coords=torch.tensor([1.0, 0.0, 0.0]).expand(1, 1, 3, 1, 3),
            dists=torch.zeros(1, 1, 3, 1),
        )
    )
    lights = PointLights(location=[[0.0, 0.0, 0.0]])
    colors = shading(meshes, seen, lights, cameras, Materials(shininess=0.5), meshes.sample_textures(seen))
    (grad,) = torch.autograd.grad(colors.sum(), verts)
    assert colors.isfinite().all()
    assert grad.isfinite().all()
    assert grad.abs().max() < 1e4


def test_no_fragments():
    *_, meshes, cameras, lights, materials, blend_params = load(CASES[2])
    zbuf, bary, dists = (torch.full((2, 3, 4, 2, *tail), -1.0) for tail in ((), (3,), ()))
    nothing = Fragments(torch.full((2, 3, 4, 2), -1), zbuf, bary, dists)
    for shader in ("SoftPhong", "HardFlat", "SoftGouraud"):
        for seen in (nothing, pack(nothing)):
            image = shade(shader, meshes, seen, cameras, lights, materials, blend_params)
            torch.testing.assert_close(image, torch.tensor([0.2, 0.4, 0.6, 0.0]).expand(2, 3, 4, 4))


def test_gouraud_needs_vertex_textures():
    *_, meshes, cameras, lights, materials, _ = load(next(p for p in CASES if "atlas" in p.stem))
    with pytest.raises(ValueError, match="meshes.textures: expected TexturesVertex, got TexturesAtlas"):
        gouraud_shading(meshes, see(meshes, cameras, image_size=8), lights, cameras, materials)
