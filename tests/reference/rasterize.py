"""A slow rasterizer in plain torch, the oracle of the Taichi kernels; differentiable through autograd.

Interface (float32 and float64, any device; tests import it as ``reference.rasterize``)::

    rasterize(verts, faces, mesh_to_face_first_idx, num_faces_per_mesh, image_size, blur_radius=0.0, faces_per_pixel=1,
              perspective_correct=False, clip_barycentric_coords=False, cull_backfaces=False)
        -> pix_to_face, zbuf, bary_coords, dists          # dense (N, H, W, K[, 3]), -1 where empty

    overlaps(points, corners, ...) -> bool, depth          # which of P points touches which of F faces; no gradient
    evaluate(points, corners, ...) -> zbuf, bary_coords, dists   # smooth values of M (point, face) pairs
    pixel_centres(height, width, like) -> (H, W, 2)        # NDC

``verts`` (V, 3) are packed and given as (x_ndc, y_ndc, z_view); ``faces`` (F, 3) are packed and index ``verts``;
``mesh_to_face_first_idx`` and ``num_faces_per_mesh`` (N,) say which faces are drawn in which image. ``faces_per_pixel``
None keeps every face: K is then the fullest pixel's count (at least 1).

A face is drawn where it covers a pixel (``covers``), or lies closer to its centre than ``blur_radius`` (a squared NDC
distance). The K nearest by depth are kept, the lower face index first among equals. Not drawn: faces wholly behind the
image plane (every z < 0), with twice the signed area below 1e-8 (2e-8 if negative: it is divided by area + 1e-8),
facing away if ``cull_backfaces``, and fragments of negative depth. The one difference from PyTorch3D's mathematics: the
perspective denominator is at least 1e-3 of its largest term, so that no coordinate exceeds 1e3, and no gradient passes
through coordinates where that bound is active.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

AREA_EPS = 1e-8
PERSPECTIVE_BOUND = 1e-3
CLIP_SUM_MIN = 1e-5
SEGMENT_EPS = 1e-8
MAX_PAIRS = 1 << 19  # (pixel, face) pairs looked at in one go

Dense = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def rasterize(
    verts: torch.Tensor,
    faces: torch.Tensor,
    mesh_to_face_first_idx: Sequence[int] | torch.Tensor,
    num_faces_per_mesh: Sequence[int] | torch.Tensor,
    image_size: tuple[int, int],
    blur_radius: float = 0.0,
    faces_per_pixel: int | None = 1,
    perspective_correct: bool = False,
    clip_barycentric_coords: bool = False,
    cull_backfaces: bool = False,
) -> Dense:
    """Dense (pix_to_face, zbuf, bary_coords, dists) of N images; see the module's docstring."""
    height, width = image_size
    n_images, n_pixels = len(num_faces_per_mesh), height * width
    points = pixel_centres(height, width, verts).reshape(-1, 2)
    corners = verts.index_select(0, faces.reshape(-1)).view(-1, 3, 3)

    pixels, kept_faces, ranks = [], [], []  # of the kept pairs; a pixel is counted through all images
    for n in range(n_images):
        first, count = int(mesh_to_face_first_idx[n]), int(num_faces_per_mesh[n])
        mesh_corners = corners.detach()[first : first + count]
        for start in range(0, n_pixels, max(MAX_PAIRS // max(count, 1), 1)):
            band = points[start : start + max(MAX_PAIRS // max(count, 1), 1)]
            hit, depth = overlaps(
                band, mesh_corners, blur_radius, perspective_correct, clip_barycentric_coords, cull_backfaces
            )
            order = torch.where(hit, depth, torch.inf).argsort(dim=1, stable=True)[:, :faces_per_pixel]
            pixel, rank = hit.gather(1, order).nonzero(as_tuple=True)
            pixels.append(pixel + start + n * n_pixels)
            ranks.append(rank)
            kept_faces.append(order[pixel, rank] + first)
    empty = faces.new_zeros(0, dtype=torch.long)
    pixel, face, rank = (torch.cat([empty, *parts]) for parts in (pixels, kept_faces, ranks))

    zbuf, bary, dists = evaluate(
        points.index_select(0, pixel % max(n_pixels, 1)),
        corners.index_select(0, face),
        perspective_correct,
        clip_barycentric_coords,
    )
    slots = faces_per_pixel or max(int(rank.max()) + 1 if len(rank) else 1, 1)
    place = pixel * slots + rank

    def spread(values: torch.Tensor) -> torch.Tensor:
        dense = values.new_full((n_images * n_pixels * slots, *values.shape[1:]), -1)
        return dense.index_copy(0, place, values).view(n_images, height, width, slots, *values.shape[1:])

    return spread(face), spread(zbuf), spread(bary), spread(dists)


def pixel_centres(height: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """(H, W, 2) NDC of the pixel centres: +X left, +Y up, [-1, 1] on the short side."""

    def axis(size: int) -> torch.Tensor:
        # PyTorch3D's order of roundings: depth ties between coplanar faces then fall its way.
        half = torch.tensor(max(size / min(height, width), 1.0), dtype=like.dtype, device=like.device)
        index = torch.arange(size - 1, -1, -1, dtype=like.dtype, device=like.device)
        return (2 * half * index + half) / size - half

    x, y = axis(width), axis(height)
    return torch.stack((x[None, :].expand(height, width), y[:, None].expand(height, width)), dim=-1)


@torch.no_grad()
def overlaps(
    points: torch.Tensor,
    corners: torch.Tensor,
    blur_radius: float,
    perspective_correct: bool,
    clip_barycentric_coords: bool,
    cull_backfaces: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of P points (P, 2) and F faces (F, 3, 3): which touch (P, F) bool, and at what depth (P, F)."""
    p = points[:, None]
    v0, v1, v2 = corners.unbind(1)
    area = _edge(v0, v1, v2)
    drawn = (corners[..., 2].amax(1) >= 0) & (area.abs() > AREA_EPS) & ((area + AREA_EPS).abs() > AREA_EPS)
    if cull_backfaces:
        drawn &= area >= 0
    bary = _coords(p, corners, perspective_correct)
    depth = ((_clip(bary) if clip_barycentric_coords else bary) * corners[..., 2]).sum(-1)
    touched = covers(p, corners)
    if perspective_correct:
        touched = torch.where((corners[..., 2] > 0).all(-1), touched, (bary > 0).all(-1))
    if blur_radius > 0:
        touched |= _outline_distance(p, corners) < blur_radius
    return drawn & (depth >= 0) & touched, depth


def covers(p: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
    """Whether points (..., 2), moved a little to the right in the image and even less down, lie inside (..., 3, 3).

    Right is -x and down is -y: the top-left rule of Direct3D. Two faces that share an edge compute the same number, as
    its ends are ordered by their coordinates.
    """
    sides = []
    for i in range(3):
        a, b = corners[..., i, :2], corners[..., (i + 1) % 3, :2]
        swapped = (a[..., 0] > b[..., 0]) | ((a[..., 0] == b[..., 0]) & (a[..., 1] > b[..., 1]))
        first, last = torch.where(swapped[..., None], b, a), torch.where(swapped[..., None], a, b)
        to_first, to_last, along = first - p, last - p, last - first
        e = to_first[..., 0] * to_last[..., 1] - to_first[..., 1] * to_last[..., 0]
        # what moving p adds to e: right, then down
        tie = torch.where(along[..., 1] != 0, along[..., 1], -along[..., 0])
        sides.append((torch.where(e != 0, e, tie) > 0) != swapped)
    return (sides[0] == sides[1]) & (sides[1] == sides[2])


def evaluate(
    points: torch.Tensor,
    corners: torch.Tensor,
    perspective_correct: bool,
    clip_barycentric_coords: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth (M,), coordinates (M, 3) and signed squared distance (M,) of points (M, 2) in faces (M, 3, 3)."""
    bary = _coords(points, corners, perspective_correct)
    kept = _clip(bary) if clip_barycentric_coords else bary
    zbuf = (kept * corners[..., 2]).sum(-1)
    distance = _outline_distance(points, corners)
    return zbuf, kept, torch.where((bary > 0).all(-1), -distance, distance)


def _edge(p: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Twice the signed area of (p, a, b) in the image plane."""
    return (p[..., 0] - a[..., 0]) * (b[..., 1] - a[..., 1]) - (p[..., 1] - a[..., 1]) * (b[..., 0] - a[..., 0])


def _coords(p: torch.Tensor, corners: torch.Tensor, perspective: bool) -> torch.Tensor:
    """Barycentric coordinates, outside [0, 1] where p is outside the face."""
    v0, v1, v2 = corners.unbind(-2)
    w = torch.stack((_edge(p, v1, v2), _edge(p, v2, v0), _edge(p, v0, v1)), dim=-1)
    w = w / (_edge(v2, v0, v1) + AREA_EPS)[..., None]
    if not perspective:
        return w
    z0, z1, z2 = corners[..., 2].unbind(-1)
    w0, w1, w2 = w.unbind(-1)
    top = torch.stack((w0 * z1 * z2, z0 * w1 * z2, z0 * z1 * w2), dim=-1)
    total = top.sum(-1, keepdim=True)
    least = (PERSPECTIVE_BOUND * top.abs().amax(-1, keepdim=True)).clamp_min(1e-30)
    bounded = total <= least
    return torch.where(bounded, (top / least).detach(), top / torch.where(bounded, 1, total))


def _clip(bary: torch.Tensor) -> torch.Tensor:
    """Negative coordinates to 0, the rest renormalised."""
    kept = torch.where(bary > 0, bary, 0)
    return kept / kept.sum(-1, keepdim=True).clamp_min(CLIP_SUM_MIN)


def _outline_distance(p: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
    """Squared distance in the image plane to the nearest of the three edges."""
    v0, v1, v2 = corners[..., :2].unbind(-2)
    to_edges = [_segment_distance(p, a, b) for a, b in ((v0, v1), (v0, v2), (v1, v2))]
    return torch.stack(to_edges, dim=-1).min(-1).values


def _segment_distance(p: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    ab = b - a
    length2 = (ab * ab).sum(-1)
    is_point = length2 <= SEGMENT_EPS
    # The nearest point is a minimum over the place t, so that t passes no gradient.
    with torch.no_grad():
        t = ((ab * (p - a)).sum(-1) / torch.where(is_point, 1, length2)).clamp(0, 1)
        t = torch.where(is_point, 1, t)[..., None]
    return (a + t * ab - p).square().sum(-1)
