"""Batches of cameras, and cameras moved about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from tirender.checks import FLOATS, check_kind, check_tensor, fail
from tirender.renderer.cameras_base import CamerasBase
from tirender.transforms import Transform3d
from tirender.transforms.math import matmul


def join_cameras_as_batch(cameras_list: Sequence[CamerasBase]) -> CamerasBase:
    """One batch of the cameras of several objects of the same type.

    Args:
        cameras_list: of one type, on one device, the shared settings (``degrees``, ``in_ndc``, ...) equal.
    Returns:
        an object of that type; differentiable with respect to all parameters.
    Raises:
        ValueError: if the cameras differ in one of these, or a parameter is None for some only.
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
                fail(f"cameras_list {name}", "to be given for all or for none", [v is not None for v in values])
        else:
            arguments[name] = torch.cat(values)
    return type(first)(**arguments)


def rotate_on_spot(R: torch.Tensor, T: torch.Tensor, rotation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``R`` and ``T`` of cameras that stay where they are, and turn.

    ``rotation`` turns the camera in its own axes: with ``axis_angle_to_matrix``, a positive angle about +y turns it to
    the right, about +x up, about +z anticlockwise, as it sees itself. World points in view space take its inverse.

    Args:
        R: (3, 3) or (N, 3, 3), from world to view space.
        T: (3,) or (N, 3), from world to view space.
        rotation: (3, 3) or (N, 3, 3).
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
    # The camera's centre, -T R^T, stays: T' = T R^T R'.
    new_T = matmul(matmul(T[:, None], R.transpose(1, 2)), new_R)[:, 0]
    return new_R.expand(len(new_T), 3, 3), new_T


def camera_to_eye_at_up(
    world_to_view_transform: Transform3d,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What ``look_at_view_transform`` takes to give these cameras.

    Args:
        world_to_view_transform: N rigid motions.
    Returns:
        eye, at and up, (N, 3) each: ``at`` lies one unit ahead, and ``up`` is of length 1. Differentiable.
    """
    view_to_world = world_to_view_transform.inverse().get_matrix()
    eye, up, ahead = view_to_world[:, 3, :3], view_to_world[:, 1, :3], view_to_world[:, 2, :3]
    return eye, eye + ahead, up
