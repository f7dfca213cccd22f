"""Polygons of files: the right area, the right order, every corner used, and indices of corners cut along."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.io import IO, load_obj, load_objs_as_meshes, load_ply
from tirender.io.polygons import MAX_CLIPPED, triangulate

DART = [(2, -1), (0, 2), (-2, -1), (0, 0)]  # 6 of the triangle less 2 of the notch
COMB = [(0, 0), (7, 0), (7, 4), (6, 4), (6, 1), (5, 1), (5, 4), (4, 4), (4, 1), (3, 1), (3, 4), (0, 4)]  # 22
KEYHOLE = [(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (1, 1), (1, 3), (3, 3), (3, 1), (1, 1)]  # a hole by a slit: 16 - 4
T_JOINTS = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 1), (0, 2)]  # corners on straight lines: 4 - 1
REPEATED = [(0, 0), (0, 0), (4, 0), (4, 4), (2, 1), (2, 1), (0, 4)]  # 16 - 6
SHAPES = {
    "dart": (DART, 4),
    "comb": (COMB, 22),
    "keyhole": (KEYHOLE, 12),
    "T-joints": (T_JOINTS, 3),
    "repeated corners": (REPEATED, 10),
}


def areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


def turned(flat: list, seed: int) -> np.ndarray:
    """Points of the plane somewhere in space."""
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    return np.column_stack([flat, np.zeros(len(flat))]) @ rotation.T + rotation[0] * 100


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_area(name: str, reverse: bool) -> None:
    """From every first corner, either way around, in any plane; every corner is part of a triangle."""
    shape, area = SHAPES[name]
    for start in range(len(shape)):
        flat = (shape[start:] + shape[:start])[:: -1 if reverse else 1]
        points = turned(flat, start)
        triangles, polygon = triangulate(np.array([len(flat)]), np.arange(len(flat)), points)
        assert triangles.shape == (len(flat) - 2, 3)
        assert set(triangles.flat) == set(range(len(flat)))
        assert not polygon.any()
        assert areas(points, triangles).sum() == pytest.approx(area)
        a, b, c = (points[triangles[:, k]] for k in range(3))
        whole = sum(np.cross(points[i - 1] - points[0], points[i] - points[0]) for i in range(len(points)))
        assert (np.cross(b - a, c - a) @ whole >= -1e-9).all()  # all face the way the polygon does


def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """On which side of ab points c (2, ...) lie."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def simple_polygon(n: int, rng: np.random.Generator) -> np.ndarray:
    """A random closed way that does not cross itself: crossings are undone one by one."""
    points = rng.random((n, 2))
    crossed = True
    while crossed:
        crossed = False
        for i in range(n - 1):
            for j in range(i + 2, n - (i == 0)):
                a, b, c, d = points[i], points[i + 1], points[j], points[(j + 1) % n]
                if side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0:
                    points[i + 1 : j + 1] = points[i + 1 : j + 1][::-1].copy()
                    crossed = True
    return points


def test_random_polygons() -> None:
    """All at once; the area is the shoelace formula's, and no two triangles share an inner point."""
    rng = np.random.default_rng(0)
    flat = [simple_polygon(int(n), rng) for n in rng.integers(3, 24, 60)]
    counts = np.array([len(p) for p in flat])
    points = np.column_stack([np.concatenate(flat), np.repeat(np.arange(len(flat)), counts)])
    corners = rng.permutation(len(points))
    shuffled = np.empty_like(points)
    shuffled[corners] = points
    triangles, polygon = triangulate(counts, corners, shuffled)
    for i, outline in enumerate(flat):
        x, y = outline.T
        area = abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
        own = triangles[polygon == i]
        assert areas(points, own).sum() == pytest.approx(area)
        samples = rng.random((50, 2))
        inside = np.zeros(50, dtype=int)
        for a, b, c in outline[own - (own.min())]:
            sides = [side(p, q, samples.T) for p, q in ((a, b), (b, c), (c, a))]
            inside += np.all([s > 0 for s in sides], axis=0) | np.all([s < 0 for s in sides], axis=0)
        assert inside.max() <= 1


