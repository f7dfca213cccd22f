"""Values and adjoint of packed fragments, against the slow torch rasterizer and finite differences."""

from __future__ import annotations

import pytest
import torch
from conftest import random_scene, rasterization, rounding
from reference.rasterize import evaluate, pixel_centres

from tirender.engine.mesh_fragments import mesh_fragments
from tirender.engine.packed_fragments import PackedFragments

SIZE = (24, 40)
FLAGS = [(p, c) for p in (False, True) for c in (False, True)]


def fragments_and_twin(verts, faces, image, *, perspective, clip, blur=0.01):
    """The op's outputs and the twin's for the same selection."""
    r = rasterization(
        verts,
        faces,
        image,
        image_size=SIZE,
        faces_per_pixel=6,
        blur_radius=blur,
        perspective_correct=perspective,
        clip_barycentric_coords=clip,
    )
    packed = PackedFragments.of(r)
    points = pixel_centres(*SIZE, verts).reshape(-1, 2).index_select(0, packed.pixel_index % (SIZE[0] * SIZE[1]))
    rows = faces.long().index_select(0, packed.pix_to_face).reshape(-1)
    twin = evaluate(points, verts.index_select(0, rows).view(-1, 3, 3), perspective, clip)
    return (packed.zbuf, packed.bary_coords, packed.dists), twin


@pytest.mark.parametrize(("perspective", "clip"), FLAGS)
@pytest.mark.parametrize("n_faces", [1, 400])
def test_matches_the_twin_with_random_upstream_gradients(perspective, clip, n_faces):
    verts, faces, image = random_scene(n_faces, dtype=torch.float32)
    leaf = verts.requires_grad_()
    ours, twin = fragments_and_twin(leaf * 1, faces, image, perspective=perspective, clip=clip)
    up = [torch.randn_like(t) for t in twin]
    for a, b in zip(ours, twin):
        torch.testing.assert_close(a, b, rtol=1e-5 * rounding(), atol=1e-6 * rounding())
    a, b = (torch.autograd.grad(out, leaf, up, retain_graph=True)[0] for out in (ours, twin))
    torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5 * float(b.abs().max()))


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize(("perspective", "clip"), FLAGS)
def test_gradcheck(perspective, clip):
    verts, faces, image = random_scene(12, dtype=torch.float64, size=1.5)
    r = rasterization(
        verts,
        faces,
        image,
        image_size=(6, 5),
        faces_per_pixel=None,
        blur_radius=0.02,
        perspective_correct=perspective,
        clip_barycentric_coords=clip,
    )
    _, index = r.selection()
    pixels = PackedFragments.of(r).pixel_index.int()
    # keep away from where the clipping and the nearest segment change
    _, bary, _ = mesh_fragments(r.triangles, r.mode, pixels, index)
    smooth = (bary.abs() > 1e-3).all(1) if not clip else ((bary > 1e-3) | (bary == 0)).all(1)
    pixels, index = pixels[smooth], index[smooth]
    assert len(index) > 20

    def values(v):
        triangles = type(r.triangles)(v, faces, image, 2)
        return mesh_fragments(triangles, r.mode, pixels, index)

    assert torch.autograd.gradcheck(values, (verts.requires_grad_(),), atol=1e-4, rtol=1e-4)


def test_repeats_are_equal_to_the_bit():
    verts, faces, image = random_scene(500)
    verts.requires_grad_()
    grads = []
    for _ in range(3):
        ours, _ = fragments_and_twin(verts, faces, image, perspective=True, clip=True)
        grads.append(torch.autograd.grad([o.cos().sum() for o in ours], verts)[0])
    assert all(torch.equal(grads[0], g) for g in grads)


@pytest.mark.usefixtures("needs_f64")
def test_used_twice_and_not_contiguous():
    verts, faces, image = random_scene(60, dtype=torch.float64)
    wide = torch.cat([verts, verts], 1).requires_grad_()
    ours, twin = fragments_and_twin(wide[:, :3], faces, image, perspective=True, clip=True)
    (a,) = torch.autograd.grad(sum((o * o).sum() + o.sum() for o in ours), wide, retain_graph=True)
    (b,) = torch.autograd.grad(sum((o * o).sum() + o.sum() for o in twin), wide)
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9 * float(b.abs().max()))


def test_edge_on_and_tiny_faces_have_finite_gradients():
    flat = torch.tensor([[0.0, 0, 2], [0.5, 0, 2], [0.25, 1e-7, 3], [0, 0, 1], [1e-4, 0, 1], [0, 2e-4, 1]])
    faces = torch.arange(6, dtype=torch.int32).view(-1, 3)
    verts = flat.requires_grad_()
    image = torch.zeros(2, dtype=torch.int32)
    for perspective, clip in FLAGS:
        ours, _ = fragments_and_twin(verts, faces, image, perspective=perspective, clip=clip, blur=0.1)
        assert len(ours[0])
        (g,) = torch.autograd.grad(sum(o.sum() for o in ours), verts)
        assert g.isfinite().all()
