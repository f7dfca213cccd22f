"""A loss that keeps the edges of meshes near a target length."""

from __future__ import annotations

import torch

from tirender.checks import check_kind
from tirender.loss.mesh_reduction import mean_over_meshes, zero_loss
from tirender.structures import Meshes


def mesh_edge_loss(meshes: Meshes, target_length: float = 0.0) -> torch.Tensor:
    """The squared difference of edge lengths from a target: the mean over each mesh's edges, then over the batch.

    Args:
        meshes: a batch of N meshes; a mesh without faces adds 0.
        target_length: the target, in the unit of the vertices.
    Returns:
        a scalar, 0 if no mesh has faces; differentiable in the vertices, with gradient 0 at an edge of length 0.
    Raises:
        ValueError: if ``meshes`` is not of class Meshes.
    """
    check_kind("meshes", meshes, Meshes)
    if meshes.isempty():
        return zero_loss(meshes)
    topology = meshes.topology
    start, end = topology.gather_ends(meshes.verts_packed()).unbind(0)
    lengths = (end - start).norm(dim=1)
    return mean_over_meshes((lengths - target_length).square(), topology.edge_to_mesh, topology.num_edges_per_mesh)
