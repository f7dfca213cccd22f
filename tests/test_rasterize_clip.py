"""Rasterization in clip space against a twin in torch, and nvdiffrast's conventions."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import rounding
from reference import clip_space as twin

import tirender.nvdiffrast.torch as dr

SIZE = (13, 18)


def triangles(n: int, n_images: int = 2, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Separate triangles, some of which reach out of view and behind the eye: pos (N, 3n, 4), tri (n, 3)."""
    centre = 1.6 * torch.rand(n_images, n, 1, 3, dtype=dtype) - 0.8
    ndc = centre + torch.tensor([2.4, 2.4, 0.6]).to(dtype) * (torch.rand(n_images, n, 3, 3, dtype=dtype) - 0.5)
    w = 0.5 + 2 * torch.rand(n_images, n, 3, 1, dtype=dtype)
    w[:, ::3, 0] *= -0.3
    pos = torch.cat([ndc * w.abs(), w], -1)
    return pos.view(n_images, 3 * n, 4), torch.arange(3 * n, dtype=torch.int32).view(n, 3)


def rasterize(pos, tri, size=SIZE, **arguments):
    return dr.rasterize(dr.RasterizeCudaContext(), pos, tri, size, **arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matches_the_twin(dtype, request):
    if dtype == torch.float64:
        request.getfixturevalue("needs_f64")
    pos, tri = triangles(9, dtype=dtype)
    leaves = [pos.clone().requires_grad_() for _ in range(2)]
    ours, theirs = (leaves[0], *rasterize(leaves[0], tri)), (leaves[1], *twin.rasterize(leaves[1], tri, SIZE))
    assert torch.equal(ours[1][..., 3], theirs[1][..., 3])
    assert 0.3 < float((ours[1][..., 3] > 0).float().mean()) < 0.95
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4 * rounding(), atol=2e-5 * rounding())
    ups = [torch.randn_like(x) for x in ours[1:]]
    grads = [torch.autograd.grad(out[1:], out[0], ups)[0] for out in (ours, theirs)]
    scale = float(grads[1].abs().max())
    assert not grads[0][..., 2].any()
    torch.testing.assert_close(*grads, rtol=1e-3 * rounding(), atol=1e-5 * rounding() * scale)


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck():
    pos, tri = triangles(3, n_images=1, dtype=torch.float64)
    pos[:, ::3, 3] = pos[:, ::3, 3].abs()

    def coordinates(pos):
        rast, rast_db = rasterize(pos, tri, (5, 6))
        return rast[..., :2], rast_db

    assert torch.autograd.gradcheck(coordinates, (pos.requires_grad_(),), eps=1e-7, atol=1e-5)


def test_pixels_coordinates_and_depths():
    """The first row is at the bottom; a pixel's centre is half a pixel from its edges; z / w; ids begin at 1."""
    h, w = 4, 6
    # u is 1 at the right end, v at the top, of a triangle that covers the view
    pos = torch.tensor([[[3.0, -1, 0.2, 1], [-1, 3, 0.2, 1], [-1, -1, 0.2, 1], [9, 9, 9, 1]]])
    pos *= torch.tensor([1.0, 2, 4, 1])[:, None]  # w differs, and z / w does not
    rast, rast_db = rasterize(pos, torch.tensor([[3, 3, 3], [0, 1, 2]]), (h, w))
    one = torch.ones(h, w)
    affine = [(torch.arange(w) + 0.5) / w / 2 * one, ((torch.arange(h) + 0.5) / h / 2)[:, None] * one]
    over_w = [affine[0] / 1, affine[1] / 2, (1 - affine[0] - affine[1]) / 4]
    total = over_w[0] + over_w[1] + over_w[2]
    expected = torch.stack([over_w[0] / total, over_w[1] / total, 0.2 * one, 2 * one], -1)
    torch.testing.assert_close(rast[0], expected, rtol=1e-5 * rounding(), atol=1e-6 * rounding())
    assert rast_db.shape == (1, h, w, 4)


def test_changes_are_differences_of_pixels():
    pos = torch.tensor([[[6.0, -2, 0, 2], [-1, 3, 0, 1], [-0.5, -0.5, 0, 0.5]]])
    fine = 256
    rast, rast_db = rasterize(pos, torch.tensor([[0, 1, 2]]), (fine, fine))
    for k in (0, 1):
        along_x = (rast[:, 1:-1, 2:, k] - rast[:, 1:-1, :-2, k]) / 2
        along_y = (rast[:, 2:, 1:-1, k] - rast[:, :-2, 1:-1, k]) / 2
        inner = rast_db[:, 1:-1, 1:-1]
        torch.testing.assert_close(inner[..., 2 * k], along_x, rtol=2e-3, atol=1e-6 * rounding())
        torch.testing.assert_close(inner[..., 2 * k + 1], along_y, rtol=2e-3, atol=1e-6 * rounding())


