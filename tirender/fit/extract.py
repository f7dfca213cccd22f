"""A mesh from a fitted field, and cameras for a turntable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tirender.checks import fail
from tirender.ops.marching_cubes import marching_cubes
from tirender.renderer import CamerasBase, RayBundle, TexturesVertex, look_at_view_transform
from tirender.structures import Meshes

POINTS_AT_ONCE = 1 << 17


def extract_mesh(
    field: Callable[[Any], tuple[torch.Tensor, torch.Tensor]],
    extent: float = 3.0,
    size: int = 128,
    isolevel: float = 0.5,
    device: torch.device | str = "cpu",
    box: torch.Tensor | None = None,
) -> Meshes:
    """Extract the surface where a field's opacity crosses a level, with the colours seen along its normals.

    Args:
        field: a radiance field or a ``VolumeSampler``: returns densities (..., P, 1) and colours (..., P, 3) of a ray
            bundle.
        extent: side of the cube around the origin to sample, in world units; its sides close the surface.
        size: points along an axis; of a box, along its longest.
        isolevel: the level of the opacity.
        device: of the field.
        box: (2, 3) corners of what to sample in place of that cube, as far as it lies in the cube.
    Returns:
        one mesh with ``TexturesVertex``; its faces look outwards. It has no faces if there is no such surface.
    """
    if size < 2:
        fail("size", "at least 2", size)
    cube = torch.tensor([[-0.5] * 3, [0.5] * 3], device=device) * extent
    low, high = cube if box is None else box.to(cube).clamp(cube[0], cube[1])
    if bool((high <= low).any()):
        return Meshes([low.new_zeros(0, 3)], [torch.zeros(0, 3, dtype=torch.long, device=device)])
    spacing = float((high - low).max()) / size
    shape = ((high - low) / spacing).round().clamp(min=2).long().tolist()
    x, y, z = (low[i] + (torch.arange(shape[i], device=device) + 0.5) * (high - low)[i] / shape[i] for i in range(3))
    with torch.no_grad():
        points = torch.stack([*torch.meshgrid(z, y, x, indexing="ij")][::-1], dim=-1).reshape(-1, 3)
        densities, _ = _sample(field, points, torch.zeros_like(points))
        # faces look to higher values
        surface = F.pad(-densities.reshape(1, *shape[::-1]), (1, 1, 1, 1, 1, 1))
        verts, faces = marching_cubes(surface, -isolevel, return_local_coords=False)
        mesh = Meshes([low + (verts[0] - 0.5) * (high - low) / low.new_tensor(shape)], faces)
        _, colors = _sample(field, mesh.verts_packed(), -mesh.verts_normals_packed())
    mesh.textures = TexturesVertex([colors.clamp(0, 1)])
    return mesh


def colors_along_normals(
    field: Callable[[Any], tuple[torch.Tensor, torch.Tensor]], points: torch.Tensor, normals: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A field's colours (M, 3) at points (M, 3) as seen along their normals, and that all are known, for ``bake``."""
    _, colors = _sample(field, points, -normals)
    return colors[:, :3].clamp(0, 1), torch.ones(len(points), dtype=torch.bool, device=points.device)


def cameras_around(cameras: CamerasBase, n_frames: int) -> list[CamerasBase]:
    """Cameras on a circle around the origin, at the median distance and height of others, and upright as they are.

    Args:
        cameras: of views of an object at the origin.
        n_frames: number of places, evenly spaced.
    Returns:
        n_frames cameras, with the intrinsics of the first of ``cameras``.
    """
    eyes = cameras.get_camera_center()
    up = upright(cameras)
    height = (eyes @ up).median()
    radius = (eyes.norm(dim=1).median().square() - height.square()).clamp(min=0).sqrt()
    right = F.normalize(torch.linalg.cross(up, F.one_hot(up.abs().argmin(), 3).to(up)), dim=0)
    angles = torch.arange(n_frames, device=up.device)[:, None] * (2 * torch.pi / n_frames)
    circle = right * angles.cos() + torch.linalg.cross(up, right) * angles.sin()
    R, T = look_at_view_transform(eye=radius * circle + height * up, up=up[None], device=cameras.device)
    frames = []
    for i in range(n_frames):
        camera = cameras[0].clone()
        camera.R, camera.T = R[i : i + 1], T[i : i + 1]
        frames.append(camera)
    return frames


def upright(cameras: CamerasBase) -> torch.Tensor:
    """The direction (3,) perpendicular to all cameras' horizontal axes; of several, the nearest to their tops."""
    rights, ups = cameras.R[:, :, 0].double(), cameras.R[:, :, 1].double()
    mean = ups.mean(0)
    spread = rights.T @ rights / len(rights) - 1e-6 * torch.outer(mean, mean)
    up = torch.linalg.eigh(spread).eigenvectors[:, 0]
    side = float(up @ mean)
    if abs(side) < 0.05:  # half of them are upside down: take +Y as up
        side = float(up[1])
    return (up if side >= 0 else -up).to(cameras.R.dtype)


def facing(cameras: CamerasBase, up: torch.Tensor) -> torch.Tensor:
    """The horizontal direction (3,) from the origin to the middle of cameras; to the first if they are all around."""
    eyes = cameras.get_camera_center()
    flat = eyes - (eyes @ up)[:, None] * up
    middle = flat.mean(0)
    return middle if float(middle.norm()) > 0.2 * float(flat.norm(dim=1).mean()) else flat[0]


def _sample(
    field: Callable[[Any], tuple[torch.Tensor, torch.Tensor]], points: torch.Tensor, directions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Densities (M, 1) and colours (M, 3) at points (M, 3), seen along directions (M, 3)."""
    densities, colors = [], []
    for origin, direction in zip(points.split(POINTS_AT_ONCE), directions.split(POINTS_AT_ONCE)):
        bundle = RayBundle(origin[None], direction[None], torch.zeros_like(origin[None, :, :1]), origin[None, :, :2])
        density, color = field(bundle)
        densities.append(density.reshape(-1, 1))
        colors.append(color.reshape(-1, 3))
    return torch.cat(densities), torch.cat(colors)
