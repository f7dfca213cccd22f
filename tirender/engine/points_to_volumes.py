"""Values of points summed in voxels, over ``kernels/points_to_volumes.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from tirender.checks import fail
from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import points_to_volumes as kernels


@runtime.not_compiled
def points_to_volumes(
    voxel_coords: torch.Tensor,
    values: torch.Tensor,
    image: torch.Tensor,
    grid_sizes: torch.Tensor,
    shape: Sequence[int],
) -> torch.Tensor:
    """Sum values of points over the eight voxels around each, by trilinear weights.

    Args:
        voxel_coords: (P, 3), x, y and z; whole numbers are voxel centres. What lies a voxel or more outside, or is NaN,
            is left out.
        values: (P, C).
        image: (P,) integers, the volume of each point.
        grid_sizes: (N, 3) integers, D_i, H_i, W_i.
        shape: D, H, W that the volumes are padded to.
    Returns:
        (N, C, D, H, W), differentiable in points and values; at a voxel centre the gradient in the point is that
        towards increasing coordinates.
    """
    n, (depth, height, width) = len(grid_sizes), shape
    n_cells = n * (depth + 1) * (height + 1) * (width + 1)
    if n_cells >= 2**31:
        fail("volumes", "less than 2^31 voxels", f"{n} volumes of {depth} x {height} x {width}")
    padded = kernels.Sizes(depth=depth, height=height, width=width)
    coords, sizes = voxel_coords.detach(), grid_sizes.index_select(0, image).flip(1)
    is_inside = ((coords > -1) & (coords < sizes)).all(1)
    x, y, z = torch.where(is_inside[:, None], coords.floor() + 1, 0).long().unbind(1)
    cells = ((image * (depth + 1) + z) * (height + 1) + y) * (width + 1) + x
    cells = torch.where(is_inside, cells, -1).int()
    with torch.autocast(values.device.type, enabled=False):
        sums = _PointsToVolumes.apply(voxel_coords, values, cells, grid_sizes.int(), n_cells, padded)
    return sums.view(n, values.shape[1], *shape)


class _PointsToVolumes(FirstOrder):
    @staticmethod
    def forward(
        ctx: Any,
        points: torch.Tensor,
        values: torch.Tensor,
        cells: torch.Tensor,
        grid_sizes: torch.Tensor,
        n_cells: int,
        sizes: kernels.Sizes,
    ) -> Any:
        points, values = points.detach().contiguous(), values.detach().contiguous()
        sums = values.new_zeros(len(grid_sizes), values.shape[1], math.prod(sizes))
        grid_sizes, order = grid_sizes.contiguous(), cells.argsort(stable=True).int()
        if len(points) and len(grid_sizes):
            counts = torch.bincount(cells + 1, minlength=n_cells + 1)  # of the points outside first
            offsets = counts.cumsum(0).int()
            runtime.launch(kernels.points_to_volumes_forward, sizes, points, values, order, offsets, grid_sizes, sums)
        ctx.sizes = sizes
        ctx.save_for_backward(points, values, order, cells, grid_sizes)
        return sums

    @staticmethod
    def backward(ctx: Any, grad_sums: torch.Tensor) -> Any:
        points, values, order, cells, grid_sizes = ctx.saved_tensors
        grad_points, grad_values = torch.zeros_like(points), torch.zeros_like(values)
        if len(points) and grad_sums.numel():
            runtime.launch(
                kernels.points_to_volumes_adjoint,
                ctx.sizes,
                points,
                values,
                order,
                cells,
                grid_sizes,
                grad_sums.contiguous(),
                grad_points,
                grad_values,
            )
        return grad_points, grad_values, None, None, None, None
