"""Adam, by the fastest way that torch has."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def adam(module: nn.Module, groups: list[dict[str, Any]] | None = None, **options: Any) -> torch.optim.Adam:
    """Adam over a module's parameters, or over groups of them, updated in one pass where torch can.

    Args:
        module: whose parameters are fitted.
        groups: as ``torch.optim.Adam`` takes them; None for one of all parameters.
        options: of ``torch.optim.Adam``.
    """
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    is_fused = next(module.parameters()).is_cuda or version >= (2, 4)
    return torch.optim.Adam(module.parameters() if groups is None else groups, fused=is_fused or None, **options)
