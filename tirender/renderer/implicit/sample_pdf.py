"""Sampling from piecewise constant densities along rays."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_tensor, fail


@torch.no_grad()
def sample_pdf(
    bins: torch.Tensor, weights: torch.Tensor, n_samples: int, det: bool = False, eps: float = 1e-5
) -> torch.Tensor:
    """Draw positions by inverting the cumulative distribution of binned weights, as in NeRF's fine pass.

    Args:
        bins: (..., B + 1), the ascending edges of the bins.
        weights: (..., B) float32 or float64, not negative; they need not sum to 1.
        n_samples: S, the number of samples of a ray.
        det: use evenly spaced quantiles from 0 to 1 instead of random ones.
        eps: a positive number that is added to each weight, so that empty rays are sampled uniformly.
    Returns:
        (..., S), ascending if ``det``, otherwise in random order. Not differentiable, as in PyTorch3D.
    Raises:
        ValueError: if a shape or dtype is wrong, a weight is negative, or ``eps`` is not positive.
    """
    check_tensor("weights", weights, ("...", "B"), FLOATS)
    n_bins = weights.shape[-1]
    check_tensor("bins", bins, (*weights.shape[:-1], n_bins + 1), like=weights)
    if n_bins == 0:
        fail("weights", "at least one bin", tuple(weights.shape))
    if not eps > 0:
        fail("eps", "a positive number", eps)
    if bool((weights < 0).any()):
        fail("weights", "values of 0 or more", weights.min().item())
    weights = weights + eps
    cdf = torch.nn.functional.pad((weights / weights.sum(-1, keepdim=True)).cumsum(-1), (1, 0))
    shape = (*weights.shape[:-1], n_samples)
    if det:
        quantiles = torch.linspace(0, 1, n_samples, dtype=bins.dtype, device=bins.device).expand(shape)
    else:
        quantiles = torch.rand(shape, dtype=bins.dtype, device=bins.device)
    # the bin of each quantile; clamped because rounding may end the cumulative sum just below or above 1
    bin_index = (torch.searchsorted(cdf, quantiles.contiguous(), right=True) - 1).clamp(0, n_bins - 1)
    below, above = cdf.gather(-1, bin_index), cdf.gather(-1, bin_index + 1)
    left, right = bins.gather(-1, bin_index), bins.gather(-1, bin_index + 1)
    share = (quantiles - below) / (above - below).clamp(min=torch.finfo(bins.dtype).tiny)
    return left + share.clamp(0, 1) * (right - left)
