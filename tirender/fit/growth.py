"""Gaussians added, divided, moved and removed while a fit runs; the optimizer's moments follow them.

Parameters are a mapping of names to tensors with one row a Gaussian. It has ``means`` (N, 3), ``quats`` (N, 4),
``scales`` (N, 3), logarithms, and ``opacities`` (N,) or (N, 1), logits; others are carried along. Optimizers are a
mapping too, each with the one parameter of its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import numpy as np
import torch
from torch import nn

from tirender.transforms.rotation_conversions import quaternion_to_matrix

Parameters = MutableMapping[str, Any]
Optimizers = Mapping[str, torch.optim.Optimizer]
State = MutableMapping[str, Any]
MAX_RATIO = 51  # Gaussians that one may be divided into at a time
SPLIT = 1.6  # by which the halves of a split Gaussian are smaller


@torch.no_grad()
def rebuild(
    parameters: Parameters,
    optimizers: Optimizers,
    new: Callable[[str, torch.Tensor], torch.Tensor],
    moments: Callable[[str, torch.Tensor], torch.Tensor],
    names: list[str] | None = None,
) -> None:
    """Replace parameters, and what optimizers remember of each Gaussian.

    Args:
        new: a new value from the name and the old one.
        moments: the same for a tensor of an optimizer's state, which has names of its own.
        names: of the parameters; None for all.
    Raises:
        ValueError: if a parameter that wants gradients has no optimizer.
    """
    for name in list(parameters) if names is None else names:
        old = parameters[name]
        optimizer = optimizers.get(name)
        if optimizer is None and old.requires_grad:
            raise ValueError(f"optimizers: expected one for {name!r}, got {sorted(optimizers)}")
        parameters[name] = parameter = nn.Parameter(new(name, old), requires_grad=old.requires_grad)
        if optimizer is None:
            continue
        state = optimizer.state.pop(old, {})
        for key, value in state.items():
            if key != "step":
                state[key] = moments(key, value)
        optimizer.param_groups[0]["params"] = [parameter]
        if state:
            optimizer.state[parameter] = state


def duplicate(parameters: Parameters, optimizers: Optimizers, state: State, mask: torch.Tensor) -> None:
    """Add a copy of each Gaussian of a mask (N,) at the end."""
    chosen = mask.nonzero()[:, 0]
    rebuild(
        parameters,
        optimizers,
        lambda _, old: torch.cat([old, old.index_select(0, chosen)]),
        lambda _, old: torch.cat([old, old.new_zeros(len(chosen), *old.shape[1:])]),
    )
    _each_tensor(state, lambda old: torch.cat([old, old.index_select(0, chosen)]))


@torch.no_grad()
def split(
    parameters: Parameters, optimizers: Optimizers, state: State, mask: torch.Tensor, revised_opacity: bool = False
) -> None:
    """Replace each Gaussian of a mask (N,) by two smaller ones, drawn from it; they come at the end.

    Args:
        revised_opacity: whether the two together are as opaque as the one was (Rota Bulò et al. 2024); else each is.
    """
    chosen, rest = mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]
    scales = parameters["scales"].index_select(0, chosen).exp()
    turns = quaternion_to_matrix(parameters["quats"].index_select(0, chosen))
    draws = torch.randn(2, *scales.shape, dtype=scales.dtype, device=scales.device)
    offsets = ((turns * scales[:, None]) @ draws[..., None])[..., 0]

    def halves(name: str, old: torch.Tensor) -> torch.Tensor:
        one = old.index_select(0, chosen)
        if name == "means":
            pair = torch.cat([*(one + offsets)])
        elif name == "scales":
            pair = (one - math.log(SPLIT)).repeat(2, 1)
        elif name == "opacities" and revised_opacity:
            pair = torch.logit(1 - (1 - one.sigmoid()).sqrt()).repeat(2, *[1] * (old.dim() - 1))
        else:
            pair = one.repeat(2, *[1] * (old.dim() - 1))
        return torch.cat([old.index_select(0, rest), pair])

    rebuild(
        parameters,
        optimizers,
        halves,
        lambda _, old: torch.cat([old.index_select(0, rest), old.new_zeros(2 * len(chosen), *old.shape[1:])]),
    )
    _each_tensor(state, lambda old: torch.cat([old.index_select(0, i) for i in (rest, chosen, chosen)]))


def remove(parameters: Parameters, optimizers: Optimizers, state: State, mask: torch.Tensor) -> None:
    """Remove the Gaussians of a mask (N,)."""
    rest = (~mask).nonzero()[:, 0]
    rebuild(parameters, optimizers, lambda _, old: old.index_select(0, rest), lambda _, old: old.index_select(0, rest))
    _each_tensor(state, lambda old: old.index_select(0, rest))


def reset_opacities(parameters: Parameters, optimizers: Optimizers, greatest: float) -> None:
    """Lower opacities to at most ``greatest``."""
    limit = math.log(greatest / (1 - greatest))
    rebuild(
        parameters, optimizers, lambda _, old: old.clamp(max=limit), lambda _, old: torch.zeros_like(old), ["opacities"]
    )


@torch.no_grad()
def relocate(
    parameters: Parameters, optimizers: Optimizers, state: State, dead: torch.Tensor, min_opacity: float = 0.005
) -> None:
    """Move the Gaussians of a mask (N,) to others, drawn by opacity, which are divided (Kheradmand et al. 2024)."""
    gone, alive = dead.nonzero()[:, 0], (~dead).nonzero()[:, 0]
    if not len(gone) or not len(alive):
        return
    opacities = parameters["opacities"].flatten().sigmoid()
    chosen = alive.index_select(0, draw(opacities.index_select(0, alive), len(gone)))
    divided = _divided(parameters, chosen, min_opacity)

    def moved(name: str, old: torch.Tensor) -> torch.Tensor:
        value = old.clone()
        if name in divided:
            value[chosen] = divided[name].view(len(chosen), *old.shape[1:])
        value[gone] = value.index_select(0, chosen)
        return value

    rebuild(parameters, optimizers, moved, lambda _, old: old.index_fill(0, chosen, 0))
    _each_tensor(state, lambda old: old.index_fill(0, chosen, 0))


@torch.no_grad()
def add(parameters: Parameters, optimizers: Optimizers, state: State, n: int, min_opacity: float = 0.005) -> None:
    """Add n Gaussians at the end: parts of others, drawn by opacity (Kheradmand et al. 2024)."""
    chosen = draw(parameters["opacities"].flatten().sigmoid(), n)
    divided = _divided(parameters, chosen, min_opacity)

    def more(name: str, old: torch.Tensor) -> torch.Tensor:
        value = old.clone()
        if name in divided:
            value[chosen] = divided[name].view(len(chosen), *old.shape[1:])
        return torch.cat([value, value.index_select(0, chosen)])

    def with_zeros(old: torch.Tensor) -> torch.Tensor:
        return torch.cat([old, old.new_zeros(n, *old.shape[1:])])

    rebuild(parameters, optimizers, more, lambda _, old: with_zeros(old))
    _each_tensor(state, with_zeros)


@torch.no_grad()
def disturb(parameters: Parameters, scale: float) -> None:
    """Move Gaussians at random, along their covariances; the less opaque, the further (Kheradmand et al. 2024)."""
    means = parameters["means"]
    opacities = parameters["opacities"].flatten().sigmoid()
    half = quaternion_to_matrix(parameters["quats"]) * parameters["scales"].exp()[:, None]
    weights = torch.sigmoid(100 * (0.005 - opacities))
    noise = torch.randn_like(means) * (weights * scale)[:, None]
    means.add_((half @ (half.transpose(1, 2) @ noise[..., None]))[..., 0])


def relocated(
    opacities: torch.Tensor, scales: torch.Tensor, ratios: torch.Tensor, max_ratio: int = MAX_RATIO
) -> tuple[torch.Tensor, torch.Tensor]:
    """Opacities and scales of the parts of Gaussians that together look as each did (Kheradmand et al. 2024, eq. 9).

    Args:
        opacities: (N,).
        scales: (N, 3).
        ratios: (N,) integers, how many parts there are; at most ``max_ratio`` count.
    Returns:
        (N,) and (N, 3).
    """
    ratios = ratios.clamp(1, max_ratio).long()
    whole = opacities.double().clamp(max=1 - 1e-7)  # below 1, where the sum would lose its digits
    parts = 1 - (1 - whole) ** (1 / ratios)
    # sum over i < ratio of sum_k binom(i, k) (-1)^k / sqrt(k + 1) parts^(k + 1), summed over i first
    n = int(ratios.max()) if len(ratios) else 1
    table = torch.tensor(
        [[math.comb(ratio, k + 1) * (-1) ** k / math.sqrt(k + 1) for k in range(n)] for ratio in range(n + 1)],
        dtype=torch.float64,
        device=opacities.device,
    )
    powers = parts[:, None] ** torch.arange(1, n + 1, device=opacities.device)
    total = (table.index_select(0, ratios) * powers).sum(1)
    factor = (whole / total).to(scales.dtype)
    return parts.to(opacities.dtype), scales * factor[:, None]


def draw(weights: torch.Tensor, n: int) -> torch.Tensor:
    """n indices, drawn with replacement by their weights; of any number, where torch draws from at most 2^24."""
    if len(weights) <= 1 << 24:
        return torch.multinomial(weights, n, replacement=True)
    chances = weights.double().cpu().numpy()
    seed = int(torch.randint(2**31, ()))
    chosen = np.random.default_rng(seed).choice(len(chances), n, p=chances / chances.sum())
    return torch.from_numpy(chosen).to(weights.device)


def _divided(parameters: Parameters, chosen: torch.Tensor, min_opacity: float) -> dict[str, torch.Tensor]:
    """Logits and logarithms of scales of Gaussians that each share their place with those drawn after them."""
    ratios = torch.bincount(chosen, minlength=1).index_select(0, chosen) + 1
    opacities = parameters["opacities"].flatten().sigmoid().index_select(0, chosen)
    opacities, scales = relocated(opacities, parameters["scales"].exp().index_select(0, chosen), ratios)
    eps = torch.finfo(torch.float32).eps
    return {"opacities": opacities.clamp(min_opacity, 1 - eps).logit(), "scales": scales.log()}


def _each_tensor(state: State, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for key, value in state.items():
        if isinstance(value, torch.Tensor):
            state[key] = change(value)
