"""Which lamps the fragments of a picture see, by shadow maps (Williams, "Casting curved shadows on curved surfaces",
1978).
"""

from __future__ import annotations

import math
from typing import Any

import torch

from tirender.renderer.cameras import FoVOrthographicCameras, FoVPerspectiveCameras
from tirender.renderer.look_at import look_at_view_transform
from tirender.renderer.mesh.material_shading import surface_points
from tirender.renderer.mesh.rasterizer import MeshRasterizer, RasterizationSettings
from tirender.structures.fragments import PackedFragments
from tirender.structures.meshes import Meshes

MOST_TEXELS, MOST_SOFTNESS = 16384, 32
MARGIN = 1.02  # of the map around the meshes
OFFSET = 1.5  # texels that a point is lifted along its normal and towards the lamp, so that no face shades itself
AXES = ((1.0, 0, 0), (-1.0, 0, 0), (0, 1.0, 0), (0, -1.0, 0), (0, 0, 1.0), (0, 0, -1.0))


@torch.no_grad()
def lamp_visibility(
    fragments: PackedFragments, meshes: Meshes, light: Any, texels: int, softness: int = 0
) -> torch.Tensor:
    """The part of each lamp's light that reaches the fragments; no gradients.

    All faces cast shadows, transparent ones too. A lamp among the meshes has six maps.

    Args:
        fragments: M of N meshes.
        meshes: the N meshes.
        light: the ``Illumination`` with L lamps.
        texels: the side of each map, at most ``MOST_TEXELS``.
        softness: n, where the mean of (2 n + 1)^2 texels is taken (percentage-closer filtering, Reeves et al. 1987); at
            most ``MOST_SOFTNESS``.
    Returns:
        (M, L) in [0, 1].
    """
    verts = meshes.verts_packed()
    if not len(verts):
        return verts.new_ones(len(fragments), len(light.are_places))
    centre = (verts.amin(0) + verts.amax(0)) / 2
    radius = MARGIN * float((verts - centre).norm(dim=1).max().clamp(min=1e-6))
    surface = surface_points(fragments, meshes, flat=True)
    index = fragments.image_index.long()
    columns = []
    for i, is_place in enumerate(light.are_places):
        at = light.vectors[:, i]
        towards = torch.nn.functional.normalize(at.index_select(0, index) - is_place * surface.points, dim=1)
        normals = surface.normals * (surface.normals * towards).sum(1, keepdim=True).sign()
        seen = torch.ones_like(index, dtype=verts.dtype)
        for eye, ahead, tangent in _views(at, is_place, centre, radius):
            depth, camera = _depth_map(meshes, eye, ahead, tangent, radius, texels)
            _apply(seen, surface.points, normals, index, depth, camera, softness)
        columns.append(seen)
    return torch.stack(columns, 1)


def _views(at: torch.Tensor, is_place: bool, centre: torch.Tensor, radius: float) -> Any:
    """Where maps are taken: eyes (N, 3), directions (N, 3), and the tangent of half the angle; 0: parallel rays."""
    if not is_place:
        towards = torch.nn.functional.normalize(at, dim=1)
        yield centre + 2 * radius * towards, -towards, 0.0
        return
    distance = float((at - centre).norm(dim=1).min())
    if distance > 1.2 * radius:
        yield at, centre - at, radius / math.sqrt(distance**2 - radius**2)
        return
    for axis in AXES:
        yield at, at.new_tensor(axis).expand_as(at), 1.0


def _depth_map(
    meshes: Meshes, eye: torch.Tensor, ahead: torch.Tensor, tangent: float, radius: float, texels: int
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor, float, float]]:
    """Depths (N, texels, texels), infinite where there is nothing; and the camera: R, T, half its width, tangent."""
    upright = ahead.abs()[:, 1:2] < 0.9 * ahead.norm(dim=1, keepdim=True)
    up = torch.where(upright, ahead.new_tensor([0.0, 1, 0]), ahead.new_tensor([1.0, 0, 0]))
    R, T = look_at_view_transform(eye=eye, at=eye + ahead, up=up, device=eye.device)
    far = float(eye.norm(dim=1).max()) + 1e3 * radius
    cameras: Any
    if tangent:
        fov = 2 * math.degrees(math.atan(tangent))
        cameras = FoVPerspectiveCameras(1e-3 * radius, far, fov=fov, R=R, T=T, device=eye.device)
    else:
        side: Any = {"max_y": radius, "min_y": -radius, "max_x": radius, "min_x": -radius}
        cameras = FoVOrthographicCameras(1e-3 * radius, far, **side, R=R, T=T, device=eye.device)
    found = MeshRasterizer(cameras, RasterizationSettings(texels, faces_per_pixel=1))(meshes).zbuf[..., 0]
    return torch.where(found < 0, math.inf, found), (R, T, radius, tangent)


def _apply(
    seen: torch.Tensor,
    points: torch.Tensor,
    normals: torch.Tensor,
    index: torch.Tensor,
    depth: torch.Tensor,
    camera: tuple[torch.Tensor, torch.Tensor, float, float],
    softness: int,
) -> None:
    """Write the part of a map's texels around each point that the lamp sees beyond it; points outside are left."""
    R, T, half, tangent = camera
    texels = depth.shape[1]

    def viewed(places: torch.Tensor) -> torch.Tensor:
        return (places[:, None, :] @ R.index_select(0, index))[:, 0] + T.index_select(0, index)

    view = viewed(points)
    wide = view[:, 2].clamp(min=0) * tangent if tangent else torch.full_like(view[:, 2], half)
    lift = OFFSET * (1 + softness) * 2 * wide / texels
    view = viewed(points + lift[:, None] * normals)
    place = view[:, :2] / wide.clamp(min=1e-12)[:, None]
    inside = (view[:, 2] > 0) & (place.abs() <= 1).all(1)
    column, row = ((1 - place) * texels / 2).floor().long().clamp(0, texels - 1).unbind(1)
    share = torch.zeros_like(seen)
    flat = depth.reshape(-1)
    for dy in range(-softness, softness + 1):
        for dx in range(-softness, softness + 1):
            y, x = (row + dy).clamp(0, texels - 1), (column + dx).clamp(0, texels - 1)
            share += (flat[(index * texels + y) * texels + x] >= view[:, 2] - lift).to(share)
    seen.copy_(torch.where(inside, share / (2 * softness + 1) ** 2, seen))
