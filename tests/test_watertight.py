"""A pixel on an edge or vertex that triangles share belongs to exactly one of them."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import rasterization
from reference.rasterize import rasterize as slow_rasterize

import tirender.renderer as r
from tirender.engine.packed_fragments import PackedFragments
from tirender.structures import Meshes
from tirender.utils import ico_sphere


def triangulated_square(half: float, n_points: int, grid: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The square from -half to half, cut into triangles of random winding: verts (V, 3) at depth 1 and faces (F, 3).

    Most points lie on the centres of grid x grid pixels or on lines through them, so that pixels lie on edges and
    vertices.
    """
    draw = random.Random(seed)
    points = [(-half, -half), (half, -half), (half, half), (-half, half)]
    faces = [[0, 1, 2], [0, 2, 3]]

    def area(a: int, b: int, c: int) -> float:
        (ax, ay), (bx, by), (cx, cy) = points[a], points[b], points[c]
        return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)

    while len(points) < n_points:
        x, y = (draw.uniform(-half, half) for _ in range(2))
        if draw.random() < 0.8:
            x = (2 * draw.randrange(grid) + 1) / grid - 1
        if draw.random() < 0.8:
            y = (2 * draw.randrange(grid) + 1) / grid - 1
        x, y = (float(torch.tensor(v, dtype=torch.float32)) for v in (x, y))
        points.append((x, y))
        new = len(points) - 1
        for f in faces:
            if min(area(f[i], f[(i + 1) % 3], new) for i in range(3)) > 1e-3 * half:
                a, b, c = f
                faces.remove(f)
                faces += [[a, b, new], [b, c, new], [c, a, new]]
                break
        else:
            points.pop()
            f = draw.choice(faces)  # cut an edge and both faces beside it
            i = draw.randrange(3)
            a, b = f[i], f[(i + 1) % 3]
            t = draw.choice([0.5, 0.25, draw.random()])
            (ax, ay), (bx, by) = points[a], points[b]
            points.append((ax + t * (bx - ax), ay + t * (by - ay)))
            for g in [g for g in faces if a in g and b in g]:
                third = next(v for v in g if v not in (a, b))
                faces.remove(g)
                k = g.index(a)
                forward = g[(k + 1) % 3] == b
                faces += [[a, new, third], [new, b, third]] if forward else [[new, a, third], [b, new, third]]
    turned = [f if draw.random() < 0.5 else f[::-1] for f in faces]
    xy = torch.tensor(points, dtype=torch.float32)
    return torch.cat([xy, torch.ones(len(xy), 1)], 1), torch.tensor(turned, dtype=torch.int32)


def counts(verts: torch.Tensor, faces: torch.Tensor, size: int, k: int | None) -> torch.Tensor:
    """How many triangles each pixel keeps, (size, size)."""
    image = torch.zeros(len(faces), dtype=torch.int32)
    mode = {"image_size": (size, size), "faces_per_pixel": k}
    offsets = PackedFragments.of(rasterization(verts, faces, image, n_images=1, **mode)).offsets
    return (offsets[1:] - offsets[:-1]).view(size, size)


def centres(size: int) -> torch.Tensor:
    """x of the columns and y of the rows in NDC."""
    return 1 - (2 * torch.arange(size, dtype=torch.float64) + 1) / size


@pytest.mark.parametrize("size", [8, 16, 64])
@pytest.mark.parametrize("half", [0.25, 0.8125, 1.0, 40.0])
@pytest.mark.parametrize("k", [1, 2, None])
def test_a_square_in_any_triangles_is_covered_once(size, half, k):
    for seed in range(6):
        verts, faces = triangulated_square(half, 40, size, seed)
        x = centres(size)
        within = (x > -half) & (x <= half)  # a pixel on the left or on the top edge belongs to the square
        assert torch.equal(counts(verts, faces, size, k), (within[:, None] & within).int())


