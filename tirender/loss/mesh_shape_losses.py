"""The losses that keep a mesh regular, computed together."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tirender.checks import check_kind, check_number
from tirender.engine.shape_losses import shape_losses
from tirender.loss.mesh_reduction import zero_loss
from tirender.structures import Meshes


class ShapeLosses(NamedTuple):
    """Scalars: the losses of ``mesh_edge_loss``, ``mesh_normal_consistency`` and ``mesh_laplacian_smoothing``."""

    edge: torch.Tensor
    normal: torch.Tensor
    laplacian: torch.Tensor


def mesh_shape_losses(meshes: Meshes, target_length: float = 0.0) -> ShapeLosses:
    """:func:`mesh_edge_loss`, :func:`mesh_normal_consistency` and uniform :func:`mesh_laplacian_smoothing` at once.

    One kernel computes all three, several times faster than the functions one after the other.

    Args:
        meshes: a batch of N meshes.
        target_length: of the edges, in the unit of the vertices.
    Returns:
        the three losses, with the values of these functions; differentiable once in the vertices.
    Raises:
        ValueError: if ``meshes`` is not of class Meshes.
    """
    check_kind("meshes", meshes, Meshes)
    target_length = check_number("target_length", target_length)
    if meshes.isempty():
        return ShapeLosses(*(zero_loss(meshes) for _ in range(3)))
    topology, verts = meshes.topology, meshes.verts_packed()
    edge, cosines, laplacian = shape_losses(verts, topology.neighbourhood(verts.dtype), target_length)
    normal = (topology.num_pairs_per_mesh > 0).to(verts).mean() - cosines
    return ShapeLosses(edge, normal, laplacian)
