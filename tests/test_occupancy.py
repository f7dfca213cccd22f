"""Sampling of rays in occupied cells, against every sample of every ray in torch."""

from __future__ import annotations

import pytest
import torch

from tirender.engine.occupancy import pack_bits, sample_occupied

STEP = 1 / 100


def rays(n=200):
    """From all around the unit cube, and from within."""
    origins = 0.5 + 1.5 * torch.randn(n, 3)
    origins[: n // 4] = torch.rand(n // 4, 3)
    directions = torch.nn.functional.normalize(torch.rand(n, 3) - origins, dim=1)
    return origins, directions


def samples_of(samples):
    """(ray, length) of each sample, by ray."""
    return [samples.lengths[a:b] for a, b in zip(samples.offsets.tolist(), samples.offsets[1:].tolist())]


def every_sample(origin, direction, shift, nearest):
    """Lengths of all samples of a ray within the cube, or beyond by less than rounding, in float64."""
    a, b = -origin.double() / direction.double(), (1 - origin.double()) / direction.double()
    enter, leave = torch.minimum(a, b).max().clamp(min=nearest), torch.maximum(a, b).min()
    lengths = enter + (torch.arange(300).double() + shift) * STEP
    return lengths[lengths < leave + 1e-5]


@pytest.mark.parametrize("n", [4, 12])
@pytest.mark.parametrize("nearest", [0.0, 0.6])
def test_keeps_exactly_what_lies_in_occupied_cells(n, nearest):
    occupied = torch.rand(n, n, n) < 0.3
    origins, directions = rays()
    shifts = torch.rand(len(origins))
    samples = sample_occupied(origins, directions, pack_bits(occupied), STEP, nearest, shifts)
    assert torch.equal(samples.rays, torch.repeat_interleave(torch.arange(200), samples.offsets.diff()).int())
    n_kept = 0
    for found, origin, direction, shift in zip(samples_of(samples), origins, directions, shifts):
        lengths = every_sample(origin, direction, shift, nearest)
        at = (origin + lengths[:, None] * direction) * n
        x, y, z = at.floor().long().clamp(0, n - 1).unbind(1)
        is_sure = ((at - at.round()).abs() > 1e-4).all(1)  # not on the border of two cells
        expected = lengths[occupied[z, y, x]]
        if bool(is_sure.all()):
            assert len(found) == len(expected)
            torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)
            n_kept += len(found)
    assert n_kept > 1000


def test_rays_along_the_axes_and_faces():
    full = pack_bits(torch.ones(4, 4, 4, dtype=torch.bool))
    origins = torch.tensor([[0.5, 0.5, -1], [0.5, 0.5, 2], [1.5, 0.5, -1], [0.5, 0.5, 0.5], [0, 0, -1], [0.5, 0.5, 2]])
    directions = torch.tensor([[0, 0, 1.0], [0, 0, -1], [0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    samples = sample_occupied(origins, directions, full, STEP)
    counts = samples.offsets.diff().tolist()
    assert counts == pytest.approx([100, 100, 0, 50, 100, 0], abs=1)
    assert counts[2] == counts[5] == 0
    assert float(samples.lengths[0]) == pytest.approx(1 + STEP / 2)


def test_rays_without_direction_or_with_nan_have_no_samples():
    full = pack_bits(torch.ones(4, 4, 4, dtype=torch.bool))
    origins = torch.full((4, 3), 0.5)
    directions = torch.tensor([[0.0, 0, 0], [float("nan"), 0, 1], [0, 0, 1], [0, 0, 1]])
    origins[2, 1], origins[3, 2] = float("nan"), float("inf")
    assert sample_occupied(origins, directions, full, STEP).offsets.tolist() == [0] * 5


def test_no_rays_and_nothing_occupied():
    empty = pack_bits(torch.zeros(8, 8, 8, dtype=torch.bool))
    assert sample_occupied(torch.zeros(0, 3), torch.zeros(0, 3), empty, STEP).offsets.tolist() == [0]
    samples = sample_occupied(*rays(), empty, STEP)
    assert len(samples.lengths) == len(samples.rays) == 0


def test_pack_bits():
    occupied = torch.rand(8, 8, 8) < 0.5
    words = pack_bits(occupied)
    assert words.dtype == torch.int32
    bits = [words[i // 32].item() >> i % 32 & 1 for i in range(512)]
    assert bits == occupied.flatten().int().tolist()


def test_max_samples_keeps_the_first_rays_whole():
    full = pack_bits(torch.ones(4, 4, 4, dtype=torch.bool))
    whole = sample_occupied(*rays(), full, STEP)
    part = sample_occupied(*rays_again(), full, STEP, max_samples=1000)
    n = len(part.offsets) - 1
    assert int(whole.offsets[n]) <= 1000 < int(whole.offsets[n + 1])
    assert torch.equal(part.offsets, whole.offsets[: n + 1])
    assert torch.equal(part.lengths, whole.lengths[: len(part.lengths)])
    assert len(sample_occupied(*rays_again(), full, STEP, max_samples=0).offsets) == 2  # never none


def rays_again():
    torch.manual_seed(0)
    return rays()


def test_first():
    full = pack_bits(torch.ones(4, 4, 4, dtype=torch.bool))
    samples = sample_occupied(*rays(5), full, STEP)
    counts = torch.minimum(torch.tensor([2, 0, 7, 1, 1]), samples.offsets.diff()).int()
    first, kept = samples.first(counts)
    assert first.offsets.diff().tolist() == counts.tolist()
    for all_of_ray, kept_of_ray in zip(samples_of(samples), samples_of(first)):
        assert torch.equal(all_of_ray[: len(kept_of_ray)], kept_of_ray)
    assert torch.equal(first.rays, samples.rays[kept])


def test_bad_input():
    full = pack_bits(torch.ones(4, 4, 4, dtype=torch.bool))
    origins, directions = rays(5)
    with pytest.raises(ValueError, match=r"origins: expected shape \(R, 3\), got \(5, 2\)"):
        sample_occupied(origins[:, :2], directions, full, STEP)
    with pytest.raises(ValueError, match="origins: expected float32, got torch.float64"):
        sample_occupied(origins.double(), directions, full, STEP)
    with pytest.raises(ValueError, match=r"directions: expected shape \(5, 3\), got \(4, 3\)"):
        sample_occupied(origins, directions[1:], full, STEP)
    with pytest.raises(ValueError, match=r"occupied: expected shape \(n\^3 / 32\), got \(3,\)"):
        sample_occupied(origins, directions, torch.zeros(3, dtype=torch.int32), STEP)
    with pytest.raises(ValueError, match="step: expected at least 1 / 65536, got 0"):
        sample_occupied(origins, directions, full, 0)
    with pytest.raises(ValueError, match="nearest: expected a finite number of 0 or more, got nan"):
        sample_occupied(origins, directions, full, STEP, float("nan"))
    with pytest.raises(ValueError, match=r"shifts: expected shape \(5\), got \(4,\)"):
        sample_occupied(origins, directions, full, STEP, 0.0, torch.zeros(4))
