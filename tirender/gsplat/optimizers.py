"""``gsplat.optimizers``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

__all__ = ["SelectiveAdam"]


class SelectiveAdam(torch.optim.Adam):
    """Adam that updates only the rows that are visible, and does not correct its moments' bias, as in gsplat.

    Args:
        params: groups of one parameter each, with one row a Gaussian.
        eps: added to the denominator.
        betas: of the moments.
    """

    def __init__(self, params: Iterable[Any], eps: float, betas: tuple[float, float]) -> None:
        super().__init__(params, eps=eps, betas=betas)

    @torch.no_grad()
    def step(self, visibility: torch.Tensor) -> None:  # type: ignore[override]
        """Update the rows where ``visibility`` (N,) is true."""
        rows = visibility.reshape(-1).nonzero()[:, 0]
        for group in self.param_groups:
            (parameter,) = group["params"]
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            beta1, beta2 = group["betas"]
            grad = parameter.grad.index_select(0, rows)
            first = torch.lerp(grad, state["exp_avg"].index_select(0, rows), beta1)
            second = torch.lerp(grad * grad, state["exp_avg_sq"].index_select(0, rows), beta2)
            state["exp_avg"][rows], state["exp_avg_sq"][rows] = first, second
            change = group["lr"] * first / (second.sqrt() + group["eps"])
            parameter[rows] = parameter.index_select(0, rows) - change
