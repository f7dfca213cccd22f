"""``gsplat.strategy.ops``: Gaussians added, divided, moved and removed, in place."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tirender.fit import growth
from tirender.fit.growth import Optimizers, Parameters, State, duplicate, remove, split

__all__ = ["duplicate", "inject_noise_to_position", "relocate", "remove", "reset_opa", "sample_add", "split"]


def _update_param_with_optimizer(
    param_fn: Callable[[str, torch.Tensor], torch.Tensor],
    optimizer_fn: Callable[[str, torch.Tensor], torch.Tensor],
    params: Parameters,
    optimizers: Optimizers,
    names: list[str] | None = None,
) -> None:
    """Replace parameters, by functions of their names, and the tensors of their optimizers, by functions of these's."""
    growth.rebuild(params, optimizers, param_fn, optimizer_fn, names)


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
