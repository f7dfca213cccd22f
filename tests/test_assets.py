"""What ships with tirender, and what its scripts reproduce: a closed, well-shaped, textured mesh; a coloured cloud."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ASSETS = Path(__file__).parents[1] / "assets"
CREATURE = ASSETS / "creature"


def read_obj(path: Path) -> dict[str, np.ndarray]:
    rows: dict[str, list] = {"v": [], "vt": [], "f": []}
    for line in path.read_text().splitlines():
        kind, *values = line.split()
        if kind in ("v", "vt"):
            rows[kind].append([float(x) for x in values])
        elif kind == "f":
            rows["f"].append([[int(i) - 1 for i in corner.split("/")] for corner in values])
    return {kind: np.array(values) for kind, values in rows.items()}


@pytest.fixture(scope="module")
def obj():
    return read_obj(CREATURE / "creature.obj")


@pytest.fixture(scope="module")
def texture():
    with Image.open(CREATURE / "creature_texture.png") as image:
        assert image.mode == "RGB"
        return np.asarray(image)


@pytest.fixture(scope="module")
def script():
    return load_script("make_creature")


def load_script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ASSETS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_are_small_and_name_each_other():
    assert sum(p.stat().st_size for p in CREATURE.iterdir()) < 1_000_000
    assert "mtllib creature.mtl" in (CREATURE / "creature.obj").read_text()
    assert "map_Kd creature_texture.png" in (CREATURE / "creature.mtl").read_text()


def test_mesh_is_one_closed_oriented_sphere(obj):
    faces = obj["f"][..., 0]
    assert 5000 <= len(faces) <= 7000
    assert np.array_equal(np.unique(faces), np.arange(len(obj["v"])))
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed)  # no edge twice in one direction ...
    assert {tuple(e) for e in directed} == {tuple(e) for e in directed[:, ::-1]}  # ... and each in both
    assert len(obj["v"]) - len(directed) // 2 + len(faces) == 2  # Euler's formula
    a, b, c = obj["v"][faces].transpose(1, 0, 2)
    assert np.einsum("fi,fi->", a, np.cross(b, c)) > 0  # normals point outwards


def test_mesh_fits_and_its_triangles_are_well_shaped(obj):
    low, high = obj["v"].min(0), obj["v"].max(0)
    np.testing.assert_allclose(low + high, 0, atol=1e-4)
    assert 0.99 < high.max() < 1
    corners = obj["v"][obj["f"][..., 0]]
    ahead, behind = np.roll(corners, -1, 1) - corners, np.roll(corners, 1, 1) - corners
    cosine = (ahead * behind).sum(-1) / (np.linalg.norm(ahead, axis=-1) * np.linalg.norm(behind, axis=-1))
    assert np.degrees(np.arccos(cosine)).min() > 15


def test_every_corner_has_a_uv_in_the_texture(obj):
    uv_index = obj["f"][..., 1]
    assert uv_index.min() == 0
    assert uv_index.max() == len(obj["vt"]) - 1
    assert obj["vt"].min() >= 0
    assert obj["vt"].max() <= 1
    a, b, c = obj["vt"][uv_index].transpose(1, 0, 2)
    assert (np.abs(np.linalg.det(np.stack([b - a, c - a], 1))) > 0).all()


def test_script_reproduces_the_mesh(script, obj):
    enlarged, faces = script.meshed()
    np.testing.assert_array_equal(faces, obj["f"][..., 0])
    np.testing.assert_allclose(script.centred(script.shrink_head(enlarged)), obj["v"], atol=2e-5)


def test_texture_is_the_scripts_colour_of_each_point(script, obj, texture):
    modelled = script.shrink_head(script.meshed()[0])
    rng = np.random.default_rng(0)
    face = rng.integers(0, len(obj["f"]), 3000)
    bary = rng.dirichlet(np.ones(3), 3000)
    points = np.einsum("nk,nkc->nc", bary, modelled[obj["f"][face, :, 0]])
    u, v = np.einsum("nk,nkc->cn", bary, obj["vt"][obj["f"][face, :, 1]]) * (len(texture) - 1)
    painted = texture[len(texture) - 1 - np.rint(v).astype(int), np.rint(u).astype(int)]
    error = np.abs(painted - script.colour(points)).max(-1)
    assert np.median(error) <= 1  # rounding ...
    assert (error > 64).mean() < 0.01  # ... but for the borders of the markings, which a texel blurs


@pytest.mark.long
def test_script_reproduces_the_files(script, obj, texture, tmp_path):
    pytest.importorskip("xatlas", reason="xatlas is not installed: make_creature.py needs it to unwrap the mesh")
    script.main(tmp_path)
    again = read_obj(tmp_path / "creature.obj")
    for kind in ("v", "vt", "f"):
        np.testing.assert_allclose(again[kind], obj[kind], atol=2e-5)
    with Image.open(tmp_path / "creature_texture.png") as image:
        np.testing.assert_allclose(np.asarray(image).astype(int), texture.astype(int), atol=1)


@pytest.fixture(scope="module")
def cloud():
    with np.load(ASSETS / "harbour" / "harbour.npz", allow_pickle=False) as data:
        return data["verts"], data["rgb"]


def test_cloud_is_small_and_fits(cloud):
    verts, rgb = cloud
    assert (ASSETS / "harbour" / "harbour.npz").stat().st_size < 1_100_000
    assert verts.shape == (len(rgb), 3)
    assert 95_000 < len(verts) < 105_000
    assert verts.dtype == rgb.dtype == np.float16
    low, high = verts.min(0).astype(float), verts.max(0).astype(float)
    np.testing.assert_allclose(low + high, 0, atol=2e-3)
    assert 0.99 < high.max() <= 1


def test_cloud_is_colourful(cloud):
    rgb = cloud[1].astype(np.float32)
    assert (rgb[:, 3] == 1).all()
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    red, green, blue = rgb[:, :3].T
    shares = [(a > 1.4 * np.maximum(b, c)).mean() for a, b, c in ((red, green, blue), (blue, red, green))]
    assert min(shares) > 0.04  # roofs and stripes; the sea
    assert (green > 1.15 * np.maximum(red, blue)).mean() > 0.04  # meadows and trees
    assert rgb[:, :3].std(0).min() > 0.15


def test_cloud_has_no_doubled_points(cloud):
    assert len(np.unique(np.rint(cloud[0].astype(float) / 0.002), axis=0)) > 0.98 * len(cloud[0])


@pytest.mark.long
def test_script_reproduces_the_cloud(cloud):
    verts, rgb = load_script("make_harbour").harbour()
    assert len(verts) == len(cloud[0])
    np.testing.assert_allclose(verts, cloud[0].astype(float), atol=1e-3)
    np.testing.assert_allclose(rgb, cloud[1][:, :3].astype(float), atol=1e-2)
