"""Softplus of shifted rows, against torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tirender.engine.softplus import shifted_softplus_, shifted_softplus_adjoint

DTYPES = (torch.float32, torch.bfloat16)


def expected(
    values: torch.Tensor, shift: torch.Tensor, grad: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    leaves = [x.double().requires_grad_() for x in (values, shift)]
    y = F.softplus(leaves[0] + leaves[1], 10)
    return y.detach(), *torch.autograd.grad(y, leaves, grad.double())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "n_shifts"), [((5, 7, 256), 5), ((5, 7, 256), 1), ((90, 1, 128), 90), ((1, 1, 128), 1), ((3, 4, 10), 3)]
)
def test_values_and_gradients(dtype, shape, n_shifts):
    values, grad = (torch.randn(shape) * 2).to(dtype), torch.randn(shape).to(dtype)
    shift = torch.randn(n_shifts, 1, shape[2]).to(dtype)
    y, *grads = expected(values, shift, grad)
    ours = shifted_softplus_(values.clone(), shift)
    slopes, sums = shifted_softplus_adjoint(ours, grad, n_shifts)
    assert ours.dtype == slopes.dtype == dtype
    step = 1e-5 if dtype == torch.float32 else 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(ours.double(), y, rtol=step, atol=1e-30 if dtype == torch.float32 else 1e-6)
    torch.testing.assert_close(slopes.double(), grads[0], rtol=step, atol=step)
    torch.testing.assert_close(sums.double(), grads[1], rtol=0, atol=step * shape[0] * shape[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_values(dtype):
    values = torch.tensor([-1e30, -float("inf"), -10.0, 0.0, 10.0, 1e30, float("inf"), float("nan")], dtype=dtype)
    y = shifted_softplus_(values.repeat(32).view(1, 2, 128), torch.zeros(1, 1, 128, dtype=dtype)).view(32, 8)
    torch.testing.assert_close(y[0], F.softplus(values, 10), equal_nan=True)
    assert (y.isnan() == values.isnan()).all()
    slopes, _ = shifted_softplus_adjoint(y.view(1, 2, 128), torch.ones(1, 2, 128, dtype=dtype), 1)
    torch.testing.assert_close(slopes.view(32, 8)[0], torch.sigmoid(10 * values), equal_nan=True)


def test_what_begins_anywhere_in_memory():
    values, shift = torch.randn(3 * 64 + 1)[1:].view(1, 3, 64), torch.randn(65)[1:].view(1, 1, 64)
    y, *_ = expected(values, shift, values)
    torch.testing.assert_close(shifted_softplus_(values, shift).double(), y, rtol=1e-5, atol=1e-30)
