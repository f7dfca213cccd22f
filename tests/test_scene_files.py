"""What mesh and cloud files say, in the pictures of their scenes: winding, transparency, far places, stray vertices."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from gltf_files import GltfBuilder
from PIL import Image

from tirender.cli import main, make_parser
from tirender.io import IO
from tirender.renderer import FoVOrthographicCameras, look_at_view_transform
from tirender.renderer.mesh.material_table import MapTable
from tirender.scenes import CloudScene, Look, MeshScene, load_scene
from tirender.utils import ico_sphere

FAR = np.array([4123456.75, -5234567.5, 321.0])


def picture(path: Path, azimuth: float = 0.0, shader: str = "phong", size: int = 32, **look) -> torch.Tensor:
    """(size, size, 3) of the unit sphere, which just fits, on black; +X is to the right at azimuth 0."""
    R, T = look_at_view_transform(3.0, 0.0, azimuth)
    scene = load_scene(path)
    return scene.render(
        FoVOrthographicCameras(R=R, T=T), Look((size, size), shader, (0.0, 0.0, 0.0), supersample=1, **look)
    )[0]


def sphere() -> tuple[np.ndarray, np.ndarray]:
    made = ico_sphere(3)
    return made.verts_packed().numpy(), made.faces_packed().numpy()


def glb(path: Path, verts: np.ndarray, faces: np.ndarray, normals: bool, **material) -> Path:
    builder = GltfBuilder()
    attributes = {"POSITION": builder.array(verts)} | ({"NORMAL": builder.array(verts)} if normals else {})
    index = builder.add("materials", material)
    builder.mesh({"attributes": attributes, "indices": builder.array(faces.reshape(-1), "u2"), "material": index})
    path.write_bytes(builder.glb())
    return path


def ply(path: Path, verts: np.ndarray, faces: np.ndarray | None = None, rgba: np.ndarray | None = None) -> Path:
    """Text in double precision; colours in bytes."""
    names = ["red", "green", "blue", "alpha"][: 0 if rgba is None else rgba.shape[1]]
    head = f"ply\nformat ascii 1.0\nelement vertex {len(verts)}\n"
    head += "".join(f"property double {c}\n" for c in "xyz") + "".join(f"property uchar {name}\n" for name in names)
    rows = [" ".join(map(repr, row)) for row in np.asarray(verts, dtype=np.float64).tolist()]
    if rgba is not None:
        rows = [f"{row} {' '.join(map(str, color))}" for row, color in zip(rows, rgba.tolist())]
    if faces is not None:
        head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\n"
        rows += [f"3 {a} {b} {c}" for a, b, c in faces.tolist()]
    path.write_text(head + "end_header\n" + "\n".join(rows) + "\n")
    return path


class TestWinding:
    @pytest.fixture(params=["flat", "phong"])
    def shader(self, request):
        return request.param

    @pytest.mark.parametrize("normals", [False, True])
    @pytest.mark.parametrize("double_sided", [False, True])
    def test_single_faces_that_are_wound_the_other_way_do_not_show(self, tmp_path, normals, double_sided, shader):
        verts, faces = sphere()
        right = glb(tmp_path / "right.glb", verts, faces, normals, doubleSided=double_sided)
        mixed = faces.copy()
        mixed[::3] = mixed[::3, ::-1]
        wrong = glb(tmp_path / "mixed.glb", verts, mixed, normals, doubleSided=double_sided)
        torch.testing.assert_close(picture(wrong, 30, shader), picture(right, 30, shader), atol=0.02, rtol=0)

    @pytest.mark.parametrize("normals", [False, True])
    def test_all_faces_wound_the_other_way_are_lit_where_both_sides_are(self, tmp_path, normals, shader):
        verts, faces = sphere()
        right = glb(tmp_path / "right.glb", verts, faces, normals, doubleSided=True)
        wrong = glb(tmp_path / "inside_out.glb", verts, faces[:, ::-1], normals, doubleSided=True)
        torch.testing.assert_close(picture(wrong, 30, shader), picture(right, 30, shader), atol=0.01, rtol=0)

    def test_normals_that_point_inwards_do_not_darken_an_obj(self, tmp_path, shader):
        verts, faces = sphere()
        rows = "".join("v {} {} {}\n".format(*v) for v in verts.tolist())
        outward = "".join("vn {} {} {}\n".format(*v) for v in verts.tolist())
        corners = "".join("f {0}//{0} {1}//{1} {2}//{2}\n".format(*(f + 1)) for f in faces)
        (tmp_path / "out.obj").write_text(rows + outward + corners)
        (tmp_path / "in.obj").write_text(
            rows + "".join("vn {} {} {}\n".format(*v) for v in (-verts).tolist()) + corners
        )
        expected = picture(tmp_path / "out.obj", 30, shader)
        torch.testing.assert_close(picture(tmp_path / "in.obj", 30, shader), expected, atol=1e-5, rtol=0)
        assert float(expected.mean(2).max()) > 0.6

    def test_a_sheet_of_one_side_is_dark_behind_unless_its_winding_is_mixed(self, tmp_path):
        verts = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
        faces = np.array([[0, 1, 2], [0, 2, 3]])
        one = glb(tmp_path / "one.glb", verts, faces, False, doubleSided=False)
        mixed = glb(tmp_path / "mixed.glb", verts, np.array([[0, 1, 2], [0, 3, 2]]), False, doubleSided=False)
        middle = [float(picture(p, azimuth)[14:18, 14:18].mean()) for p in (one, mixed) for azimuth in (0, 180)]
        ambient = 0.48
        assert middle[1] == pytest.approx(ambient, abs=1e-3)
        assert min(middle[0], middle[2], middle[3]) > 0.9

    def test_physically_based_sheets_of_one_side_do_not_show_from_behind(self, tmp_path):
        """As glTF says; unless their winding is mixed, which is a fault of the file."""
        verts = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
        seen = []
        for name, last, double_sided in (
            ("one", [0, 2, 3], False),
            ("both", [0, 2, 3], True),
            ("mixed", [0, 3, 2], False),
        ):
            faces = np.array([[0, 1, 2], last])
            path = glb(tmp_path / f"{name}.glb", verts, faces, False, doubleSided=double_sided, pbrMetallicRoughness={})
            scene = load_scene(path)
            for camera in (0.0, 180.0):
                R, T = look_at_view_transform(3.0, 0.0, camera)
                fragments = scene.draw(FoVOrthographicCameras(R=R, T=T), "pbr", Look((16, 16), supersample=1))
                seen.append(bool(fragments[0, 8, 8, 3] > 0.9))
        assert seen == [True, False, True, True, True, True]


class TestTransparency:
    def test_alpha_of_vertices_in_ply(self, tmp_path):
        """A red quad of a fifth's opacity over black, light falling straight on it: red is 0.2 of the lit colour."""
        verts = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
        faces = np.array([[0, 1, 2], [0, 2, 3]])
        seen = {}
        for alpha in (51, 255):
            path = ply(tmp_path / f"{alpha}.ply", verts, faces, np.array([[128, 0, 0, alpha]] * 4))
            seen[alpha] = picture(path, light=(0.0, 0.0, 10.0))[16, 8]
        torch.testing.assert_close(seen[51], 0.2 * seen[255])
        assert 0.5 < float(seen[255][0]) < 0.95

    def test_alpha_of_faces_in_off(self, tmp_path):
        (tmp_path / "m.off").write_text(
            "OFF\n4 2 0\n-1 -1 0\n1 -1 0\n1 1 0\n-1 1 0\n3 0 1 2 1. 0 0 .5\n3 0 2 3 0 1. 0\n"
        )
        image = picture(tmp_path / "m.off", shader="silhouette")
        assert image[20, 20, 0] == 0.5  # lower right
        assert image[10, 10, 0] == 1

    def test_silhouettes_have_the_holes_of_masks(self, tmp_path):
        builder = GltfBuilder()
        stream = tmp_path / "t.png"
        Image.fromarray(np.array([[[255, 0, 0, 255], [255, 0, 0, 0]]], np.uint8)).save(stream)
        texture = builder.image(stream.read_bytes())
        builder.root["samplers"] = [{"magFilter": 9728}]
        builder.root["textures"][texture]["sampler"] = 0
        material = builder.add(
            "materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}, "alphaMode": "MASK"}
        )
        verts = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
        attributes = {"POSITION": builder.array(verts), "TEXCOORD_0": builder.array((verts[:, :2] + 1) / 2)}
        indices = builder.array([0, 1, 2, 0, 2, 3], "u2")
        builder.mesh({"attributes": attributes, "indices": indices, "material": material})
        (tmp_path / "m.glb").write_bytes(builder.glb())
        for shader in ("silhouette", "depth"):
            image = picture(tmp_path / "m.glb", shader=shader)[16, :, 0]
            assert (image[6:15] > 0.3).all()
            assert (image[17:26] == 0).all()
        assert picture(tmp_path / "m.glb", shader="silhouette").unique().tolist() == [0, 1]


