"""Gaussians in .ply and .splat files."""

from __future__ import annotations

import io
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tirender.io import IO, load_gaussians, save_gaussians
from tirender.io.gaussians_io import holds_gaussians, orientation_of_gaussians
from tirender.io.orientation import oriented, to_comment
from tirender.scenes import load_scene
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


@pytest.mark.parametrize("name", ["a.ply", "a.splat", "a.compressed.ply"])
def test_flat_opaque_and_invisible_ones_are_saved(tmp_path: Path, name: str):
    g = gaussians(3)
    flat = g.scales * torch.tensor([1.0, 1, 0])
    save_gaussians(tmp_path / name, Gaussians(g.means, g.quats, flat, torch.tensor([0.0, 0.5, 1]), g.harmonics))
    again = load_gaussians(tmp_path / name)
    assert (again.scales.amin(1) < 1e-8).all()
    torch.testing.assert_close(again.opacities.sort()[0], torch.tensor([0, 0.5, 1]), atol=0.003, rtol=0)


def unpacked(path: Path) -> dict[str, np.ndarray]:
    """What a compressed PLY holds, one number after the other, read by another reader."""
    data = pytest.importorskip("plyfile").PlyData.read(path)
    chunks, rows = data["chunk"].data, data["vertex"].data
    out: dict[str, list] = {"means": [], "log_scales": [], "quats": [], "rgba": []}
    for i, (position, rotation, scale, color) in enumerate(rows.tolist()):
        chunk = chunks[i // 256]
        for name, word, suffix in (("means", position, ""), ("log_scales", scale, "scale_")):
            shares = (word >> 21) / 2047, (word >> 11 & 1023) / 1023, (word & 2047) / 2047
            ends = [(chunk[f"min_{suffix}{a}"], chunk[f"max_{suffix}{a}"]) for a in "xyz"]
            out[name].append([a + (b - a) * t for (a, b), t in zip(ends, shares)])
        kept = [((rotation >> k & 1023) / 1023 - 0.5) * 2**0.5 for k in (20, 10, 0)]
        kept.insert(rotation >> 30, max(0, 1 - sum(x * x for x in kept)) ** 0.5)
        out["quats"].append(kept)
        shares = [(color >> k & 255) / 255 for k in (24, 16, 8)]
        ends = [(chunk[f"min_{a}"], chunk[f"max_{a}"]) for a in "rgb"]
        out["rgba"].append([a + (b - a) * t for (a, b), t in zip(ends, shares)] + [(color & 255) / 255])
    return {name: np.array(values) for name, values in out.items()}


@pytest.mark.parametrize("degree", range(4))
def test_compressed_ply_is_close(tmp_path: Path, degree: int):
    g, path = gaussians(600, degree), tmp_path / "a.compressed.ply"
    save_gaussians(path, g, comment="by hand")
    assert holds_gaussians(path)
    again = load_gaussians(path)
    for name, values in unpacked(path).items():
        rgb = again.harmonics[:, 0] * 0.28209479177387814 + 0.5
        ours = torch.cat([rgb, again.opacities[:, None]], 1) if name == "rgba" else getattr(again, name)
        assert np.allclose(ours, values, atol=1e-5), name
    nearest = torch.cdist(again.means, g.means).argmin(1)  # the order is another
    assert len(nearest.unique()) == 600
    g = g[nearest]
    assert ((again.means - g.means).abs() < 0.006).all()
    assert ((again.log_scales - g.log_scales).abs() < 0.006).all()
    assert ((again.opacities - g.opacities).abs() < 0.003).all()
    assert ((again.harmonics[:, 0] - g.harmonics[:, 0]).abs() < 0.02).all()
    turns = (again.quats * torch.nn.functional.normalize(g.quats, dim=1)).sum(1).abs()
    assert (turns > 0.99999).all()
    assert ((again.harmonics[:, 1:] - g.harmonics[:, 1:].clamp(-4, 4)).abs() <= 1 / 64 + 1e-6).all()


def test_compressed_ply_of_old_versions_has_colours_between_0_and_1(tmp_path: Path):
    names = [f"{end}_{s}{a}" for s in ("", "scale_") for end in ("min", "max") for a in "xyz"]
    header = ["ply", "format binary_little_endian 1.0", "element chunk 1", *(f"property float {n}" for n in names)]
    packed = (f"property uint packed_{n}" for n in ("position", "rotation", "scale", "color"))
    header += ["element vertex 1", *packed, "end_header", ""]
    bounds = np.array([0, 0, 0, 1, 2, 4, -1, -1, -1, 1, 1, 1], "<f4")
    words = np.array([2047 << 21 | 1023 << 11, 3 << 30 | 512 << 20 | 512 << 10 | 512, 0, 0xFF008033], "<u4")
    (tmp_path / "a.ply").write_bytes("\n".join(header).encode() + bounds.tobytes() + words.tobytes())
    g = load_gaussians(tmp_path / "a.ply")
    assert g.means.tolist() == [[1, 2, 0]]
    torch.testing.assert_close(g.log_scales, torch.full((1, 3), -1.0))
    torch.testing.assert_close(g.quats, torch.tensor([[0.0, 0, 0, 1]]), atol=2e-3, rtol=0)
    torch.testing.assert_close(g.colors, torch.tensor([[1, 0, 128 / 255]]))
    torch.testing.assert_close(g.opacities, torch.tensor([0.2]))


def test_compressed_ply_with_bounds_that_are_no_numbers(tmp_path: Path):
    path = tmp_path / "a.compressed.ply"
    save_gaussians(path, gaussians(3))
    header, mark, body = path.read_bytes().partition(b"end_header\n")
    for place, value, match in ((4, np.nan, "'chunk', row 0"), (36, 1000.0, "scales within float32")):
        path.write_bytes(header + mark + body[:place] + np.float32(value).tobytes() + body[place + 4 :])
        with pytest.raises(ValueError, match=match):
            load_gaussians(path)


def test_what_cannot_be_saved(tmp_path: Path):
    g = gaussians(2)
    vast = Gaussians(*(x.double() for x in (g.means, g.quats, g.scales, g.opacities, g.harmonics)))
    vast.means *= 1e40
    with pytest.raises(ValueError, match="gaussians: expected numbers within float32"):
        save_gaussians(tmp_path / "a.ply", vast)
    with pytest.raises(ValueError, match="gaussians: expected harmonics of a degree up to 3"):
        save_gaussians(tmp_path / "a.compressed.ply", gaussians(2, degree=4))
    for function, arguments in ((save_gaussians, (tmp_path / "a.obj", g)), (load_gaussians, (tmp_path / "a.obj",))):
        with pytest.raises(ValueError, match=r"^f: expected a path that ends in .ply or .splat"):
            function(*arguments)
    save_gaussians(tmp_path / "none.ply", g[[]])
    assert len(load_gaussians(tmp_path / "none.ply")) == 0


@pytest.mark.parametrize(
    ("name", "before", "after", "match"),
    [
        ("a.ply", b"f_rest_8", b"g_rest_8", "properties f_rest"),
        ("a.ply", b"scale_1", b"scale_9", "no scale_1"),
        ("a.ply", b"element vertex", b"element vertez", "element 'vertex'"),
        ("a.ply", b"property float opacity", b"property float hidden!", "opacity"),
        ("a.compressed.ply", b"element chunk 2", b"element chink 2", "2 rows of element 'chunk', got none"),
        ("a.compressed.ply", b"uint packed_scale", b"uint packed_wide_", "properties packed_position"),
        ("a.compressed.ply", b"uint packed_scale", b"int  packed_scale", "properties packed_position"),
        ("a.compressed.ply", b"max_scale_y", b"mid_scale_y", "'chunk'"),
        ("a.compressed.ply", b"f_rest_8", b"g_rest_8", "f_rest"),
    ],
)
def test_damaged_headers(tmp_path: Path, name: str, before: bytes, after: bytes, match: str):
    path = tmp_path / name
    save_gaussians(path, gaussians(300, 1))
    assert before in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(before, after))
    with pytest.raises(ValueError, match=match):
        load_gaussians(path)


