"""Texture lookups against a twin in torch, and what mip levels, boundaries and the faces of a cube map mean."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import rounding
from reference import clip_space as twin

import tirender.nvdiffrast.torch as dr
from tirender.engine.texture_lookup import FILTERS, mip_levels

SIZE = (2, 7, 9)


def scene(boundary: str, dtype: torch.dtype = torch.float32, shared: bool = False) -> dict[str, torch.Tensor]:
    """A texture and places to read it at, most of them away from where gradients jump."""
    n = 1 if shared else 2
    shape = (n, 6, 8, 8, 3) if boundary == "cube" else (n, 8, 16, 3)
    n_coords = 3 if boundary == "cube" else 2
    spread = 1.0 if boundary == "cube" else 3.0
    return {
        "tex": torch.rand(*shape, dtype=dtype),
        "uv": spread * (torch.rand(*SIZE, n_coords, dtype=dtype) - 0.4),
        "uv_da": 0.3 * torch.randn(*SIZE, 2 * n_coords, dtype=dtype) * torch.rand(*SIZE, 1, dtype=dtype),
        "mip_level_bias": torch.randn(*SIZE, dtype=dtype),
    }


def slow_texture(tex, uv, uv_da, mip_level_bias, filter_mode, boundary_mode):
    levels = [tex]
    while max(levels[-1].shape[-3:-1]) > 1:
        levels.append(twin.halved(levels[-1]))
    return twin.texture(levels, uv, uv_da, mip_level_bias, filter_mode, boundary_mode)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("boundary", ["wrap", "clamp", "zero", "cube"])
@pytest.mark.parametrize("filtering", FILTERS)
def test_matches_the_twin(filtering, boundary, dtype, request):
    if dtype == torch.float64:
        request.getfixturevalue("needs_f64")
    leaves = {name: x.requires_grad_() for name, x in scene(boundary, dtype).items()}
    ours = dr.texture(**leaves, filter_mode=filtering, boundary_mode=boundary)
    theirs = slow_texture(**leaves, filter_mode=filtering, boundary_mode=boundary)
    torch.testing.assert_close(ours, theirs, rtol=1e-5 * rounding(), atol=1e-5 * rounding())
    up = torch.randn_like(ours)
    grads = [torch.autograd.grad(out, [*leaves.values()], up, allow_unused=True) for out in (ours, theirs)]
    for name, a, b in zip(leaves, *grads, strict=True):
        if b is None or not b.any():
            assert a is None or not a.any(), name
        else:
            assert a is not None, name
            scale = float(b.abs().max())
            torch.testing.assert_close(a, b, rtol=1e-3 * rounding(), atol=2e-5 * rounding() * scale, msg=name)


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("boundary", ["wrap", "clamp", "zero", "cube"])
def test_gradcheck(boundary):
    leaves = {name: x.requires_grad_() for name, x in scene(boundary, torch.float64, shared=True).items()}

    def read(*values):
        return dr.texture(**dict(zip(leaves, values)), filter_mode="linear-mipmap-linear", boundary_mode=boundary)

    assert torch.autograd.gradcheck(read, tuple(leaves.values()), eps=1e-7, atol=1e-5)


def test_half_texels_and_directions():
    """(0, 0) is the corner of the first texel: the first row lies at t = 0, its centre at half a texel."""
    tex = torch.arange(8.0).view(1, 2, 4, 1)
    centres = torch.tensor([[[[0.125, 0.25], [0.375, 0.25], [0.875, 0.25], [0.125, 0.75], [0.875, 0.75]]]])
    for filtering in ("nearest", "linear"):
        found = dr.texture(tex, centres, filter_mode=filtering).flatten().tolist()
        assert found == pytest.approx([0, 1, 3, 4, 7])
    between = torch.tensor([[[[0.25, 0.25], [0.125, 0.5], [0.0, 0.25], [1.0, 0.25]]]])
    assert dr.texture(tex, between).flatten().tolist() == pytest.approx([0.5, 2, 1.5, 1.5])
    assert dr.texture(tex, between, boundary_mode="clamp").flatten().tolist() == pytest.approx([0.5, 2, 0, 3])
    assert dr.texture(tex, between, boundary_mode="zero").flatten().tolist() == pytest.approx([0.5, 2, 0, 1.5])


def test_the_level_is_that_of_the_longer_axis():
    """Levels that are constant, 0, 1, 2 ...: what is read is the level itself."""
    tex = torch.zeros(1, 32, 64, 1)
    mip = [torch.full((1, 32 >> i, max(64 >> i, 1), 1), float(i)) for i in range(1, 6)] + [
        torch.full((1, 1, 1, 1), 6.0)
    ]
    uv = torch.rand(1, 1, 4, 2)
    angle = 0.3
    c, s = math.cos(angle), math.sin(angle)
    # ds/dX, ds/dY, dt/dX, dt/dY, so that axes of 2 and 8 texels, turned by an angle, are 8 long; then 1/64, 6 texels
    turned = [2 * c / 64, -8 * s / 64, 2 * s / 32, 8 * c / 32]
    uv_da = torch.tensor([turned, [1 / 128, 0, 0, 0], [0, 6 / 64, 0, 0], [0, 0, 1e9, 0]]).view(1, 1, 4, 4)
    expected = [3, 0, math.log2(6), 6]
    assert dr.texture(tex, uv, uv_da, mip=mip).flatten().tolist() == pytest.approx(expected, abs=1e-5)
    bias = torch.tensor([-1.0, 0.5, 0.0, -2.0]).view(1, 1, 4)
    biased = [2, 0, math.log2(6), 6]
    assert dr.texture(tex, uv, uv_da, bias, mip=mip).flatten().tolist() == pytest.approx(biased, abs=1e-5)
    assert dr.texture(tex, uv, None, bias, mip=mip).flatten().tolist() == pytest.approx([0, 0.5, 0, 0], abs=1e-6)
    nearest = dr.texture(tex, uv, uv_da, mip=mip, filter_mode="linear-mipmap-nearest")
    assert nearest.flatten().tolist() == [3, 0, 3, 6]
    assert dr.texture(tex, uv, uv_da, mip=mip, max_mip_level=2).flatten().tolist() == pytest.approx([2, 0, 2, 2])
    assert dr.texture(tex, uv, uv_da, mip=mip, max_mip_level=0).flatten().tolist() == [0, 0, 0, 0]


def test_mip_levels_are_means():
    tex = torch.rand(2, 4, 16, 3)
    levels = mip_levels(tex, None)
    assert [tuple(level.shape[1:3]) for level in levels] == [(2, 8), (1, 4), (1, 2), (1, 1)]
    for finer, level in zip([tex, *levels], levels):
        torch.testing.assert_close(level, twin.halved(finer))
    torch.testing.assert_close(levels[-1], tex.mean((1, 2), keepdim=True))
    assert len(mip_levels(tex, 2)) == 2
    with pytest.raises(ValueError, match=r"got a level of \(1, 5\) texels; max_mip_level=1 ends before it"):
        mip_levels(torch.rand(1, 2, 10, 1), None)
    assert [tuple(level.shape[1:3]) for level in mip_levels(torch.rand(1, 160, 32, 1), 5)][-1] == (5, 1)


def test_a_stack_made_beforehand_is_the_one_made_in_the_call():
    leaves = scene("wrap")
    tex = leaves["tex"].requires_grad_()
    runs = []
    for mip in (None, dr.texture_construct_mip(tex)):
        out = dr.texture(**leaves, mip=mip)
        runs.append((out, *torch.autograd.grad(out.square().sum(), tex)))
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])


def test_textures_of_a_list_have_gradients_of_their_own():
    leaves = scene("wrap")
    tex = leaves.pop("tex")
    levels = [tex, *mip_levels(tex, None)]
    own = [level.clone().requires_grad_() for level in levels]
    out = dr.texture(own[0], **leaves, mip=own[1:])
    theirs = twin.texture(own, leaves["uv"], leaves["uv_da"], leaves["mip_level_bias"], "linear-mipmap-linear", "wrap")
    up = torch.randn_like(out)
    for a, b in zip(*(torch.autograd.grad(x, own, up) for x in (out, theirs)), strict=True):
        assert b.any()
        torch.testing.assert_close(a, b, rtol=1e-4 * rounding(), atol=1e-5 * rounding())


def test_faces_of_a_cube_are_those_of_opengl():
    """A direction through the centre of a texel reads it, by the table of OpenGL."""
    size = 4
    tex = torch.arange(6 * size * size, dtype=torch.float32).view(1, 6, size, size, 1)
    for face, ((major, sign), (s_axis, s_sign), (t_axis, t_sign)) in enumerate(twin.CUBE):
        for row in range(size):
            for column in range(size):
                d = torch.zeros(3)
                d[major] = sign
                d[s_axis] = s_sign * ((2 * column + 1) / size - 1)
                d[t_axis] = t_sign * ((2 * row + 1) / size - 1)
                for filtering in ("nearest", "linear"):
                    found = dr.texture(tex, 3 * d.view(1, 1, 1, 3), filter_mode=filtering, boundary_mode="cube")
                    assert float(found) == pytest.approx((face * size + row) * size + column, abs=1e-4)


def test_a_cube_map_has_no_seams():
    """Colours change little along circles around the cube, through edges and corners."""
    tex = torch.rand(1, 6, 8, 8, 1, dtype=torch.float32)
    angle = torch.linspace(0, 2 * math.pi, 20001)[:-1]
    for axes in torch.linalg.qr(torch.randn(6, 3, 3))[0]:
        d = (angle.cos()[:, None] * axes[0] + angle.sin()[:, None] * axes[1]).view(1, 1, -1, 3)
        values = dr.texture(tex, d, boundary_mode="cube").flatten()
        assert float((values - values.roll(1)).abs().max()) < 0.02
    corner = torch.tensor([1.0, 1, 1])
    around = dr.texture(tex, corner + 1e-4 * torch.randn(1, 1, 500, 3), boundary_mode="cube")
    assert float(around.max() - around.min()) < 0.01
    assert dr.texture(torch.ones_like(tex), torch.randn(1, 1, 999, 3), boundary_mode="cube").allclose(torch.ones(1))


def test_places_that_are_none_have_no_colour_and_no_gradient():
    bad = torch.tensor([math.nan, math.inf, -math.inf, 1e30])
    for boundary, n in (("wrap", 2), ("clamp", 2), ("zero", 2), ("cube", 3)):
        leaves = scene(boundary)
        uv, uv_da = leaves["uv"].clone(), leaves["uv_da"].clone()
        uv[0, 0, :4, n - 1] = bad
        uv_da[0, 1, :4] = bad[:, None]
        if boundary == "cube":
            uv[0, 0, 4] = 0
        uv.requires_grad_(), uv_da.requires_grad_(), leaves["tex"].requires_grad_()
        out = dr.texture(leaves["tex"], uv, uv_da, boundary_mode=boundary)
        assert out.isfinite().all()
        assert not out[0, 0, : 5 if boundary == "cube" else 4].any()
        grads = torch.autograd.grad(out.sum(), (leaves["tex"], uv, uv_da))
        assert all(grad.isfinite().all() for grad in grads)
        assert not grads[1][0, 0, :4].any()


def test_far_coordinates_wrap():
    tex = torch.rand(1, 8, 8, 2)
    uv = torch.rand(1, 5, 5, 2)
    shift = torch.tensor([3.0, -7.0])
    torch.testing.assert_close(dr.texture(tex, uv), dr.texture(tex, uv + shift), rtol=1e-4, atol=1e-4)
    assert dr.texture(tex, torch.full((1, 1, 1, 2), -1e-9), filter_mode="nearest").isfinite().all()


def test_one_texel_and_empty_batches():
    tex = torch.rand(1, 1, 1, 3)
    uv = torch.rand(2, 3, 4, 2)
    for boundary in ("wrap", "clamp"):
        torch.testing.assert_close(dr.texture(tex, uv, boundary_mode=boundary), tex.expand(2, 3, 4, 3))
    cube = torch.rand(1, 6, 1, 1, 3)
    assert dr.texture(cube, torch.randn(2, 3, 4, 3), boundary_mode="cube").isfinite().all()
    assert dr.texture(tex, uv[:0]).shape == (0, 3, 4, 3)
    assert dr.texture(tex.expand(2, 1, 1, 3), uv[:, :0]).shape == (2, 0, 4, 3)


def test_strides_and_repeats():
    leaves = scene("wrap")
    turned = {name: x.transpose(1, 2).contiguous().transpose(1, 2) for name, x in leaves.items()}
    assert torch.equal(dr.texture(**leaves), dr.texture(**turned))
    tex = leaves["tex"].requires_grad_()
    uv = leaves["uv"].repeat(1, 40, 40, 1)
    runs = [torch.autograd.grad(dr.texture(tex, uv).square().sum(), tex)[0] for _ in range(3)]
    if rounding() == 1:
        assert torch.equal(runs[0], runs[1])
        assert torch.equal(runs[0], runs[2])
