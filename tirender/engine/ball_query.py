"""The neighbours of points within a radius, over ``kernels/ball_query.py``."""

from __future__ import annotations

import torch

from tirender.engine import runtime
from tirender.engine.kernels import ball_query as kernels
from tirender.engine.kernels.knn import Queries
from tirender.engine.knn import check_size, pad_rows, point_forest, queries_per_task


@runtime.not_compiled
def select_in_balls(
    p1: torch.Tensor, p2: torch.Tensor, lengths1: torch.Tensor, lengths2: torch.Tensor, k: int, radius: float
) -> torch.Tensor:
    """(N, P1, k) int64 indices into p2, ascending, -1 where there is no more neighbour. Without gradient.

    Arguments as for ``ball_query``, validated.
    """
    check_size([(p1, lengths1)], k)
    n_queries = int(lengths1.sum())
    index = torch.empty(n_queries * k, dtype=torch.int64, device=p1.device)
    if n_queries:
        forest, points = point_forest(p1, p2, lengths1, lengths2)
        queries = Queries(n_queries=n_queries, shift=len(p1), chunk=queries_per_task(), k=k)
        radius_sqr, zeros = p1.new_tensor([radius]).square(), p1.new_zeros(len(index))
        runtime.launch(kernels.points_in_balls, queries, radius_sqr, points, *forest, zeros, index)
    return pad_rows(index.view(-1, k), p1, lengths1, fill=-1)
