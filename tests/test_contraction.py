"""Space contracted into a cube, and samples along contracted rays."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tirender.engine.contraction import contract, sample_contracted
from tirender.engine.occupancy import pack_bits

STEP = 1 / 40


def rays(n: int = 150) -> tuple[torch.Tensor, torch.Tensor]:
    """From within the cube, and from around it."""
    g = torch.Generator().manual_seed(0)
    return 1.5 * torch.randn(n, 3, generator=g), F.normalize(torch.randn(n, 3, generator=g), dim=1)


def full(n: int = 4) -> torch.Tensor:
    return pack_bits(torch.ones(n, n, n, dtype=torch.bool))


def test_the_inner_cube_stays_and_infinity_is_the_surface():
    inside = 2 * torch.rand(50, 3) - 1
    assert torch.equal(contract(inside), inside)
    points = torch.tensor([[2.0, 0, 0], [0, -4, 2], [1e8, 1e8, -1e8]])
    expected = torch.tensor([[1.5, 0, 0], [0, -1.75, 0.875], [2, 2, -2]])
    torch.testing.assert_close(contract(points), expected)
    outside = 3 * torch.randn(20, 3, dtype=torch.float64) + torch.tensor([4.0, 0, 0])
    assert torch.autograd.gradcheck(contract, outside.requires_grad_())


def speed(origin: torch.Tensor, lengths: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """How fast the contracted places at lengths along a ray move as these grow."""
    lengths = lengths.clone().requires_grad_()
    places = contract(origin + lengths[..., None] * direction)
    parts = [torch.autograd.grad(x.sum(), lengths, retain_graph=True)[0] for x in places.unbind(-1)]
    return torch.stack(parts).norm(dim=0)


def test_samples_are_evenly_spaced_in_contracted_space():
    """Each interval is ``STEP`` over the speed at its start, and at most a quarter of the greatest coordinate there.

    Samples lie in the middles of intervals. So two of them, t apart, are the mean of two intervals apart, whose starts
    lie from t before the first of them to the second. A ray ends where its greatest coordinate has reached 1 / STEP.
    """
    origins, directions = (v.double() for v in rays(20))
    samples = sample_contracted(origins.float(), directions.float(), full(), STEP)
    for ray, (origin, direction) in enumerate(zip(origins, directions)):
        lengths = samples.lengths[samples.offsets[ray] : samples.offsets[ray + 1]].double()
        gaps = lengths.diff()
        assert (gaps > 0).all()
        before = lengths[1:, None] - 2 * gaps[:, None] * torch.linspace(0, 1, 100, dtype=torch.float64)
        before = before.clamp(min=0)
        most = (origin + before[..., None] * direction).abs().amax(2).clamp(min=1) / 4
        widths = torch.minimum(STEP / speed(origin, before, direction), most)
        rounding = 4 * torch.finfo(torch.float32).eps * lengths[1:]
        # between 100 places, a width changes by less than 1 %
        assert (gaps <= 1.01 * widths.amax(1) + rounding).all()
        assert (gaps >= 0.99 * widths.amin(1) - rounding).all()
        first = (
            torch.minimum(STEP / speed(origin, lengths.new_zeros(()), direction), origin.abs().max().clamp(min=1) / 4)
            / 2
        )
        assert float(lengths[0]) == pytest.approx(float(first), rel=1e-4)
        # half of the last interval, itself a quarter of less than 1 / STEP, lies behind the last sample
        last = (origin + lengths[-1] * direction).abs().max()
        assert float(last) > 7 / 8 / STEP - 1e-3


@pytest.mark.parametrize("nearest", [0.0, 0.7])
def test_what_lies_in_occupied_cells_is_kept(nearest: float):
    n = 8
    occupied = torch.rand(n, n, n) < 0.3
    origins, directions = rays()
    shifts = torch.rand(len(origins))
    everything, kept = (
        sample_contracted(origins, directions, bits, STEP, nearest, shifts) for bits in (full(n), pack_bits(occupied))
    )
    index = everything.rays.long()
    places = contract(origins[index] + everything.lengths[:, None] * directions[index]) / 4 + 0.5
    x, y, z = (places * n).floor().long().clamp(0, n - 1).unbind(1)
    is_sure = ((places * n) - (places * n).round()).abs().amin(1) > 1e-3
    found = {*zip(kept.rays.tolist(), kept.lengths.tolist())}
    expected = occupied[z, y, x]
    for i in is_sure.nonzero()[:, 0].tolist():
        assert ((int(index[i]), float(everything.lengths[i])) in found) == bool(expected[i])
    assert float(everything.lengths.min()) >= nearest
    assert len(found) > 1000


def test_from_far_away_the_middle_is_not_jumped_over():
    only_the_middle = torch.zeros(16, 16, 16, dtype=torch.bool)
    only_the_middle[4:12, 4:12, 4:12] = True  # the inner cube
    origins, directions = torch.tensor([[500.0, 0.1, 0.2]]), torch.tensor([[-1.0, 0, 0]])
    samples = sample_contracted(origins, directions, pack_bits(only_the_middle), STEP)
    assert len(samples.lengths) == pytest.approx(2 / STEP, abs=2)
    assert sample_contracted(origins, -directions, pack_bits(only_the_middle), STEP).offsets.tolist() == [0, 0]


def test_no_more_samples_than_asked_for_and_none_of_nan():
    origins, directions = rays()
    some = sample_contracted(origins, directions, full(), STEP, max_samples=1000)
    most = int(sample_contracted(origins, directions, full(), STEP).offsets.diff().max())
    assert 1000 - most < len(some.lengths) <= 1000  # another ray would have been too much
    origins[0], directions[1], directions[2] = float("nan"), float("nan"), 0.0
    assert sample_contracted(origins, directions, full(), STEP).offsets[:4].tolist() == [0] * 4
    with pytest.raises(ValueError, match="step: expected at least"):
        sample_contracted(origins, directions, full(), 0.0)
