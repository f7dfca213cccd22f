"""Images of Gaussians, against the reference cases of gsplat 1.5 and slow torch."""

from __future__ import annotations

import pytest
import torch
from conftest import rounding
from long_loops import count_rounds
from reference import splats as twin
from splat_cases import CASES, flat, load_case, render

from tirender.engine import runtime
from tirender.engine.composite_gaussians import MAX_CHANNELS, Canvas, composite_gaussians

HEIGHT, WIDTH = 37, 50


def scene(n: int, n_images: int = 1, n_channels: int = 3, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Means, conics, colours, opacities, depths, all (I, n, ...), and backgrounds (I, C)."""
    g = torch.Generator().manual_seed(0)
    rand = lambda *shape: torch.rand(n_images, *shape, generator=g, dtype=torch.float64)  # noqa: E731
    means = (rand(n, 2) * 1.2 - 0.1) * torch.tensor([WIDTH, HEIGHT])
    half = torch.randn(n_images, n, 2, 2, generator=g, dtype=torch.float64) * (0.5 + 5 * rand(n, 1, 1))
    inverse = torch.linalg.inv(half @ half.mT + 0.3 * torch.eye(2))
    conics = torch.stack([inverse[..., 0, 0], inverse[..., 0, 1], inverse[..., 1, 1]], -1)
    opacities = 1.02 * rand(n).pow(0.3)  # some are cut at the greatest alpha, pixels end early
    values = means, conics, rand(n, n_channels), opacities, rand(n), rand(n_channels)
    return [v.to(dtype) for v in values]


def draw(leaves, background=None, alpha_max=0.999):
    n_images = len(leaves[0])
    gaussians = flat(*leaves[:5])
    canvas = Canvas(HEIGHT, WIDTH, n_images, alpha_max)
    return composite_gaussians(gaussians, background, canvas)


def draw_slowly(leaves, background=None, alpha_max=0.999):
    images = []
    for i in range(len(leaves[0])):
        of_image = [v[i] for v in leaves[:5]]
        more = {"alpha_max": alpha_max, "background": None if background is None else background[i]}
        images.append(twin.composite(*of_image, WIDTH, HEIGHT, **more))
    colors, alphas, counts = (torch.stack(v) for v in zip(*images))
    return colors, alphas[..., None], counts


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("name", CASES)
def test_matches_gsplat_in_float64(name):
    inputs, meta, given = load_case(name, torch.float64)
    outputs = render(inputs, meta)
    torch.testing.assert_close(outputs, (given["out_colors"], given["out_alphas"]), rtol=1e-11, atol=1e-11)
    leaves = {k: v for k, v in inputs.items() if v.requires_grad}
    grads = torch.autograd.grad(outputs, list(leaves.values()), (given["up_colors"], given["up_alphas"]))
    for k, grad in zip(leaves, grads):
        expected = given[f"grad_{k}"]
        torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_matches_gsplat_in_float32(name):
    inputs, meta, given = load_case(name, torch.float32)
    colors, alphas = render(inputs, meta)
    depth_scale = float(given["out_colors"].abs().max().clamp(min=1))
    assert (colors - given["out_colors"]).abs().max() < 1e-5 * depth_scale * rounding()
    assert (alphas - given["out_alphas"]).abs().max() < 1e-5 * rounding()
    leaves = {k: v for k, v in inputs.items() if v.requires_grad}
    up = [given[f"up_{k}"].float() for k in ("colors", "alphas")]
    for k, grad in zip(leaves, torch.autograd.grad((colors, alphas), list(leaves.values()), up)):
        expected = given[f"grad_{k}"]
        assert (grad - expected).abs().max() < 1e-4 * expected.abs().max(), k


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("n", [0, 1, 300])
@pytest.mark.parametrize("n_channels", [1, 3, MAX_CHANNELS + 3])
def test_matches_the_twin(n, n_channels):
    leaves = [v.requires_grad_() for v in scene(n, 2, n_channels, torch.float64)]
    background = leaves.pop()
    colors, alphas = draw(leaves, background)
    *theirs, counts = draw_slowly(leaves, background)
    torch.testing.assert_close([colors, alphas], theirs, rtol=1e-11, atol=1e-12)
    if n == 0:
        return
    up = [torch.randn_like(v) for v in theirs]
    wanted = [*leaves[:4], background]
    a, b = (torch.autograd.grad(v, wanted, up) for v in ((colors, alphas), theirs))
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)
    if n == 300:
        assert counts.max() > 20
        assert (theirs[1] > 0.9985).any()  # a pixel that ended early


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck():
    leaves = scene(7, 1, 2, torch.float64)
    leaves[3] *= 0.6
    depths, background = leaves[4:]

    def values(*given):
        return draw([*given[:4], depths], given[4])

    given = [v.requires_grad_() for v in (*leaves[:4], background)]
    given[1].data *= 0.02  # wide: no pixel is near the least alpha
    assert torch.autograd.gradcheck(values, given, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("alpha_max", [0.99, 0.5])
def test_the_greatest_alpha_is_a_setting(alpha_max):
    leaves = scene(60)
    colors, alphas = draw(leaves, alpha_max=alpha_max)
    theirs = draw_slowly([v.double() for v in leaves], alpha_max=alpha_max)
    assert ((colors - theirs[0]).abs() > 1e-5).float().mean() < 1e-3
    assert (alphas - theirs[1]).abs().median() < 1e-6


def test_a_pixel_ends_before_the_gaussian_that_would_fill_it():
    wide, n = torch.tensor([1e-8, 0, 1e-8]), 4
    opacities = torch.tensor([[0.9, 0.99, 0.95, 0.05]])
    leaves = [torch.full((1, n, 2), 10.0), wide.expand(1, n, 3), torch.eye(n)[None], opacities, torch.arange(n)[None]]
    colors, alphas = draw(leaves)
    # T is 0.1 and 0.001 after the first two; the third would bring it to 0.00005
    torch.testing.assert_close(colors[0, 9, 9], torch.tensor([0.9, 0.099, 0, 0]), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(alphas[0, 9, 9], torch.tensor([0.999]))


def test_far_from_a_tiny_gaussian_there_is_nothing():
    means, conics, colors, opacities, depths, _ = scene(1)
    means[:], opacities[:] = torch.tensor([8.5, 8.5]), 0.5
    for size in (1.0, 1e4, 1e15):
        conics[:] = torch.tensor([size, 0.0, size])
        leaves = [v.clone().requires_grad_() for v in (means, conics, colors, opacities)]
        image, alphas = draw([*leaves, depths])
        far = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
        far[4:13, 4:13] = False
        assert not alphas[0, far].any()
        torch.testing.assert_close(alphas[0, 8, 8, 0], torch.tensor(0.5))
        assert all(g.isfinite().all() for g in torch.autograd.grad(image.sum(), leaves))


@pytest.mark.usefixtures("needs_f64")
def test_absgrad_is_the_sum_of_each_pixels_absolute_gradient():
    leaves = [v.requires_grad_() for v in scene(40, 1, 3, torch.float64)]
    gaussians = flat(*leaves[:5])
    colors, _ = composite_gaussians(gaussians, None, Canvas(7, 20, 1), absgrad_of=gaussians.means2d)
    up = torch.randn_like(colors)
    grad = torch.autograd.grad(colors, leaves[0], up)[0]

    def per_pixel(means):
        return (twin.composite(means, *(v[0] for v in leaves[1:5]), 20, 7)[0] * up[0]).sum(-1).flatten()

    jacobian = torch.autograd.functional.jacobian(per_pixel, leaves[0][0])
    torch.testing.assert_close(grad[0], jacobian.sum(0), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(gaussians.means2d.absgrad, jacobian.abs().sum(0), rtol=1e-8, atol=1e-10)
    too_many = flat(*scene(2, 1, MAX_CHANNELS + 1)[:5])
    with pytest.raises(ValueError, match="absgrad"):
        composite_gaussians(too_many, None, Canvas(7, 20, 1), too_many.means2d)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 16), (17, 33), (40, 3)])
def test_sizes_of_images(height, width):
    leaves = [v[0] for v in scene(80)]
    gaussians = flat(*(v[None] for v in leaves[:5]))
    colors, alphas = composite_gaussians(gaussians, leaves[5][None], Canvas(height, width, 1))
    theirs = twin.composite(*(v.double() for v in leaves[:5]), width, height, leaves[5].double())
    assert ((colors[0] - theirs[0]).abs() > 1e-5).float().mean() < 0.01 * rounding()
    assert alphas.shape == (1, height, width, 1)
    assert composite_gaussians(gaussians, None, Canvas(0, width, 1))[0].shape == (1, 0, width, 3)


def test_degenerate_gaussians_are_finite():
    leaves = [v.requires_grad_() for v in scene(12)]
    with torch.no_grad():
        means, conics, _, opacities, depths, _ = leaves
        opacities[0, :4] = torch.tensor([0.0, 1.0, 1e-30, 50.0])
        means[0, 4] = 1e30
        conics[0, 5] = 0
        conics[0, 6] = torch.tensor([1e30, 0, 1e30])
        conics[0, 7] = torch.tensor([1e-30, 0, 1e-30])
        conics[0, 8] = torch.tensor([1.0, 1.0, 1.0])  # an endless line
        depths[:] = 1
    colors, alphas = draw(leaves, leaves[5])
    grads = torch.autograd.grad((colors, alphas), (*leaves[:4], leaves[5]), (torch.ones_like(colors), alphas.detach()))
    assert all(v.isfinite().all() for v in (colors, alphas, *grads))


def test_the_same_bits_again():
    if runtime.arch() != "cpu":
        pytest.skip("a GPU adds in any order")
    leaves = [v.requires_grad_() for v in scene(400, 2)]

    def run():
        outputs = draw(leaves, leaves[5])
        return *outputs, *torch.autograd.grad([v.square().sum() for v in outputs], [*leaves[:4], leaves[5]])

    first = run()
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(first, run()))


def test_only_what_is_asked_for_has_a_gradient():
    leaves = scene(20)
    leaves[2].requires_grad_()
    colors, _ = draw(leaves)
    assert torch.autograd.grad(colors.sum(), leaves[2])[0].abs().sum() > 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(draw(leaves)[0], colors)


def test_too_many_entries(monkeypatch):
    monkeypatch.setattr("tirender.engine.gaussian_tiles.MAX_ENTRIES", 100)
    with pytest.raises(ValueError, match="fewer than"):
        draw(scene(300))


def test_more_than_a_driver_walks_through_is_an_error():
    """Mesa's lavapipe ends loops after 65,535 rounds; pixels without a Gaussian look at all of their tile."""
    if runtime.arch() != "vulkan" or count_rounds(70_000) == 70_000:
        pytest.skip("for drivers that end loops early")
    n = 70_000
    means, conics = torch.full((1, n, 2), 2.5), torch.tensor([40.0, 0, 40]).expand(1, n, 3)
    leaves = means, conics, torch.rand(1, n, 3), torch.rand(1, n), torch.rand(1, n)
    with pytest.raises(ValueError, match="primitives: expected no more than this Vulkan driver lists"):
        draw(leaves)
