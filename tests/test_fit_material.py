"""The fit of materials and light: it comes nearer to both, is written, and is restored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tirender.cli import main
from tirender.fit import MaterialConfig, MaterialModel, fit_material, render_lit_views
from tirender.io import IO, load_environment
from tirender.renderer import Material, TextureMap, TexturesMaterial, TexturesVertex
from tirender.scenes import load_scene
from tirender.structures import Meshes
from tirender.utils import ico_sphere, torus


def ball(material: Material) -> Meshes:
    mesh = ico_sphere(3)
    verts, faces = mesh.verts_packed(), mesh.faces_packed()
    uvs = verts[:, :2] / 2 + 0.5
    textures = TexturesMaterial([material], [torch.zeros(len(faces)).long()], [uvs], [faces[:, None]])
    return Meshes([verts], [faces], textures, verts_normals=[verts])


def test_it_approaches_colour_roughness_and_light() -> None:
    red_green = torch.tensor([[[0.8, 0.2, 0.1], [0.2, 0.7, 0.3]]])
    mesh = ball(Material(base_map=TextureMap(red_green), metallic=1.0, roughness=0.25))
    views = render_lit_views(mesh, 6, 24)
    config = MaterialConfig(
        steps=40, lr=0.1, lr_light=0.15, decay=0.5, texture_size=4, environment_size=8, progress=False
    )
    run = fit_material(views, mesh, config)
    assert run.losses["rgb"] < 0.1 * run.history["rgb"][0]
    metallic, roughness = run.module.metallic_roughness[0, 0].tolist()
    assert metallic > 0.3  # from 0.1
    assert roughness < 0.42  # from 0.5
    colors = run.module.base_colors
    left, right = colors[2, 0], colors[2, -1]
    assert left[0] > left[1] + 0.1
    assert right[1] > right[0] + 0.1


def test_a_model_without_texture_coordinates_has_colours_at_vertices() -> None:
    mesh = ico_sphere(1)
    model = MaterialModel(mesh, MaterialConfig(environment_size=4))
    assert model.base_colors.shape == (len(mesh.verts_packed()), 3)
    assert model.metallic_roughness.shape == (1, 1, 2)
    restored = MaterialModel.restored(model.state_dict())
    assert torch.equal(restored.finished().verts_packed(), mesh.verts_packed())
    with pytest.raises(ValueError, match="state of a material"):
        MaterialModel.restored({"verts": torch.zeros(3, 3)})
    with pytest.raises(ValueError, match="surface_size: expected 1 for a mesh without texture coordinates, got 4"):
        MaterialModel(mesh, MaterialConfig(surface_size=4))


def test_the_command_writes_what_other_commands_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mesh = torus(0.4, 1.0, 12, 12)
    mesh.textures = TexturesVertex([mesh.verts_packed() / 3 + 0.5])
    IO().save_mesh(mesh, tmp_path / "ring.ply")
    out = tmp_path / "out"
    options = ["--steps", "3", "--size", "16", "--views", "4", "-o", str(out)]
    assert main(["fit", "material", str(tmp_path / "ring.ply"), *options]) == 0
    assert {"mesh.glb", "environment.hdr", "comparison.png"} <= {path.name for path in out.iterdir()}
    light = load_environment(out / "environment.hdr")
    assert light.shape == (128, 256, 3)
    assert 0.3 < float(light.mean()) < 2
    glb, fit = load_scene(out / "mesh.glb"), load_scene(out)
    assert glb.shaders[0] == fit.shaders[0] == "pbr"
    assert np.isclose(glb.scale, fit.scale, rtol=1e-3)  # both in the mesh's own units
    assert main(["fit", "material", str(tmp_path / "ring.ply"), "--mesh", "x.obj", "-o", str(tmp_path / "b")]) == 2
    assert "--mesh: expected photos" in capsys.readouterr().err
