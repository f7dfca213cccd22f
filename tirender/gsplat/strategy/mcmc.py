"""Growth by relocation: Gaussian splatting as Markov chain Monte Carlo (Kheradmand et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from tirender.fit import growth
from tirender.gsplat.strategy.base import SHAPE, Strategy


@dataclass
class MCMCStrategy(Strategy):
    """Moves Gaussians that have become transparent to opaque ones, adds parts of opaque ones, and disturbs all.

    Args:
        cap_max: the greatest number of Gaussians.
        noise_lr: of the disturbance, times the learning rate of the means.
        refine_start_iter, refine_stop_iter, refine_every: when Gaussians are moved and added.
        min_opacity: below it, a Gaussian is moved.
        verbose: whether to print what happens.
    """

    required: ClassVar = SHAPE
    cap_max: int = 1_000_000
    noise_lr: float = 5e5
    refine_start_iter: int = 500
    refine_stop_iter: int = 25_000
    refine_every: int = 100
    min_opacity: float = 0.005
    verbose: bool = False

    def initialize_state(self) -> dict[str, Any]:
        """The state that the steps take: a table of binomial coefficients, as in gsplat."""
        n = growth.MAX_RATIO
        return {"binoms": torch.tensor([[float(math.comb(i, k)) for k in range(n)] for i in range(n)])}

    def step_post_backward(  # type: ignore[override]
        self,
        params: growth.Parameters,
        optimizers: growth.Optimizers,
        state: dict[str, Any],
        step: int,
        info: Mapping[str, Any],
        lr: float,
    ) -> None:
        """Called after the optimizers' steps.

        Args:
            params, optimizers: by name.
            state: of :meth:`initialize_state`.
            step: counted from 0.
            info: not read.
            lr: the learning rate of the means.
        """
        if self.refine_start_iter < step < self.refine_stop_iter and step % self.refine_every == 0:
            moved = self._relocate_gs(params, optimizers, state["binoms"])
            added = self._add_new_gs(params, optimizers, state["binoms"])
            if self.verbose:
                print(f"step {step}: {moved} Gaussians moved, {added} added, {len(params['means'])} in all")
        growth.disturb(params, lr * self.noise_lr)

    @torch.no_grad()
    def _relocate_gs(self, params: growth.Parameters, optimizers: growth.Optimizers, binoms: torch.Tensor) -> int:
        """Move transparent Gaussians; how many."""
        dead = params["opacities"].flatten().sigmoid() <= self.min_opacity
        growth.relocate(params, optimizers, {}, dead, self.min_opacity)
        return int(dead.sum())

    @torch.no_grad()
    def _add_new_gs(self, params: growth.Parameters, optimizers: growth.Optimizers, binoms: torch.Tensor) -> int:
        """Add a twentieth, up to the greatest number; how many."""
        n = len(params["means"])
        added = max(min(self.cap_max, int(1.05 * n)) - n, 0)
        if added:
            growth.add(params, optimizers, {}, added, self.min_opacity)
        return added
