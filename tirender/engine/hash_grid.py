"""Multiresolution hash encoding, over ``kernels/hash_grid.py``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from tirender.checks import FLOATS, check_tensor, fail
from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import hash_grid as kernels
from tirender.engine.partial_sums import part_bounds

N_CHUNKS = 64  # of a level's points, for threads to share
MAX_RESOLUTION = 1 << 20  # float32 does not resolve smaller cells


@dataclass(frozen=True)
class HashGridLayout:
    """The grids of a multiresolution hash encoding and where their features lie in one table.

    Attributes:
        n_levels: grids, whose resolutions rise geometrically.
        n_features: features at a grid's corners.
        log2_rows: a level has at most 2 ** log2_rows rows; finer grids are hashed.
        base_resolution, finest_resolution: cells a side of the first and the last grid.
    Raises:
        ValueError: for a number out of its range.
    """

    n_levels: int = 8
    n_features: int = 2
    log2_rows: int = 15
    base_resolution: int = 16
    finest_resolution: int = 256

    def __post_init__(self) -> None:
        for name, low, high in (
            ("n_levels", 1, 64),
            ("n_features", 1, 8),
            ("log2_rows", 3, 24),
            ("base_resolution", 1, MAX_RESOLUTION),
            ("finest_resolution", self.base_resolution, MAX_RESOLUTION),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                fail(name, f"an integer from {low} to {high}", value)
        if self.n_rows * self.n_features >= 2**31:
            fail("n_levels, n_features, log2_rows", "a table of fewer than 2^31 numbers", self.n_rows * self.n_features)

    @cached_property
    def resolutions(self) -> list[int]:
        """Cells a side of each level."""
        growth = (self.finest_resolution / self.base_resolution) ** (1 / max(self.n_levels - 1, 1))
        return [int(self.base_resolution * growth**level + 1e-6) for level in range(self.n_levels)]

    @cached_property
    def levels(self) -> list[tuple[int, int, int]]:
        """Of each level the first row, the resolution, and the number of rows - 1 if it is hashed, else -1."""
        levels, first = [], 0
        for resolution in self.resolutions:
            n_corners, n_rows = (resolution + 1) ** 3, 1 << self.log2_rows
            levels.append((first, resolution, n_rows - 1 if n_corners > n_rows else -1))
            first += min(n_corners, n_rows)
        return levels

    @cached_property
    def n_rows(self) -> int:
        """Rows of the table in all."""
        return sum(min((resolution + 1) ** 3, 1 << self.log2_rows) for resolution in self.resolutions)

    @property
    def n_channels(self) -> int:
        """Channels of the encoding: the features of all levels."""
        return self.n_levels * self.n_features


@runtime.not_compiled
def hash_encode(
    points: torch.Tensor, table: torch.Tensor, layout: HashGridLayout, known: torch.Tensor | None = None
) -> torch.Tensor:
    """Features of points from a multiresolution hash grid (Müller et al., "Instant Neural Graphics Primitives", 2022).

    Args:
        points: (..., 3) float32 or float64, in the unit cube; one outside counts as the nearest on its surface.
        table: (layout.n_rows, layout.n_features), same dtype and device.
        layout: see :class:`HashGridLayout`.
        known: the result, where it was computed before without gradients.
    Returns:
        (..., layout.n_channels), coarse levels first; differentiable in ``table`` and, within cells and the cube, in
        ``points``. Gradients are the same to the bit on the CPU whatever the number of threads.
    Raises:
        ValueError: where a shape, dtype or device does not fit.
    """
    check_tensor("points", points, ("...", 3), FLOATS)
    check_tensor("table", table, (layout.n_rows, layout.n_features), like=points)
    if known is not None:
        check_tensor("known", known, (*points.shape[:-1], layout.n_channels), like=points)
        known = known.reshape(-1, layout.n_channels)
    with torch.autocast(points.device.type, enabled=False):
        encoding = _HashEncode.apply(points.reshape(-1, 3), table, layout, known)
    return encoding.view(*points.shape[:-1], layout.n_channels)


class _HashEncode(FirstOrder):
    @staticmethod
    def forward(
        ctx: Any, points: torch.Tensor, table: torch.Tensor, layout: HashGridLayout, known: torch.Tensor | None
    ) -> torch.Tensor:
        points, table = points.detach().contiguous(), table.detach().contiguous()
        levels = torch.tensor(layout.levels, dtype=torch.int32, device=points.device)
        encoding = points.new_empty(len(points), layout.n_channels) if known is None else known
        if len(points) and known is None:
            runtime.launch(
                kernels.hash_grid_forward,
                layout.n_features,
                points,
                levels,
                table.view(-1),
                part_bounds(len(points), N_CHUNKS, points.device),
                encoding.view(-1),
            )
        ctx.save_for_backward(points, table, levels)
        ctx.n_features = layout.n_features
        return encoding

    @staticmethod
    def backward(ctx: Any, grad_encoding: torch.Tensor) -> Any:
        points, table, levels = ctx.saved_tensors
        grad_encoding = grad_encoding.contiguous().view(-1)
        grad_points = grad_table = None
        if ctx.needs_input_grad[0]:
            grad_points = torch.zeros_like(points)
            if len(points):
                runtime.launch(
                    kernels.hash_grid_adjoint_points,
                    ctx.n_features,
                    points,
                    levels,
                    table.view(-1),
                    grad_encoding,
                    grad_points,
                )
        if ctx.needs_input_grad[1]:
            grad_table = torch.zeros_like(table)
            if len(points):
                runtime.launch(
                    kernels.hash_grid_adjoint_table,
                    ctx.n_features,
                    runtime.is_parallel_device(),
                    points,
                    levels,
                    grad_encoding,
                    part_bounds(len(points), 1, points.device),
                    grad_table.view(-1),
                )
        return grad_points, grad_table, None, None
