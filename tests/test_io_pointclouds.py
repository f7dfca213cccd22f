"""Point clouds through IO: PLY and NPZ, colours, formats of one's own, hostile archives."""

import io
import zipfile

import numpy as np
import pytest
import torch

from tirender.io import IO, load_ply, save_ply
from tirender.io.pluggable_formats import PointcloudFormatInterpreter
from tirender.structures import Pointclouds

POINTS, NORMALS = torch.rand(7, 3) - 0.5, torch.rand(7, 3)
RGB = torch.rand(7, 3)


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def same(loaded, cloud):
    for name in ("points_packed", "normals_packed", "features_packed"):
        before, after = getattr(cloud, name)(), getattr(loaded, name)()
        assert (before is None) == (after is None)
        assert before is None or torch.equal(before, after)


@pytest.mark.parametrize("suffix", ["ply", "npz", "PLY"])
@pytest.mark.parametrize("parts", [(POINTS,), (POINTS, NORMALS), (POINTS, None, RGB), (POINTS, NORMALS, RGB)])
@pytest.mark.parametrize("binary", [None, True])
def test_round_trip(tmp_path, suffix, parts, binary):
    cloud = Pointclouds(*[None if part is None else [part] for part in parts])
    path = tmp_path / f"cloud.{suffix}"
    IO().save_pointcloud(cloud, path, binary=binary)
    same(IO().load_pointcloud(path), cloud)
    same(IO().load_pointcloud(str(path), device=torch.device("cpu")), cloud)


def test_ply_text_and_bytes(tmp_path):
    cloud = Pointclouds([POINTS], features=[RGB.clone().requires_grad_()])
    path = tmp_path / "cloud.ply"
    IO().save_pointcloud(cloud, path, binary=False)
    assert path.read_text().startswith("ply\nformat ascii")
    same(IO().load_pointcloud(path), cloud.detach())
    IO().save_pointcloud(cloud, path, colors_as_uint8=True)
    assert b"property uchar red" in path.read_bytes()
    torch.testing.assert_close(IO().load_pointcloud(path).features_packed(), RGB, atol=0.5 / 255 + 1e-6, rtol=0)
    assert load_ply(path)[1].shape == (0, 3)


def test_ply_of_a_mesh_is_a_cloud(tmp_path):
    path = tmp_path / "mesh.ply"
    save_ply(path, POINTS, torch.tensor([[0, 1, 2]]), verts_normals=NORMALS)
    same(IO().load_pointcloud(path), Pointclouds([POINTS], [NORMALS]))


def test_features_that_are_no_colours(tmp_path):
    cloud = Pointclouds([POINTS], features=[torch.rand(7, 4)])
    with pytest.warns(UserWarning, match="features of 4 channels are no RGB, left out"):
        IO().save_pointcloud(cloud, tmp_path / "cloud.ply")
    assert IO().load_pointcloud(tmp_path / "cloud.ply").features_packed() is None
    IO().save_pointcloud(cloud, tmp_path / "cloud.npz")
    same(IO().load_pointcloud(tmp_path / "cloud.npz"), cloud)


def test_npz_as_the_tutorial_has_it(tmp_path):
    rgba = np.random.default_rng(0).random((7, 4)).astype(np.float32)
    cloud = IO().load_pointcloud(npz(tmp_path / "cloud.npz", verts=POINTS.numpy(), rgb=rgba))
    assert torch.equal(cloud.features_packed(), torch.from_numpy(rgba))
    # integer colours, doubles, Fortran order, compression
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "odd.npz", verts=np.asfortranarray(POINTS.double().numpy()), rgb=np.full((7, 3), 51, np.uint8))
        odd = IO().load_pointcloud(tmp_path / "odd.npz")
        assert torch.equal(odd.points_packed(), POINTS)
        torch.testing.assert_close(odd.features_packed(), torch.full((7, 3), 0.2))


@pytest.mark.parametrize("suffix", ["ply", "npz"])
@pytest.mark.parametrize("n", [0, 1])
def test_small(tmp_path, suffix, n):
    cloud = Pointclouds([POINTS[:n]])
    IO().save_pointcloud(cloud, tmp_path / f"cloud.{suffix}")
    same(IO().load_pointcloud(tmp_path / f"cloud.{suffix}"), cloud)


def test_the_lion(tutorial_data):
    cloud = IO().load_pointcloud(tutorial_data / "lion60k.npz")
    assert cloud.num_points_per_cloud().tolist() == [60000]
    assert cloud.features_packed().shape == (60000, 4)


class Mine(PointcloudFormatInterpreter):
    """Knows one cloud only."""

    cloud = Pointclouds([POINTS])

    def read(self, path, device, path_manager=None, **kwargs):
        return self.cloud if str(path).endswith((".mine", ".ply")) else None

    def save(self, data, path, path_manager=None, binary=None, **kwargs):
        self.saved = (data, path, binary, kwargs)
        return str(path).endswith(".mine")


