"""Emission-absorption compositing of samples packed by ray, over ``kernels/emission_absorption.py``."""

from __future__ import annotations

from typing import Any

import torch

from tirender.checks import FLOATS, check_tensor, fail
from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import emission_absorption as kernels


@runtime.not_compiled
def emission_absorption(offsets: torch.Tensor, densities: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Composite the samples of each ray front to back, as ``EmissionAbsorptionRaymarcher`` does dense ones.

    Args:
        offsets: (R + 1,) int32, where each ray's samples begin, and M; ascending from 0.
        densities: (M,) float32 or float64 in [0, 1], the opacity of each sample, nearest first within a ray.
        features: (M, C), same dtype and device.
    Returns:
        (R, C + 1): features, then opacity; 0 for a ray without samples. Differentiable in densities and features,
        finite where a density is 1.
    Raises:
        ValueError: where a shape, dtype or device does not fit.
    """
    check_tensor("offsets", offsets, ("R + 1",), torch.int32)
    check_tensor("densities", densities, ("M",), FLOATS)
    if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(densities) or bool((offsets.diff() < 0).any()):
        fail("offsets", f"int32 that ascend from 0 to {len(densities)}", offsets.tolist()[:8])
    check_tensor("features", features, (len(densities), "C"), like=densities)
    if not features.shape[1]:
        fail("features", "at least one channel", tuple(features.shape))
    with torch.autocast(features.device.type, enabled=False):
        return _EmissionAbsorption.apply(densities, features, offsets)


def count_visible(offsets: torch.Tensor, densities: torch.Tensor, min_transmittance: float) -> torch.Tensor:
    """How many samples of each ray are reached before its transmittance falls below a bound.

    Args:
        offsets, densities: as for :func:`emission_absorption`.
        min_transmittance: the bound.
    Returns:
        (R,) int32.
    """
    counts = torch.zeros(len(offsets) - 1, dtype=torch.int32, device=offsets.device)
    if len(densities):
        runtime.launch(kernels.count_visible, min_transmittance, offsets, densities.contiguous(), counts)
    return counts


class _EmissionAbsorption(FirstOrder):
    @staticmethod
    def forward(ctx: Any, densities: torch.Tensor, features: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        densities, features = densities.detach().contiguous(), features.detach().contiguous()
        out = features.new_zeros(len(offsets) - 1, features.shape[1] + 1)
        if features.numel():
            runtime.launch(kernels.emission_absorption_forward, offsets, densities, features, out)
        ctx.save_for_backward(offsets, densities, features)
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: torch.Tensor) -> Any:
        offsets, densities, features = ctx.saved_tensors
        grad_densities, grad_features = torch.zeros_like(densities), torch.zeros_like(features)
        if features.numel():
            runtime.launch(
                kernels.emission_absorption_adjoint,
                offsets,
                densities,
                features,
                grad_out.contiguous(),
                grad_densities,
                grad_features,
            )
        return grad_densities, grad_features, None
