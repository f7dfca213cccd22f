"""Accumulation of point clouds in volumes."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_choice, check_kind, check_tensor, fail
from tirender.engine.points_to_volumes import points_to_volumes
from tirender.structures.pointclouds import Pointclouds
from tirender.structures.volume_locator import local_to_voxel_coords
from tirender.structures.volumes import Volumes


def add_pointclouds_to_volumes(
    pointclouds: Pointclouds,
    initial_volumes: Volumes,
    mode: str = "trilinear",
    min_weight: float = 1e-4,
    rescale_features: bool = True,
    _python: bool = False,
) -> Volumes:
    """Add the features of N clouds to N volumes, and the weights of the points to the densities.

    Args:
        pointclouds: N clouds with features, points in world space.
        initial_volumes: N volumes with densities of one channel, and with as many feature channels as the clouds, or no
            features. The result starts from their values.
        mode: ``"trilinear"`` distributes a point to the eight voxels around it; ``"nearest"`` adds it to the voxel that
            contains it (ties go to even indices).
        min_weight: the least weight that features are divided by.
        rescale_features: divide each voxel's features by its weight, which gives a mean instead of a sum.
        _python: ignored.
    Returns:
        new volumes in the same places. Differentiable in the features, the volumes and, with ``"trilinear"``, the
        points; the results repeat to the bit on the CPU. Points that are NaN or outside a volume are skipped.
    Raises:
        ValueError: if the batches or channels do not fit.
    """
    check_kind("pointclouds", pointclouds, Pointclouds)
    check_kind("initial_volumes", initial_volumes, Volumes)
    if len(pointclouds) != len(initial_volumes):
        fail("initial_volumes", f"as many volumes as clouds, {len(pointclouds)}", len(initial_volumes))
    features = pointclouds.features_packed()
    if features is None:
        fail("pointclouds", "clouds with features", None)
    padded = pointclouds.points_padded()
    check_tensor("pointclouds.points", padded, like=initial_volumes.densities())
    grid_sizes, align_corners = initial_volumes.get_grid_sizes(), initial_volumes.get_align_corners()
    local = initial_volumes.world_to_local_coords(padded)
    voxel_coords = local_to_voxel_coords(local, grid_sizes, align_corners).flatten(0, 1)
    new_features, new_densities = _add(
        voxel_coords.index_select(0, pointclouds.padded_to_packed_idx()),
        features,
        pointclouds.packed_to_cloud_idx(),
        initial_volumes.densities(),
        initial_volumes.features(),
        grid_sizes,
        mode,
        min_weight if rescale_features else None,
    )
    return initial_volumes.update_padded(new_densities, new_features)


def add_points_features_to_volume_densities_features(
    points_3d: torch.Tensor,
    points_features: torch.Tensor,
    volume_densities: torch.Tensor,
    volume_features: torch.Tensor | None,
    mode: str = "trilinear",
    min_weight: float = 1e-4,
    mask: torch.Tensor | None = None,
    grid_sizes: torch.Tensor | None = None,
    rescale_features: bool = True,
    _python: bool = False,
    align_corners: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`add_pointclouds_to_volumes` for tensors.

    Args:
        points_3d: (N, P, 3) float32 or float64, in the volumes' local coordinates (-1 to 1).
        points_features: (N, P, C), of the same dtype.
        volume_densities: (N, 1, D, H, W), of the same dtype.
        volume_features: (N, C, D, H, W), of the same dtype; None for 0.
        mode, min_weight, rescale_features, _python: as for :func:`add_pointclouds_to_volumes`.
        mask: (N, P), 0 for points to skip.
        grid_sizes: (N, 3) or (3,) integers, the sizes (D_i, H_i, W_i) of padded volumes; None for (D, H, W).
        align_corners: True puts local -1 and 1 at the centres of the outermost voxels, False at their outer faces.
    Returns:
        features (N, C, D, H, W) and densities (N, 1, D, H, W); differentiable as in
        :func:`add_pointclouds_to_volumes`.
    Raises:
        ValueError: if a shape, dtype or device is wrong.
    """
    check_tensor("points_3d", points_3d, ("N", "P", 3), FLOATS)
    n, n_points = points_3d.shape[:2]
    check_tensor("points_features", points_features, (n, n_points, "C"), like=points_3d)
    check_tensor("volume_densities", volume_densities, (n, 1, "D", "H", "W"), like=points_3d)
    if grid_sizes is None:
        grid_sizes = torch.tensor(volume_densities.shape[2:], device=points_3d.device)
    grid_sizes = grid_sizes.expand(n, 3) if grid_sizes.dim() == 1 else grid_sizes
    check_tensor("grid_sizes", grid_sizes, (n, 3))
    image = torch.arange(n, device=points_3d.device).repeat_interleave(n_points)
    voxel_coords = local_to_voxel_coords(points_3d, grid_sizes, align_corners).flatten(0, 1)
    if mask is not None:
        check_tensor("mask", mask, (n, n_points))
        voxel_coords = voxel_coords.masked_fill(mask.reshape(-1, 1) == 0, torch.nan)
    return _add(
        voxel_coords,
        points_features.flatten(0, 1),
        image,
        volume_densities,
        volume_features,
        grid_sizes,
        mode,
        min_weight if rescale_features else None,
    )


def _add(
    voxel_coords: torch.Tensor,
    features: torch.Tensor,
    image: torch.Tensor,
    densities: torch.Tensor,
    volume_features: torch.Tensor | None,
    grid_sizes: torch.Tensor,
    mode: str,
    min_weight: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The new features and densities; with ``min_weight=None`` the features are sums."""
    check_choice("mode", mode, ("trilinear", "nearest"))
    check_tensor("features", features, ("P", "C"), like=voxel_coords)
    shape = densities.shape[2:]
    check_tensor("volume_densities", densities, ("N", 1, *shape))
    if volume_features is not None:
        check_tensor("volume_features", volume_features, (len(densities), features.shape[1], *shape), like=densities)
    if mode == "nearest":
        voxel_coords = voxel_coords.detach().round()
    weighed = torch.cat([torch.ones_like(features[:, :1]), features], 1)
    sums = points_to_volumes(voxel_coords, weighed, image, grid_sizes, shape)
    densities = densities + sums[:, :1]
    new_features = sums[:, 1:] if volume_features is None else volume_features + sums[:, 1:]
    return new_features if min_weight is None else new_features / densities.clamp(min=min_weight), densities
