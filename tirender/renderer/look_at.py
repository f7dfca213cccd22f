"""View geometry: positions and orientations of cameras."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from tirender.checks import as_floats, check_tensor, fail
from tirender.renderer.utils import Broadcastable, convert_to_tensors_and_broadcast
from tirender.transforms import Rotate, Transform3d, Translate
from tirender.transforms.math import matmul, normalize


def look_at_view_transform(
    dist: Broadcastable = 1.0,
    elev: Broadcastable = 0.0,
    azim: Broadcastable = 0.0,
    degrees: bool = True,
    eye: Broadcastable | None = None,
    at: Broadcastable = ((0, 0, 0),),
    up: Broadcastable = ((0, 1, 0),),
    device: torch.device | str = "cpu",
) -> tuple[torch.Tensor, torch.Tensor]:
    """``R`` and ``T`` of cameras that look at a point, given by spherical coordinates or by ``eye``.

    Args:
        dist: (N,) or a number, the distance from ``at`` in world units.
        elev: (N,) or a number, the angle above the horizontal plane (y = 0).
        azim: (N,) or a number, the angle in that plane from +z towards +x.
        degrees: whether the angles are in degrees; otherwise in radians.
        eye: (N, 3) or (3,), the positions of the cameras in world space, which replace ``dist``, ``elev``, ``azim``.
        at: (N, 3) or (3,), the points that the cameras look at, world space.
        up: (N, 3) or (3,), the directions that point up in the images, world space.
        device: the device of the results.
    Returns:
        R (N, 3, 3) and T (N, 3), with x_view = x_world @ R + T; differentiable. Sizes of 1 broadcast. At an elevation
        of 90 or -90 degrees, the default ``up`` is parallel to the view. The picture is then that from just beyond the
        pole, as in PyTorch3D, where the cosine of 90 degrees rounds to a number below 0. It is turned by 180 degrees
        against the one from just before the pole. See :func:`look_at_rotation` for other special cases.
    Raises:
        ValueError: if the sizes do not broadcast.
    """
    at, up = _rows(at), _rows(up)
    if eye is not None:
        position, at, up = _of_one_dtype(_rows(eye), at, up, device=device)
        R = _rotation(position, at, up)
    else:
        dist, elev, azim, at, up = _of_one_dtype(dist, elev, azim, at, up, device=device)
        position = camera_position_from_spherical_angles(dist, elev, azim, degrees, device) + at
        # As the elevation falls, the camera moves perpendicular to the view, even at the poles.
        quarter_turn = 90 if degrees else math.pi / 2
        descent = camera_position_from_spherical_angles(1.0, elev - quarter_turn, azim, degrees, device)
        R = _rotation(position, at, up, descent)
    return R, -matmul(position[:, None], R)[:, 0]


def look_at_rotation(
    camera_position: Broadcastable,
    at: Broadcastable = ((0, 0, 0),),
    up: Broadcastable = ((0, 1, 0),),
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Rotations of cameras that look at a point.

    Args:
        camera_position: (N, 3) or (3,), world space.
        at: (N, 3) or (3,), the points that the cameras look at, world space.
        up: (N, 3) or (3,), the directions that point up in the images, world space.
        device: the device of the result.
    Returns:
        (N, 3, 3), for row vectors: the columns are the view axes in world space. Differentiable. If ``up`` is parallel
        to the view, another direction replaces it. If the position is ``at``, the camera looks along +z. Neither case
        passes a gradient.
    Raises:
        ValueError: if the sizes do not broadcast.
    """
    return _rotation(*_of_one_dtype(*map(_rows, (camera_position, at, up)), device=device))


