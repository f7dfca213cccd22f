"""Texture maps that are baked: where texels lie, what lies between charts, and every kind of fit as a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gltf_validator import assert_valid
from small_fits import FITS, config_of, run_small

from tirender.fit import fusion
from tirender.fit.baking import bake, bake_material, filled, unwrap
from tirender.fit.fusion import DepthPicture, fuse
from tirender.fit_kinds import KINDS
from tirender.io.files import write_file
from tirender.io.reading import read_mesh_file
from tirender.renderer import (
    FoVPerspectiveCameras,
    MeshRasterizer,
    RasterizationSettings,
    TexturesAtlas,
    TexturesMaterial,
    TexturesVertex,
    look_at_view_transform,
)
from tirender.renderer.mesh.material import Material, TextureMap
from tirender.scenes.converting import ConvertOptions, convert_fit
from tirender.scenes.export import ExportOptions
from tirender.scenes.fitted import RestoredFit, restored_fit
from tirender.structures import Meshes
from tirender.utils import ico_sphere

needs_xatlas = pytest.mark.usefixtures("xatlas")


@pytest.fixture
def xatlas() -> None:
    pytest.importorskip("xatlas", reason="xatlas is not installed: pip install 'tirender[bake]'")


def ball(level: int = 3) -> Meshes:
    mesh = ico_sphere(level)
    return Meshes(mesh.verts_list(), mesh.faces_list(), TexturesVertex([mesh.verts_packed() / 2 + 0.5]))


def colors_seen(mesh: Meshes, size: int = 96) -> torch.Tensor:
    """(4, H, W, 3): the colours of textures from four sides, without light."""
    R, T = look_at_view_transform(
        dist=2.7, elev=torch.tensor([0.0, 40, -50, 10]), azim=torch.tensor([0.0, 90, 170, 250])
    )
    rasterizer = MeshRasterizer(FoVPerspectiveCameras(R=R, T=T), RasterizationSettings(size, faces_per_pixel=1))
    meshes = mesh.extend(4)
    return meshes.sample_textures(rasterizer(meshes))[..., 0, :]


@needs_xatlas
@pytest.mark.parametrize("size", [128, 512])
def test_a_baked_map_looks_like_the_colours(size: int) -> None:
    mesh = ball()
    baked = mesh.clone()
    baked.textures = bake(mesh, size)
    assert baked.textures.maps_padded().shape == (1, size, size, 3)
    difference = (colors_seen(mesh) - colors_seen(baked)).abs()
    assert difference.max() < 4.0 / size  # the colours change by 1 from side to side; no seam shows
    assert isinstance(mesh.textures, TexturesVertex)


@needs_xatlas
def test_an_atlas_and_a_function(tmp_path: Path) -> None:
    mesh = ball(1)
    faces = Meshes(mesh.verts_list(), mesh.faces_list(), TexturesAtlas([torch.rand(80, 1, 1, 3)]))
    baked = bake(faces, 256)
    middle = baked.faces_verts_uvs_packed().mean(1)
    x, y = (middle * 256).long().clamp(max=255).unbind(1)
    found = baked.maps_padded()[0].flip(0)[y, x]
    assert torch.allclose(found, faces.textures.atlas_packed()[:, 0, 0], atol=1e-6)
    by_place = bake(mesh, 256, lambda t: (t.points / 2 + 0.5, torch.ones(len(t.points), dtype=torch.bool)))
    assert (by_place.maps_padded() - bake(mesh, 256).maps_padded()).abs().mean() < 1e-3


@needs_xatlas
def test_what_a_function_does_not_know_is_continued() -> None:
    def right_half(texels: object) -> tuple[torch.Tensor, torch.Tensor]:
        points = texels.points  # type: ignore[attr-defined]
        return torch.full_like(points, 0.25), points[:, 0] > 0

    assert torch.allclose(bake(ball(), 128, right_half).maps_padded(), torch.tensor(0.25))


@needs_xatlas
def test_charts_do_not_overlap() -> None:
    mesh = ball(2)
    uvs, faces = unwrap(mesh, 256)
    assert uvs.min() >= 0
    assert uvs.max() <= 1
    a, b, c = uvs[faces].unbind(1)
    area = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).abs().sum() / 2
    points = torch.rand(20000, 2, generator=torch.Generator().manual_seed(0))
    sides = [
        (q - p)[None, :, 0] * (points[:, None, 1] - p[None, :, 1])
        - (q - p)[None, :, 1] * (points[:, None, 0] - p[None, :, 0])
        for p, q in ((a, b), (b, c), (c, a))
    ]
    inside = torch.stack(sides).amin(0) > 0
    inside |= torch.stack(sides).amax(0) < 0
    hit = inside.sum(1)
    assert hit.max() == 1
    assert float(hit.float().mean()) == pytest.approx(float(area), abs=0.02)


def test_filled_continues_colours_and_keeps_what_is_known() -> None:
    image, mask = torch.rand(33, 20, 3), torch.zeros(33, 20)
    mask[3, 4] = mask[30, 15] = 1.0
    done = filled(image, mask)
    assert torch.equal(done[3, 4], image[3, 4])
    assert torch.equal(done[30, 15], image[30, 15])
    assert torch.allclose(done[2, 3], image[3, 4])
    assert torch.allclose(done[28, 15], image[30, 15])
    low, high = torch.minimum(image[3, 4], image[30, 15]), torch.maximum(image[3, 4], image[30, 15])
    assert (done >= low - 1e-6).all()
    assert (done <= high + 1e-6).all()
    assert torch.equal(filled(image, torch.zeros(33, 20)), torch.zeros(33, 20, 3))
    assert torch.equal(filled(image, torch.ones(33, 20)), image)


def colored_ball(*materials: Material) -> Meshes:
    """A ball with colours of vertices and these materials in turn."""
    mesh = ico_sphere(1)
    rgba = torch.cat([mesh.verts_packed() / 2 + 0.5, torch.ones(len(mesh.verts_packed()), 1)], 1)
    which = torch.arange(len(mesh.faces_packed())) % len(materials)
    textures = TexturesMaterial(materials, [which], colors=[rgba], faces_colors=mesh.faces_list())
    return Meshes(mesh.verts_list(), mesh.faces_list(), textures)


@needs_xatlas
def test_what_materials_agree_on_is_kept(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    brass = Material(metallic=0.9, roughness=0.25, double_sided=False)
    fit = RestoredFit(colored_ball(brass, replace(brass, name="other")))
    converted = convert_fit(fit, tmp_path / "brass.glb", ConvertOptions(ExportOptions(128)))
    write_file(converted.files[-1].path, converted.files[-1].chunks)
    (material,) = read_mesh_file(tmp_path / "brass.glb").materials
    assert (material.metallic, material.roughness, material.double_sided) == (0.9, 0.25, False)
    assert material.base_map is not None
    assert not recwarn.list


@needs_xatlas
def test_what_is_not_baked_is_told() -> None:
    shining = Material(
        roughness=0.5, metallic=1.0, emission=(1.0, 1.0, 1.0), emission_map=TextureMap(torch.zeros(1, 1, 3))
    )
    glass = Material(roughness=0.1, metallic=1.0, alpha_mode="blend", base_color=(1.0, 1.0, 1.0, 0.5))
    with pytest.warns(UserWarning, match="^m: emission map, roughness, transparency: only base colours are baked"):
        (material,) = bake_material(colored_ball(shining, glass), 64, "m").materials
    assert (material.metallic, material.roughness, material.emission) == (1.0, None, (0.0, 0.0, 0.0))


def test_depths_are_fused_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    R, T = look_at_view_transform(dist=2.7, elev=torch.tensor([0.0, 0, 0, 0, 90, -90]), azim=torch.arange(6) * 90.0)
    cameras = FoVPerspectiveCameras(R=R, T=T)
    found = MeshRasterizer(cameras, RasterizationSettings(48, faces_per_pixel=1))(ball(2).extend(6)).zbuf[..., 0]
    depths = torch.where(found < 0, torch.inf, found)
    pictures = [DepthPicture(cameras[i], torch.zeros(48, 48, 3), depths[i]) for i in range(6)]
    low, high = torch.full((3,), -1.2), torch.full((3,), 1.2)
    whole = fuse(pictures, low, high, 12)
    assert (whole.verts_packed().norm(dim=1) - 1).abs().max() < 0.25
    monkeypatch.setattr(fusion, "MOST_POINTS", 500)
    parts = fuse(pictures, low, high, 12)
    assert torch.equal(parts.faces_packed(), whole.faces_packed())
    assert torch.allclose(parts.verts_packed(), whole.verts_packed(), atol=1e-5)


@needs_xatlas
def test_bad_arguments() -> None:
    for mesh, size, message in (
        (ico_sphere(0), 64, "mesh: expected textures, or colors_at"),
        (ball(0), 8, "size: expected an integer of 16 or more"),
        (ball(0), 1 << 20, "size: expected at most 16384 texels"),
        (ball(0).extend(2), 64, "mesh: expected one mesh with faces"),
    ):
        with pytest.raises(ValueError, match=message):
            bake(mesh, size)


def test_without_xatlas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xatlas", None)
    with pytest.raises(ImportError, match=r"pip install 'tirender\[bake\]'"):
        bake(ball(0), 64)


@needs_xatlas
@pytest.mark.parametrize("size", [None, 64])
@pytest.mark.parametrize("name", [name for name in FITS if "splats" not in name])
def test_every_fit_becomes_a_file(tmp_path: Path, name: str, size: int | None) -> None:
    kind = FITS[name][0]
    run = run_small(name, 4)
    about = {"centre": [1.0, 2.0, 3.0], "scale": 2.0}
    fit = restored_fit(KINDS[kind].result(run.module), config_of(name, 4), about, run.module.state_dict())
    options = ConvertOptions(ExportOptions(size, 12, 1e-9))
    converted = convert_fit(fit, tmp_path / "fit.glb", options)
    write_file(converted.files[-1].path, converted.files[-1].chunks)
    assert_valid(tmp_path / "fit.glb")
    read = read_mesh_file(tmp_path / "fit.glb")
    assert np.abs(read.verts - [1.0, 2.0, 3.0]).max() < 4.0
    has_colors = kind not in ("mesh", "silhouette")
    has_map = any(material.base_map is not None for material in read.materials)
    assert has_map == (has_colors and (size is not None or name == "images uv"))
    assert (read.verts_rgba is not None) == (has_colors and not has_map)
    used = [read.materials[i] for i in read.used_materials()]
    assert [material.unlit for material in used] == [kind in ("volume", "nerf")]  # whose colours are light
