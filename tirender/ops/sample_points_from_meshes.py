"""Uniform random points on the surface of meshes."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tirender.checks import all_finite, check_integer, check_kind, fail
from tirender.structures import Meshes
from tirender.structures.fragments import Fragments

NORMAL_EPS = 1e-16  # a cross product (twice the face's area) this short or shorter gives no normal


def sample_points_from_meshes(
    meshes: Meshes, num_samples: int = 10000, return_normals: bool = False, return_textures: bool = False
) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """Draw points uniformly from the surface of each mesh.

    Draws are reproducible under ``torch.manual_seed``. If all faces of a mesh have area 0, they are equally likely.

    Args:
        meshes: a batch of N meshes with finite vertices.
        num_samples: S, the number of points on each mesh.
        return_normals: also return the unit normals of the sampled faces.
        return_textures: also return the textures at the points.
    Returns:
        samples: (N, S, 3), 0 for a mesh without faces; differentiable in the vertices. The choice of face and the
            barycentric coordinates are held fixed. If requested, these follow:
        normals: (N, S, 3), 0 for a face without area; differentiable.
        textures: (N, S, C), differentiable in the textures.
    Raises:
        ValueError: if no mesh has faces, vertices or areas are not finite, or there are no textures to return.
    """
    check_kind("meshes", meshes, Meshes)
    num_samples = check_integer("num_samples", num_samples, 0)
    if meshes.isempty():
        fail("meshes", "at least one mesh with faces", f"{len(meshes)} empty meshes")
    if not all_finite(meshes.verts_packed()):
        fail("meshes", "finite vertices", "nan or inf")
    if return_textures and meshes.textures is None:
        fail("meshes", "textures, as return_textures asks for", None)

    faces = _draw_faces(meshes, num_samples)
    coords = _draw_coords(len(faces), meshes.verts_packed().dtype, faces.device)
    results = [_per_mesh(_positions(meshes, faces, coords), meshes, num_samples)]
    if return_normals:
        results.append(_per_mesh(_normals(meshes, faces), meshes, num_samples))
    if return_textures:
        results.append(_sample_textures(meshes, faces, coords, num_samples))
    return results[0] if len(results) == 1 else tuple(results)


def _draw_faces(meshes: Meshes, num_samples: int) -> torch.Tensor:
    """(M S,): S random packed faces of each of the M meshes with faces, with probabilities proportional to area."""
    cumulative = meshes._geometry.cached("running_areas", lambda: _running_areas(meshes))
    begin, end = cumulative[meshes.topology.face_bounds][..., None]
    shares = torch.rand(len(begin), num_samples, dtype=torch.float64, device=meshes.device)
    # stay below the end despite rounding, so that the face is one of the mesh and has an area
    targets = torch.minimum(begin + shares * (end - begin), torch.nextafter(end, begin))
    return torch.searchsorted(cumulative[1:], targets.reshape(-1), right=True)


def _running_areas(meshes: Meshes) -> torch.Tensor:
    """(F + 1,): the running sum over faces of each face's share in its mesh's area, beginning with 0.

    Shares, as one mesh may be tiny beside another; each face of a mesh without area counts 1. In float64, so that
    small faces among millions are not lost.
    """
    areas = meshes._geometry.face_areas().detach().double()
    if len(meshes) == 1:
        totals = areas.sum(0, keepdim=True)
    else:
        owners = meshes.topology.face_to_mesh
        totals = areas.new_zeros(len(meshes)).index_add(0, owners, areas).index_select(0, owners)
    if not totals.isfinite().all():
        fail("meshes", "finite areas", "inf")
    return F.pad(torch.where(totals > 0, areas / totals, 1).cumsum(0), (1, 0))


def _draw_coords(n: int, dtype: torch.dtype, device: torch.device | str) -> torch.Tensor:
    """(3, n): barycentric coordinates, uniform over the triangle: two random points divide [0, 1] into three parts."""
    u, v = torch.rand(2, n, dtype=dtype, device=device)
    low, high = torch.minimum(u, v), torch.maximum(u, v)
    return torch.stack([low, high - low, 1 - high])


def _positions(meshes: Meshes, faces: torch.Tensor, coords: torch.Tensor) -> torch.Tensor:
    """(3, n): points. Coordinates come first because gathers and scatters of columns are faster than those of rows."""
    corners = meshes.faces_packed().index_select(0, faces).t().reshape(-1)
    verts = meshes.verts_packed().t().index_select(1, corners)
    return (verts.reshape(3, 3, -1) * coords).sum(1)


def _normals(meshes: Meshes, faces: torch.Tensor) -> torch.Tensor:
    """(3, n): unit normals; 0, with gradient 0, for a face without area."""
    crosses = meshes._geometry.face_crosses().t().index_select(1, faces)
    lengths = crosses.norm(dim=0)
    return crosses / torch.where(lengths > NORMAL_EPS, lengths, torch.inf)


def _sample_textures(meshes: Meshes, faces: torch.Tensor, coords: torch.Tensor, num_samples: int) -> torch.Tensor:
    """(N, S, C): textures at points, sampled as fragments of an image of height S and width 1."""
    pix_to_face = _per_mesh(faces[None] + 1, meshes, num_samples)[..., None, :] - 1  # -1 for a mesh without faces
    bary_coords = _per_mesh(coords, meshes, num_samples)[:, :, None, None]
    unused = torch.zeros_like(bary_coords[..., 0])
    fragments = Fragments(pix_to_face=pix_to_face, zbuf=unused, bary_coords=bary_coords, dists=unused)
    return meshes.sample_textures(fragments)[:, :, 0, 0]


def _per_mesh(values: torch.Tensor, meshes: Meshes, num_samples: int) -> torch.Tensor:
    """Values (C, M S) of the M meshes with faces to (N, S, C), with 0 for the other meshes."""
    has_faces = meshes.topology.meshes_with_faces
    rows = values.t().contiguous().view(len(has_faces), num_samples, len(values))
    if len(has_faces) == len(meshes):
        return rows
    return rows.new_zeros(len(meshes), *rows.shape[1:]).index_copy(0, has_faces, rows)
