"""Joining, turning and inverting cameras."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from tirender.checks import FLOATS, check_kind, check_tensor, fail
from tirender.renderer.cameras_base import CamerasBase
from tirender.transforms import Transform3d
from tirender.transforms.math import matmul


def join_cameras_as_batch(cameras_list: Sequence[CamerasBase]) -> CamerasBase:
    """Concatenate several batches of cameras into one.

    Args:
        cameras_list: batches of one type, on one device, with equal shared settings (``degrees``, ``in_ndc``, ...).
    Returns:
        an object of that type; differentiable in all parameters.
    Raises:
        ValueError: if the batches differ in one of these, or a parameter is None in some of them only.
    """
    check_kind("cameras_list", cameras_list, Iterable)
    cameras_list = list(cameras_list)
    if not cameras_list or not all(isinstance(c, CamerasBase) for c in cameras_list):
        fail("cameras_list", "cameras, at least one", [type(c).__name__ for c in cameras_list])
    first = cameras_list[0]
    if len({type(c) for c in cameras_list}) > 1:
        fail("cameras_list", "cameras of one type", sorted({type(c).__name__ for c in cameras_list}))
    if len({c.device for c in cameras_list}) > 1:
        fail("cameras_list", "cameras on one device", sorted({str(c.device) for c in cameras_list}))
    arguments: dict[str, Any] = {"device": first.device}
    for field in first._FIELDS:
        values = [getattr(c, field) for c in cameras_list]
        name = field.removeprefix("_")
        if field in first._SHARED_FIELDS:
            if any(value != values[0] for value in values):
                fail(f"cameras_list {name}", "one value for all", values)
            arguments[name] = values[0]
        elif any(value is None for value in values):
            if any(value is not None for value in values):
                fail(f"cameras_list {name}", "a value in all cameras or in none", [v is not None for v in values])
        else:
            arguments[name] = torch.cat(values)
    return type(first)(**arguments)


def rotate_on_spot(R: torch.Tensor, T: torch.Tensor, rotation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn cameras without moving them.

    ``rotation`` turns a camera about its own axes. With ``axis_angle_to_matrix``, a positive angle about +y turns it to
    the right, about +x up, and about +z counter-clockwise, from the camera's own viewpoint. The view coordinates of
    world points are transformed by the inverse.

    Args:
        R: (3, 3) or (N, 3, 3), rotations from world to view space.
        T: (3,) or (N, 3), translations from world to view space.
        rotation: (3, 3) or (N, 3, 3), rotations for column vectors.
    Returns:
        R (N, 3, 3) and T (N, 3); sizes of 1 broadcast. Differentiable.
    Raises:
        ValueError: if a shape is wrong.
    """
    R = R[None] if R.dim() == 2 else R
    T = T[None] if T.dim() == 1 else T
    rotation = rotation[None] if rotation.dim() == 2 else rotation
    check_tensor("R", R, ("N", 3, 3), FLOATS)
    check_tensor("T", T, ("N", 3), FLOATS)
    check_tensor("rotation", rotation, ("N", 3, 3), FLOATS)
    new_R = matmul(R, rotation.transpose(1, 2))
    # The camera's centre, -T R^T, does not move: T' = T R^T R'.
    new_T = matmul(matmul(T[:, None], R.transpose(1, 2)), new_R)[:, 0]
    return new_R.expand(len(new_T), 3, 3), new_T


def camera_to_eye_at_up(
    world_to_view_transform: Transform3d,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The arguments with which ``look_at_view_transform`` gives these cameras.

    Args:
        world_to_view_transform: N rigid motions.
    Returns:
        eye, at and up, (N, 3) each, world space; differentiable. ``at`` lies one unit ahead, and ``up`` has length 1.
    """
    view_to_world = world_to_view_transform.inverse().get_matrix()
    eye, up, ahead = view_to_world[:, 3, :3], view_to_world[:, 1, :3], view_to_world[:, 2, :3]
    return eye, eye + ahead, up
