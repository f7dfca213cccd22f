"""What is fitted: vertices that move, colours at vertices and in texture maps; baking one into the other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tirender.fit import DeformedMesh, TextureMap, VertexColors, Views, normalized, render_views
from tirender.fit.models import spherical_uvs
from tirender.fit.quality import image_psnr, silhouette_iou
from tirender.ops import sample_points_from_meshes
from tirender.renderer import HardFlatShader, MeshRasterizer, MeshRenderer, RasterizationSettings, TexturesVertex
from tirender.structures import Meshes, join_meshes_as_batch
from tirender.utils import ico_sphere, torus
from tirender.utils.bake_textures import bake_vertex_colors


def test_a_deformed_mesh_starts_as_its_source_and_moves() -> None:
    source = ico_sphere(1)
    module = DeformedMesh(source)
    assert torch.equal(module().verts_packed(), source.verts_packed())
    module().verts_packed().square().sum().backward()
    torch.testing.assert_close(module.deform_verts.grad, 2 * source.verts_packed())
    assert list(module.state_dict()) == ["deform_verts"]


def test_a_source_is_one_mesh() -> None:
    for bad in (join_meshes_as_batch([ico_sphere(0), ico_sphere(1)]), Meshes([torch.zeros(3, 3)], [torch.empty(0, 3)])):
        with pytest.raises(ValueError, match="source: expected one mesh with faces"):
            DeformedMesh(bad)


@pytest.mark.parametrize("kind", [VertexColors, TextureMap])
def test_colours_start_grey_and_have_gradients(kind: type) -> None:
    source = ico_sphere(2)
    module = DeformedMesh(source, kind(source))
    _, colors = sample_points_from_meshes(module(), 500, return_textures=True)
    assert torch.equal(colors, torch.full_like(colors, 0.5))
    colors.sum().backward()
    for parameter in module.textures.parameters():
        assert float(parameter.grad.sum()) == pytest.approx(1500, rel=1e-3)


@pytest.mark.parametrize("level", [0, 1, 3])
def test_a_texture_map_shows_directions(level: int) -> None:
    """A map of colours that are the direction: each point of the sphere gets its own, but for faces at a pole."""
    source = ico_sphere(level)
    textures = TextureMap(source, 256)
    u, v = torch.meshgrid(torch.linspace(0, 1, 512), torch.linspace(1, 0, 256), indexing="xy")
    verts_uvs, faces_uvs = spherical_uvs(source)
    assert verts_uvs.shape == (3 * len(source.faces_packed()), 2)
    assert faces_uvs.shape == source.faces_packed().shape
    assert verts_uvs.min() >= 0
    assert verts_uvs.max() <= 1
    corners = source.verts_packed()[source.faces_packed()].reshape(-1, 3)
    stretch = _stretch(source, verts_uvs)
    longitude, latitude = (u / stretch - 0.5) * 2 * torch.pi, (v - 0.5) * torch.pi
    direction = [longitude.sin() * latitude.cos(), latitude.sin(), longitude.cos() * latitude.cos()]
    with torch.no_grad():
        textures.levels[0].copy_(torch.stack(direction)[None] - 0.5)
    colors = textures().faces_verts_textures_packed(faces_packed=source.faces_packed()).reshape(-1, 3)
    assert (colors - corners).norm(dim=1).max() < 0.05


def _stretch(source: Meshes, verts_uvs: torch.Tensor) -> float:
    """The share of the map's width that is one turn."""
    corners = source.verts_packed()[source.faces_packed()].reshape(-1, 3)
    quarter = (corners[:, 0] / corners[:, 0].hypot(corners[:, 2]) > 0.999).nonzero()[:, 0]  # at +X, 3/4 of a turn
    return float(verts_uvs[quarter, 0].median() / 0.75)


def test_faces_of_a_texture_map_do_not_go_around_the_back() -> None:
    source = ico_sphere(4)
    verts_uvs, faces_uvs = spherical_uvs(source)
    width = verts_uvs[faces_uvs][..., 0].amax(1) - verts_uvs[faces_uvs][..., 0].amin(1)
    y = source.verts_packed()[source.faces_packed()][..., 1].abs().amax(1)
    assert width[y < 0.9].max() < 0.05
    assert width.max() < 0.6


