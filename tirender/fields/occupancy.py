"""The occupancy grid of a radiance field, which is updated while the field is fitted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from tirender.checks import fail
from tirender.engine.occupancy import pack_bits


class OccupancyGrid(nn.Module):
    """The cells of the unit cube in which a field has density (Müller et al. 2022, appendix E.2).

    Each update samples the density at a random point of every cell. A cell stores the running maximum of its samples,
    which decays with each update. It is occupied if the maximum exceeds the threshold or the mean over all cells,
    whichever is less. All cells are occupied before the first update.

    Args:
        resolution: n, cells a side, a multiple of 4 from 4 to 1024.
        threshold: the least density of an occupied cell, in the field's unit.
        decay: the factor on a stored density at each update, in [0, 1].
    Raises:
        ValueError: if a number is out of range.
    """

    density: torch.Tensor
    occupied: torch.Tensor

    def __init__(self, resolution: int = 64, threshold: float = 1.0, decay: float = 0.9) -> None:
        super().__init__()
        if resolution < 4 or resolution > 1024 or resolution % 4:
            fail("resolution", "a multiple of 4 from 4 to 1024", resolution)
        if not threshold > 0:
            fail("threshold", "a number above 0", threshold)
        if not 0 <= decay <= 1:
            fail("decay", "a number in [0, 1]", decay)
        self.resolution, self.threshold, self.decay = resolution, threshold, decay
        self.register_buffer("density", torch.zeros(resolution, resolution, resolution))  # z, y, x
        self.register_buffer("occupied", torch.full((resolution**3 // 32,), -1, dtype=torch.int32))

    @torch.no_grad()
    def update(self, density: Callable[[torch.Tensor], torch.Tensor], chunk: int = 1 << 16) -> None:
        """Update the densities and the occupied cells from a field.

        Args:
            density: maps points (M, 3) in the unit cube to densities (M,).
            chunk: number of points in a call.
        """
        n, device = self.resolution, self.density.device
        samples = []
        for cells in torch.arange(n**3, device=device).split(chunk):
            corner = torch.stack([cells % n, cells // n % n, cells // n**2], dim=1)
            samples.append(density((corner + torch.rand(len(cells), 3, device=device)) / n))
        torch.maximum(self.density * self.decay, torch.cat(samples).view_as(self.density), out=self.density)
        threshold = self.density.mean().clamp(max=self.threshold)
        self.occupied.copy_(pack_bits(self.density > threshold))

    def contains(self, points: torch.Tensor) -> torch.Tensor:
        """Whether points (M, 3) lie in occupied cells: (M,) bool, False outside the unit cube."""
        x, y, z = (points * self.resolution).nan_to_num().clamp(0, self.resolution - 1).long().unbind(1)
        cell = (z * self.resolution + y) * self.resolution + x
        is_inside = ((points >= 0) & (points <= 1)).all(1)
        return is_inside & (self.occupied.index_select(0, cell >> 5) >> (cell & 31) & 1).bool()

    def fraction(self) -> float:
        """The fraction of cells that are occupied."""
        bits = self.occupied[:, None] >> torch.arange(32, device=self.occupied.device) & 1
        return float(bits.double().mean())
