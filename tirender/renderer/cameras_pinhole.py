"""Cameras defined by focal length and principal point, as in multi-view geometry."""

from __future__ import annotations

from typing import Any

import torch

from tirender.checks import check_tensor, fail
from tirender.renderer.cameras_base import (
    IDENTITY_R,
    ZERO_T,
    CamerasBase,
    ImageSize,
    get_screen_to_ndc_transform,
    image_points,
    image_size_tensor,
    stack_matrix,
)
from tirender.renderer.utils import Broadcastable
from tirender.transforms import Transform3d, Translate


class _CalibratedCameras(CamerasBase):
    """The common part of perspective and orthographic cameras with focal length and principal point."""

    focal_length: torch.Tensor
    principal_point: torch.Tensor
    _in_ndc: bool
    _FIELDS = ("K", "R", "T", "focal_length", "principal_point", "_in_ndc", "image_size")
    _SHARED_FIELDS = ("_in_ndc",)

    def __init__(
        self,
        focal_length: Broadcastable = 1.0,
        principal_point: Broadcastable = ((0.0, 0.0),),
        R: Any = IDENTITY_R,
        T: Any = ZERO_T,
        K: torch.Tensor | None = None,
        device: torch.device | str = "cpu",
        in_ndc: bool = True,
        image_size: ImageSize | None = None,
    ) -> None:
        super().__init__(
            device=device,
            focal_length=focal_length,
            principal_point=principal_point,
            R=R,
            T=T,
            K=K,
            _in_ndc=in_ndc,
            image_size=None if image_size is None else image_size_tensor(image_size),
        )
        self.focal_length = _focal_lengths(self.focal_length)
        check_tensor("principal_point", self.principal_point, ("N", 2))

    def get_principal_point(self, **kwargs: Any) -> torch.Tensor:
        """The principal points (N, 2) of the projection matrices, in the unit of the intrinsics."""
        row = 2 if self.is_perspective() else 3
        return self.get_projection_transform(**kwargs).get_matrix()[:, row, :2]

    def get_ndc_camera_transform(self, **kwargs: Any) -> Transform3d:
        """The transform from the output of ``transform_points`` to NDC; depth is unchanged.

        With intrinsics in pixels, ``transform_points`` gives x and y to the left and up, but the principal point is
        measured to the right and down.

        Args:
            image_size: (height, width), overrides the cameras'; required if they are not ``in_ndc``.
        Raises:
            ValueError: if the image size is required and not known.
        """
        if self.in_ndc():
            return super().get_ndc_camera_transform(**kwargs)
        px, py = self.get_principal_point(**kwargs).unbind(1)
        image_size = kwargs.get("image_size", self.get_image_size())
        to_ndc = get_screen_to_ndc_transform(self, with_xyflip=False, image_size=image_size)
        return Translate(-2 * px, -2 * py, torch.zeros_like(px)).compose(to_ndc)

    def in_ndc(self) -> bool:
        """Whether the intrinsics are in NDC units rather than pixels."""
        return self._in_ndc

    def _intrinsics(self, kwargs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """fx, fy, px and py, (N,) each, in the unit of the intrinsics."""
        fx, fy = _focal_lengths(self._parameter("focal_length", kwargs)).unbind(1)
        px, py = check_tensor("principal_point", self._parameter("principal_point", kwargs), ("N", 2)).unbind(1)
        return fx, fy, px, py

    def _to_camera_transform(self, from_ndc: bool, kwargs: dict[str, Any]) -> Transform3d:
        """The transform from view space to NDC if ``from_ndc``, else to the output of ``transform_points``."""
        projection = self.get_projection_transform(**kwargs)
        return projection.compose(self.get_ndc_camera_transform(**kwargs)) if from_ndc else projection


class PerspectiveCameras(_CalibratedCameras):
    """Perspective cameras defined by focal length and principal point.

    The z of projected points is 1 / depth.

    Args:
        focal_length: a number, (N,), (N, 1), or (N, 2) along x and y; in the unit of the intrinsics.
        principal_point: (N, 2), x and y, in the unit of the intrinsics.
        R: (N, 3, 3), rotations from world to view space.
        T: (N, 3), translations from world to view space.
        K: (N, 4, 4), calibration matrices for column vectors, which replace the other intrinsics; None uses those.
        device: the device of the tensors.
        in_ndc: whether the intrinsics are in NDC units; otherwise they are in pixels, with the principal point measured
            from the upper left corner.
        image_size: (height, width) or (N, 2) of them, in pixels; required if ``in_ndc`` is False.
    Raises:
        ValueError: if a shape does not fit, or an image size is not positive.
    """

    def get_projection_transform(self, **kwargs: Any) -> Transform3d:
        """The transform from view space to NDC, or to the screen for intrinsics in pixels; differentiable.

        Args:
            focal_length, principal_point, K: override the cameras' own.
        Raises:
            ValueError: if a shape does not fit.
        """
        K = self._given_matrix(kwargs)
        if K is None:
            fx, fy, px, py = self._intrinsics(kwargs)
            zero, one = torch.zeros_like(fx), torch.ones_like(fx)
            K = stack_matrix(
                [[fx, zero, px, zero], [zero, fy, py, zero], [zero, zero, zero, one], [zero, zero, one, zero]]
            )
        return Transform3d(matrix=K.transpose(1, 2).contiguous())

    def unproject_points(
        self, xy_depth: torch.Tensor, world_coordinates: bool = True, from_ndc: bool = False, **kwargs: Any
    ) -> torch.Tensor:
        """Map image points to points in space: the inverse of ``transform_points``.

        Args:
            xy_depth: (P, 3), or (N or 1, P, 3): x and y as ``transform_points`` returns them, and the view depth.
            world_coordinates: return points in world space; otherwise in view space.
            from_ndc: whether x and y are in NDC, whatever the unit of the intrinsics.
            kwargs: parameters that override the cameras' own.
        Returns:
            (N, P, 3), or (P, 3) if ``xy_depth`` is (P, 3) and N = 1; differentiable.
        Raises:
            ValueError: if a shape does not fit.
        """
        x, y, z = image_points(xy_depth)
        clip = (x * z, y * z, torch.ones_like(z), z)
        return self._from_clip_space(
            clip, self._to_camera_transform(from_ndc, kwargs), xy_depth, world_coordinates, kwargs
        )

    def is_perspective(self) -> bool:
        """True."""
        return True


class OrthographicCameras(_CalibratedCameras):
    """Orthographic cameras defined by focal length (here a scale) and principal point.

    The z of projected points is the view depth.

    Args:
        focal_length: a number, (N,), (N, 1), or (N, 2) along x and y; in the unit of the intrinsics.
        principal_point: (N, 2), x and y, in the unit of the intrinsics.
        R: (N, 3, 3), rotations from world to view space.
        T: (N, 3), translations from world to view space.
        K: (N, 4, 4), calibration matrices for column vectors, which replace the other intrinsics; None uses those.
        device: the device of the tensors.
        in_ndc: whether the intrinsics are in NDC units; otherwise they are in pixels, with the principal point measured
            from the upper left corner.
        image_size: (height, width) or (N, 2) of them, in pixels; required if ``in_ndc`` is False.
    Raises:
        ValueError: if a shape does not fit, or an image size is not positive.
    """

    def get_projection_transform(self, **kwargs: Any) -> Transform3d:
        """The transform from view space to NDC, or to the screen for intrinsics in pixels; differentiable.

        Args:
            focal_length, principal_point, K: override the cameras' own.
        Raises:
            ValueError: if a shape does not fit.
        """
        K = self._given_matrix(kwargs)
        if K is None:
            fx, fy, px, py = self._intrinsics(kwargs)
            zero, one = torch.zeros_like(fx), torch.ones_like(fx)
            K = stack_matrix(
                [[fx, zero, zero, px], [zero, fy, zero, py], [zero, zero, one, zero], [zero, zero, zero, one]]
            )
        return Transform3d(matrix=K.transpose(1, 2).contiguous())

    def unproject_points(
        self, xy_depth: torch.Tensor, world_coordinates: bool = True, from_ndc: bool = False, **kwargs: Any
    ) -> torch.Tensor:
        """Map image points to points in space; see :meth:`PerspectiveCameras.unproject_points`."""
        x, y, z = image_points(xy_depth)
        clip = (x, y, z, torch.ones_like(z))
        return self._from_clip_space(
            clip, self._to_camera_transform(from_ndc, kwargs), xy_depth, world_coordinates, kwargs
        )

    def is_perspective(self) -> bool:
        """False."""
        return False


def _focal_lengths(value: Any) -> torch.Tensor:
    """Focal lengths (N,), (N, 1) or (N, 2) as (N, 2)."""
    focal_length = check_tensor("focal_length", value)
    if focal_length.dim() == 1:
        focal_length = focal_length[:, None]
    if focal_length.dim() != 2 or focal_length.shape[1] not in (1, 2):
        fail("focal_length", "shape (N,), (N, 1) or (N, 2)", tuple(value.shape))
    return focal_length.expand(-1, 2)
