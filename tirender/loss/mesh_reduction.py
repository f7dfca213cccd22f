"""How losses on meshes are averaged: over each mesh, then over the batch, so that small meshes weigh as much as big."""

from __future__ import annotations

import torch

from tirender.structures import Meshes


def mean_over_meshes(values: torch.Tensor, owners: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The mean over N meshes of each mesh's mean.

    Args:
        values: (n,) floats.
        owners: (n,) int64, the mesh of each value.
        counts: (N,) int64, how many values each mesh has; a mesh without any adds 0.
    Returns:
        a scalar; differentiable.
    """
    weights = counts.to(values.dtype).reciprocal().index_select(0, owners)
    return (values * weights).sum() / len(counts)


def zero_loss(meshes: Meshes) -> torch.Tensor:
    """A scalar 0 on which ``backward`` may be called, whatever the vertices hold."""
    zero = meshes.verts_packed()[:0].sum()
    return zero if zero.requires_grad else zero.requires_grad_()