@pytest.mark.parametrize(
    "points",
    [
        pytest.param([(0, 0, 0), (1, 1, 0), (1, 0, 0), (0, 1, 0)], id="bow tie"),
        pytest.param([(0, 0, 0), (1, 0, 0), (2, 0, 0), (1, 0, 0), (0.5, 0, 0)], id="a line"),
        pytest.param([(1, 2, 3)] * 5, id="a point"),
        pytest.param([(0, 0, 0), (1, 0, 0), (1, 1, 1e-9), (0, 1, 0.5)], id="not flat"),
        pytest.param([(0, 0, 0), (4, 0, 0), (4, 4, 0), (3, 1, 0), (1, 4, 0), (2, -2, 0)], id="crossing, concave"),
        pytest.param([(1e38, 0, 0), (0, 1e38, 0), (-1e38, 0, 0), (0, 1e37, 0)], id="huge"),
        pytest.param([(1e-38, 0, 0), (0, 1e-38, 0), (-1e-38, 0, 0), (0, 1e-39, 0)], id="tiny"),
    ],
)
def test_what_has_no_right_answer_still_has_n_minus_2_triangles(points: list) -> None:
    triangles, _ = triangulate(np.array([len(points)]), np.arange(len(points)), np.array(points, dtype=float))
    assert triangles.shape == (len(points) - 2, 3)
    assert 0 <= triangles.min() <= triangles.max() < len(points)


def test_a_fan_that_is_right_stays() -> None:
    """Convex ones, with corners on straight lines too, and concave ones seen from the notch."""
    for shape in ([(0, 0), (1, 0), (2, 0), (2, 2), (1, 2), (0, 2)], DART[3:] + DART[:3]):
        n = len(shape)
        triangles, _ = triangulate(np.array([n]), np.arange(n), turned(shape, 1))
        assert triangles.tolist() == [[0, i, i + 1] for i in range(1, n - 1)]


def test_no_polygons() -> None:
    none = np.zeros(0, dtype=np.int64)
    triangles, polygon = triangulate(none, none, np.zeros((0, 3)), by_corner=True)
    assert (triangles.shape, polygon.shape) == ((0, 3), (0,))


def test_large_polygons() -> None:
    """A star of 5,000 points takes seconds at most; one beyond the limit stays a fan."""
    rng = np.random.default_rng(0)
    for n in (5000, MAX_CLIPPED + 2):
        angle, radius = np.linspace(0, 2 * np.pi, n, endpoint=False), rng.random(n) + 0.1
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        points = np.column_stack([x, y, 0 * x])
        start = time.process_time()
        triangles, _ = triangulate(np.array([n]), np.arange(n), points)
        assert time.process_time() - start < 5.0
        if n > MAX_CLIPPED:
            assert triangles[:, 0].tolist() == [0] * (n - 2)
        else:
            area = abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
            assert areas(points, triangles).sum() == pytest.approx(area)


# --- in files ---


def obj_text(shape: list) -> str:
    return "".join(f"v {x} {y} 0\n" for x, y in shape) + "f " + " ".join(str(i + 1) for i in range(len(shape))) + "\n"


def off_text(shape: list) -> str:
    face = " ".join(map(str, range(len(shape))))
    return f"OFF\n{len(shape)} 1 0\n" + "".join(f"{x} {y} 0\n" for x, y in shape) + f"{len(shape)} {face}\n"


def ply_text(shape: list) -> str:
    head = f"ply\nformat ascii 1.0\nelement vertex {len(shape)}\nproperty float x\nproperty float y\nproperty float z\n"
    return (
        head
        + "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
        + off_text(shape).split("0\n", 1)[1]
    )


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("suffix", "text"), [("obj", obj_text), ("off", off_text), ("ply", ply_text)])
def test_area_in_files(tmp_path: Path, suffix: str, text, name: str) -> None:
    shape, area = SHAPES[name]
    (tmp_path / f"m.{suffix}").write_text(text(shape))
    mesh = IO().load_mesh(tmp_path / f"m.{suffix}")
    assert mesh.faces_areas_packed().sum().item() == pytest.approx(area, rel=1e-5)