def test_what_is_in_view():
    """z / w from -1 to 1, and w > 0; the nearer of two, from either side; of equals, the first."""
    square = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    tri = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])

    def shown(z0, z1, w1=1.0):
        quads = [
            torch.cat([square * w, torch.full((4, 1), z), torch.full((4, 1), w)], 1) for z, w in ((z0, 1), (z1, w1))
        ]
        rast, _ = rasterize(torch.cat(quads)[None], tri, (4, 4))
        return {int(x + 1) // 2 for x in rast[..., 3].flatten().tolist()}

    assert shown(0.5, 0.4) == {2}
    assert shown(0.3, 0.4) == {1}
    assert shown(0.5, 0.5) == {1}
    assert shown(0.5, 0.8, 2.0) == {2}
    assert shown(1.001, -1.001) == {0}
    assert shown(0.99, -1.001) == {1}
    assert shown(0.5, 0.0, -1.0) == {1}
    assert torch.equal(rasterize(*_fan())[0][..., 3] > 0, rasterize(_fan()[0], _fan()[1].flip(1))[0][..., 3] > 0)


def _fan():
    angle = torch.linspace(0, 2 * math.pi, 13)[:-1]
    rim = torch.stack([angle.cos(), angle.sin(), 0 * angle, 0 * angle + 1.2], 1)
    index = torch.arange(12)
    hub = torch.tensor([[0.0, 0, 0, 1]])
    return torch.cat([rim, hub])[None], torch.stack([index, (index + 1) % 12, 0 * index + 12], 1)


def test_shared_edges_have_no_gap_and_no_overlap():
    """Centres that lie on edges exactly: each belongs to one triangle, so a second layer is empty."""
    pos, tri = _fan()
    for size in ((16, 16), (15, 15)):
        grid = torch.cartesian_prod(torch.arange(size[0] + 1.0), torch.arange(size[1] + 1.0)) / size[0] * 2 - 1
        corners = torch.cat([grid + 1 / size[0], torch.zeros(len(grid), 1), torch.ones(len(grid), 1)], 1)[None]
        n = size[1] + 1
        a = (torch.arange(size[0])[:, None] * n + torch.arange(size[1])).flatten()
        cells = torch.cat([torch.stack([a, a + 1, a + n + 1], 1), torch.stack([a, a + n + 1, a + n], 1)])
        for p, t, covered in ((corners, cells, (size[0] - 1) ** 2), (pos, tri, None)):
            with dr.DepthPeeler(dr.RasterizeCudaContext(), p, t, size) as peeler:
                first, second = (peeler.rasterize_next_layer()[0][..., 3] > 0 for _ in range(2))
            assert not second.any()
            assert covered is None or covered <= int(first.sum()) <= size[0] ** 2


def test_layers_match_the_twin():
    pos, tri = triangles(9)
    with dr.DepthPeeler(dr.RasterizeGLContext(), pos, tri, SIZE) as peeler:
        layers = [peeler.rasterize_next_layer() for _ in range(5)]
    assert layers[2][0].any()
    for k, ours in enumerate(layers):
        theirs = twin.rasterize(pos, tri, SIZE, k)
        assert torch.equal(ours[0][..., 3], theirs[0][..., 3])
        torch.testing.assert_close(ours[0], theirs[0], rtol=1e-4 * rounding(), atol=2e-5 * rounding())


def test_peelers_and_their_context():
    context = dr.RasterizeCudaContext()
    pos, tri = triangles(2)
    peeler = dr.DepthPeeler(context, pos, tri, SIZE)
    with pytest.raises(RuntimeError, match="within the block of the DepthPeeler"):
        peeler.rasterize_next_layer()
    with peeler:
        with pytest.raises(RuntimeError, match="got one of a DepthPeeler"):
            dr.rasterize(context, pos, tri, SIZE)
        other = dr.DepthPeeler(context, pos, tri, SIZE)
        with pytest.raises(RuntimeError, match="got one of another DepthPeeler"):
            other.__enter__()
    with pytest.raises(RuntimeError, match="got one that has ended"), peeler:
        pass
    assert dr.rasterize(context, pos, tri, SIZE)[0].any()


def test_ranges_are_images_of_their_own():
    pos, tri = triangles(8, n_images=1)
    ranges = torch.tensor([[2, 3], [0, 8], [5, 0], [1, 3]], dtype=torch.int32)
    leaf = pos[0].clone().requires_grad_()
    rast, rast_db = rasterize(leaf, tri, ranges=ranges)
    ups = torch.randn_like(rast), torch.randn_like(rast_db)
    (grad,) = torch.autograd.grad((rast, rast_db), leaf, ups)
    total = torch.zeros_like(grad)
    for i, (first, count) in enumerate(ranges.tolist()):
        one = pos.clone().requires_grad_()
        alone = rasterize(one, tri[first : first + count])
        expected = alone[0].clone()
        expected[..., 3] += first * (expected[..., 3] > 0)
        assert torch.equal(rast[i], expected[0])
        assert torch.equal(rast_db[i], alone[1][0])
        total += torch.autograd.grad(alone, one, [up[i : i + 1] for up in ups])[0][0]
    torch.testing.assert_close(grad, total, rtol=1e-4, atol=1e-4 * float(total.abs().max()))


def test_gradients_of_changes_can_be_held_back():
    pos, tri = triangles(4)
    pos.requires_grad_()
    for arguments, context, has_changes, has_grad in (
        ({}, dr.RasterizeCudaContext(), True, True),
        ({"grad_db": False}, dr.RasterizeGLContext(), True, False),
        ({}, dr.RasterizeGLContext(output_db=False), False, False),
    ):
        rast, rast_db = dr.rasterize(context, pos, tri, SIZE, **arguments)
        assert rast_db.shape == (*rast.shape[:3], 4 if has_changes else 0)
        grads = torch.autograd.grad(rast.sum() + rast_db.square().sum(), pos)[0]
        base = torch.autograd.grad(rasterize(pos, tri)[0].sum(), pos)[0]
        assert torch.equal(grads, base) != has_grad


def test_degenerate_triangles_have_finite_gradients():
    far = torch.tensor([1e30, math.inf, math.nan, -1e30])
    corners = [
        torch.tensor([[0.0, 0, 0, 0]] * 3),
        torch.tensor([[0.3, 0.2, 0, 1]] * 3),
        torch.tensor([[-0.9, -0.9, 0, 1], [0, 0, 0, 1], [0.9, 0.9, 0, 1]]),
        torch.tensor([[-0.9, -0.8, 0, 1], [0, 1e-7, 0, 1], [0.9, 0.8, 0, 1]]),
        torch.tensor([[-0.9, -0.8, 0, 1e-30], [0, 1, 0, -1e-30], [0.9, -0.8, 0, 1e-30]]),
        torch.tensor([[-2.0, -2, 0, 1], [5, 0, 0, 0], [0, 5, 0, 0]]),
        torch.tensor([[-2.0, -2, 0, -1], [5, 0, 0, -1], [0, 5, 0, -1]]),
        *(torch.tensor([[-0.9, -0.8, 0, 1], [0, 1, 0, 1], [float(x), -0.8, 0, 1]]) for x in far),
        *(torch.tensor([[-0.9, -0.8, 0, 1], [0, 1, 0, 1], [0.9, -0.8, 0, float(x)]]) for x in far),
    ]
    for verts in corners:
        pos = verts[None].clone().requires_grad_()
        tri = torch.tensor([[0, 1, 2]])
        rast, rast_db = rasterize(pos, tri, (16, 16))
        out, out_da = dr.interpolate(verts.nan_to_num(0, 1, 1)[None], rast, tri, rast_db, "all")
        blended = dr.antialias(out, rast, pos, tri)
        for x in (rast, rast_db, out, out_da, blended):
            assert x.isfinite().all()
        (grad,) = torch.autograd.grad(rast.sum() + rast_db.sum() + blended.square().sum(), pos)
        assert grad.isfinite().all(), verts


def test_empty_batches_and_sizes():
    tri = torch.zeros(0, 3, dtype=torch.int32)
    assert not rasterize(torch.zeros(2, 0, 4), tri)[0].any()
    pos, some = triangles(2)
    assert rasterize(pos[:0], some)[0].shape == (0, *SIZE, 4)
    assert rasterize(pos[0], some, ranges=torch.zeros(0, 2, dtype=torch.int32))[0].shape == (0, *SIZE, 4)
    assert rasterize(pos, some, (1, 1))[0].shape == (2, 1, 1, 4)


def test_repeats_are_equal_to_the_bit():
    pos, tri = triangles(200)
    pos.requires_grad_()
    runs = []
    for _ in range(3):
        rast, rast_db = rasterize(pos, tri, (70, 90))
        runs.append((rast, *torch.autograd.grad(rast.sum() + rast_db.sum(), pos)))
    for run in runs[1:]:
        assert torch.equal(run[0], runs[0][0])
        assert rounding() > 1 or torch.equal(run[1], runs[0][1])


def test_bad_arguments():
    pos, tri = triangles(2)
    context = dr.RasterizeCudaContext()
    for arguments, message in [
        ((None, pos, tri, SIZE), "glctx: expected"),
        ((context, pos[..., :3], tri, SIZE), "pos: expected shape"),
        ((context, pos[0], tri, SIZE), "ranges: expected a tensor"),
        ((context, pos, tri + 1, SIZE), "tri: expected"),
        ((context, pos, tri.float(), SIZE), "tri: expected"),
        ((context, pos, tri, 13), "resolution: expected two integers"),
        ((context, pos, tri, (13, 0)), "resolution: expected"),
        ((context, pos[0], tri, SIZE, torch.tensor([[1, 2]])), "ranges: expected first triangles and counts"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            dr.rasterize(*arguments)
    with pytest.raises(RuntimeError, match="expected a context of mode 'manual'"):
        dr.RasterizeGLContext().set_context()
    manual = dr.RasterizeGLContext(mode="manual", device="cuda:0")
    manual.set_context(), manual.release_context()
