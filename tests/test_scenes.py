"""Scenes: meshes, clouds, volumes and fits are loaded, placed and drawn alike."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tirender.cli import main
from tirender.fields import VolumeModel
from tirender.fit import save_checkpoint
from tirender.fit.nerf import NerfConfig
from tirender.fit.nerf_model import NerfModel
from tirender.fit.volume import VolumeConfig
from tirender.io import IO, save_ply, save_volume
from tirender.io.pluggable_formats import MeshFormatInterpreter, PointcloudFormatInterpreter
from tirender.renderer import (
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    TexturesUV,
    TexturesVertex,
    look_at_view_transform,
)
from tirender.scenes import CloudScene, FieldScene, Look, MeshScene, VolumeScene, load_scene, make_scene
from tirender.structures import Meshes, Pointclouds, Volumes
from tirender.utils import ico_sphere

DISC = np.pi / 4 * 3 / (2.1**2 - 1)  # of the image: the unit sphere from a distance of 2.1, with 60 degrees


def cameras(azimuth=(0.0,), distance: float = 2.1, elevation: float = 0.0) -> FoVPerspectiveCameras:
    R, T = look_at_view_transform(distance, elevation, torch.tensor(azimuth))
    return FoVPerspectiveCameras(R=R, T=T)


def cloud(n: int = 20000, colored: bool = True) -> Pointclouds:
    """A sphere of radius 3 away from the origin, its colours from its normals."""
    directions = F.normalize(torch.randn(n, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    features = [directions / 2 + 0.5] if colored else None
    return Pointclouds([3 * directions + torch.tensor([5.0, 6.0, 7.0])], features=features)


def volume(n: int = 32, inside: float = 0.9) -> Volumes:
    """A ball of radius 3 away from the origin, in a box that is larger; its colours are positions."""
    made = Volumes(torch.zeros(1, 1, n, n + 2, n + 4), voxel_size=8 / n, volume_translation=(-5.0, -6.0, -7.0))
    local = (made.get_coord_grid()[0] - torch.tensor([5.0, 6.0, 7.0])) / 3
    densities = inside * (local.norm(dim=-1) < 1).float()
    return made.update_padded(densities[None, None], local.movedim(-1, 0)[None] / 2 + 0.5)


def mesh() -> Meshes:
    made = ico_sphere(3)
    made.textures = TexturesVertex(made.verts_padded() / 2 + 0.5)
    return made.scale_verts(3.0).offset_verts(torch.tensor([5.0, 6.0, 7.0]))


THINGS = {"mesh": mesh, "cloud": cloud, "volume": volume}


@pytest.fixture(params=THINGS)
def scene(request):
    return make_scene(THINGS[request.param]())


def test_it_fills_the_same_disc(scene):
    image = scene.render(cameras(), Look((64, 64), "silhouette"))
    assert image.shape == (1, 64, 64, 3)
    assert float(image.mean()) == pytest.approx(DISC, abs=0.06)  # points are wider than the sphere
    middle = image[0, 24:40, 24:40]
    assert float(middle.min()) > 0.9  # without holes


def test_the_middle_has_the_colour_of_what_is_there(scene):
    looks = Look((33, 33), "flat" if isinstance(scene, MeshScene) else None)
    image = scene.render(cameras((0.0, 90.0)), looks)
    front, right = image[:, 16, 16].tolist()
    assert front[2] > max(front[0], front[1]) + 0.2  # +Z is blue ...
    assert right[0] > max(right[1], right[2]) + 0.2  # ... and +X red


def test_depth_falls_away_from_the_viewer(scene):
    image = scene.render(cameras(), Look((64, 64), "depth"))[0, ..., 0]
    assert float(image[32, 32]) > 0.9
    assert float(image[32, 6]) < float(image[32, 16]) < float(image[32, 32])
    assert float(image[0, 0]) == 0


def test_several_cameras_draw_what_each_draws(scene):
    look = Look((20, 30))
    both = scene.render(cameras((20.0, 140.0)), look)
    one = scene.render(cameras((140.0,)), look)
    assert both.shape == (2, 20, 30, 3)
    torch.testing.assert_close(both[1:], one, atol=2e-5, rtol=0)


def test_the_background_is_where_nothing_is(scene):
    image = scene.render(cameras(), Look((32, 32), background=(1.0, 0.5, 0.0)))
    assert image[0, 0, 0].tolist() == [1.0, 0.5, 0.0]
    assert 0 <= float(image.min()) <= float(image.max()) <= 1


def test_samples_are_averaged():
    scene = make_scene(mesh())
    fine = scene.render(cameras(), Look((32, 32), supersample=1))
    coarse = scene.render(cameras(), Look((16, 16), supersample=2))
    torch.testing.assert_close(coarse, fine.view(1, 16, 2, 16, 2, 3).mean((2, 4)))


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.0])
def test_from_inside_it_is_still_a_picture(scene, distance):
    R, T = look_at_view_transform(1.0, 0, 0)
    inside = FoVPerspectiveCameras(R=R, T=torch.tensor([[0.0, 0.0, distance]]))
    for shader in scene.shaders:
        assert bool(scene.render(inside, Look((16, 16), shader)).isfinite().all())


def test_orthographic_cameras_do_too(scene):
    R, T = look_at_view_transform(5.0, 0, 0)
    image = scene.render(FoVOrthographicCameras(R=R, T=T), Look((64, 64), "silhouette"))
    assert float(image.mean()) == pytest.approx(np.pi / 4, abs=0.06)


def test_points_are_discs_of_one_size_in_the_world():
    scene = CloudScene(Pointclouds([torch.tensor([[-1.0, 0, 0.6], [1.0, 0, -0.6]])], features=[torch.ones(2, 3)]))
    scene.radius = 0.08
    image = scene.render(cameras(), Look((200, 200), "silhouette", supersample=1))[0, ..., 0] > 0
    near, far = image[:, :100].sum(), image[:, 100:].sum()
    expected = ((2.1 + 0.6 / 1.36**0.5) / (2.1 - 0.6 / 1.36**0.5)) ** 2  # 1.36**0.5: how much smaller it is drawn
    assert float(near) / float(far) == pytest.approx(expected, rel=0.1)


def test_a_cloud_without_colours_is_coloured_by_height():
    image = make_scene(cloud(colored=False)).render(cameras(), Look((64, 64)))[0]
    low, high = image[54, 32], image[9, 32]
    assert float(low[2]) > float(low[0])
    assert float(high[0]) > float(high[2]) + 0.15


def test_the_opacity_of_a_voxel_s_width_is_its_density():
    made = Volumes(torch.full((1, 1, 9, 9, 9), 0.2), voxel_size=0.5)
    image = VolumeScene(made).render(cameras(distance=8.0), Look((65, 65), "silhouette"))
    assert float(image[0, 32, 32, 0]) == pytest.approx(1 - 0.8**9, abs=0.02)
    finer = VolumeScene(made, step=0.25).render(cameras(distance=8.0), Look((65, 65), "silhouette"))
    assert float(finer[0, 32, 32, 0]) == pytest.approx(1 - 0.8**18, abs=0.02)


@pytest.mark.parametrize("n_features", [None, 1, 2, 5])
def test_volumes_with_other_features(n_features):
    features = None if n_features is None else torch.full((1, n_features, 4, 4, 4), 0.25)
    image = make_scene(Volumes(torch.ones(1, 1, 4, 4, 4), features)).render(cameras(), Look((33, 33)))
    expected = 0.7 if features is None else 0.25
    torch.testing.assert_close(image[0, 16, 16], torch.full((3,), expected), atol=0.01, rtol=0)


def test_an_empty_volume_is_seen_through():
    image = make_scene(Volumes(torch.zeros(1, 1, 4, 4, 4))).render(cameras(), Look((16, 16)))
    assert (image == 1).all()


# --- files ---


def test_files_of_every_kind(tmp_path):
    IO().save_mesh(mesh(), tmp_path / "mesh.obj", include_textures=False)
    IO().save_mesh(mesh(), tmp_path / "mesh.PLY")
    IO().save_pointcloud(cloud(), tmp_path / "cloud.ply")
    IO().save_pointcloud(cloud(), tmp_path / "cloud.npz")
    save_volume(tmp_path / "volume.npz", volume())
    facts = {path.name: load_scene(path).facts for path in tmp_path.iterdir() if path.suffix != ".mtl"}
    assert facts == {
        "mesh.obj": "1280 faces",
        "mesh.PLY": "1280 faces",
        "cloud.ply": "20000 points",
        "cloud.npz": "20000 points",
        "volume.npz": "32 x 34 x 36 voxels",
    }


class Spheres(MeshFormatInterpreter):
    """A format of a user's own, as PyTorch3D has them: it overrides ``read`` and ``save`` alone."""

    def read(self, path, include_textures, device, path_manager=None, **kwargs):
        return mesh().to(device) if str(path).endswith(".sphere") else None

    def save(self, data, path, path_manager=None, binary=None, **kwargs):
        return False


