"""A loss that smooths meshes: it pulls each vertex to the mean of its neighbours."""

from __future__ import annotations

import torch

from tirender.checks import check_choice, check_kind
from tirender.loss.mesh_reduction import mean_over_meshes, zero_loss
from tirender.ops.laplacian_matrices import triangle_cotangents
from tirender.structures import Meshes


def mesh_laplacian_smoothing(meshes: Meshes, method: str = "uniform") -> torch.Tensor:
    """The length of the Laplacian at the vertices: the mean over each mesh's vertices, then over the batch.

    See Nealen et al., "Laplacian mesh optimization", 2006, and Desbrun et al., "Implicit fairing of irregular meshes
    using diffusion and curvature flow", 1999.

    Args:
        meshes: a batch of N meshes; a mesh without faces adds the mean distance of its vertices from the origin.
        method: the weights of the neighbours. ``"uniform"``: equal. ``"cot"``: the cotangents of the angles opposite
            the edge, normalised to sum to 1. ``"cotcurv"``: cotangents divided by the area of the faces around the
            vertex, which measures mean curvature. The weights are treated as constants.
    Returns:
        a scalar, 0 if no mesh has faces; differentiable in the vertices, with gradient 0 where the Laplacian is 0. A
        vertex without neighbours gives its distance from the origin (0 for ``"cotcurv"``).
    Raises:
        ValueError: if ``meshes`` is not of class Meshes, or the method is unknown.
    """
    check_kind("meshes", meshes, Meshes)
    check_choice("method", method, ("uniform", "cot", "cotcurv"))
    if meshes.isempty():
        return zero_loss(meshes)
    topology = meshes.topology
    vectors = _uniform(meshes) if method == "uniform" else _cotangent(meshes, by_area=method == "cotcurv")
    return mean_over_meshes(vectors.norm(dim=1), topology.vert_to_mesh, topology.num_verts_per_mesh)


def _uniform(meshes: Meshes) -> torch.Tensor:
    """(sum V_i, 3): the mean of each vertex's neighbours minus the vertex."""
    topology, verts = meshes.topology, meshes.verts_packed()
    degree = topology.degree.clamp(min=1).to(verts.dtype)[:, None]
    return topology.sum_neighbours(verts) / degree - verts


def _cotangent(meshes: Meshes, by_area: bool) -> torch.Tensor:
    """(sum V_i, 3): the Laplacian with cotangent weights, divided by the area or normalised to weights of sum 1."""
    topology, verts = meshes.topology, meshes.verts_packed()
    cotangents, areas = triangle_cotangents(verts.detach(), topology.faces_packed)
    weights = verts.new_zeros(len(topology.edges), 1)
    weights = weights.index_add(0, topology.faces_to_edges.reshape(-1), cotangents.reshape(-1, 1))
    ends = topology.gather_ends(verts)
    if by_area:
        around = topology.sum_faces_at_vertices(areas[:, None])
        pulls = (ends.flip(0) - ends) * weights
        return topology.sum_ends_at_vertices(pulls) / (4 * torch.where(around > 0, around, torch.inf))
    neighbours = topology.sum_ends_at_vertices(ends.flip(0) * weights)
    total = topology.sum_ends_at_vertices(weights.expand(2, -1, 1))
    # Obtuse angles can make the total 0 or negative. As in PyTorch3D, it then multiplies where it should divide.
    is_divisor = total > torch.finfo(total.dtype).tiny
    return neighbours * torch.where(is_divisor, 1 / torch.where(is_divisor, total, 1), total) - verts
