"""The soft silhouette, against the product over the fragments' distances in torch."""

from __future__ import annotations

import pytest
import torch
from conftest import random_scene, rasterization

from tirender.engine.packed_fragments import PackedFragments
from tirender.engine.silhouette import soft_silhouette

MODE = {"image_size": (20, 28), "faces_per_pixel": 10, "blur_radius": 0.01}


def silhouette(verts, faces, image, sigma=1e-3, **mode):
    r = rasterization(verts, faces, image, **(MODE | mode))
    return soft_silhouette(r.triangles, r.mode, *r.selection(by_depth=False), sigma)


def twin(verts, faces, image, sigma=1e-3, **mode):
    packed = PackedFragments.of(rasterization(verts, faces, image, **(MODE | mode)))
    log_miss = torch.nn.functional.logsigmoid(packed.dists / sigma)
    pixels = verts.new_zeros(len(packed.offsets) - 1).index_add(0, packed.pixel_index, log_miss)
    return -torch.expm1(pixels).view(2, 20, 28)


@pytest.mark.parametrize("sigma", [1e-3, 1e7])  # at the second the coverage is a half, inside and outside
@pytest.mark.parametrize("perspective", [False, True])
@pytest.mark.parametrize("n_faces", [1, 300])
def test_matches_the_twin(perspective, n_faces, sigma):
    verts, faces, image = random_scene(n_faces)
    verts.requires_grad_()
    ours, expected = (f(verts, faces, image, sigma, perspective_correct=perspective) for f in (silhouette, twin))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    up = torch.randn_like(ours)
    a, b = (torch.autograd.grad(out, verts, up)[0] for out in (ours, expected))
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5 * float(b.abs().max()))


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck():
    # few pixels, so that none lies where the nearest segment changes
    verts, faces, image = random_scene(6, dtype=torch.float64, size=2.0)
    r = rasterization(verts, faces, image, **(MODE | {"image_size": (5, 7)}))
    assert len(PackedFragments.of(r)) > 20
    selection = r.selection()

    def alpha(v):
        return soft_silhouette(type(r.triangles)(v, faces, image, 2), r.mode, *selection, 0.01)

    assert torch.autograd.gradcheck(alpha, (verts.requires_grad_(),), eps=1e-7, atol=1e-4)


def test_repeats_are_equal_to_the_bit():
    verts, faces, image = random_scene(400)
    verts.requires_grad_()
    runs = []
    for _ in range(3):
        alpha = silhouette(verts, faces, image)
        runs.append((alpha, torch.autograd.grad(alpha.cos().sum(), verts)[0]))
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run))


@pytest.mark.parametrize("n_faces", [0, 2])
def test_nothing_seen(n_faces):
    verts, faces, image = random_scene(n_faces)
    verts.requires_grad_()
    alpha = silhouette(verts + 10, faces, image)
    assert (alpha == 0).all()
    assert not torch.autograd.grad(alpha.sum(), verts)[0].any()


def test_full_coverage_has_a_finite_gradient():
    """1 - p underflows to 0 deep inside a face, where a formula that divides by it gives NaN."""
    verts = torch.tensor([[-9.0, -9, 2], [9, -9, 2], [0, 9, 2]]).repeat(3, 1).requires_grad_()
    faces = torch.arange(9, dtype=torch.int32).view(3, 3)
    alpha = silhouette(verts, faces, torch.zeros(3, dtype=torch.int32), sigma=1e-7)
    assert (alpha[0] == 1).all()
    assert torch.autograd.grad(alpha.sum(), verts)[0].isfinite().all()


def test_a_nan_from_above_is_passed_on():
    verts, faces, image = random_scene(300)
    verts.requires_grad_()
    alpha = silhouette(verts, faces, image)
    assert torch.autograd.grad(alpha, verts, torch.full_like(alpha, torch.nan))[0].isnan().any()
