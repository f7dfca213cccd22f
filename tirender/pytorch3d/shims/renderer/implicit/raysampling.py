"""Steps of the ray samplers."""

from __future__ import annotations

import torch

from tirender.pytorch3d.shims.common.compat import meshgrid_ij
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.implicit.raysampling import _draw_pixels, _jitter, _pack, _Raysampler
from tirender.renderer.implicit.utils import HeterogeneousRayBundle, RayBundle

__all__ = ["_jiggle_within_stratas", "_pack_ray_bundle", "_safe_multinomial", "_xy_to_ray_bundle", "meshgrid_ij"]


def _xy_to_ray_bundle(
    cameras: CamerasBase,
    xy_grid: torch.Tensor,
    min_depth: float,
    max_depth: float,
    n_pts_per_ray: int,
    unit_directions: bool,
    stratified_sampling: bool = False,
) -> RayBundle:
    """The rays of N cameras through image points (N, ..., 2), with samples from ``min_depth`` to ``max_depth``.

    Raises:
        ValueError: if ``min_depth`` is not below ``max_depth``.
    """
    sampler = _Raysampler(n_pts_per_ray, min_depth, max_depth, None, None, unit_directions, stratified_sampling)
    return sampler._bundle(cameras, xy_grid)


def _pack_ray_bundle(
    ray_bundle: RayBundle, camera_ids: torch.Tensor, camera_counts: torch.Tensor
) -> HeterogeneousRayBundle:
    """The first ``camera_counts`` (N,) rays of each of N cameras, with a leading shape (R, 1)."""
    return _pack(ray_bundle, camera_ids, camera_counts)


def _jiggle_within_stratas(bin_centers: torch.Tensor) -> torch.Tensor:
    """Replace each of ascending numbers (..., P) by a random one between the midpoints to its neighbours."""
    return _jitter(bin_centers)


def _safe_multinomial(input: torch.Tensor, num_samples: int) -> torch.Tensor:
    """Draw indices (N, num_samples) in proportion to weights (N, P), with repetition only if there are too few.

    Raises:
        ValueError: if a row has no positive weight.
    """
    return _draw_pixels(input, num_samples)
