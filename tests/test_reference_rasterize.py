"""The slow rasterizer that the kernels are measured against, itself measured against PyTorch3D's output."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from reference.rasterize import evaluate, rasterize
from reference.slots import by_face

CASES = sorted((Path(__file__).parent / "data" / "reference" / "mesh_raster").glob("*.npz"))
OUTPUTS = ("zbuf", "bary_coords", "dists")
# Where depths are equal but for rounding: slots whose order within the pixel differs, and pixels whose last slot does.
ORDER_DIFFERS = {"case3": 330, "case4": 12}
LAST_DIFFERS = {"case3": 10, "case4": 1}


def load(path):
    data = np.load(path)
    verts = [torch.from_numpy(data[f"in_verts{i}"]).requires_grad_() for i in (0, 1)]
    faces = [torch.from_numpy(data[f"in_faces{i}"]) for i in (0, 1)]
    packed = (torch.cat(verts), torch.cat([faces[0], faces[1] + len(verts[0])]))
    counts = [len(f) for f in faces]
    kwargs = json.loads(str(data["meta"]))["kwargs"]
    return data, verts, (*packed, [0, counts[0]], counts), kwargs


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_matches_pytorch3d(path):
    data, verts, scene, kwargs = load(path)
    ours = rasterize(*scene, **kwargs)
    theirs = [torch.from_numpy(data[f"out_{k}"]) for k in ("pix_to_face", *OUTPUTS)]

    assert (ours[0] != theirs[0]).sum() <= ORDER_DIFFERS.get(path.stem, 0)
    ours_by_face, theirs_by_face = by_face(*ours), by_face(*theirs)
    same_faces = (ours_by_face[0] == theirs_by_face[0]).all(-1)
    assert (~same_faces).sum() <= LAST_DIFFERS.get(path.stem, 0)
    wild = theirs_by_face[2].abs().amax(-1) > 1e3
    assert wild.sum() == (5 if path.stem == "case3" else 0)
    compared = same_faces[..., None] & ~wild
    for name, a, b in zip(OUTPUTS, ours_by_face[1:], theirs_by_face[1:]):
        assert a.isfinite().all()
        torch.testing.assert_close(
            a[compared], b[compared], rtol=2e-5, atol=2e-6, msg=lambda m, name=name: f"{name}: {m}"
        )
    in_order = (theirs[2].abs().amax(-1) <= 1e3).all(-1)
    torch.testing.assert_close(ours[1][in_order], theirs[1][in_order], rtol=1e-5, atol=1e-5)  # depths, slot by slot

    if "grad_verts0" in data:
        up = [torch.from_numpy(data[f"up_{k}"]) for k in OUTPUTS]
        for i, grad in enumerate(torch.autograd.grad(ours[1:], verts, up)):
            expected = torch.from_numpy(data[f"grad_verts{i}"])
            torch.testing.assert_close(grad, expected, rtol=2e-4, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("perspective", [False, True])
@pytest.mark.parametrize("clip", [False, True])
def test_gradcheck(perspective, clip):
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(40, 2, generator=generator, dtype=torch.float64) - 0.5
    corners = torch.rand(40, 3, 3, generator=generator, dtype=torch.float64) * 2 - 1
    corners[..., 2] += 2.5
    tame = evaluate(points, corners, perspective, False)[1].abs().amax(-1) < 20
    points, corners = points[tame], corners[tame].requires_grad_()
    assert len(points) > 20
    assert torch.autograd.gradcheck(lambda c: evaluate(points, c, perspective, clip), corners)


def test_float64_agrees_with_float32():
    _, _, (verts, *rest), kwargs = load(CASES[1])
    single, double = rasterize(verts, *rest, **kwargs), rasterize(verts.double(), *rest, **kwargs)
    assert double[1].dtype == torch.float64
    assert torch.equal(single[0], double[0])
    torch.testing.assert_close(single[2], double[2].float(), rtol=1e-3, atol=1e-4)


def triangle(*corners):
    return torch.tensor(corners), torch.arange(len(corners)).view(-1, 3), [0], [len(corners) // 3]


FRONT = ((1.0, -1.0, 2.0), (-1.0, -1.0, 2.0), (0.0, 1.0, 2.0))


def test_one_triangle_by_hand():
    """On 4 x 4 pixels with centres at +-0.25 and +-0.75: x grows to the left, y upwards."""
    faces, zbuf, bary, dists = rasterize(*triangle(*FRONT), (4, 4))
    covered = [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [1, 1, 1, 1]]  # the outline's points are outside
    assert (faces[0, ..., 0] >= 0).int().tolist() == covered
    assert zbuf[0, 3, 0, 0] == 2
    torch.testing.assert_close(bary[0, 3, 0, 0], torch.tensor([0.8125, 0.0625, 0.125]), atol=1e-6, rtol=0)
    torch.testing.assert_close(dists[0, 3, 1, 0], torch.tensor(-0.0625))


def test_ties_go_to_the_lower_face_and_none_keeps_all():
    scene = triangle(*FRONT, *FRONT, *FRONT)
    faces = rasterize(*scene, (8, 8), faces_per_pixel=2)[0]
    assert set(map(tuple, faces.view(-1, 2).tolist())) == {(0, 1), (-1, -1)}
    faces = rasterize(*scene, (8, 8), faces_per_pixel=None)[0]
    assert set(map(tuple, faces.view(-1, 3).tolist())) == {(0, 1, 2), (-1, -1, -1)}


@pytest.mark.parametrize(
    ("corners", "drawn"),
    [
        (FRONT, True),
        (tuple((x, y, -1.0) for x, y, _ in FRONT), False),
        (((0.0, 0.0, 1.0),) * 3, False),
        (((-1.0, -1.0, 1.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)), False),
        (tuple(reversed(FRONT)), False),
    ],
    ids=["front", "behind", "point", "edge-on", "back"],
)
def test_what_is_drawn(corners, drawn):
    faces = rasterize(*triangle(*corners), (6, 6), blur_radius=0.1, cull_backfaces=True)[0]
    assert bool((faces >= 0).any()) == drawn


@pytest.mark.parametrize("clip", [False, True])
def test_gradients_stay_finite_around_the_eye(clip):
    """Corners before, on and behind the image plane; the point far outside the face."""
    for z in [(1.0, 1.0, -1.0), (1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1e-6, 1.0, -1.0), (-1.0, -1.0, 1.0)]:
        corners = torch.tensor([(-1, -1, z[0]), (1, -1, z[1]), (0, 1, z[2])]).expand(50, 3, 3).clone().requires_grad_()
        points = torch.linspace(-3, 3, 100).view(50, 2)
        zbuf, bary, dists = evaluate(points, corners, True, clip)
        (grad,) = torch.autograd.grad(zbuf.sum() + bary.square().sum() + dists.sum(), corners)
        assert bary.abs().max() <= 1001
        assert grad.isfinite().all()
        assert grad.abs().max() < 1e10


@pytest.mark.parametrize("k", [1, None])
def test_nothing_to_draw(k):
    out = rasterize(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long), [0, 0], [0, 0], (3, 5), faces_per_pixel=k)
    assert [tuple(t.shape) for t in out] == [(2, 3, 5, 1), (2, 3, 5, 1), (2, 3, 5, 1, 3), (2, 3, 5, 1)]
    assert all((t == -1).all() for t in out)
