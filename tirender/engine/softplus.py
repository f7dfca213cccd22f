"""Softplus of shifted rows, over ``kernels/softplus_lanes.py`` on a CPU and torch elsewhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tirender.engine import runtime
from tirender.engine.kernels.softplus_lanes import BETA, Sizes, softplus_adjoint, softplus_forward
from tirender.engine.kernels.wide_lanes import TASKS, WIDTH
from tirender.engine.wide_lanes import as_vectors, halves_of, scratch_vectors


def shifted_softplus_(values: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """log(1 + exp(10 (values + shift))) / 10, in the memory of the values.

    Args:
        values: (R, P, L) contiguous, of any float type.
        shift: (R, 1, L) or (1, 1, L), of the same type.
    Returns:
        (R, P, L).
    """
    if not _has_lanes(values):
        return values.copy_(F.softplus(values.add_(shift), BETA))
    vectors = as_vectors(values)
    launched = (as_vectors(shift), vectors, *scratch_vectors())
    runtime.launch(softplus_forward, *_sizes(values, len(shift) == 1), _bounds(values, len(shift)), *launched)
    return vectors.view(values.dtype).view(values.shape)


def shifted_softplus_adjoint(
    outputs: torch.Tensor, grad: torch.Tensor, n_shifts: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients in the values and in the shift.

    Args:
        outputs: (R, P, L) what :func:`shifted_softplus_` has returned.
        grad: (R, P, L) the gradient in it, of the same type.
        n_shifts: R or 1, how many shifts there were.
    Returns:
        (R, P, L) of the same type, and (R, 1, L) or (1, 1, L), the latter float32 if outputs are bfloat16.
    """
    if not _has_lanes(outputs):
        grad_values = torch.mul(outputs, -BETA).expm1_().mul_(grad).neg_()  # softplus' = 1 - exp(-softplus)
        return grad_values, grad_values.sum((0, 1) if n_shifts == 1 else 1, keepdim=True)
    is_each = n_shifts > 1 and outputs.shape[1] == 1  # every value has its own shift
    bounds, halves = _bounds(outputs, n_shifts), halves_of(outputs.dtype)
    grad_values = torch.empty_like(outputs)
    n_sums = 0 if is_each else (len(bounds) - 1) * outputs.shape[2] // WIDTH
    sums = torch.empty(n_sums, WIDTH)
    launched = (as_vectors(outputs), as_vectors(grad), as_vectors(grad_values), sums, *scratch_vectors())
    runtime.launch(softplus_adjoint, *_sizes(outputs, n_shifts == 1), bounds, *launched)
    if is_each:
        return grad_values, grad_values
    sums = sums.view(len(bounds) - 1, -1, halves, WIDTH).mT.reshape(len(bounds) - 1, 1, -1)
    return grad_values, sums.sum(0, keepdim=True) if n_shifts == 1 else sums


def _has_lanes(values: torch.Tensor) -> bool:
    """Whether the kernels take these values: on a CPU, rows of whole vectors."""
    if not values.is_cpu or values.dtype not in (torch.float32, torch.bfloat16) or runtime.is_parallel_device():
        return False
    return values.numel() > 0 and values.shape[-1] % (WIDTH * halves_of(values.dtype)) == 0


def _sizes(values: torch.Tensor, shared: bool) -> tuple[Sizes, bool]:
    halves = halves_of(values.dtype)
    return Sizes(values.shape[-1] // (WIDTH * halves), shared), halves == 2


def _bounds(values: torch.Tensor, n_shifts: int) -> torch.Tensor:
    """(groups + 1,) int32 the rows of each shift, or shares of the rows where all have one."""
    n_rows = values.shape[0] * values.shape[1]
    n_groups = min(TASKS, n_rows) if n_shifts == 1 else n_shifts
    return (torch.arange(n_groups + 1) * n_rows // n_groups).int()
