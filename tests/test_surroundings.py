"""Scenes in surroundings: the default shader, how they stand and turn, and the options of commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gltf_files import GltfBuilder
from PIL import Image

from tirender.cli import main
from tirender.io import save_environment
from tirender.io.orientation import Orientation
from tirender.renderer import EnvironmentLights
from tirender.renderer.mesh.material import Material
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.scenes import Look, MeshScene
from tirender.scenes.viewer import Viewer
from tirender.structures import Meshes
from tirender.utils import ico_sphere
from tirender.vis.display import Event
from tirender.vis.orbit import OrbitCamera

RED_RIGHT = torch.zeros(16, 32, 3)
RED_RIGHT[:, 16:, 0] = 1.0  # the half with +X
RED_RIGHT[:8, :, 2] = 1.0  # the upper half


def ball(material: Material, orientation: Orientation | None = None) -> MeshScene:
    mesh = ico_sphere(3)
    verts, faces = mesh.verts_packed(), mesh.faces_packed()
    textures = TexturesMaterial([material], [torch.zeros(len(faces)).long()])
    return MeshScene(Meshes([verts], [faces], textures, verts_normals=[verts]), orientation=orientation)


CHALK = Material(metallic=0.0, roughness=1.0)


def drawn(scene: MeshScene, **look: object) -> torch.Tensor:
    cameras = OrbitCamera(azimuth=0.0, elevation=0.0, orientation=scene.orientation).cameras()
    given = {"environment": EnvironmentLights(RED_RIGHT, size=16), "background": (0.0, 0.0, 0.0), **look}
    return scene.render(cameras, Look((32, 32), **given))[0]


def test_materials_that_say_how_rough_they_are_are_drawn_so():
    assert ball(CHALK).shaders[0] == "pbr"
    assert set(ball(CHALK).shaders) == set(MeshScene.shaders)
    assert ball(Material()).shaders[0] == "phong"
    assert ball(Material(metallic=0.0, unlit=True)).shaders[0] == "phong"


@pytest.mark.parametrize("up", [((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0))])
def test_surroundings_stand_as_the_scene_does(up):
    picture = drawn(ball(CHALK, Orientation(*up)))
    left, right, above, below = picture[16, 6], picture[16, 26], picture[6, 16], picture[26, 16]
    assert right[0] > left[0] + 0.3  # from the front, +X is right
    assert above[2] > below[2] + 0.3
    turned = drawn(ball(CHALK, Orientation(*up)), environment_turn=180.0)
    assert torch.allclose(turned.flip(1)[..., 0], picture[..., 0], atol=0.05)


def test_exposure_and_a_lamp_add_light():
    plain = drawn(ball(CHALK), tone_mapping="srgb")
    assert drawn(ball(CHALK), tone_mapping="srgb", exposure=0.25)[16, 16].sum() < 0.7 * plain[16, 16].sum()
    lamp = drawn(ball(CHALK), tone_mapping="srgb", light=(0.0, 0.0, 3.0))
    assert lamp[16, 16, 1] > plain[16, 16, 1] + 0.5


def test_the_mouse_and_keys_turn_them():
    viewer = Viewer(ball(CHALK), environment=EnvironmentLights(RED_RIGHT, size=16), background=(0.0, 0.0, 0.0))
    viewer.camera.azimuth = viewer.camera.elevation = 0.0
    first = viewer.render((32, 32), 1)
    viewer.handle([Event("press", "control"), Event("press", "mouse_left", 0.0, 0.0), Event("move", "", 1.0, 0.0)])
    half_a_turn = viewer.render((32, 32), 1)
    assert torch.allclose(half_a_turn.flip(1)[..., 0], first[..., 0], atol=0.05)
    viewer.handle([Event("release", "mouse_left"), Event("release", "control"), Event("press", "k")])
    for _ in range(20):
        viewer.advance(0.1)  # at 90 degrees a second
    assert torch.allclose(viewer.render((32, 32), 1), first, atol=0.02)
    viewer.handle([Event("release", "k"), Event("press", "j")])
    viewer.advance(0.1)
    assert (viewer.render((32, 32), 1) - first).abs().max() > 0.02
    viewer.handle([Event("release", "j"), Event("press", "r")])
    viewer.camera.azimuth = viewer.camera.elevation = 0.0
    viewer.camera.distance = OrbitCamera().distance
    assert torch.allclose(viewer.render((32, 32), 1), first, atol=1e-5)


def test_options_of_render(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_environment(tmp_path / "sky.hdr", RED_RIGHT)
    file = tmp_path / "ball.glb"
    mesh = ico_sphere(2)
    builder = GltfBuilder()
    material = builder.add("materials", {"pbrMetallicRoughness": {"metallicFactor": 0.0}})
    indices = builder.array(mesh.faces_packed().flatten().numpy(), "u4")
    place = builder.array(mesh.verts_packed().numpy())
    builder.mesh({"attributes": {"POSITION": place}, "indices": indices, "material": material})
    file.write_bytes(builder.glb())
    options = ["-o", str(tmp_path / "out.png"), "--size", "32", "--azimuth", "0", "--background", "black"]
    assert main(["render", str(file), *options, "--environment", str(tmp_path / "sky.hdr")]) == 0
    red = np.asarray(Image.open(tmp_path / "out.png"))[16, 22]
    assert red[0] > 2 * red[1]
    assert main(["render", str(file), *options, "--exposure", "0"]) == 0
    assert np.asarray(Image.open(tmp_path / "out.png")).max() == 0
    assert main(["render", str(file), *options, "--shader", "phong", "--environment", str(tmp_path / "sky.hdr")]) == 2
    assert "--environment: expected --shader pbr" in capsys.readouterr().err
    for words in (("--environment-turn", "90"), ("--exposure", "2"), ("--tone-mapping", "srgb")):
        for shader in ("phong", "depth"):
            assert main(["render", str(file), *options[:-2], "--shader", shader, *words]) == 2
            assert f"{words[0]}: expected --shader pbr, got {shader}" in capsys.readouterr().err
