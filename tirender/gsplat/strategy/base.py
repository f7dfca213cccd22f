"""What all strategies have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

REQUIRED = ("means", "scales", "quats", "opacities")


@dataclass
class Strategy:
    """A strategy is told of each step before and after the backward pass."""

    def check_sanity(self, params: Mapping[str, Any], optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        """See whether parameters and optimizers fit each other.

        Raises:
            AssertionError: each trainable parameter must have an optimizer of its name with one group, as in gsplat.
        """
        trainable = {name for name, parameter in params.items() if parameter.requires_grad}
        if trainable != set(optimizers):
            raise AssertionError(f"optimizers: expected one for each of {sorted(trainable)}, got {sorted(optimizers)}")
        for name, optimizer in optimizers.items():
            if len(optimizer.param_groups) != 1:
                raise AssertionError(f"optimizers: expected one group of {name!r}, got {len(optimizer.param_groups)}")

    def step_pre_backward(self, *args: Any, **kwargs: Any) -> None:
        """Called before the backward pass."""

    def step_post_backward(self, *args: Any, **kwargs: Any) -> None:
        """Called after the backward pass."""


def check_names(params: Mapping[str, Any]) -> None:
    """Raise ``AssertionError`` unless the parameters of shape and opacity are there."""
    for name in REQUIRED:
        if name not in params:
            raise AssertionError(f"params: expected {name!r}, got {sorted(params)}")
