"""Normals and local frames of point clouds, from the covariance of neighbours."""

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
    """The direction in which each point's neighbours spread least.

    Arguments, errors and gradients as for ``estimate_pointcloud_local_coord_frames``.

    Returns:
        (N, P, 3) unit normals.
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
    """The principal axes of each point's neighbours, from the eigenvectors of their covariance.

    Directions are made repeatable as in Tombari et al., "Unique signatures of histograms for local surface
    description", 2010.

    Args:
        pointclouds: N clouds, or (N, P, 3) float32 or float64.
        neighborhood_size: K, neighbours of a point, itself among them; every cloud has more points than this.
        disambiguate_directions: turn the first and the last axis to the side where most neighbours are, and take the
            second as the cross product of the two. Otherwise the signs are arbitrary.
        use_symeig_workaround: ignored.
    Returns:
        curvatures: (N, P, 3) variances along the axes, ascending; 0 in padded rows, like the axes.
        local_coord_frames: (N, P, 3, 3), the axes in its columns. Both differentiable in the points; axes whose
            variances are equal are arbitrary, and no gradient passes between them.
    Raises:
        ValueError: if a shape does not fit, a cloud is too small or a point is not finite.
    """
    points, num_points = convert_pointclouds_to_tensor(pointclouds)
    return local_frames(points, num_points, neighborhood_size, disambiguate_directions)
