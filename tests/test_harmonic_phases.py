"""Phases in fixed point, against arithmetic of 600 bits."""

import pytest
import torch
from mpmath import mp, mpf

from tirender.engine import runtime
from tirender.engine.harmonic_phases import harmonic_phases, harmonic_waves

LARGEST = torch.finfo(torch.float32).max


@pytest.mark.parametrize("n", [1, 31, 32, 33, 128])
def test_they_are_exact_for_any_float(n):
    lowest = torch.tensor([[1e-45, -1e-40, 2.0**-126], [1.0, -3.0, 0.1], [LARGEST, -LARGEST, 1e20]])
    phases = harmonic_phases(lowest, n)
    assert phases.shape == (3, 3, n)
    with mp.workprec(600):
        for x, row in zip(lowest.flatten().tolist(), phases.view(9, n).tolist()):
            for k, found in enumerate(row):
                turns = mpf(x) * 2**k / (2 * mp.pi)
                assert found == pytest.approx(float((turns - mp.nint(turns)) * 2 * mp.pi), abs=4e-7)


def test_zero_has_none():
    assert not harmonic_phases(torch.tensor([0.0, -0.0]), 60).any()
    assert harmonic_phases(torch.zeros(0, 3), 5).shape == (0, 3, 5)


@pytest.mark.parametrize(("m", "n"), [(0, 3), (1, 1), (64, 33), (300, 128)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_waves_are_those_of_the_phases(m, n, dtype):
    if runtime.arch() != "cpu":
        pytest.skip("waves are computed so on a CPU only")
    lowest = torch.randn(m, 3) * 100
    phases = harmonic_phases(lowest, n).double().flatten(1)
    waves = harmonic_waves(lowest, n, dtype)
    assert waves.dtype == dtype
    expected = torch.cat([phases.sin(), phases.cos()], 1)
    tolerance = 4e-7 if dtype == torch.float32 else 2.0**-9 + 4e-7
    torch.testing.assert_close(waves.double(), expected, rtol=0, atol=tolerance)