@pytest.mark.parametrize("k", [1, 3])
def test_the_slow_rasterizer_agrees(k):
    verts, faces = triangulated_square(0.8125, 60, 16, 9)
    mode = {"image_size": (16, 16), "faces_per_pixel": k}
    packed = PackedFragments.of(rasterization(verts, faces, torch.zeros(len(faces)).int(), n_images=1, **mode))
    slow = slow_rasterize(verts, faces.long(), [0], [len(faces)], **mode)[0]
    assert torch.equal(packed.pix_to_face, slow[slow >= 0])


def test_the_diagonal_of_a_square_has_no_holes():
    verts = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    mesh = Meshes([verts], [torch.tensor([[0, 1, 2], [0, 2, 3]])])
    cameras = r.FoVOrthographicCameras()
    assert (r.MeshRasterizer(cameras, r.RasterizationSettings(8))(mesh).pix_to_face >= 0).all()


@pytest.mark.parametrize("name", ["cube", "sphere"])
@pytest.mark.parametrize("make", [r.FoVPerspectiveCameras, r.FoVOrthographicCameras])
def test_closed_convex_surfaces_are_hit_twice_or_never(name, make):
    mesh = ico_sphere(2)
    if name == "cube":
        corners = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])
        quads = torch.tensor([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
        mesh = Meshes([corners], [torch.cat([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])])
    for azim in (0.0, 30.0, 45.0, 90.0, 123.4):
        for scale in (0.01, 0.3, 1.0, 7.0):
            R, T = r.look_at_view_transform(3 * scale, azim / 3, azim)
            cameras = make(R=R, T=T, znear=0.01 * scale, zfar=100 * scale)
            settings = r.RasterizationSettings(64, faces_per_pixel=None)
            packed = r.MeshRasterizer(cameras, settings)(mesh.scale_verts(scale)).packed
            hits = packed.offsets[1:] - packed.offsets[:-1]
            assert set(hits.tolist()) <= {0, 2}
            assert (hits == 2).any() or scale < 0.1  # less than a pixel


def test_a_floor_cut_at_the_near_plane_is_covered_once():
    """A wide floor from just above it, behind the camera too; which pixels see it follows from the geometry alone."""
    size = 64
    for seed in range(6):
        square, faces = triangulated_square(8.0, 40, 16, seed)
        verts = torch.stack([square[:, 0], torch.full_like(square[:, 0], -0.5), square[:, 1]], 1)
        R, T = r.look_at_view_transform(eye=((0.3, 0.4, 1.0),), at=((0.0, 0.0, 0.0),))
        cameras = r.FoVPerspectiveCameras(znear=2.0, R=R, T=T)  # faces are cut at 1
        settings = r.RasterizationSettings(size, faces_per_pixel=None)
        packed = r.MeshRasterizer(cameras, settings)(Meshes([verts], [faces.long()])).packed
        hits = (packed.offsets[1:] - packed.offsets[:-1]).view(size, size)
        assert int(hits.max()) == 1

        x = centres(size)
        ndc = torch.stack([x.expand(size, size), x[:, None].expand(size, size), torch.ones(size, size).double()], -1)
        ndc[..., :2] *= torch.tan(torch.tensor(torch.pi / 6)).double()  # the view's direction: depth 1
        direction = ndc @ R[0].double().T
        eye = cameras.get_camera_center()[0].double()
        depth = (-0.5 - eye[1]) / direction[..., 1]
        place = eye + depth[..., None] * direction
        margin = torch.stack([depth - 1, 8 - place[..., 0].abs(), 8 - place[..., 2].abs(), depth], -1).amin(-1)
        clear = margin.abs() > 1e-3
        assert torch.equal(hits.bool()[clear], margin[clear] > 0)
        assert 500 < int((margin > 0).sum()) < size * size


def test_it_holds_in_a_runtime_with_fast_math():
    code = """
import taichi as ti
ti.init(arch=ti.cpu, fast_math=True, log_level=ti.ERROR)
import test_watertight as tests
for half in (0.8125, 1.0):
    for k in (1, 2):
        tests.test_a_square_in_any_triangles_is_covered_once(64, half, k)
tests.test_closed_convex_surfaces_are_hit_twice_or_never("cube", tests.r.FoVPerspectiveCameras)
tests.test_a_floor_cut_at_the_near_plane_is_covered_once()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
