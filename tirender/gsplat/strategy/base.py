"""What all strategies have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

SHAPE = ("means", "scales", "quats", "opacities")  # the parameters that growth reads


@dataclass
class Strategy:
    """A strategy is told of each step before and after the backward pass.

    Attributes:
        required: the names of parameters that it reads.
    """

    required: ClassVar[tuple[str, ...]] = ()

    def check_sanity(self, params: Mapping[str, Any], optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        """See whether parameters and optimizers fit each other.

        Raises:
            AssertionError: each trainable parameter must have an optimizer of its name with one group, as in gsplat;
                or one of the ``required`` is not there.
        """
        trainable = {name for name, parameter in params.items() if parameter.requires_grad}
        if trainable != set(optimizers):
            raise AssertionError(f"optimizers: expected one for each of {sorted(trainable)}, got {sorted(optimizers)}")
        for name, optimizer in optimizers.items():
            if len(optimizer.param_groups) != 1:
                raise AssertionError(f"optimizers: expected one group of {name!r}, got {len(optimizer.param_groups)}")
        for name in self.required:
            if name not in params:
                raise AssertionError(f"params: expected {name!r}, got {sorted(params)}")

    def step_pre_backward(self, *args: Any, **kwargs: Any) -> None:
        """Called before the backward pass."""

    def step_post_backward(self, *args: Any, **kwargs: Any) -> None:
        """Called after the backward pass."""
