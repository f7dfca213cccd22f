"""Emission-absorption compositing of packed samples, against ``EmissionAbsorptionRaymarcher``."""

from __future__ import annotations

import pytest
import torch

from tirender.engine.emission_absorption import count_visible, emission_absorption
from tirender.renderer import EmissionAbsorptionRaymarcher


def packed(counts, n_channels=3, dtype=torch.float32):
    offsets = torch.tensor([0, *torch.tensor(counts).cumsum(0)], dtype=torch.int32)
    densities = torch.rand(sum(counts), dtype=dtype) * 0.9
    return offsets, densities.requires_grad_(), torch.rand(sum(counts), n_channels, dtype=dtype).requires_grad_()


def raymarched(offsets, densities, features):
    marcher = EmissionAbsorptionRaymarcher()
    rays = [slice(a, b) for a, b in zip(offsets.tolist(), offsets[1:].tolist())]
    return torch.stack([marcher(densities[r, None], features[r]) for r in rays])


@pytest.mark.parametrize("n_channels", [1, 3, 7])
def test_matches_the_raymarcher(n_channels):
    offsets, densities, features = packed([3, 0, 1, 40, 0, 7], n_channels)
    ours, expected = (f(offsets, densities, features) for f in (emission_absorption, raymarched))
    torch.testing.assert_close(ours, expected)
    up = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad(out, (densities, features), up) for out in (ours, expected))):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_gradcheck():
    offsets, *leaves = packed([2, 0, 5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *xs: emission_absorption(offsets, *xs), leaves)


def test_opaque_samples_have_finite_gradients():
    offsets, _, features = packed([4])
    densities = torch.tensor([0.5, 1.0, 1.0, 0.2], requires_grad=True)
    out = emission_absorption(offsets, densities, features)
    assert out[0, 3] == 1
    grad = torch.autograd.grad(out[0, 0], densities)[0]
    torch.testing.assert_close(
        grad[:2], torch.stack([features[0, 0] - features[1, 0], (features[1, 0] - features[2, 0]) / 2])
    )
    assert not grad[2:].any()


@pytest.mark.parametrize("counts", [[], [0, 0]])
def test_nothing(counts):
    offsets, densities, features = packed(counts)
    out = emission_absorption(offsets, densities, features)
    assert out.shape == (len(counts), 4)
    assert not out.any()
    assert torch.autograd.grad(out.sum(), features)[0].shape == (0, 3)
    assert count_visible(offsets, densities, 0.5).tolist() == counts


def test_non_contiguous_under_autocast():
    offsets, densities, features = packed([5, 6])
    with torch.autocast("cpu", torch.bfloat16):
        out = emission_absorption(offsets, densities, features.t().contiguous().t())
    assert torch.equal(out, emission_absorption(offsets, densities, features))


def test_count_visible():
    offsets = torch.tensor([0, 4, 4, 6, 7], dtype=torch.int32)
    densities = torch.tensor([0.5, 0.5, 0.5, 0.5, 1.0, 0.1, 0.0])
    assert count_visible(offsets, densities, 0.25).tolist() == [3, 0, 1, 1]
    assert count_visible(offsets, densities, 0.0).tolist() == [4, 0, 2, 1]
    assert count_visible(offsets, densities, 1.0).tolist() == [1, 0, 1, 1]


def test_bad_input():
    offsets, densities, features = packed([3, 2])
    with pytest.raises(ValueError, match="offsets: expected int32, got torch.int64"):
        emission_absorption(offsets.long(), densities, features)
    with pytest.raises(ValueError, match=r"offsets: expected int32 that ascend from 0 to 5, got"):
        emission_absorption(offsets + 1, densities, features)
    with pytest.raises(ValueError, match=r"densities: expected shape \(M\), got \(5, 1\)"):
        emission_absorption(offsets, densities[:, None], features)
    with pytest.raises(ValueError, match=r"features: expected shape \(5, C\), got \(4, 3\)"):
        emission_absorption(offsets, densities, features[1:])
    with pytest.raises(ValueError, match="features: expected at least one channel"):
        emission_absorption(offsets, densities, features[:, :0])
    with pytest.raises(ValueError, match="features: expected torch.float32"):
        emission_absorption(offsets, densities, features.double())
