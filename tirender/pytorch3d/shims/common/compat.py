"""Functions that older versions of torch and Python lack."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

__all__ = ["meshgrid_ij", "prod"]


def meshgrid_ij(*A: Any) -> tuple[torch.Tensor, ...]:
    """``torch.meshgrid`` of tensors, or a list of them, whose first axis follows the first tensor."""
    return torch.meshgrid(*A, indexing="ij")