class TestPlaces:
    def test_stray_vertices_do_not_count(self, tmp_path):
        verts, faces = sphere()
        alone = ply(tmp_path / "a.ply", verts, faces)
        stray = ply(tmp_path / "b.ply", np.concatenate([verts, [[500.0, 0, 0]]]), faces)
        assert torch.equal(picture(stray), picture(alone))
        scene = load_scene(stray)
        assert scene.scale == pytest.approx(1, abs=0.02)

    @pytest.mark.parametrize("kind", ["mesh", "mesh and stray", "cloud.ply", "cloud.npz"])
    def test_far_places_are_as_sharp_as_near_ones(self, tmp_path, kind):
        verts, faces = sphere()
        verts = verts.astype(np.float64)
        if kind == "cloud.npz":
            near, far = tmp_path / "near.npz", tmp_path / "far.npz"
            np.savez(near, verts=verts)
            np.savez(far, verts=verts + FAR)
        else:
            given = None if kind == "cloud.ply" else faces
            near = ply(tmp_path / "near.ply", verts, given)
            there = np.concatenate([verts + FAR, np.zeros((int(kind == "mesh and stray"), 3))])
            far = ply(tmp_path / "far.ply", there, given)
        shader = "unlit" if "cloud" in kind else "phong"
        torch.testing.assert_close(picture(far, shader=shader), picture(near, shader=shader), atol=0.02, rtol=0)
        scene = load_scene(far)
        assert isinstance(scene, CloudScene if "cloud" in kind else MeshScene)
        assert scene.centre.dtype == torch.float64
        points = scene.points if isinstance(scene, CloudScene) else scene.mesh.verts_packed()
        back = points[: len(verts)].double() * scene.scale + scene.centre
        assert np.abs(back.numpy() - verts - FAR).max() < 1e-6

    def test_the_way_back_of_any_scene(self, tmp_path):
        IO().save_mesh(ico_sphere(1), tmp_path / "m.ply")
        for scene in (load_scene(tmp_path / "m.ply"), MeshScene(ico_sphere(1))):
            back = scene.mesh.verts_packed() * scene.scale + scene.centre.float()
            torch.testing.assert_close(back, ico_sphere(1).verts_packed())

    def test_pytorch3d_s_readers_say_that_they_blur(self, tmp_path):
        verts, faces = sphere()
        far = ply(tmp_path / "far.ply", verts + FAR, faces)
        with pytest.warns(UserWarning, match=r"far\.ply: positions far from the origin lose digits in float32"):
            IO().load_mesh(far)
        with pytest.warns(UserWarning, match=r"far\.ply: positions far from the origin lose digits in float32"):
            IO().load_pointcloud(far)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load_scene(far)
            IO().load_mesh(ply(tmp_path / "near.ply", verts + [100.0, 0, 0], faces))