QUADS = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n2 0 0\n2 1 0\n"  # 0123 and 1452


@pytest.mark.parametrize(
    ("faces", "expected"),
    [
        ("4 0 1 2 3\n4 1 4 5 2\n", [[0, 1, 2], [1, 4, 5], [0, 2, 3], [1, 5, 2]]),
        ("4 0 1 2 3\n3 1 4 5\n", [[0, 1, 2], [0, 2, 3], [1, 4, 5]]),
        ("3 0 1 2\n3 1 4 5\n", [[0, 1, 2], [1, 4, 5]]),
        ("5 0 1 4 5 2\n", [[0, 1, 4], [0, 4, 5], [0, 5, 2]]),
    ],
)
def test_order_of_triangles(tmp_path: Path, faces: str, expected: list) -> None:
    """PyTorch3D's: polygons of one size corner by corner in PLY and OFF, others and OBJ face by face."""
    n = faces.count("\n")
    (tmp_path / "m.off").write_text(f"OFF\n6 {n} 0\n{QUADS}{faces}")
    assert IO().load_mesh(tmp_path / "m.off").faces_packed().tolist() == expected
    head = "ply\nformat ascii 1.0\nelement vertex 6\nproperty float x\nproperty float y\nproperty float z\n"
    ply = f"{head}element face {n}\nproperty list uchar int vertex_indices\nend_header\n{QUADS}{faces}"
    assert load_ply(io.BytesIO(ply.encode()))[1].tolist() == expected
    lines = ["f " + " ".join(str(int(i) + 1) for i in face.split()[1:]) for face in faces.splitlines()]
    obj = "".join(f"v {line}\n" for line in QUADS.splitlines()) + "\n".join(lines)
    assert load_obj(io.StringIO(obj))[1].verts_idx.tolist() == sorted(expected, key=lambda face: face[0])


def test_colours_of_faces_follow_the_order(tmp_path: Path) -> None:
    faces = "4 0 1 2 3 255 0 0\n4 1 4 5 2 0 0 255\n"
    (tmp_path / "m.off").write_text(f"OFF\n6 2 0\n{QUADS}{faces}")
    colors = IO().load_mesh(tmp_path / "m.off").textures.atlas_packed()[:, 0, 0]
    assert colors.tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1]]


def test_texture_coordinates_and_normals_are_cut_along(tmp_path: Path) -> None:
    """The notch's corner is the only one that reads the image's blue texel, and has its own normal."""
    Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], dtype=np.uint8)).save(tmp_path / "t.png")
    (tmp_path / "m.mtl").write_text("newmtl a\nmap_Kd t.png\n")
    verts = "".join(f"v {x} {y} 0\n" for x, y in DART)
    text = "mtllib m.mtl\nusemtl a\n" + verts + "vt 0 0\nvt 1 0\nvn 0 0 1\nvn 1 0 0\nf 1/1/1 2/1/1 3/1/1 4/2/2\n"
    (tmp_path / "m.obj").write_text(text)
    mesh = load_objs_as_meshes([tmp_path / "m.obj"])
    is_notch = mesh.faces_packed() == 3
    assert is_notch.sum() == 2
    blue, red = torch.tensor([0.0, 0, 1]), torch.tensor([1.0, 0, 0])
    colors = mesh.textures.faces_verts_textures_packed()
    assert torch.allclose(colors, torch.where(is_notch[..., None], blue, red))
    faces = load_obj(tmp_path / "m.obj")[1]
    assert torch.equal(faces.normals_idx, is_notch.long())
    assert torch.equal(faces.textures_idx, is_notch.long())
