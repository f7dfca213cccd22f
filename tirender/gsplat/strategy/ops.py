"""``gsplat.strategy.ops``: Gaussians added, divided, moved and removed, in place."""

from __future__ import annotations

import torch

from tirender.fit import growth
from tirender.fit.growth import Optimizers, Parameters, State, duplicate, remove, split

__all__ = ["duplicate", "inject_noise_to_position", "relocate", "remove", "reset_opa", "sample_add", "split"]


def reset_opa(params: Parameters, optimizers: Optimizers, state: State, value: float) -> None:
    """Lower opacities to at most ``value``."""
    growth.reset_opacities(params, optimizers, value)


def relocate(
    params: Parameters,
    optimizers: Optimizers,
    state: State,
    mask: torch.Tensor,
    binoms: torch.Tensor,
    min_opacity: float = 0.005,
) -> None:
    """Move the Gaussians of a mask (N,) to others, drawn by opacity, which are divided."""
    growth.relocate(params, optimizers, state, mask, min_opacity)


def sample_add(
    params: Parameters,
    optimizers: Optimizers,
    state: State,
    n: int,
    binoms: torch.Tensor,
    min_opacity: float = 0.005,
) -> None:
    """Add n Gaussians: parts of others, drawn by opacity."""
    growth.add(params, optimizers, state, n, min_opacity)


def inject_noise_to_position(params: Parameters, optimizers: Optimizers, state: State, scaler: float) -> None:
    """Move Gaussians at random, along their covariances; the less opaque, the further."""
    growth.disturb(params, scaler)
