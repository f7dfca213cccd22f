"""Which way of torch's Adam is fast."""

from __future__ import annotations

import torch


def has_fused_adam(device: torch.device) -> bool:
    """Whether torch can update all parameters of a kind in one pass."""
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    return device.type == "cuda" or version >= (2, 4)
