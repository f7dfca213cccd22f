"""sample_pdf: quantiles, distribution, empty rays, bad input."""

import pytest
import torch

from tirender.renderer.implicit.sample_pdf import sample_pdf

BINS = torch.tensor([0.0, 1, 2, 4])


def test_even_quantiles():
    samples = sample_pdf(BINS, torch.tensor([1.0, 1, 2]), 5, det=True)
    torch.testing.assert_close(samples, torch.tensor([0.0, 1, 2, 3, 4]), atol=1e-4, rtol=0)


def test_distribution():
    weights = torch.tensor([[1.0, 0, 3], [0, 5, 0]])
    samples = sample_pdf(BINS.expand(2, 4), weights, 20000)
    assert samples.shape == (2, 20000)
    assert ((samples[0] < 1).float().mean() - 0.25).abs() < 0.02
    assert ((samples[0] > 1) & (samples[0] < 2)).float().mean() < 1e-3
    assert (samples[0][samples[0] > 2].mean() - 3).abs() < 0.03  # even within a bin
    assert ((samples[1] > 1) & (samples[1] < 2)).float().mean() > 0.999


@pytest.mark.parametrize("det", [False, True])
@pytest.mark.parametrize("weights", [torch.zeros(3), torch.full((3,), 1e-30), torch.tensor([0, 1e9, 0]), torch.ones(3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_stay_in_the_bins(weights, det, dtype):
    samples = sample_pdf(BINS.to(dtype), weights.to(dtype), 1000, det=det)
    assert samples.dtype == dtype
    assert ((samples >= 0) & (samples <= 4)).all()
    assert not det or (samples.diff() >= 0).all()


def test_empty_rays_are_sampled_evenly():
    bins = torch.linspace(0, 1, 11)
    torch.testing.assert_close(sample_pdf(bins, torch.zeros(10), 21, det=True), torch.linspace(0, 1, 21))


def test_shapes_and_no_gradient():
    weights = torch.rand(2, 3, 6, requires_grad=True)
    samples = sample_pdf(torch.rand(2, 3, 7).sort().values, weights, 4)
    assert samples.shape == (2, 3, 4)
    assert not samples.requires_grad
    assert sample_pdf(torch.rand(0, 4), torch.rand(0, 3), 5).shape == (0, 5)
    assert sample_pdf(BINS, torch.rand(3), 0).shape == (0,)


def test_bad_input():
    with pytest.raises(ValueError, match=r"bins: expected shape \(4\), got \(3,\)"):
        sample_pdf(BINS[:3], torch.rand(3), 2)
    with pytest.raises(ValueError, match="weights: expected values of 0 or more, got -1.0"):
        sample_pdf(BINS, torch.tensor([1.0, -1, 1]), 2)
    with pytest.raises(ValueError, match="weights: expected at least one bin"):
        sample_pdf(BINS[:1], torch.rand(0), 2)
    with pytest.raises(ValueError, match="eps: expected a positive number, got 0"):
        sample_pdf(BINS, torch.rand(3), 2, eps=0)
