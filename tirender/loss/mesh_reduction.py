"""The reduction of losses on meshes: the mean over each mesh, then over the batch, so that all meshes weigh equally."""

from __future__ import annotations

import torch

from tirender.structures import Meshes


def mean_over_meshes(values: torch.Tensor, owners: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The mean over N meshes of each mesh's mean.

    Args:
        values: (n,) floats.
        owners: (n,) int64, the mesh of each value.
        counts: (N,) int64, the number of values of each mesh; a mesh without values adds 0.
    Returns:
        a scalar; differentiable.
    """
    weights = counts.to(values.dtype).reciprocal().index_select(0, owners)
    return (values * weights).sum() / len(counts)


def zero_loss(meshes: Meshes) -> torch.Tensor:
    """A scalar 0 that allows ``backward``, even if the vertices are NaN or need no gradient."""
    zero = meshes.verts_packed()[:0].sum()
    return zero if zero.requires_grad else zero.requires_grad_()
