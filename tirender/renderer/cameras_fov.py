"""Cameras defined by a field of view or a box, as in OpenGL."""

from __future__ import annotations

import math
from typing import Any

import torch

from tirender.checks import as_tensor, check_tensor, fail
from tirender.renderer.cameras_base import IDENTITY_R, ZERO_T, CamerasBase, image_points, stack_matrix
from tirender.renderer.utils import Broadcastable, convert_to_tensors_and_broadcast
from tirender.transforms import Transform3d


class FoVPerspectiveCameras(CamerasBase):
    """Perspective cameras defined by their field of view.

    NDC z rises from 0 at ``znear`` to 1 at ``zfar``, not linearly in depth.

    Args:
        znear, zfar: (N,) or numbers, the distances of the near and the far plane in world units. Meshes are cut at half
            of ``znear`` (``RasterizationSettings.z_clip_value``), not at ``zfar``. Soft shaders put the background at
            ``zfar``: they show it in place of faces that lie beyond, with the faces' alpha. Choose it beyond the scene.
        aspect_ratio: (N,) or a number, the width of a pixel divided by its height.
        fov: (N,) or a number, the field of view over the short side of the image.
        degrees: whether ``fov`` is in degrees; otherwise in radians.
        R: (N, 3, 3), rotations from world to view space.
        T: (N, 3), translations from world to view space.
        K: (N, 4, 4), projection matrices for column vectors, which replace the other intrinsics; None uses those.
        device: the device of the tensors.
    Raises:
        ValueError: if a shape does not fit, or a field of view is not between 0 and 180 degrees.
    """

    _FIELDS = ("K", "znear", "zfar", "aspect_ratio", "fov", "R", "T", "degrees")
    _SHARED_FIELDS = ("degrees",)

    def __init__(
        self,
        znear: Broadcastable = 1.0,
        zfar: Broadcastable = 100.0,
        aspect_ratio: Broadcastable = 1.0,
        fov: Broadcastable = 60.0,
        degrees: bool = True,
        R: Any = IDENTITY_R,
        T: Any = ZERO_T,
        K: torch.Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(device=device, znear=znear, zfar=zfar, aspect_ratio=aspect_ratio, fov=fov, R=R, T=T, K=K)
        self.degrees = degrees
        if K is None:
            angles = as_tensor("fov", self.fov).detach()
            # Without degrees, the default of 60 must do, as it does in PyTorch3D.
            if not bool(((angles > 0) & (angles < (180 if degrees else math.inf))).all()):
                fail("fov", "above 0" + " and below 180 degrees" * degrees, angles.tolist())

    def compute_projection_matrix(
        self,
        znear: Broadcastable,
        zfar: Broadcastable,
        fov: Broadcastable,
        aspect_ratio: Broadcastable,
        degrees: bool,
    ) -> torch.Tensor:
        """Projection matrices (N, 4, 4) for column vectors; arguments as for the class. Differentiable."""
        near, far, angle, aspect = convert_to_tensors_and_broadcast(
            znear, zfar, fov, aspect_ratio, dtype=self.R.dtype, device=self.device
        )
        tangent = torch.tan((angle * (math.pi / 180) if degrees else angle) / 2)
        zero, one = torch.zeros_like(tangent), torch.ones_like(tangent)
        return stack_matrix(
            [
                [1 / (tangent * aspect), zero, zero, zero],
                [zero, 1 / tangent, zero, zero],
                [zero, zero, far / (far - near), -far * near / (far - near)],
                [zero, zero, one, zero],
            ]
        )

    def get_projection_transform(self, **kwargs: Any) -> Transform3d:
        """The transform from view space to NDC; differentiable.

        Args:
            znear, zfar, fov, aspect_ratio, degrees, K: override the cameras' own.
        Raises:
            ValueError: if a shape does not fit.
        """
        K = self._given_matrix(kwargs)
        if K is None:
            znear, zfar, fov, aspect_ratio = (
                self._parameter(name, kwargs) for name in ("znear", "zfar", "fov", "aspect_ratio")
            )
            degrees = kwargs.get("degrees", self.degrees)
            K = self.compute_projection_matrix(znear, zfar, fov, aspect_ratio, degrees)
        return Transform3d(matrix=K.transpose(1, 2).contiguous())

    def unproject_points(
        self,
        xy_depth: torch.Tensor,
        world_coordinates: bool = True,
        scaled_depth_input: bool = False,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Map points in NDC to points in space: the inverse of ``transform_points``.

        Args:
            xy_depth: (P, 3), or (N or 1, P, 3): x and y in NDC, and the view depth in world units.
            world_coordinates: return points in world space; otherwise in view space.
            scaled_depth_input: whether the third coordinate is NDC z instead of the view depth.
            kwargs: parameters that override the cameras' own.
        Returns:
            (N, P, 3), or (P, 3) if ``xy_depth`` is (P, 3) and N = 1; differentiable.
        Raises:
            ValueError: if a shape does not fit.
        """
        projection = self.get_projection_transform(**kwargs)
        x, y, z = image_points(xy_depth)
        if scaled_depth_input:
            clip = (x, y, z, torch.ones_like(z))
        else:
            clip = (x * z, y * z, scaled_depth(projection, z), z)
        return self._from_clip_space(clip, projection, xy_depth, world_coordinates, kwargs)

    def is_perspective(self) -> bool:
        """True."""
        return True

    def in_ndc(self) -> bool:
        """True."""
        return True


class FoVOrthographicCameras(CamerasBase):
    """Orthographic cameras defined by the box that they see.

    NDC z rises from 0 at ``znear`` to 1 at ``zfar``, linearly in depth.

    Args:
        znear, zfar: (N,) or numbers, the distances of the near and the far plane in world units. Meshes are cut at half
            of ``znear`` (``RasterizationSettings.z_clip_value``), not at ``zfar``. Soft shaders put the background at
            ``zfar``: they show it in place of faces that lie beyond, with the faces' alpha. Choose it beyond the scene.
        max_y, min_y, max_x, min_x: (N,) or numbers, the sides of the box in view space; ``max_x`` is on the left.
        scale_xyz: (N, 3), factors on the NDC coordinates.
        R: (N, 3, 3), rotations from world to view space.
        T: (N, 3), translations from world to view space.
        K: (N, 4, 4), projection matrices for column vectors, which replace the other intrinsics; None uses those.
        device: the device of the tensors.
    Raises:
        ValueError: if a shape does not fit.
    """

    _FIELDS = ("K", "znear", "zfar", "R", "T", "max_y", "min_y", "max_x", "min_x", "scale_xyz")

    def __init__(
        self,
        znear: Broadcastable = 1.0,
        zfar: Broadcastable = 100.0,
        max_y: Broadcastable = 1.0,
        min_y: Broadcastable = -1.0,
        max_x: Broadcastable = 1.0,
        min_x: Broadcastable = -1.0,
        scale_xyz: Broadcastable = ((1.0, 1.0, 1.0),),
        R: Any = IDENTITY_R,
        T: Any = ZERO_T,
        K: torch.Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            device=device,
            znear=znear,
            zfar=zfar,
            max_y=max_y,
            min_y=min_y,
            max_x=max_x,
            min_x=min_x,
            scale_xyz=scale_xyz,
            R=R,
            T=T,
            K=K,
        )

    def compute_projection_matrix(
        self,
        znear: Broadcastable,
        zfar: Broadcastable,
        max_x: Broadcastable,
        min_x: Broadcastable,
        max_y: Broadcastable,
        min_y: Broadcastable,
        scale_xyz: Broadcastable,
    ) -> torch.Tensor:
        """Projection matrices (N, 4, 4) for column vectors; arguments as for the class. Differentiable."""
        near, far, left, right, top, bottom, scale = convert_to_tensors_and_broadcast(
            znear, zfar, max_x, min_x, max_y, min_y, scale_xyz, dtype=self.R.dtype, device=self.device
        )
        check_tensor("scale_xyz", scale, ("N", 3))
        zero, one = torch.zeros_like(near), torch.ones_like(near)
        scale_x, scale_y, scale_z = scale.unbind(1)
        return stack_matrix(
            [
                [2 * scale_x / (left - right), zero, zero, -(left + right) / (left - right)],
                [zero, 2 * scale_y / (top - bottom), zero, -(top + bottom) / (top - bottom)],
                [zero, zero, scale_z / (far - near), -near / (far - near)],
                [zero, zero, zero, one],
            ]
        )

    def get_projection_transform(self, **kwargs: Any) -> Transform3d:
        """The transform from view space to NDC; differentiable.

        Args:
            znear, zfar, max_x, min_x, max_y, min_y, scale_xyz, K: override the cameras' own.
        Raises:
            ValueError: if a shape does not fit.
        """
        K = self._given_matrix(kwargs)
        if K is None:
            names = ("znear", "zfar", "max_x", "min_x", "max_y", "min_y", "scale_xyz")
            K = self.compute_projection_matrix(*(self._parameter(name, kwargs) for name in names))
        return Transform3d(matrix=K.transpose(1, 2).contiguous())

    def unproject_points(
        self,
        xy_depth: torch.Tensor,
        world_coordinates: bool = True,
        scaled_depth_input: bool = False,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Map points in NDC to points in space; see :meth:`FoVPerspectiveCameras.unproject_points`."""
        projection = self.get_projection_transform(**kwargs)
        x, y, z = image_points(xy_depth)
        clip = (x, y, z if scaled_depth_input else scaled_depth(projection, z), torch.ones_like(z))
        return self._from_clip_space(clip, projection, xy_depth, world_coordinates, kwargs)

    def is_perspective(self) -> bool:
        """False."""
        return False

    def in_ndc(self) -> bool:
        """True."""
        return True


def scaled_depth(projection: Transform3d, depth: torch.Tensor) -> torch.Tensor:
    """The z (N, P) of view depths (N or 1, P) after a projection, before the division by w."""
    matrix = projection.get_matrix()
    return matrix[:, 2, 2, None] * depth + matrix[:, 3, 2, None]