class Dust(PointcloudFormatInterpreter):
    """Another, which says which endings it knows."""

    known_suffixes = (".dust",)

    def read(self, path, device, path_manager=None, **kwargs):
        return cloud().to(device) if str(path).endswith(self.known_suffixes) else None

    def save(self, data, path, path_manager=None, binary=None, **kwargs):
        return False


def test_formats_of_ones_own(tmp_path):
    registry = IO()
    registry.register_meshes_format(Spheres())
    registry.register_pointcloud_format(Dust())
    assert load_scene(tmp_path / "a.sphere", io=registry).facts == "1280 faces"
    assert load_scene(tmp_path / "a.dust", io=registry).facts == "20000 points"
    with pytest.raises(ValueError, match=r"FILE: expected one that ends in \.obj, .*, \.dust, \.splat, \.pt, or"):
        load_scene(tmp_path / "a.xyz", io=registry)
    (tmp_path / "a.sphere").touch()
    with pytest.raises(ValueError, match="FILE: expected one that ends in"):
        load_scene(tmp_path / "a.sphere")
    IO().save_mesh(mesh(), tmp_path / "mesh.ply")
    empty = IO(include_default_formats=False)
    with pytest.raises(ValueError, match=r"FILE: expected one that ends in \.splat, \.pt, or one of"):
        load_scene(tmp_path / "mesh.ply", io=empty)


