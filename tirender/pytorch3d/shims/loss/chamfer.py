"""The checks of the chamfer distance."""

from __future__ import annotations

import torch

from tirender.loss.chamfer import _check_reductions, _unpack
from tirender.ops.knn import knn_gather, knn_points
from tirender.structures import Pointclouds

__all__ = ["_handle_pointcloud_input", "_validate_chamfer_reduction_inputs", "knn_gather", "knn_points"]


def _validate_chamfer_reduction_inputs(batch_reduction: str | None, point_reduction: str | None) -> None:
    """Raise ``ValueError`` if a reduction is unknown, or the two contradict each other."""
    _check_reductions(batch_reduction, point_reduction)


def _handle_pointcloud_input(
    points: torch.Tensor | Pointclouds, lengths: torch.Tensor | None, normals: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Clouds, or padded points (N, P, D) with lengths and normals, as points, lengths (N,) and normals or None.

    Raises:
        ValueError: if a shape, dtype or length is wrong.
    """
    return tuple(_unpack("points", points, lengths, normals))  # type: ignore[return-value]
