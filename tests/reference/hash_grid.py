"""Slow twin of the multiresolution hash encoding, corner by corner, with the hash in Python's integers."""

from __future__ import annotations

import itertools

import torch

PRIMES = (1, 2654435761, 805459861)


def hash_encode(points: torch.Tensor, table: torch.Tensor, layout) -> torch.Tensor:
    """(n, levels * features) for points (n, 3)."""
    out, first = [], 0
    for resolution in layout.resolutions:
        n_rows = min((resolution + 1) ** 3, 2**layout.log2_rows)
        scaled = points.clamp(0, 1) * resolution
        cell = scaled.detach().floor().clamp(max=resolution - 1)
        at = scaled - cell
        total = 0
        for corner in itertools.product((0, 1), repeat=3):
            weight = torch.stack([at[:, i] if c else 1 - at[:, i] for i, c in enumerate(corner)]).prod(0)
            rows = [first + row((c + torch.tensor(corner)).tolist(), resolution, n_rows) for c in cell.long()]
            total = total + weight[:, None] * table[torch.tensor(rows, dtype=torch.int64)]
        out.append(total)
        first += n_rows
    return torch.cat(out, dim=1)


def row(vertex: list[int], resolution: int, n_rows: int) -> int:
    """The row of a grid's vertex in its level's part of the table."""
    x, y, z = vertex
    if (resolution + 1) ** 3 <= n_rows:
        return (z * (resolution + 1) + y) * (resolution + 1) + x
    code = 0
    for c, prime in zip(vertex, PRIMES):
        code ^= c * prime % 2**32
    return code % n_rows
