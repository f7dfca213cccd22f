"""Sparse Laplacian matrices of meshes: uniform, weighted by edge length, and by cotangents."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_number, check_range, check_tensor
from tirender.structures.topology import uniform_laplacian


def laplacian(verts: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """The uniform (umbrella) Laplacian.

    Args:
        verts: (V, 3) floats; only their number, dtype and device are used.
        edges: (E, 2) int64, each undirected edge once.
    Returns:
        (V, V) sparse: 1 / degree(i) at (i, j) for each edge, -1 on the diagonal.
    Raises:
        ValueError: if a shape or dtype is wrong, or an index is out of range.
    """
    _check(verts, "edges", edges, 2)
    return uniform_laplacian(len(verts), edges, verts.dtype)


def norm_laplacian(verts: torch.Tensor, edges: torch.Tensor, eps: float = 1e-12) -> torch.Tensor:
    """The matrix of inverse edge lengths.

    Args:
        verts: (V, 3) floats.
        edges: (E, 2) int64, each undirected edge once.
        eps: added to the lengths.
    Returns:
        (V, V) sparse, symmetric: 1 / (length + eps) at (i, j) for each edge, no diagonal. Differentiable in ``verts``,
        with gradient 0 at an edge of length 0.
    Raises:
        ValueError: if a shape or dtype is wrong, or an index is out of range.
    """
    _check(verts, "edges", edges, 2)
    eps = check_number("eps", eps)
    start, end = edges.unbind(1)
    lengths = (verts.index_select(0, start) - verts.index_select(0, end)).norm(dim=1)
    weights = 1 / (lengths + eps)
    return _symmetric(start, end, weights, len(verts))


def cot_laplacian(verts: torch.Tensor, faces: torch.Tensor, eps: float = 1e-12) -> tuple[torch.Tensor, torch.Tensor]:
    """The cotangent weights of edges, and the inverse areas around vertices.

    See Desbrun et al., "Implicit fairing of irregular meshes using diffusion and curvature flow", 1999.

    Args:
        verts: (V, 3) floats.
        faces: (F, 3) int64.
        eps: the least squared area of a face. A face's area is a constant, without a gradient, if its square is below
            ``eps`` or below the rounding error of its edges.
    Returns:
        L: (V, V) sparse, symmetric: cot a + cot b at (i, j), where a and b are the angles opposite the edge; no
            diagonal. Differentiable in ``verts``.
        inv_areas: (V, 1), 1 over the summed area of the faces around each vertex; 0 at a vertex without faces.
            Differentiable in ``verts``.
    Raises:
        ValueError: if a shape or dtype is wrong, or an index is out of range.
    """
    _check(verts, "faces", faces, 3)
    cotangents, areas = triangle_cotangents(verts, faces, eps)
    start, end = faces[:, [1, 2, 0]].reshape(-1), faces[:, [2, 0, 1]].reshape(-1)
    matrix = _symmetric(start, end, cotangents.reshape(-1), len(verts))
    around = areas.new_zeros(len(verts)).index_add(0, faces.reshape(-1), areas.repeat_interleave(3))
    has_faces = around > 0
    inverse = torch.where(has_faces, 1 / torch.where(has_faces, around, 1), 0)
    return matrix, inverse[:, None]


def triangle_cotangents(
    verts: torch.Tensor, faces: torch.Tensor, eps: float = 1e-12
) -> tuple[torch.Tensor, torch.Tensor]:
    """The cotangent of each angle (F, 3) and the area (F,) of each face; see ``cot_laplacian``."""
    v0, v1, v2 = verts.index_select(0, faces.reshape(-1)).reshape(-1, 3, 3).unbind(1)
    e0, e1, e2 = v2 - v1, v0 - v2, v1 - v0  # edge i is opposite vertex i
    longest_sqr = torch.stack([e.detach().square().sum(1) for e in (e0, e1, e2)]).amax(0)
    least = (torch.finfo(verts.dtype).eps * longest_sqr).square().clamp(min=eps)  # a smaller one is rounding error
    areas = torch.maximum(torch.linalg.cross(e1, e2).square().sum(1) / 4, least).sqrt()
    products = torch.stack([-(e1 * e2).sum(1), -(e2 * e0).sum(1), -(e0 * e1).sum(1)], dim=1)
    return products / (2 * areas[:, None]), areas


def _symmetric(row: torch.Tensor, column: torch.Tensor, values: torch.Tensor, size: int) -> torch.Tensor:
    """The sparse matrix with these values at (row, column) and (column, row); values at one position are summed."""
    indices = torch.stack([torch.cat([row, column]), torch.cat([column, row])])
    values = torch.cat([values, values])
    return torch.sparse_coo_tensor(indices, values, (size, size), check_invariants=False).coalesce()


def _check(verts: torch.Tensor, name: str, indices: torch.Tensor, width: int) -> None:
    check_tensor("verts", verts, ("V", 3), FLOATS)
    check_tensor(name, indices, ("n", width), torch.int64)
    check_range(name, indices, len(verts), "vertices")
