"""What a figure draws, whichever library draws it: structures turned into arrays of triangles, points and strokes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tirender.checks import fail
from tirender.renderer.cameras import CamerasBase
from tirender.structures import Meshes
from tirender.structures.fragments import Fragments
from tirender.vis.camera_wireframe import get_camera_wireframe


@dataclass(frozen=True)
class Trace:
    """One named thing in a subplot.

    Attributes:
        kind: "triangles", "points" or "strokes".
        name: for the legend.
        positions: world space: triangles (F, 3, 3), points (P, 3), strokes (N, P, 3).
        colors: (F, 3), (P, 3) in [0, 1], or None: the trace has one colour of the figure's choice.
    """

    kind: str
    name: str
    positions: np.ndarray
    colors: np.ndarray | None = None


def make_trace(name: str, struct: Any, camera_scale: float, max_points: int) -> Trace:
    """Turn a batch of meshes, point clouds or cameras into one trace.

    Args:
        name: of the trace.
        struct: Meshes, Pointclouds (anything with ``points_list`` and ``features_list``) or cameras.
        camera_scale: size of a camera's wireframe, in world units.
        max_points: of a batch of clouds, at most so many points are drawn, chosen at random (always the same ones).
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
        if not hasattr(struct, "points_list"):
            fail(f"plots[...][{name!r}]", "Meshes, Pointclouds or cameras", type(struct).__name__)
        return _point_trace(name, struct, max_points)


def view_direction(camera: CamerasBase) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (3,) in world space of one camera: towards the eye, and up in its image."""
    rotation = _numpy(camera.get_world_to_view_transform().get_matrix()[0, :3, :3])
    return -rotation[:, 2] / np.linalg.norm(rotation[:, 2]), rotation[:, 1] / np.linalg.norm(rotation[:, 1])


def _triangles(meshes: Meshes) -> np.ndarray:
    return _numpy(meshes.verts_packed())[_numpy(meshes.faces_packed())].reshape(-1, 3, 3)


def _face_colors(meshes: Meshes) -> np.ndarray | None:
    """The texture, of whatever class, sampled at the centre of each face."""
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
    if len(points) > max_points:
        kept = np.random.default_rng(0).choice(len(points), max_points, replace=False)
        points, colors = points[kept], None if colors is None else colors[kept]
    return Trace("points", name, points, colors)


def _rgb(features: np.ndarray) -> np.ndarray | None:
    """The first three channels in [0, 1]; features that are no colours (fewer than three) are not shown."""
    return np.clip(features[:, :3], 0, 1) if features.shape[1] >= 3 else None


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
