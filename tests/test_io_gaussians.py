"""Gaussians in .ply and .splat files."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tirender.io import IO, load_gaussians, save_gaussians
from tirender.io.gaussians_io import holds_gaussians
from tirender.structures import Gaussians


def gaussians(n: int = 30, degree: int = 3) -> Gaussians:
    return Gaussians.from_raw(
        torch.randn(n, 3),
        torch.randn(n, 4),
        torch.randn(n, 3) - 3,
        torch.randn(n),
        torch.randn(n, (degree + 1) ** 2, 3),
    )


@pytest.mark.parametrize("degree", range(5))
def test_ply_brings_back_the_same_bits(tmp_path: Path, degree: int):
    g, path = gaussians(degree=degree), tmp_path / "a.ply"
    save_gaussians(path, g)
    again = load_gaussians(path)
    for name in ("means", "quats", "log_scales", "logits", "harmonics"):
        assert torch.equal(getattr(again, name), getattr(g, name)), name
    stream = io.BytesIO()
    save_gaussians(stream, again)
    assert stream.getvalue() == path.read_bytes()
    stream.seek(0)
    assert torch.equal(load_gaussians(stream).means, g.means)


def test_properties_are_those_of_the_original(tmp_path: Path):
    plyfile = pytest.importorskip("plyfile")
    g, path = gaussians(5), tmp_path / "a.ply"
    save_gaussians(path, g)
    vertex = plyfile.PlyData.read(path)["vertex"]
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{i}" for i in range(45))]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert [p.name for p in vertex.properties] == names
    assert all(p.val_dtype == "f4" for p in vertex.properties)
    assert np.array_equal(vertex["y"], g.means[:, 1])
    assert np.array_equal(vertex["f_dc_1"], g.harmonics[:, 0, 1])
    assert np.array_equal(vertex["f_rest_16"], g.harmonics[:, 2, 1])  # 15 of red come first, then those of green
    assert np.array_equal(vertex["rot_0"], g.quats[:, 0])
    assert np.array_equal(vertex["opacity"], g.logits)
    assert np.array_equal(vertex["scale_2"], g.log_scales[:, 2])
    assert not vertex["nx"].any()


def test_a_reader_of_clouds_sees_the_colours(tmp_path: Path):
    g, path = gaussians(), tmp_path / "a.ply"
    save_gaussians(path, g)
    cloud = IO().load_pointcloud(path)
    torch.testing.assert_close(cloud.features_packed(), g.colors.clamp(0, 1))


def test_splat_is_close(tmp_path: Path):
    g, path = gaussians(200), tmp_path / "a.splat"
    save_gaussians(path, g)
    assert path.stat().st_size == 32 * 200
    again = load_gaussians(path)
    size = g.scales.prod(1) * g.opacities
    order = size.argsort(descending=True)
    assert torch.equal(again.means, g.means[order])
    torch.testing.assert_close(again.scales, g.scales[order])
    torch.testing.assert_close(again.opacities, g.opacities[order], atol=0.002, rtol=0)
    torch.testing.assert_close(again.colors, g.colors.clamp(0, 1)[order], atol=0.002, rtol=0)
    unit = torch.nn.functional.normalize(g.quats[order], dim=1)
    torch.testing.assert_close(again.quats, unit, atol=0.005, rtol=0)
    assert again.degree == 0


def test_ascii_and_other_orders_are_read(tmp_path: Path):
    g = gaussians(3, 1)
    save_gaussians(tmp_path / "a.ply", g)
    plyfile = pytest.importorskip("plyfile")
    data = plyfile.PlyData.read(tmp_path / "a.ply")
    for text, order in ((True, "="), (False, ">")):
        plyfile.PlyData(data.elements, text=text, byte_order=order).write(tmp_path / "b.ply")
        again = load_gaussians(tmp_path / "b.ply")
        torch.testing.assert_close(again.harmonics, g.harmonics)


def test_which_files_hold_gaussians(tmp_path: Path):
    save_gaussians(tmp_path / "a.ply", gaussians())
    save_gaussians(tmp_path / "a.splat", gaussians())
    (tmp_path / "b.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nend_header\n")
    found = [holds_gaussians(tmp_path / name) for name in ("a.ply", "a.splat", "b.ply", "c.obj")]
    assert found == [True, True, False, False]


def test_what_cannot_be_saved(tmp_path: Path):
    g = gaussians(2)
    flat = Gaussians(g.means, g.quats, g.scales * torch.tensor([1.0, 1, 0]), g.opacities, g.harmonics)
    with pytest.raises(ValueError, match="gaussians: expected scales above 0"):
        save_gaussians(tmp_path / "a.ply", flat)
    save_gaussians(tmp_path / "a.splat", flat)
    assert load_gaussians(tmp_path / "a.splat").scales[0, 2] == 0
    for function, arguments in ((save_gaussians, (tmp_path / "a.obj", g)), (load_gaussians, (tmp_path / "a.obj",))):
        with pytest.raises(ValueError, match=r"^f: expected a path that ends in .ply or .splat"):
            function(*arguments)
    save_gaussians(tmp_path / "none.ply", g[[]])
    assert len(load_gaussians(tmp_path / "none.ply")) == 0


@pytest.mark.parametrize(
    ("before", "after", "match"),
    [
        (b"f_rest_8", b"g_rest_8", "properties f_rest"),
        (b"scale_1", b"scale_9", "no scale_1"),
        (b"element vertex", b"element vertez", "element 'vertex'"),
        (b"property float opacity", b"property float hidden!", "opacity"),
    ],
)
def test_damaged_headers(tmp_path: Path, before: bytes, after: bytes, match: str):
    path = tmp_path / "a.ply"
    save_gaussians(path, gaussians(4, 1))
    path.write_bytes(path.read_bytes().replace(before, after))
    with pytest.raises(ValueError, match=match):
        load_gaussians(path)


def test_damaged_bodies(tmp_path: Path):
    g = gaussians(4, 0)
    g.means[2, 1] = float("nan")
    values = torch.cat([g.means, torch.zeros(4, 3), g.harmonics[:, 0], g.logits[:, None], g.log_scales, g.quats], 1)
    path = tmp_path / "a.ply"
    save_gaussians(path, gaussians(4, 0))
    header, _, _ = path.read_bytes().partition(b"end_header\n")
    path.write_bytes(header + b"end_header\n" + values.numpy().tobytes())
    with pytest.raises(ValueError, match="row 2"):
        load_gaussians(path)
    path = tmp_path / "a.splat"
    path.write_bytes(bytes(33))
    with pytest.raises(ValueError, match="multiple of 32"):
        load_gaussians(path)
    path.write_bytes(np.full(8, -1, "<f4").tobytes())
    with pytest.raises(ValueError, match="scales of 0 or more"):
        load_gaussians(path)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, cut out, doubled or cut off."""
    broken = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        place, kind = rng.randrange(max(len(broken), 1)), rng.randrange(4)
        if kind == 0:
            broken[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del broken[place : place + rng.randrange(1, 30)]
        elif kind == 2:
            broken[place:place] = broken[place : place + rng.randrange(1, 30)]
        else:
            del broken[max(place, 1) :]
    return bytes(broken)


@pytest.mark.parametrize("n", [600, pytest.param(20_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("ending", ["ply", "splat"])
def test_mutated_files_are_read_or_refused(tmp_path: Path, ending: str, n: int):
    rng = random.Random(0)
    path = tmp_path / f"a.{ending}"
    save_gaussians(path, gaussians(3, 1))
    good = path.read_bytes()
    refused = 0
    for _ in range(n):
        path.write_bytes(mutated(good, rng))
        try:
            assert load_gaussians(path).means.isfinite().all()
        except ValueError:
            refused += 1
    assert refused > n // 10
