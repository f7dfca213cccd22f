"""The numbers that networks multiply: float32, or bfloat16 on machines that multiply these faster."""

from __future__ import annotations

import functools
import time
import warnings

import torch

PRECISIONS = ("float32", "bf16")
ROWS, ROUNDS = 1 << 13, 5  # of the product that is timed
WORTH = 1.2  # times as fast


def factor_dtype(precision: str, like: torch.Tensor, width: int) -> torch.dtype:
    """The type of the factors in a network's products.

    Args:
        precision: one of ``PRECISIONS``.
        like: a tensor of the network. One of float64 is never multiplied in less.
        width: of its hidden layers.
    Returns:
        bfloat16 where it is asked for and faster, else the type of ``like``.
    """
    if precision == "bf16" and like.dtype == torch.float32 and bf16_is_faster(like.device, width):
        return torch.bfloat16
    return like.dtype


@functools.cache
def bf16_is_faster(device: torch.device, width: int) -> bool:
    """Whether a device multiplies matrices of this width faster in bfloat16, casts included; tried once a process.

    Processors without instructions for it are slower: there is a warning, as somebody has asked for it.
    """
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        rows, square = torch.ones(ROWS, width, device=device), torch.ones(width, width, device=device)
        needed = [_seconds(rows, square, dtype) for dtype in (torch.float32, torch.bfloat16)]
    is_faster = needed[0] > WORTH * needed[1]
    if not is_faster:
        words = f"bf16 is no faster than float32 for {width} neurons on this {device.type} device, so float32 is used"
        warnings.warn(f"precision: {words}", stacklevel=3)
    return is_faster


def _seconds(rows: torch.Tensor, square: torch.Tensor, dtype: torch.dtype) -> float:
    """What their product in a type takes at least."""
    laps = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        (rows.to(dtype) @ square.to(dtype)).to(rows.dtype)[0, 0].item()  # which waits for the device
        laps.append(time.perf_counter() - start)
    return min(laps)
