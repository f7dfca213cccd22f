"""The loop that benchmarks compare others with."""

from __future__ import annotations

import pytest
import torch

from tirender.engine import runtime
from tirender.engine.multiply_add import LANES, multiply_add


@pytest.mark.parametrize("rounds", [0, 1, 7])
def test_all_rounds_are_run(rounds):
    device = "cuda" if runtime.arch() == "cuda" else "cpu"
    sums, expected = torch.zeros(3, LANES, device=device), torch.arange(LANES, dtype=torch.float32)
    multiply_add(sums, rounds)
    for _ in range(rounds):
        expected = expected * 0.5 + 1
    assert torch.equal(sums.cpu(), expected.expand(3, -1))


def test_sums_have_lanes():
    with pytest.raises(ValueError, match="sums: expected shape"):
        multiply_add(torch.zeros(3, LANES + 1), 1)
