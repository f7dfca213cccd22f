"""Farthest point sampling, over ``kernels/sample_farthest_points.py``."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tirender.engine import runtime
from tirender.engine.kernels import sample_farthest_points as kernels
from tirender.engine.knn import used_rows


@runtime.not_compiled
def select_farthest(
    points: torch.Tensor, lengths: torch.Tensor, wanted: torch.Tensor, random_start: bool
) -> torch.Tensor:
    """(N, max K) int64 indices, -1 past the end. Without gradient; arguments as for ``sample_farthest_points``."""
    n, _, dims = points.shape
    index = lengths.new_full((n, int(wanted.max()) if n else 0), -1)
    if not index.numel() or not points.numel():
        return index
    starts = torch.zeros_like(lengths)
    if random_start:
        starts = (torch.rand(n, dtype=torch.float64, device=points.device) * lengths).long()
    packed = points.reshape(-1, dims).index_select(0, used_rows(points, lengths))
    runtime.launch(
        kernels.farthest_points,
        dims,
        packed,
        F.pad(lengths.cumsum(0), (1, 0)).int(),
        starts.int(),
        torch.minimum(wanted, lengths).int(),
        packed.new_empty(len(packed)),
        index,
    )
    return index