def camera_position_from_spherical_angles(
    distance: Broadcastable,
    elevation: Broadcastable,
    azimuth: Broadcastable,
    degrees: bool = True,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Positions on spheres around the origin.

    Args:
        distance: (N,) or a number, the radius in world units.
        elevation: (N,) or a number, the angle above the plane y = 0.
        azimuth: (N,) or a number, the angle in that plane from +z towards +x.
        degrees: whether the angles are in degrees; otherwise in radians.
        device: the device of the result.
    Returns:
        (N, 3), world space; differentiable.
    Raises:
        ValueError: if the sizes do not broadcast.
    """
    radius, elev, azim = _of_one_dtype(distance, elevation, azimuth, device=device)
    for name, value in (("distance", radius), ("elevation", elev), ("azimuth", azim)):
        check_tensor(name, value, ("N",))
    if degrees:
        elev, azim = elev * (math.pi / 180), azim * (math.pi / 180)
    across = radius * elev.cos()
    return torch.stack([across * azim.sin(), radius * elev.sin(), across * azim.cos()], -1)


def get_world_to_view_transform(R: Any = None, T: Any = None) -> Transform3d:
    """The transform x_view = x_world @ R + T.

    Args:
        R: (N, 3, 3); None for the identity.
        T: (N, 3); None for zero. A batch of 1 broadcasts.
    Raises:
        ValueError: if a shape or dtype is wrong, or the batches do not fit.
    """
    R = torch.eye(3, **_like(T))[None] if R is None else as_floats("R", check_tensor("R", R, ("N", 3, 3)))
    T = torch.zeros(1, 3, **_like(R)) if T is None else as_floats("T", check_tensor("T", T, ("N", 3)))
    if len(R) != len(T) and 1 not in (len(R), len(T)):
        fail("R, T", "batches of one size or of 1", f"{len(R)} and {len(T)}")
    return Rotate(R).compose(Translate(T))


def _like(tensor: torch.Tensor | None) -> dict[str, Any]:
    return {} if tensor is None else {"dtype": as_floats("T", tensor).dtype, "device": tensor.device}


def _rotation(
    position: torch.Tensor, at: torch.Tensor, up: torch.Tensor, spare_up: torch.Tensor | None = None
) -> torch.Tensor:
    """The view axes in world space as columns; ``spare_up`` replaces an ``up`` that is parallel to the view."""
    for name, value in (("camera_position", position), ("at", at), ("up", up)):
        check_tensor(name, value, ("N", 3))
    forward = at - position
    ahead = forward.new_tensor([0.0, 0.0, 1.0])
    z = normalize(torch.where((forward == 0).all(-1, keepdim=True), ahead, forward))
    if spare_up is None:  # for the default up, the limit from lower elevations at azimuth 0
        steep = z[:, 1:2].abs() > 0.5
        spare_up = torch.where(steep, ahead * z[:, 1:2].sign(), forward.new_tensor([0.0, 1.0, 0.0]))
    x = torch.linalg.cross(normalize(up), z)
    is_along_view = torch.linalg.vector_norm(x, dim=-1, keepdim=True) < 1e-5
    x = normalize(torch.where(is_along_view, torch.linalg.cross(spare_up, z), x))
    return torch.stack([x, torch.linalg.cross(z, x), z], -1)


def _rows(vectors: Any) -> Any:
    """Vectors (N, 3), from those or from one (3,)."""
    is_one = isinstance(vectors, list | tuple) and not any(isinstance(v, list | tuple) or np.ndim(v) for v in vectors)
    if (is_one and len(vectors) == 3) or getattr(vectors, "shape", None) == (3,):
        return [vectors] if is_one else vectors[None]
    return vectors


def _of_one_dtype(*args: Broadcastable, device: torch.device | str) -> list[torch.Tensor]:
    """Broadcast the arguments, as float64 if one of the tensors has that dtype, else as float32."""
    tensors = convert_to_tensors_and_broadcast(*args, device=device)
    dtypes = {tensor.dtype for tensor in tensors}
    if any(dtype.is_complex for dtype in dtypes):
        fail("arguments", "real numbers", "complex ones")
    return [tensor.to(torch.float64 if torch.float64 in dtypes else torch.float32) for tensor in tensors]
