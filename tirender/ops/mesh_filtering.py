"""Mesh smoothing that does not shrink the mesh."""

from __future__ import annotations

import torch

from tirender.checks import check_integer, check_kind
from tirender.structures import Meshes
from tirender.structures.topology import Topology

LENGTH_EPS = 1e-12  # added to edge lengths


def taubin_smoothing(meshes: Meshes, lambd: float = 0.53, mu: float = -0.53, num_iter: int = 10) -> Meshes:
    """Smooth meshes: move each vertex towards the mean of its neighbours, then away from it.

    The mean is weighted by inverse edge lengths. See Taubin, "Curve and surface smoothing without shrinkage", ICCV
    1995.

    Args:
        meshes: a batch of meshes.
        lambd: the fraction of the way to the mean in the first step.
        mu: the fraction in the second step; negative, so it moves away from the mean.
        num_iter: the number of times that both steps are repeated.
    Returns:
        meshes with the same faces, without textures; differentiable, with finite gradients at edges of length 0. A
        vertex without neighbours does not move.
    Raises:
        ValueError: if ``meshes`` is not of class Meshes, or ``num_iter`` is not an integer of 0 or more.
    """
    check_kind("meshes", meshes, Meshes)
    num_iter = check_integer("num_iter", num_iter, 0)
    verts = meshes.verts_packed()
    for _ in range(num_iter):
        for share in (lambd, mu):
            verts = verts + share * _to_mean_of_neighbours(meshes.topology, verts)
    return Meshes._of(meshes._geometry.with_verts(verts), None)


def _to_mean_of_neighbours(topology: Topology, verts: torch.Tensor) -> torch.Tensor:
    start, end = topology.gather_ends(verts).unbind(0)
    edges = end - start
    weights = 1 / (edges.norm(dim=1, keepdim=True) + LENGTH_EPS)
    pulls = topology.sum_ends_at_vertices(torch.stack([edges * weights, -edges * weights]))
    total = topology.sum_ends_at_vertices(weights.expand(2, -1, 1))
    return pulls / torch.where(total > 0, total, 1)
