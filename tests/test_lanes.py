"""Kernels whose vectors are compiled whole."""

import pytest
import taichi as ti
import torch

from tirender.engine import runtime
from tirender.engine.kernels.lanes import (
    EXP_SCALE,
    EXP_SHIFT,
    LANES,
    IntLanesArray,
    LanesArray,
    exp_of_lanes,
    exp_of_scaled,
    greatest_lane,
    lane_numbers,
    product_of_lanes,
    sum_of_lanes,
    whole_vectors,
)
from tirender.engine.kernels.types import FloatArray, I32Array


@whole_vectors
def reduce(values: LanesArray, numbers: IntLanesArray, exact: ti.template(), total: FloatArray, greatest: I32Array):
    for i in values:
        total[i] = sum_of_lanes(values[i])
        greatest[i] = greatest_lane(numbers[i])
        values[i] = exp_of_scaled(values[i] * EXP_SCALE + EXP_SHIFT, exact)


def run(values: torch.Tensor, exact: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    if runtime.arch() != "cpu":
        pytest.skip("for the CPU only")
    numbers = torch.randint(-(2**31), 2**31 - 1, values.shape, dtype=torch.int32)
    out, total, greatest = values.clone(), values.new_empty(len(values)), numbers.new_empty(len(values))
    runtime.launch(reduce, out, numbers, exact, total, greatest)
    return numbers, out, total, greatest


def test_single_precision():
    values = -torch.linspace(0, 5.6, 1000 * LANES).view(1000, LANES)
    numbers, out, total, greatest = run(values, False)
    torch.testing.assert_close(out.double(), values.double().exp(), rtol=2e-6, atol=0)
    torch.testing.assert_close(total, values.sum(1))
    assert torch.equal(greatest, numbers.amax(1))


def test_double_precision():
    values = -torch.rand(100, LANES, dtype=torch.float64) * 20
    _, out, total, _ = run(values, True)
    torch.testing.assert_close(out, values.exp(), rtol=1e-14, atol=0)
    torch.testing.assert_close(total, values.sum(1), rtol=1e-14, atol=0)


@whole_vectors
def exponentials(values: LanesArray, exact: ti.template(), numbers: LanesArray, product: FloatArray):
    for i in values:
        numbers[i] = lane_numbers(values[i][0])
        product[i] = product_of_lanes(values[i])
        values[i] = exp_of_lanes(values[i], exact)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-7), (torch.float64, 1e-14)])
def test_exponentials(dtype: torch.dtype, tolerance: float):
    if runtime.arch() != "cpu":
        pytest.skip("for the CPU only")
    values = torch.linspace(-87, 87, 1000 * LANES, dtype=dtype).view(1000, LANES)
    values[0, :4] = torch.tensor([-1e30, 1e30, torch.nan, 0])
    out, numbers, product = values.clone(), torch.empty_like(values), values.new_empty(len(values))
    runtime.launch(exponentials, out, dtype == torch.float64, numbers, product)
    torch.testing.assert_close(
        out.double(), values.double().exp().to(dtype).double(), rtol=tolerance, atol=0, equal_nan=True
    )
    assert torch.equal(numbers, torch.arange(LANES, dtype=dtype).expand_as(values))
    torch.testing.assert_close(product[1:], values[1:].prod(1))


def test_other_kernels_are_compiled_as_ever():
    run(torch.zeros(1, LANES), False)
    assert ti.cfg.real_matrix_scalarize


def test_views_are_refused():
    if runtime.arch() != "cpu":
        pytest.skip("for the CPU only")
    view, numbers = torch.zeros(LANES + 1)[1:].view(1, LANES), torch.zeros(1, LANES, dtype=torch.int32)
    with pytest.raises(ValueError, match="multiple of 64"):
        runtime.launch(reduce, view, numbers, False, torch.zeros(1), torch.zeros(1, dtype=torch.int32))
