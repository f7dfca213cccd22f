"""Normals and local frames of point clouds, from the covariance of each point's neighbours."""

from __future__ import annotations

import torch

from tirender.engine.local_frames import local_frames
from tirender.ops.utils import convert_pointclouds_to_tensor
from tirender.structures import Pointclouds


def estimate_pointcloud_normals(
    pointclouds: torch.Tensor | Pointclouds,
    neighborhood_size: int = 50,
    disambiguate_directions: bool = True,
    *,
    use_symeig_workaround: bool = True,
) -> torch.Tensor:
    """Estimate normals: the direction in which each point's neighbours have the least variance.

    Arguments, errors and gradients are those of ``estimate_pointcloud_local_coord_frames``.

    Returns:
        (N, P, 3) unit normals, 0 in padded rows.
    """
    frames = estimate_pointcloud_local_coord_frames(pointclouds, neighborhood_size, disambiguate_directions)[1]
    return frames[..., 0]


def estimate_pointcloud_local_coord_frames(
    pointclouds: torch.Tensor | Pointclouds,
    neighborhood_size: int = 50,
    disambiguate_directions: bool = True,
    *,
    use_symeig_workaround: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimate the principal axes of each point's neighbours, the eigenvectors of their covariance.

    The signs of the axes are determined as in Tombari et al., "Unique signatures of histograms for local surface
    description", 2010.

    Args:
        pointclouds: N clouds, or (N, P, 3) float32 or float64.
        neighborhood_size: K, the number of neighbours of a point, which include the point itself. Every cloud must have
            more points than this.
        disambiguate_directions: point the first and the last axis to the side with most neighbours, and make the second
            their cross product. Otherwise the signs are arbitrary.
        use_symeig_workaround: ignored.
    Returns:
        curvatures: (N, P, 3) variances along the axes, ascending.
        local_coord_frames: (N, P, 3, 3), the axes in its columns.
        Both are 0 in padded rows and differentiable in the points. Axes with equal variances are arbitrary, and no
        gradient passes between them.
    Raises:
        ValueError: if the shape is wrong, a cloud is too small, or a point is not finite.
    """
    points, num_points = convert_pointclouds_to_tensor(pointclouds)
    return local_frames(points, num_points, neighborhood_size, disambiguate_directions)
