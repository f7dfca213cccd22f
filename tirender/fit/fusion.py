"""A mesh from pictures with depths: truncated signed distances (Curless and Levoy 1996), and the pictures' colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from tirender.fit.baking import Texels
from tirender.ops.marching_cubes import marching_cubes
from tirender.renderer import TexturesVertex
from tirender.renderer.cameras import CamerasBase
from tirender.structures import Meshes
from tirender.structures.creases import components_of_faces

REACH = 4  # voxels on both sides of a surface that a depth speaks for
SLANTED = 0.15  # cosine below which a surface is seen too much from the side to take its colour
MOST_POINTS = 1 << 22  # voxels that are looked at together
SMALL = 0.02  # parts with a smaller share of all faces are left out


@dataclass(frozen=True)
class DepthPicture:
    """What a camera sees.

    Attributes:
        camera: one.
        colors: (H, W, 3).
        depth: (H, W), infinite where nothing is.
    """

    camera: CamerasBase
    colors: torch.Tensor
    depth: torch.Tensor


def fuse(pictures: Sequence[DepthPicture], low: torch.Tensor, high: torch.Tensor, size: int = 160) -> Meshes:
    """Fuse depths to a surface.

    Args:
        pictures: from places that together see all of it.
        low, high: (3,) corners of the box that is looked at.
        size: voxels along its longest side.
    Returns:
        one mesh; it has no faces where no picture shows a surface. What no picture sees stays open.
    """
    spacing = float((high - low).max()) / size
    counts = ((high - low) / spacing).ceil().clamp(min=2).long().tolist()
    x, y, z = (low[i] + (torch.arange(counts[i], device=low.device) + 0.5) * spacing for i in range(3))
    planes = [  # as many at once as take little memory
        _distances(pictures, torch.stack([*torch.meshgrid(part, y, x, indexing="ij")][::-1], dim=-1), REACH * spacing)
        for part in z.split(max(MOST_POINTS // (len(x) * len(y)), 1))
    ]
    field, seen = (torch.cat(parts) for parts in zip(*planes))
    verts, faces = marching_cubes(field[None], 0.0, return_local_coords=False)  # faces look to higher values
    if not len(faces[0]):
        return Meshes([low.new_zeros(0, 3)], [torch.zeros(0, 3, dtype=torch.long, device=low.device)])
    return _observed(low + (verts[0] + 0.5) * spacing, faces[0], seen, low, spacing)


def _distances(
    pictures: Sequence[DepthPicture], points: torch.Tensor, reach: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean signed distances of points (..., 3), in reaches, -1 where no picture sees; and whether one does."""
    flat = points.reshape(-1, 3)
    total, seen = torch.zeros_like(flat[:, 0]), torch.zeros_like(flat[:, 0])
    for picture in pictures:
        place, depth = _project(picture.camera, flat, picture.depth.shape)
        measured = _look_up(picture.depth[..., None].nan_to_num(posinf=1e9), place, "nearest")[:, 0]
        distance = (measured - depth) / reach
        counts_here = (place.abs().amax(1) <= 1) & (depth > 0) & (distance > -1)
        total += torch.where(counts_here, distance.clamp(-1, 1), 0.0)
        seen += counts_here
    field = torch.where(seen > 0, total / seen.clamp(min=1), -1.0)
    return field.view(points.shape[:-1]), (seen > 0).view(points.shape[:-1])


def _observed(
    verts: torch.Tensor, faces: torch.Tensor, seen: torch.Tensor, low: torch.Tensor, spacing: float
) -> Meshes:
    """The faces beside voxels that some picture saw, of parts that are not small."""
    n_z, n_y, n_x = seen.shape
    cell = ((verts - low) / spacing - 0.5).round().long()
    inside = torch.minimum(cell.clamp(min=0), torch.tensor([n_x, n_y, n_z], device=cell.device) - 1)
    unseen = F.max_pool3d((~seen).float()[None, None], 3, 1, 1)[0, 0] > 0
    is_wall = unseen[inside[:, 2], inside[:, 1], inside[:, 0]]
    faces = faces[~is_wall[faces].any(1)]
    if len(faces):
        part = components_of_faces(faces, len(verts))
        sizes = torch.bincount(part)
        faces = faces[sizes[part] >= SMALL * len(faces)]
    used, index = torch.unique(faces, return_inverse=True)
    return Meshes([verts[used]], [index.view(-1, 3)])


def colors_from(
    pictures: Sequence[DepthPicture], tolerance: float
) -> Callable[[Texels], tuple[torch.Tensor, torch.Tensor]]:
    """Return a function for :func:`~tirender.fit.baking.bake`: the mean colour in the pictures that see a place.

    Pictures count by the squared cosine between normal and line of sight.

    Args:
        pictures: of the surface.
        tolerance: by how much depths may differ for a place to be seen.
    """

    def colors_at(texels: Texels) -> tuple[torch.Tensor, torch.Tensor]:
        points, normals = texels.points, texels.normals
        total, weights = torch.zeros_like(points), points.new_zeros(len(points))
        for picture in pictures:
            place, depth = _project(picture.camera, points, picture.depth.shape)
            measured = _look_up(picture.depth[..., None].nan_to_num(posinf=1e9), place, "nearest")[:, 0]
            sight = F.normalize(picture.camera.get_camera_center() - points, dim=1)
            cosine = (sight * normals).sum(1)
            is_seen = (place.abs().amax(1) <= 1) & (depth > 0) & ((measured - depth).abs() < tolerance)
            weight = torch.where(is_seen & (cosine > SLANTED), cosine.square(), 0.0)
            total += weight[:, None] * _look_up(picture.colors, place, "bilinear")
            weights += weight
        return total / weights.clamp(min=1e-9)[:, None], weights > 0

    return colors_at


def vertex_colors(mesh: Meshes, colors_at: Callable[[Texels], tuple[torch.Tensor, torch.Tensor]]) -> TexturesVertex:
    """The colours of a function for ``bake``, at vertices; the mean where it knows none."""
    colors, known = colors_at(Texels(mesh.verts_packed(), F.normalize(mesh.verts_normals_packed(), dim=1), None))  # type: ignore[arg-type]
    mean = colors[known].mean(0) if bool(known.any()) else colors.new_full((3,), 0.7)
    return TexturesVertex([torch.where(known[:, None], colors, mean).clamp(0, 1)])


def _project(camera: CamerasBase, points: torch.Tensor, size: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Places (M, 2) in a picture of this height and width as ``grid_sample`` has them, and depths (M,)."""
    depth = camera.get_world_to_view_transform().transform_points(points)[:, 2]
    ndc = camera.transform_points_ndc(points)[:, :2]
    height, width = size
    short = min(height, width)
    return -ndc * ndc.new_tensor([short / width, short / height]), depth


def _look_up(image: torch.Tensor, place: torch.Tensor, mode: str) -> torch.Tensor:
    planes = image.permute(2, 0, 1)[None]
    return F.grid_sample(planes, place[None, None], mode, "border", align_corners=False)[0, :, 0].T
