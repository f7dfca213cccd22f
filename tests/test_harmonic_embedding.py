"""HarmonicEmbedding: the reference case, order of channels, blurred coordinates, gradients."""

import pytest
import torch
from conftest import load_reference

from tirender.renderer.implicit.harmonic_embedding import HarmonicEmbedding


def test_reference():
    reference, _ = load_reference("implicit/harmonic")
    embedding = HarmonicEmbedding(n_harmonic_functions=4, omega_0=0.5)(reference["in_x"])
    torch.testing.assert_close(embedding, reference["out_embedding"])


@pytest.mark.parametrize("append_input", [True, False])
@pytest.mark.parametrize("logspace", [True, False])
@pytest.mark.parametrize(("n", "dim"), [(0, 3), (1, 1), (5, 2)])
def test_channels(n, dim, logspace, append_input):
    embedding = HarmonicEmbedding(n, omega_0=0.3, logspace=logspace, append_input=append_input)
    x = torch.randn(4, 2, dim)
    out = embedding(x)
    n_out = embedding.get_output_dim(dim)
    assert out.shape == (4, 2, n_out)
    assert n_out == HarmonicEmbedding.get_output_dim_static(dim, n, append_input)
    for i in range(dim):
        for k in range(n):
            frequency = 0.3 * (2.0**k if logspace or n == 1 else 1 + k * (2.0 ** (n - 1) - 1) / (n - 1))
            torch.testing.assert_close(out[..., i * n + k], torch.sin(frequency * x[..., i]), atol=1e-6, rtol=1e-5)
            cosine = out[..., (dim + i) * n + k]
            torch.testing.assert_close(cosine, torch.cos(frequency * x[..., i]), atol=1e-6, rtol=1e-5)
    if append_input:
        assert torch.equal(out[..., -dim:], x)


def test_blurred_coordinates_are_an_expectation():
    embedding = HarmonicEmbedding(3)
    x, std = torch.tensor([0.3, -0.7]), torch.tensor([0.2, 0.5])
    samples = x + std * torch.randn(200_000, 2)
    torch.testing.assert_close(embedding(x, diag_cov=std**2), embedding(samples).mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(embedding(x, diag_cov=0 * std), embedding(x))


def test_gradcheck():
    embedding = HarmonicEmbedding(4, omega_0=0.5)
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    variance = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    assert embedding(x).dtype == torch.float64
    assert torch.autograd.gradcheck(embedding, (x, variance))


def test_highest_frequencies_stay_finite():
    assert HarmonicEmbedding(60, omega_0=0.1)(torch.randn(10, 3)).isfinite().all()


def test_not_in_the_state():
    assert HarmonicEmbedding().state_dict() == {}


def test_bad_input():
    with pytest.raises(ValueError, match="n_harmonic_functions: expected a number that is not negative, got -1"):
        HarmonicEmbedding(-1)
    with pytest.raises(ValueError, match="x: expected float32 or float64, got torch.int64"):
        HarmonicEmbedding()(torch.ones(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"diag_cov: expected shape \(2, 3\), got \(3,\)"):
        HarmonicEmbedding()(torch.rand(2, 3), torch.rand(3))