@pytest.mark.parametrize(("kind", "args"), [("mesh", ()), ("images", ()), ("images", ("--texture", "uv"))])
def test_the_checkpoint_of_a_fit_is_the_fitted_mesh(tmp_path, kind, args):
    IO().save_mesh(mesh(), tmp_path / "mesh.ply")
    few = (
        "--steps",
        "3",
        "--level",
        "1",
        "--every",
        "9",
        *(() if kind == "mesh" else ("--views", "2", "--size", "16")),
    )
    out = tmp_path / "out"
    assert main(["fit", kind, str(tmp_path / "mesh.ply"), "-o", str(out), *few, *args]) == 0
    scene, written = load_scene(out), load_scene(out / "mesh.obj")
    torch.testing.assert_close(scene.mesh.verts_packed(), written.mesh.verts_packed(), atol=1e-4, rtol=0)
    if kind == "images":
        look = Look((24, 24), "flat")
        difference = (scene.render(cameras(), look) - written.render(cameras(), look)).abs()
        assert float(difference.mean()) < 0.01


def saved(folder, kind, config, module):
    """The path of a checkpoint of a fit with these settings that has come to this module."""
    settings = {**{k: v for k, v in vars(config).items() if k not in ("steps", "progress")}, "kind": kind}
    save_checkpoint(folder / "checkpoint.pt", {"settings": settings, "module": module.state_dict()})
    return folder


@pytest.mark.parametrize("size", [16, 32])  # 16: before it was refined
def test_the_checkpoint_of_a_volume(tmp_path, size):
    model = VolumeModel(lambda **_: None, [size] * 3, 3.0 / size)
    with torch.no_grad():
        inside = model.volumes().get_coord_grid()[0].norm(dim=-1) < 0.9
        model.log_densities.copy_(torch.where(inside, 5.0, -20.0))
    scene = load_scene(saved(tmp_path, "volume", VolumeConfig(volume_size=32), model))
    assert scene.facts == f"{size} x {size} x {size} voxels"
    image = scene.render(cameras(), Look((48, 48), "silhouette"))
    expected = np.pi / 4 * 3 * 0.81 / (2.1**2 - 0.81)
    assert expected < float(image.mean()) < 1.5 * expected  # voxels are wide


@pytest.mark.parametrize("field", ["harmonic", "hashgrid"])
def test_the_checkpoint_of_a_radiance_field(tmp_path, field):
    config = NerfConfig(field=field, n_pts_per_ray=24)
    model = NerfModel(config.make_field(), (8, 8), cameras(), config)
    scene = load_scene(saved(tmp_path, "nerf", config, model))
    assert re.fullmatch(r"a radiance field of \d+ numbers", scene.facts)
    for name, values in model.field.state_dict().items():
        assert torch.equal(scene.field.state_dict()[name], values)
    for shader in scene.shaders:
        image = scene.render(cameras((10.0, 200.0)), Look((8, 8), shader))
        assert image.shape == (2, 8, 8, 3)
        assert bool(image.isfinite().all())