def test_own_format_comes_first(tmp_path):
    registry, mine = IO(), Mine()
    registry.register_pointcloud_format(mine)
    assert registry.load_pointcloud("x.mine") is registry.load_pointcloud("x.ply") is mine.cloud
    registry.save_pointcloud(mine.cloud, "x.mine", binary=True, option=3)
    assert mine.saved == (mine.cloud, "x.mine", True, {"option": 3})
    registry.save_pointcloud(mine.cloud, tmp_path / "x.ply")
    same(IO().load_pointcloud(tmp_path / "x.ply"), mine.cloud)


def test_unknown_formats():
    expected = "path: expected a file of a registered point cloud format"
    with pytest.raises(ValueError, match=rf"{expected} \(\.npz, \.ply, \.glb, \.gltf\), got 'x.obj'"):
        IO().load_pointcloud("x.obj")
    with pytest.raises(ValueError, match=rf"{expected} \(none\), got 'x.ply'"):
        IO(include_default_formats=False).load_pointcloud("x.ply")
    with pytest.raises(ValueError, match="path: expected the ending of a registered point cloud format"):
        IO().save_pointcloud(Pointclouds([POINTS]), "x.obj")
    with pytest.raises(ValueError, match="interpreter: expected a PointcloudFormatInterpreter, got str"):
        IO().register_pointcloud_format("ply")
    with pytest.raises(ValueError, match="data: expected one cloud, as x.ply holds one, got a batch of 2"):
        IO().save_pointcloud(Pointclouds([POINTS] * 2), "x.ply")
    with pytest.raises(ValueError, match="binary: expected None or True, as .npz has no text form, got False"):
        IO().save_pointcloud(Pointclouds([POINTS]), "x.npz", binary=False)


def header(text, body=b"\0" * 12):
    line = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + body


BROKEN_ARRAYS = {
    "not npy": (b"verts", "a .npy header"),
    "pickle": (header("{'descr': '|O', 'fortran_order': False, 'shape': (1, 3)}"), "numbers, got object"),
    "structured": (header("{'descr': [('a','<f4')], 'fortran_order': False, 'shape': (1, 3)}"), "numbers, got"),
    "code": (header("{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': (1, 3)}"), "a .npy header"),
    "claims much": (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 3)}"), "a shape of 2"),
    "claims less": (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)}"), "a shape of 2 dimensions"),
    "negative": (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -3)}"), "a shape of 2 dimensions"),
    "nested": (header("(" * 5000), "a .npy header"),
    "nan": (
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3)}", b"\xff" * 12),
        "row 0: expected values",
    ),
}


@pytest.mark.parametrize("name", BROKEN_ARRAYS)
def test_broken_arrays(tmp_path, name):
    contents, message = BROKEN_ARRAYS[name]
    path = tmp_path / "cloud.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("verts.npy", contents)
    with pytest.raises(ValueError, match=f"cloud.npz, array 'verts'.*{message}"):
        IO().load_pointcloud(path)


def test_broken_archives(tmp_path, monkeypatch):
    path = npz(tmp_path / "cloud.npz", verts=POINTS.numpy())
    whole = path.read_bytes()
    for contents in (b"", b"PK\3\4", whole[:-30], whole[:100] + b"\1" + whole[101:]):
        path.write_bytes(contents)
        with pytest.raises(ValueError, match="cloud.npz: expected an undamaged (.npz )?archive"):
            IO().load_pointcloud(path)
    path.write_bytes(whole)
    monkeypatch.setenv("TIRENDER_MAX_BYTES", "80")
    with pytest.raises(
        ValueError, match=r"cloud.npz: expected at most 80 bytes in memory .* got an archive, too large"
    ):
        IO().load_pointcloud(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"points": POINTS}, "an array 'verts', got none of that name"),
        ({"verts": POINTS[:, :2]}, r"array 'verts': expected shape \(P, 3\), got \(7, 2\)"),
        ({"verts": POINTS, "rgb": RGB[:5]}, r"array 'rgb': expected shape \(7, C\), got \(5, 3\)"),
        ({"verts": POINTS, "normals": torch.rand(7, 2)}, r"array 'normals': expected shape \(7, 3\), got \(7, 2\)"),
        ({"verts": POINTS[0]}, "array 'verts': expected a shape of 2 dimensions"),
    ],
)
def test_wrong_arrays(tmp_path, arrays, message):
    path = npz(tmp_path / "cloud.npz", **{name: values.numpy() for name, values in arrays.items()})
    with pytest.raises(ValueError, match=message):
        IO().load_pointcloud(path)


def test_streams_are_read_as_ply(tmp_path):
    save_ply(tmp_path / "cloud.ply", POINTS, verts_normals=NORMALS)
    same(IO().load_pointcloud(io.BytesIO((tmp_path / "cloud.ply").read_bytes())), Pointclouds([POINTS], [NORMALS]))
    with pytest.raises(ValueError, match="<BytesIO>, line 1: expected 'ply'"):
        IO().load_pointcloud(io.BytesIO())