class TestClouds:
    def test_alpha_of_points_is_told_once(self, tmp_path):
        path = ply(tmp_path / "c.ply", sphere()[0], None, np.tile([255, 0, 0, 51], (642, 1)))
        with pytest.warns(UserWarning, match=r"c\.ply: transparency of points is not shown") as caught:
            scene = load_scene(path)
        assert len(caught) == 1
        assert scene.rgba[0].tolist() == [1, 0, 0, 1]

    @pytest.mark.parametrize(("dtype", "top"), [("u1", 255), ("u2", 65535), ("f8", 1.0), ("f4", 255.0)])
    def test_colours_of_archives_count_to_their_types_maximum(self, tmp_path, dtype, top):
        rgb = np.tile([top, 0, top], (642, 1)).astype(dtype)
        np.savez(tmp_path / "c.npz", verts=sphere()[0], rgb=rgb)
        assert load_scene(tmp_path / "c.npz").rgba[0].tolist() == [1, 0, 1, 1]
        if dtype[0] == "u":
            assert IO().load_pointcloud(tmp_path / "c.npz").features_packed()[0].tolist() == [1, 0, 1]


class TestAllowParent:
    @pytest.fixture
    def path(self, tmp_path):
        """A quad whose red texture lies in ``../textures``."""
        for folder in ("textures", "models"):
            (tmp_path / folder).mkdir()
        Image.new("RGB", (2, 2), (255, 0, 0)).save(tmp_path / "textures" / "t.png")
        (tmp_path / "models" / "m.mtl").write_text("newmtl m\nmap_Kd ../textures/t.png\n")
        text = "mtllib m.mtl\nv -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nvt 0 0\nusemtl m\nf 1/1 2/1 3/1 4/1\n"
        (tmp_path / "models" / "m.obj").write_text(text)
        return tmp_path / "models" / "m.obj"

    @pytest.mark.filterwarnings("default")
    def test_it_is_off_and_the_warning_names_the_flag(self, path, capsys):
        assert main(["render", str(path), "-o", str(path.parent / "a.png"), "--size", "16", "--azimuth", "0"]) == 0
        assert "--allow-parent" in capsys.readouterr().err
        with pytest.warns(UserWarning, match=r"allow_parent=True, or --allow-parent"):
            load_scene(path)

    def test_with_it_the_texture_is_read(self, path, capsys):
        arguments = ["render", str(path), "-o", str(path.parent / "a.png"), "--size", "16", "--azimuth", "0"]
        assert main([*arguments, "--allow-parent"]) == 0
        assert not capsys.readouterr().err
        with Image.open(path.parent / "a.png") as image:
            red, green, blue = np.asarray(image.convert("RGB"))[8, 8]
        assert red > 150
        assert max(green, blue) < 80

    @pytest.mark.parametrize("command", ["view", "fit mesh", "fit images", "fit nerf"])
    def test_other_commands_have_it_too(self, command):
        assert make_parser().parse_args([*command.split(), "m.obj", "--allow-parent"]).allow_parent
        assert not make_parser().parse_args([*command.split(), "m.obj"]).allow_parent


def test_maps_are_decoded_once(tmp_path, monkeypatch):
    """However often a scene is drawn."""
    (tmp_path / "m.obj").write_text("mtllib m.mtl\nv -1 -1 0\nv 1 -1 0\nv 1 1 0\nvt 0 0\nusemtl m\nf 1/1 2/1 3/1\n")
    (tmp_path / "m.mtl").write_text("newmtl m\nmap_Kd t.png\n")
    Image.new("RGB", (2, 2)).save(tmp_path / "t.png")
    made: list[object] = []
    original = MapTable.of.__func__
    monkeypatch.setattr(MapTable, "of", classmethod(lambda cls, *args: made.append(args) or original(cls, *args)))
    scene = load_scene(tmp_path / "m.obj")
    for azimuth in (0.0, 90.0):
        R, T = look_at_view_transform(3.0, 0.0, azimuth)
        scene.render(FoVOrthographicCameras(R=R, T=T), Look((8, 8)))
    assert len(made) == 1