@pytest.mark.parametrize("edges", ["hard", "antialias"])
@pytest.mark.parametrize("huge", ["vertex", "colours of vertices", "texture"])
def test_numbers_beyond_what_float32_computes_with_leave_a_picture(edges, huge):
    mesh = ico_sphere(2)
    verts, corners = mesh.verts_packed(), torch.rand(len(mesh.verts_packed()), 2)
    if huge == "vertex":
        mesh = mesh.update_padded(torch.cat([verts[:-1], verts[-1:] * 6e37])[None])
    elif huge == "texture":
        maps = torch.where(torch.rand(1, 8, 8, 3) < 0.5, -1e38, 3e38)
        mesh.textures = TexturesUV(maps, [mesh.faces_packed()], [corners])
    else:
        mesh.textures = TexturesVertex(torch.where(verts < 0, -3e38, 3e38)[None])
    R, T = look_at_view_transform(2.1, 10.0, 150.0)
    image = MeshScene(mesh).render(FoVPerspectiveCameras(R=R, T=T), Look((24, 24), supersample=1, edges=edges))
    assert image.isfinite().all()
    assert image.std() > 0


def test_a_field_is_drawn_where_it_is():
    class Ball(torch.nn.Module):
        """Opaque within the unit sphere; colours are positions."""

        def __init__(self) -> None:
            super().__init__()
            self.density = torch.nn.Parameter(torch.tensor(0.9))

        def forward(self, rays):
            points = rays.origins[..., None, :] + rays.lengths[..., None] * rays.directions[..., None, :]
            return self.density * (points.norm(dim=-1, keepdim=True) < 1), points / 2 + 0.5

    scene = FieldScene(Ball())
    assert float(scene.render(cameras(), Look((64, 64), "silhouette")).mean()) == pytest.approx(DISC, abs=0.03)
    front, right = scene.render(cameras((0.0, 90.0)), Look((33, 33)))[:, 16, 16].tolist()
    assert front == pytest.approx([0.5, 0.5, 1.0], abs=0.03)
    assert right == pytest.approx([1.0, 0.5, 0.5], abs=0.03)
    depth = scene.render(cameras(), Look((33, 33), "depth"))[0, :, 16, 0]
    assert float(depth[16]) > 0.97
    assert float(depth[0]) == 0
    assert 0.5 < float(depth[3]) < float(depth[8]) < float(depth[16])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scene.xyz", b"", r"FILE: expected one that ends in \.obj, .*, \.pt, .*, got '.*scene\.xyz'"),
        ("scene.npz", b"PK", "scene.npz: expected an undamaged .npz archive"),
        ("scene.pt", b"none", "checkpoint: expected an undamaged file, got .*scene.pt"),
        ("folder", None, "folder: expected a file, or the folder of a fit, with checkpoint.pt, got another folder"),
    ],
)
def test_files_that_are_none(tmp_path, name, content, message):
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_scene(tmp_path / name)


def test_nothing_to_see(tmp_path):
    save_ply(tmp_path / "empty.ply", torch.zeros(0, 3))
    with pytest.raises(ValueError, match="empty.ply: expected at least one point, got none"):
        load_scene(tmp_path / "empty.ply")
    save_ply(tmp_path / "one.ply", torch.ones(5, 3))
    with pytest.raises(ValueError, match="one.ply: expected finite points that are not all one"):
        load_scene(tmp_path / "one.ply")
    with pytest.raises(FileNotFoundError):
        load_scene(tmp_path / "missing.pt")


@pytest.mark.parametrize(
    "state", [{}, {"settings": {}, "module": {}}, {"settings": {"kind": "mesh", "level": 1}, "module": {}}]
)
def test_checkpoints_of_other_programs(tmp_path, state):
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="other.pt: expected a checkpoint of tirender fit, got "):
        load_scene(tmp_path / "other.pt")


def test_bad_looks(scene):
    with pytest.raises(ValueError, match="shader: expected .*, got 'toon'"):
        scene.render(cameras(), Look(shader="toon"))
    with pytest.raises(ValueError, match="image_size, supersample: expected positive integers"):
        scene.render(cameras(), Look((0, 4)))
    with pytest.raises(ValueError, match="thing: expected Meshes, Pointclouds, Volumes or Gaussians, got int"):
        make_scene(3, "thing")
    with pytest.raises(ValueError, match="volume: expected one volume with densities of one channel"):
        make_scene(Volumes(torch.zeros(2, 1, 2, 2, 2)), "volume")