def write_rows(path: Path, g: Gaussians) -> None:
    """Write the header of a file of Gaussians, and numbers as they are."""
    save_gaussians(path, gaussians(len(g), 0))
    header, _, _ = path.read_bytes().partition(b"end_header\n")
    zeros = torch.zeros(len(g), 3)
    values = torch.cat([g.means, zeros, g.harmonics[:, 0], g.logits[:, None], g.log_scales, g.quats], 1)
    path.write_bytes(header + b"end_header\n" + values.numpy().tobytes())


@pytest.mark.parametrize("part", ["means", "quats", "log_scales", "logits", "harmonics"])
def test_numbers_that_are_not_finite_are_left_out(tmp_path: Path, part: str):
    path, g = tmp_path / "a.ply", gaussians(4, 0)
    getattr(g, part).view(4, -1)[2, -1] = math.nan
    write_rows(path, g)
    with pytest.warns(UserWarning, match=r"a.ply: 1 of 4 Gaussians have numbers that are not finite, and are left out"):
        found = load_gaussians(path)
    expected = g[[0, 1, 3]]
    for name in ("means", "quats", "log_scales", "logits", "harmonics"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    getattr(g, part).fill_(math.nan)
    write_rows(path, g)
    with pytest.raises(ValueError, match=r"a.ply: expected Gaussians of finite numbers, got none"):
        load_gaussians(path)


def test_what_is_opaque_or_flat_without_end(tmp_path: Path):
    path, g = tmp_path / "a.ply", gaussians(3, 0)
    g.logits[0], g.logits[1], g.log_scales[2, 1] = math.inf, -math.inf, -math.inf
    write_rows(path, g)
    found = load_gaussians(path)
    assert found.opacities[0] == 1
    assert 0 <= found.opacities[1] < 1e-9
    assert 0 <= found.scales[2, 1] < 1e-30
    assert torch.equal(found.means, g.means)


def test_2d_gaussians_are_flat(tmp_path: Path):
    path, g = tmp_path / "a.ply", gaussians(5, 1)
    save_gaussians(path, g)
    header, _, body = path.read_bytes().partition(b"end_header\n")
    names = [line.split()[-1] for line in header.decode().splitlines() if line.startswith("property")]
    rows = np.delete(np.frombuffer(body, "<f4").reshape(5, -1), names.index("scale_2"), axis=1)
    path.write_bytes(header.replace(b"property float scale_2\n", b"") + b"end_header\n" + rows.tobytes())
    assert holds_gaussians(path)
    found = load_gaussians(path)
    torch.testing.assert_close(found.scales, torch.cat([g.scales[:, :2], torch.full((5, 1), 1e-6)], 1))
    assert torch.equal(found.quats, g.quats)


def test_damaged_bodies(tmp_path: Path):
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


@pytest.mark.filterwarnings("ignore:.*numbers that are not finite")
@pytest.mark.parametrize("n", [600, pytest.param(20_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("ending", ["ply", "splat", "compressed.ply"])
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


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.splat"])
def test_they_stand_as_a_comment_says_or_as_photos_do(tmp_path: Path, name: str):
    path, standing = tmp_path / name, oriented("z")
    save_gaussians(path, gaussians(5))
    assert load_scene(path).orientation == orientation_of_gaussians(path) == oriented("-y", (0, 0, -1))
    assert load_scene(path, up="x").orientation.up == (1, 0, 0)
    save_gaussians(path, gaussians(5), comment=to_comment(standing))
    assert orientation_of_gaussians(path) == (oriented("-y", (0, 0, -1)) if name == "a.splat" else standing)
