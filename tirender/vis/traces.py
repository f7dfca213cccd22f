"""What figures draw, whichever library draws it: structures as arrays of triangles, points and polylines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tirender.checks import fail
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.implicit.utils import HeterogeneousRayBundle, RayBundle
from tirender.structures import Meshes
from tirender.structures.fragments import Fragments
from tirender.vis.camera_wireframe import get_camera_wireframe

RAYS = (RayBundle, HeterogeneousRayBundle)


@dataclass(frozen=True)
class Trace:
    """One named thing in a subplot.

    Attributes:
        kind: "triangles", "points", "strokes" (polylines) or "rays".
        name: for the legend.
        positions: in world space: triangles (F, 3, 3), points (P, 3), strokes (N, P, 3), samples along rays (R, P, 3).
        colors: (F, 3) or (P, 3) in [0, 1]; None: the figure chooses one colour for the trace.
    """

    kind: str
    name: str
    positions: np.ndarray
    colors: np.ndarray | None = None


def make_trace(
    name: str,
    struct: Any,
    camera_scale: float,
    max_points: int,
    max_rays: int = 20000,
    max_points_per_ray: int = 1000,
) -> Trace:
    """Turn a batch of meshes, point clouds, cameras or rays into one trace.

    Args:
        name: of the trace.
        struct: Meshes, Pointclouds (anything with ``points_list`` and ``features_list``), cameras or a ray bundle.
        camera_scale: size of a camera's wireframe, in world units.
        max_points: a larger batch of clouds is reduced to this many random points, always the same ones.
        max_rays: a larger bundle is reduced to this many random rays, always the same ones.
        max_points_per_ray: a longer ray is reduced to this many samples, with the first and the last.
    Raises:
        ValueError: ``struct`` is none of these.
    """
    with torch.no_grad():
        if isinstance(struct, Meshes):
            return Trace("triangles", name, _triangles(struct), _face_colors(struct))
        if isinstance(struct, CamerasBase):
            view_to_world = struct.get_world_to_view_transform().inverse()
            wireframe = get_camera_wireframe(camera_scale).to(struct.device).expand(len(struct), -1, -1)
            return Trace("strokes", name, _numpy(view_to_world.transform_points(wireframe)))
        if isinstance(struct, RAYS):
            return Trace("rays", name, _samples(struct, max_rays, max_points_per_ray))
        if not hasattr(struct, "points_list"):
            fail(f"plots[...][{name!r}]", "Meshes, Pointclouds, cameras or a RayBundle", type(struct).__name__)
        return _point_trace(name, struct, max_points)


def view_direction(camera: CamerasBase) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (3,) of one camera in world space: towards the eye, and up in the image."""
    rotation = _numpy(camera.get_world_to_view_transform().get_matrix()[0, :3, :3])
    return -rotation[:, 2] / np.linalg.norm(rotation[:, 2]), rotation[:, 1] / np.linalg.norm(rotation[:, 1])


def _triangles(meshes: Meshes) -> np.ndarray:
    return _numpy(meshes.verts_packed())[_numpy(meshes.faces_packed())].reshape(-1, 3, 3)


def _face_colors(meshes: Meshes) -> np.ndarray | None:
    """The texture's colour at the centre of each face."""
    if meshes.textures is None:
        return None
    colors = []
    for mesh in (meshes[i] for i in range(len(meshes))):
        shape = (1, 1, len(mesh.faces_packed()), 1)
        at_centres = Fragments(
            pix_to_face=torch.arange(shape[2], device=mesh.device).view(shape),
            zbuf=torch.ones(shape, device=mesh.device),
            bary_coords=torch.full((*shape, 3), 1 / 3, device=mesh.device),
            dists=-torch.ones(shape, device=mesh.device),
        )
        colors.append(_numpy(mesh.sample_textures(at_centres)).reshape(shape[2], -1))
    return _rgb(np.concatenate(colors))


def _point_trace(name: str, clouds: Any, max_points: int) -> Trace:
    points = np.concatenate([_numpy(p) for p in clouds.points_list()] or [np.zeros((0, 3), np.float32)])
    features = clouds.features_list()
    colors = None if features is None else _rgb(np.concatenate([_numpy(f) for f in features]))
    rows = _chosen(len(points), max_points)
    points, colors = points[rows], None if colors is None else colors[rows]
    return Trace("points", name, points, colors)


def _samples(rays: RayBundle | HeterogeneousRayBundle, max_rays: int, max_points: int) -> np.ndarray:
    """The samples (R, P, 3) of some of the rays."""
    flat = RayBundle(*(values.flatten(0, -2) for values in (rays.origins, rays.directions, rays.lengths, rays.xys)))
    rows = torch.from_numpy(_chosen(len(flat.origins), max_rays)).to(flat.origins.device)
    n_points = flat.lengths.shape[-1]
    columns = torch.linspace(0, n_points - 1, min(n_points, max_points), device=flat.lengths.device).round().long()
    lengths = flat.lengths.index_select(0, rows).index_select(1, columns)
    origins, directions = (values.index_select(0, rows)[:, None] for values in (flat.origins, flat.directions))
    return _numpy(origins + lengths[..., None] * directions)


def _chosen(n: int, at_most: int) -> np.ndarray:
    """Indices of n things, or of ``at_most`` random ones, always the same."""
    return np.arange(n) if n <= at_most else np.random.default_rng(0).choice(n, at_most, replace=False)


def _rgb(features: np.ndarray) -> np.ndarray | None:
    """The first three channels in [0, 1]; None if there are fewer, which are no colours."""
    return np.clip(features[:, :3], 0, 1) if features.shape[1] >= 3 else None


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