def test_a_texture_map_is_at_least_two_texels() -> None:
    with pytest.raises(ValueError, match="size: expected at least 2 texels, got 1"):
        TextureMap(ico_sphere(0), 1)


@pytest.mark.parametrize("mesh", [ico_sphere(0), ico_sphere(2), torus(0.3, 1.0, 7, 9)], ids=["20", "320", "126"])
def test_baking_keeps_colours_exactly(mesh: Meshes) -> None:
    mesh = mesh.clone()
    mesh.textures = TexturesVertex([0.4 + 0.1 * torch.rand(len(mesh.verts_packed()), 3)])
    baked = mesh.clone()
    baked.textures = bake_vertex_colors(mesh)
    torch.manual_seed(1)
    points, colors = sample_points_from_meshes(mesh, 3000, return_textures=True)
    torch.manual_seed(1)
    baked_points, baked_colors = sample_points_from_meshes(baked, 3000, return_textures=True)
    assert torch.equal(points, baked_points)
    torch.testing.assert_close(baked_colors, colors, atol=1e-5, rtol=0)


def test_baking_full_colours_is_close() -> None:
    """Where the fourth texel of a square would leave [0, 1] it is cut off, which shows between two corners."""
    mesh = ico_sphere(3)
    mesh.textures = TexturesVertex(mesh.verts_padded() / 2 + 0.5)
    baked = mesh.clone()
    baked.textures = bake_vertex_colors(mesh)
    renderer = MeshRenderer(MeshRasterizer(raster_settings=RasterizationSettings(64)), HardFlatShader())
    assert image_psnr(baked, renderer, drawn_with(renderer, mesh, 64)) > 50


def drawn_with(renderer: MeshRenderer, mesh: Meshes, size: int) -> Views:
    views = render_views(mesh, 3, size)
    return replace(views, images=torch.cat([renderer(mesh, cameras=views.cameras[i])[..., :3] for i in range(3)]))


def test_what_cannot_be_baked() -> None:
    sphere = ico_sphere(0)
    with pytest.raises(ValueError, match="mesh.textures: expected TexturesVertex of 3 channels, got NoneType"):
        bake_vertex_colors(sphere)
    with pytest.raises(ValueError, match="mesh: expected one mesh with faces, got 2 with 40 faces"):
        bake_vertex_colors(sphere.extend(2))


def test_normalized_and_back() -> None:
    mesh = torus(0.3, 1.0, 7, 9).scale_verts(3.0).offset_verts(torch.tensor([1.0, 2, 3]))
    new, centre, scale = normalized(mesh)
    torch.testing.assert_close(new.verts_packed().mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    assert float(new.verts_packed().abs().max()) == pytest.approx(1)
    torch.testing.assert_close(new.scale_verts(scale).offset_verts(centre).verts_packed(), mesh.verts_packed())


def test_quality_of_the_truth_and_of_something_else() -> None:
    mesh = ico_sphere(2)
    mesh.textures = TexturesVertex(torch.full_like(mesh.verts_padded(), 0.5))
    renderer = MeshRenderer(MeshRasterizer(raster_settings=RasterizationSettings(32)), HardFlatShader())
    views = drawn_with(renderer, mesh, 32)
    assert silhouette_iou(mesh, renderer, views) == 1
    assert silhouette_iou(mesh.scale_verts(0.5), renderer, views) == pytest.approx(0.25, abs=0.03)
    assert silhouette_iou(mesh.scale_verts(0.001), renderer, views) == 0
    assert image_psnr(mesh, renderer, views) == pytest.approx(300)
    darker = replace(views, images=views.images - 0.1)
    assert image_psnr(mesh, renderer, darker) == pytest.approx(20)
    with pytest.raises(ValueError, match="views: expected images, got silhouettes only"):
        image_psnr(mesh, renderer, replace(views, images=None))
