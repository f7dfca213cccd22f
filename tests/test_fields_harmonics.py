"""Harmonics of any frequency, exact: against arithmetic of 600 bits, torch's own functions, and in gradients."""

import pytest
import torch
from mpmath import mp, mpf

from tirender.fields.harmonics import Harmonics
from tirender.renderer import HarmonicEmbedding


def naive(x: torch.Tensor, n: int, omega_0: float) -> torch.Tensor:
    phases = (x[..., None] * (omega_0 * 2.0 ** torch.arange(n, dtype=x.dtype))).flatten(-2)
    return torch.cat([phases.sin(), phases.cos()], dim=-1)


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-3, 1.0, 1e3, 1e8, 1e20, 3e37])
def test_exact_for_coordinates_and_frequencies_of_any_size(scale):
    x = torch.randn(4, 1) * scale
    embedded = Harmonics(128, 0.1)(x)
    with mp.workprec(600):
        for i, k in [(i, k) for i in range(4) for k in (0, 1, 31, 32, 59, 64, 100, 127)]:
            phase = mpf((x * 0.1)[i].item()) * 2**k
            assert embedded[i, k].item() == pytest.approx(float(mp.sin(phase)), abs=4e-7)
            assert embedded[i, 128 + k].item() == pytest.approx(float(mp.cos(phase)), abs=4e-7)


@pytest.mark.parametrize(("n", "dim"), [(1, 1), (31, 2), (32, 3), (33, 3), (60, 3)])
def test_channels(n, dim):
    x = torch.randn(5, 2, dim)
    harmonics = Harmonics(n, 0.3)
    assert harmonics(x).shape == (5, 2, harmonics.get_output_dim(dim))
    torch.testing.assert_close(harmonics(x), naive(x, n, 0.3), atol=1e-6, rtol=0)
    torch.testing.assert_close(harmonics(x.mT.contiguous().mT), harmonics(x))


def test_the_embedding_of_few_frequencies():
    x = torch.randn(7, 3)
    embedding = HarmonicEmbedding(6, omega_0=0.5, append_input=False)
    torch.testing.assert_close(Harmonics(6, 0.5)(x), embedding(x), atol=1e-5, rtol=0)


def test_zero_whole_turns_and_signs():
    x = torch.tensor([[0.0], [-0.0], [1.25], [-1.25]])
    zero, minus_zero, plus, minus = Harmonics(60)(x)
    assert zero.tolist() == minus_zero.tolist() == [0.0] * 60 + [1.0] * 60
    torch.testing.assert_close(plus[:60], -minus[:60], atol=4e-7, rtol=0)
    torch.testing.assert_close(plus[60:], minus[60:], atol=4e-7, rtol=0)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (3,)])
def test_sizes(shape):
    assert Harmonics(5)(torch.ones(shape)).shape == (*shape[:-1], 10 * shape[-1])


def test_gradients():
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Harmonics(5, 0.5), x)
    single = x.detach().float().requires_grad_()
    upstream = torch.randn(6, 30)
    (grad,) = torch.autograd.grad(Harmonics(5, 0.5)(single), single, upstream)
    (expected,) = torch.autograd.grad(naive(single, 5, 0.5), single, upstream)
    torch.testing.assert_close(grad, expected)


def test_what_is_not_finite_stays_so():
    embedded = Harmonics(3)(torch.tensor([[float("nan")], [float("inf")], [0.5]]))
    assert embedded[:2].isnan().all()
    torch.testing.assert_close(embedded[2], naive(torch.tensor([0.5]), 3, 0.1))


@pytest.mark.parametrize("n", [0, -1, 129])
def test_bad_input(n):
    with pytest.raises(ValueError, match=f"n_harmonic_functions: expected 1 to 128, got {n}"):
        Harmonics(n)
    with pytest.raises(ValueError, match="x: expected float32 or float64, got torch.int64"):
        Harmonics(2)(torch.ones(3, dtype=torch.int64))
