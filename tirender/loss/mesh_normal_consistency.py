"""A loss that aligns the normals of neighbouring faces."""

from __future__ import annotations

from typing import Any

import torch

from tirender.checks import check_kind
from tirender.engine.first_order import FirstOrder
from tirender.loss.mesh_reduction import zero_loss
from tirender.structures import Meshes
from tirender.structures.topology import Topology

EPS = 1e-8  # a cross product (twice the face's area) shorter than this gives no direction


def mesh_normal_consistency(meshes: Meshes) -> torch.Tensor:
    """1 - cos of the angle between faces that share an edge: the mean over each mesh's pairs, then over the batch.

    Any two faces on an edge are a pair. A boundary edge has no pair; an edge with three faces has three. The winding of
    the faces does not matter: a flat pair gives 0, and two faces folded onto each other give 2.

    Args:
        meshes: a batch of N meshes; a mesh without pairs adds 0.
    Returns:
        a scalar, 0 if no mesh has a pair; differentiable in the vertices. A pair that includes a face without area
        gives 1, without a gradient through that face.
    Raises:
        ValueError: if ``meshes`` is not of class Meshes.
    """
    check_kind("meshes", meshes, Meshes)
    topology = meshes.topology
    if meshes.isempty() or not len(topology.face_pairs):
        return zero_loss(meshes)
    cosines = _MeanCosines.apply(meshes._geometry.face_crosses(), topology)
    return ((topology.num_pairs_per_mesh > 0).sum() - cosines) / len(meshes)


class _MeanCosines(FirstOrder):
    """The mean of sign * cos(angle) over the pairs of faces of each mesh, summed over the meshes.

    The input is the faces' cross products (F, 3). The sum runs over faces, which counts each pair twice. A cross
    product shorter than EPS is divided by EPS and passes no gradient.
    """

    @staticmethod
    def forward(ctx: Any, crosses: torch.Tensor, topology: Topology) -> torch.Tensor:
        lengths = crosses.norm(dim=1, keepdim=True)
        directions = crosses / lengths.clamp(min=EPS)
        neighbours = topology.sum_face_neighbours(directions)
        ctx.save_for_backward(directions, neighbours, torch.where(lengths > EPS, lengths, torch.inf))
        return (directions * neighbours).sum() / 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        directions, neighbours, lengths = ctx.saved_tensors
        along = (directions * neighbours).sum(1, keepdim=True)
        return grad * (neighbours - directions * along) / lengths, None
