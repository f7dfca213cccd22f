"""Volumes marched along rays by one kernel pair, over ``kernels/volume_march.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import volume_march as kernels

MAX_CHANNELS = 32  # of densities and features together: kernels are compiled for each number
MAX_THICKNESS = 8
PARTS_BYTES = 128 << 20  # for copies of the volumes' gradient
TASKS = 16384  # on a GPU
LANES = 8  # on a CPU


@runtime.not_compiled
def march_volumes(
    densities: torch.Tensor,
    features: torch.Tensor | None,
    origins: torch.Tensor,
    directions: torch.Tensor,
    lengths: torch.Tensor,
    eps: float,
    surface_thickness: int,
) -> torch.Tensor:
    """Emission and absorption along rays through volumes (zeros outside, trilinear inside).

    Args:
        densities: (V, 1, D, H, W) float32 or float64.
        features: (V, C, D, H, W) of the same dtype; C of at most ``MAX_CHANNELS - 1``.
        origins, directions: (R, 3) in voxel coordinates, of V times as many rays as each volume has.
        lengths: (R, P), or (1, P) where all rays have the same.
        eps, surface_thickness: see ``EmissionAbsorptionRaymarcher``; at most ``MAX_THICKNESS``.
    Returns:
        (R, C + 1): features, then opacity. Differentiable in all but ``lengths``.
    """
    with torch.autocast(densities.device.type, enabled=False):
        features = densities[:, :0] if features is None else features
        image = _MarchVolumes.apply(densities, features, origins + 1, directions, lengths, eps, surface_thickness)
        n_features = features.shape[1]
        return torch.cat([image[:, 1 : 1 + n_features], image[:, :1]], 1)


def padded_shape(shape: Sequence[int], n_channels: int) -> tuple[int, ...]:
    """Shape in which volumes (V, _, D, H, W) are marched: (V, D + 2, H + 2, W + 2, channels up to a multiple of 4)."""
    n_volumes, _, *sizes = shape
    return (n_volumes, *(size + 2 for size in sizes), (n_channels + 3) // 4 * 4)


class _MarchVolumes(FirstOrder):
    @staticmethod
    def forward(
        ctx: Any,
        densities: torch.Tensor,
        features: torch.Tensor,
        origins: torch.Tensor,
        directions: torch.Tensor,
        lengths: torch.Tensor,
        eps: float,
        thickness: int,
    ) -> torch.Tensor:
        n_volumes, n_features = features.shape[:2]
        ctx.shape = padded_shape(features.shape, 1 + n_features)
        ctx.n_features = n_features
        padded = densities.new_zeros(ctx.shape)
        inside = _without_border(padded)
        inside[:, :1].copy_(densities)
        inside[:, 1 : 1 + n_features].copy_(features)
        _, depth, height, width, n_channels = ctx.shape
        ctx.settings = kernels.MarchSettings(
            depth=depth, height=height, width=width, rays_per_volume=len(origins) // n_volumes, eps=eps
        )
        lanes = 1 if runtime.is_parallel_device() else LANES
        ctx.variant = kernels.Variant(n_vec4=n_channels // 4, thickness=thickness, lanes=lanes)
        values = padded.view(-1, 4)
        lengths = F.pad(lengths, (0, -lengths.shape[1] % lanes), value=math.inf)
        rays = kernels.MarchRays(origins.detach().contiguous(), directions.detach().contiguous(), lengths.contiguous())
        ctx.save_for_backward(values, *rays)
        image = values.new_empty(len(origins), n_channels // 4, 4)
        if len(image):
            runtime.launch(kernels.volume_march_forward, ctx.settings, ctx.variant, values, *rays, image)
        return image.view(-1, n_channels)

    @staticmethod
    def backward(ctx: Any, grad_image: torch.Tensor) -> Any:
        values, origins, directions, lengths = ctx.saved_tensors
        rays = kernels.MarchRays(origins, directions, lengths)
        rays_wanted = bool(ctx.needs_input_grad[2] or ctx.needs_input_grad[3])
        atomic = runtime.is_parallel_device()
        n_parts = 1 if atomic else _part_count(values)
        n_tasks = min(TASKS, len(grad_image)) if atomic else n_parts
        tape = values.new_empty(n_tasks, lengths.shape[1], 4)
        grad_values = values.new_zeros(n_parts, *values.shape)
        grad_origins, grad_directions = (
            torch.empty_like(x) if rays_wanted else x.new_empty(1, 3) for x in (origins, directions)
        )
        if len(grad_image):
            runtime.launch(
                kernels.volume_march_adjoint,
                ctx.settings,
                ctx.variant._replace(rays_wanted=rays_wanted, atomic=atomic),
                values,
                *rays,
                grad_image.contiguous().view(-1, ctx.variant.n_vec4, 4),
                tape,
                grad_values.view(-1, 4),
                grad_origins,
                grad_directions,
            )
        for part in grad_values[1:]:
            grad_values[0] += part
        grads = _without_border(grad_values[0].view(ctx.shape))
        if not rays_wanted:
            grad_origins = grad_directions = None
        # contiguous: later operations are several times faster, and the parts are freed
        grad_densities, grad_features = (g.contiguous() for g in (grads[:, :1], grads[:, 1 : 1 + ctx.n_features]))
        return grad_densities, grad_features, grad_origins, grad_directions, None, None, None


def _without_border(values: torch.Tensor) -> torch.Tensor:
    """A view (V, C, D, H, W) of (V, D + 2, H + 2, W + 2, C)."""
    return values[:, 1:-1, 1:-1, 1:-1].movedim(-1, 1)


def _part_count(values: torch.Tensor) -> int:
    """A power of two, so that parts of equal work are shared out evenly among threads."""
    most = PARTS_BYTES // (values.element_size() * max(values.numel(), 1))
    return next((n for n in (8, 4, 2) if n <= most), 1)
