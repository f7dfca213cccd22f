"""Samples of rays in the occupied cells of a grid, over ``kernels/occupancy.py``."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from tirender.checks import check_tensor, fail
from tirender.engine import runtime
from tirender.engine.kernels import occupancy as kernels
from tirender.engine.tiles import prefix_sum

MAX_STEPS = 1 << 16  # along an edge of the cube


class RaySamples(NamedTuple):
    """Samples of R rays, packed by ray, nearest first.

    Attributes:
        offsets: (R + 1,) int32, where each ray's samples begin, and M.
        rays: (M,) int32, the ray of each sample.
        lengths: (M,), how far along its ray each lies.
    """

    offsets: torch.Tensor
    rays: torch.Tensor
    lengths: torch.Tensor

    def first(self, counts: torch.Tensor) -> tuple[RaySamples, torch.Tensor]:
        """The first ``counts`` (R,) samples of each ray, and their indices among these."""
        position = torch.arange(len(self.rays), device=self.rays.device) - self.offsets.index_select(0, self.rays)
        index = (position < counts.index_select(0, self.rays)).nonzero()[:, 0]
        lengths, rays = self.lengths.index_select(0, index), self.rays.index_select(0, index)
        return RaySamples(prefix_sum(counts), rays, lengths), index

    def of_rays(self, rows: slice) -> RaySamples:
        """The samples of successive rays, of which there is at least one; they count from 0."""
        offsets = self.offsets[rows.start : rows.stop + 1]
        start, stop = (int(offset) for offset in offsets[[0, -1]].tolist())
        return RaySamples(offsets - start, self.rays[start:stop] - rows.start, self.lengths[start:stop])


@runtime.not_compiled
def sample_occupied(
    origins: torch.Tensor,
    directions: torch.Tensor,
    occupied: torch.Tensor,
    step: float,
    nearest: float = 0.0,
    shifts: torch.Tensor | None = None,
    max_samples: int | None = None,
) -> RaySamples:
    """Sample rays through the unit cube at equal steps and keep what lies in occupied cells.

    The samples lie at ``enter + (k + shift) * step``, k = 0, 1, ..., up to where the ray leaves the cube; ``enter`` is
    where it enters, or ``nearest`` if that is further.

    Args:
        origins: (R, 3) float32.
        directions: (R, 3), of length 1; a ray of length 0 or NaN has no samples.
        occupied: (n^3 / 32,) int32, the cells' bits, see :func:`pack_bits`.
        step: distance between samples, at least 2^-16.
        nearest: the least length.
        shifts: (R,) in [0, 1), by default 1/2.
        max_samples: a bound on all samples together: only so many of the first rays are sampled, at least one.
    Returns:
        the samples of the rays, or of the first of them; not differentiable.
    Raises:
        ValueError: where a shape, dtype or device does not fit, or a number is out of its range.
    """
    launches = (kernels.count_occupied, kernels.list_occupied)
    return listed_samples(launches, (origins, directions, shifts), occupied, step, nearest, max_samples)


def listed_samples(
    launches: tuple[Any, Any],
    of_rays: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None],
    occupied: torch.Tensor,
    step: float,
    nearest: float,
    max_samples: int | None,
) -> RaySamples:
    """The samples that two kernels find, one that counts and one that lists; see :func:`sample_occupied`."""
    origins, directions, shifts = of_rays
    check_tensor("origins", origins, ("R", 3), torch.float32)
    check_tensor("directions", directions, (len(origins), 3), like=origins)
    check_tensor("occupied", occupied, ("n^3 / 32",), torch.int32)
    resolution = round((32 * len(occupied)) ** (1 / 3))
    if not len(occupied) or resolution**3 != 32 * len(occupied):
        fail("occupied", "shape (n^3 / 32)", tuple(occupied.shape))
    if not step >= 1 / MAX_STEPS:
        fail("step", f"at least 1 / {MAX_STEPS}", step)
    if not 0 <= nearest < kernels.FAR:
        fail("nearest", "a finite number of 0 or more", nearest)
    if shifts is None:
        shifts = torch.full_like(origins[:, 0], 0.5)
    check_tensor("shifts", shifts, (len(origins),), like=origins)
    counts = torch.zeros(len(origins), dtype=torch.int32, device=origins.device)
    rays = kernels.OccupancyRays(origins.contiguous(), directions.contiguous(), shifts.contiguous())
    settings = kernels.OccupancySettings(resolution=resolution, nearest=nearest, step=step)
    if len(origins):
        runtime.launch(launches[0], settings, *rays, occupied, counts)
    offsets = prefix_sum(counts)
    if max_samples is not None and int(offsets[-1]) > max_samples:
        n_rays = max(int((offsets <= max_samples).sum()) - 1, 1)
        offsets = offsets[: n_rays + 1]
        rays = kernels.OccupancyRays(rays.origins[:n_rays], rays.directions[:n_rays], rays.shifts[:n_rays])
    n_samples = int(offsets[-1])
    lengths = origins.new_zeros(n_samples)
    ray_index = torch.zeros(n_samples, dtype=torch.int32, device=origins.device)
    if n_samples:
        runtime.launch(launches[1], settings, *rays, occupied, offsets, lengths, ray_index)
    return RaySamples(offsets, ray_index, lengths)


def pack_bits(occupied: torch.Tensor) -> torch.Tensor:
    """The cells of a grid as bits: (n, n, n) bool, indexed z, y, x, n a multiple of 4, to (n^3 / 32,) int32."""
    bits = occupied.reshape(-1, 32).to(torch.int64) << torch.arange(32, device=occupied.device)
    words = bits.sum(1)
    return torch.where(words >= 2**31, words - 2**32, words).int()
