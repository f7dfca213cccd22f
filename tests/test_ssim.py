"""Structural similarity, against convolutions in torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from conftest import rounding

from tirender.engine import runtime
from tirender.loss import ssim


def slow_ssim(x: torch.Tensor, y: torch.Tensor, padding: str) -> torch.Tensor:
    """One value an image (N, H, W, C)."""
    k = torch.arange(-5, 6, dtype=x.dtype)
    window = torch.exp(-k * k / (2 * 1.5**2))
    window = torch.outer(window, window) / window.sum() ** 2

    def mean(images):
        planes = images.permute(0, 3, 1, 2)
        channels = planes.shape[1]
        kernel = window.expand(channels, 1, 11, 11)
        return F.conv2d(planes, kernel, padding=5 if padding == "same" else 0, groups=channels)

    m, n = mean(x), mean(y)
    s, t, c = mean(x * x) - m * m, mean(y * y) - n * n, mean(x * y) - m * n
    values = (2 * m * n + 1e-4) * (2 * c + 9e-4) / ((m * m + n * n + 1e-4) * (s + t + 9e-4))
    return values.flatten(1).mean(1)


def images(*shape: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    x = torch.rand(*shape, dtype=dtype)
    return [v.requires_grad_() for v in (x, (x + 0.4 * torch.rand_like(x)).clamp(0, 1))]


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("shape", [(1, 11, 11, 1), (2, 20, 37, 3), (1, 33, 16, 2), (3, 17, 100, 1)])
def test_matches_the_twin(padding, shape):
    x, y = images(*shape)
    ours, theirs = ssim(x, y, padding, None), slow_ssim(x, y, padding)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)
    up = torch.randn_like(ours)
    a, b = (torch.autograd.grad(v, (x, y), up) for v in (ours, theirs))
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-13)


def test_single_precision():
    x, y = images(2, 50, 70, 3, dtype=torch.float32)
    ours, theirs = ssim(x, y), slow_ssim(x.double(), y.double(), "same").mean()
    assert abs(ours - theirs) < 2e-6 * rounding()
    a = torch.autograd.grad(ours, (x, y))
    b = torch.autograd.grad(theirs, (x, y))
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-7)


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck():
    x, y = images(1, 13, 12, 1)
    assert torch.autograd.gradcheck(lambda a, b: ssim(a, b, "valid"), (x, y))


def test_equal_images_are_one():
    x = torch.rand(30, 40, 3)
    assert abs(ssim(x, x) - 1) < 1e-6
    flat = torch.full((20, 20, 3), 0.5)
    assert abs(ssim(flat, flat) - 1) < 1e-5
    assert ssim(x, 1 - x) < 0


def test_layouts_and_repeats():
    x, y = images(1, 25, 31, 3, dtype=torch.float32)
    turned = ssim(x.transpose(1, 2), y.transpose(1, 2))
    torch.testing.assert_close(turned, ssim(x, y))
    torch.testing.assert_close(ssim(x[0], y[0]), ssim(x, y))
    if runtime.arch() == "cpu":
        first, second = (torch.autograd.grad(ssim(x, y), (x, y)) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second))


@pytest.mark.parametrize(
    ("x", "y", "padding", "name"),
    [
        (torch.rand(20, 20, 3), torch.rand(20, 21, 3), "same", "y"),
        (torch.rand(20, 3), torch.rand(20, 3), "same", "x"),
        (torch.rand(20, 20, 3), torch.rand(20, 20, 3).double(), "same", "y"),
        (torch.rand(10, 20, 3), torch.rand(10, 20, 3), "valid", "x"),
        (torch.rand(20, 20, 0), torch.rand(20, 20, 0), "same", "x"),
        (torch.rand(20, 20, 3), torch.rand(20, 20, 3), "reflect", "padding"),
    ],
)
def test_bad_arguments(x, y, padding, name):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        ssim(x, y, padding)
