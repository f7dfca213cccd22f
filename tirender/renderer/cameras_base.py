"""The base class of all cameras, and the transforms between NDC and the screen.

There are four spaces, all right-handed; points are row vectors:

- *world*;
- *view*: +X left, +Y up, +Z into the screen, the camera at the origin;
- *NDC*: axes as in view, [-1, 1] on the short side of the image; z is the view depth or that of the projection;
- *screen*: pixels, +X right, +Y down, the origin in the upper left corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tirender.checks import FLOATS, as_floats, batch_index, check_tensor, fail
from tirender.renderer.look_at import get_world_to_view_transform
from tirender.renderer.utils import TensorProperties, format_tensor
from tirender.transforms import Transform3d
from tirender.transforms.math import matmul

# The defaults are nested tuples, which take the dtype of the tensors that they broadcast with.
IDENTITY_R = (((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),)
ZERO_T = ((0.0, 0.0, 0.0),)

ImageSize = int | Sequence[int] | Sequence[Sequence[int]] | torch.Tensor


class CamerasBase(TensorProperties):
    """N cameras with extrinsics ``R`` (N, 3, 3) and ``T`` (N, 3): x_view = x_world @ R + T.

    A subclass defines the projection of view space: :meth:`get_projection_transform` (or :meth:`transform_points`, if
    the projection is not a matrix), :meth:`unproject_points`, :meth:`is_perspective` and :meth:`in_ndc`. It lists its
    constructor's arguments in ``_FIELDS``, and those that the whole batch shares also in ``_SHARED_FIELDS``.

    Every method accepts the camera's parameters as keyword arguments, which override the camera's own for that call.
    Overrides of ``R`` and ``T`` are stored, because lighting needs the camera's centre later. Parameters of half floats
    or integers become float32.

    Args:
        dtype, device, kwargs: as for :class:`tirender.renderer.utils.TensorProperties`.
    Raises:
        ValueError: if ``R`` or ``T`` has another shape, or ``K`` is not the matrix of such a camera.
    """

    R: torch.Tensor
    T: torch.Tensor
    _FIELDS: tuple[str, ...] = ()
    _SHARED_FIELDS: tuple[str, ...] = ()

    def __init__(self, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", **kwargs: Any) -> None:
        if isinstance(kwargs.get("K"), torch.Tensor | np.ndarray) and kwargs["K"].ndim == 2:
            kwargs["K"] = kwargs["K"][None]
        numbers = {n: as_floats(n, v) for n, v in kwargs.items() if isinstance(v, torch.Tensor) and _is_number(v)}
        super().__init__(dtype=dtype, device=device, **{**kwargs, **numbers})
        matrix: Any = getattr(self, "K", None)
        if matrix is not None:
            self._check_matrix(matrix)
        for name, shape in (("R", ("N", 3, 3)), ("T", ("N", 3))):
            if getattr(self, name, None) is not None:
                check_tensor(name, getattr(self, name), shape, FLOATS)

    def get_projection_transform(self, **kwargs: Any) -> Transform3d:
        """The transform from view space to NDC, or to the screen for cameras whose intrinsics are in pixels.

        Raises:
            NotImplementedError: if the projection is not a 4x4 matrix.
        """
        raise NotImplementedError(f"{type(self).__name__}: its projection is not a 4x4 matrix; use transform_points")

    def unproject_points(self, xy_depth: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Map image points and view depths (N, P, 3) to points in space: the inverse of :meth:`transform_points`."""
        raise NotImplementedError(f"{type(self).__name__}: define unproject_points")

    def is_perspective(self) -> bool:
        """Whether the projection divides by depth, so that interpolation over a face must be perspective correct."""
        raise NotImplementedError(f"{type(self).__name__}: define is_perspective")

    def in_ndc(self) -> bool:
        """Whether :meth:`transform_points` gives NDC rather than screen coordinates."""
        raise NotImplementedError(f"{type(self).__name__}: define in_ndc")

    def get_znear(self) -> torch.Tensor | float | None:
        """The distance of the near plane (N,) in world units; None if the cameras have none."""
        return getattr(self, "znear", None)

    def get_image_size(self) -> torch.Tensor | None:
        """Height and width in pixels (N, 2); None if they are not known."""
        return getattr(self, "image_size", None)

    def __getitem__(self, index: int | slice | list[int] | torch.Tensor) -> CamerasBase:
        """The cameras that an integer, a slice, a list of integers, or a bool or integer tensor selects.

        Raises:
            IndexError: if an index is out of range or has another type.
        """
        rows = batch_index(index, len(self), self.device)

        def pick(value: Any) -> Any:
            return value.index_select(0, rows) if isinstance(value, torch.Tensor) else value

        return type(self)(device=self.device, **{name: pick(value) for name, value in self._constructor_args().items()})

    def get_world_to_view_transform(self, **kwargs: Any) -> Transform3d:
        """The transform from world to view space.

        Args:
            R, T: (N, 3, 3) and (N, 3), which override the camera's and are stored.
        Raises:
            ValueError: if a shape is wrong.
        """
        for name in ("R", "T"):
            if name in kwargs:
                setattr(self, name, kwargs[name])
        return get_world_to_view_transform(self.R, self.T)

    def get_full_projection_transform(self, **kwargs: Any) -> Transform3d:
        """The transform from world space to NDC, or to the screen for cameras whose intrinsics are in pixels."""
        world_to_view = self.get_world_to_view_transform(**kwargs)
        return world_to_view.compose(self.get_projection_transform(**kwargs))

    def get_ndc_camera_transform(self, **kwargs: Any) -> Transform3d:
        """The transform from the output of :meth:`transform_points` to NDC; depth is unchanged.

        Args:
            image_size: (height, width), overrides the camera's; required if the camera is not ``in_ndc``.
        Raises:
            ValueError: if the image size is required and not known.
        """
        if self.in_ndc():
            return Transform3d(dtype=self.R.dtype, device=self.device)
        image_size = kwargs.get("image_size", self.get_image_size())
        return get_screen_to_ndc_transform(self, with_xyflip=False, image_size=image_size)

    def get_camera_center(self, **kwargs: Any) -> torch.Tensor:
        """The positions of the cameras in world space (N, 3), differentiable; ``R`` and ``T`` may be overridden."""
        view_to_world = self.get_world_to_view_transform(**kwargs).inverse()
        return view_to_world.get_matrix()[:, 3, :3]

    def transform_points(self, points: torch.Tensor, eps: float | None = None, **kwargs: Any) -> torch.Tensor:
        """Project points from world space to NDC, or to the screen for cameras whose intrinsics are in pixels.

        Args:
            points: (P, 3), or (N or 1, P, 3), world space.
            eps: least distance from the camera plane in the division; a point closer to it is treated as at this
                distance on its side, without a gradient. None: a point on the camera plane gives inf or nan.
        Returns:
            (N, P, 3), or (P, 3) if ``points`` is (P, 3) and N = 1; differentiable in the points and all camera
            parameters. The z of a perspective camera is not linear in depth. Points behind the camera are projected
            through its centre.
        Raises:
            ValueError: if a shape does not fit.
        """
        return self.get_full_projection_transform(**kwargs).transform_points(points, eps=eps)

    def transform_points_ndc(self, points: torch.Tensor, eps: float | None = None, **kwargs: Any) -> torch.Tensor:
        """Project points from world space to NDC, whatever the unit of the intrinsics; see :meth:`transform_points`.

        Raises:
            ValueError: if a shape does not fit, or the image size is required and not known.
        """
        projected = self.transform_points(points, eps=eps, **kwargs)
        return projected if self.in_ndc() else self.get_ndc_camera_transform(**kwargs).transform_points(projected)

    def transform_points_screen(
        self, points: torch.Tensor, eps: float | None = None, with_xyflip: bool = True, **kwargs: Any
    ) -> torch.Tensor:
        """Project points from world space to pixels; see :meth:`transform_points`.

        Args:
            points: (P, 3), or (N or 1, P, 3), world space.
            eps: as for :meth:`transform_points`.
            with_xyflip: use +X right and +Y down, from the upper left corner; otherwise +X left and +Y up.
            image_size: (height, width), overrides the camera's.
        Raises:
            ValueError: if a shape does not fit, or the image size is not known.
        """
        points_ndc = self.transform_points_ndc(points, eps=eps, **kwargs)
        image_size = kwargs.get("image_size", self.get_image_size())
        to_screen = get_ndc_to_screen_transform(self, with_xyflip=with_xyflip, image_size=image_size)
        return to_screen.transform_points(points_ndc)

    def _from_clip_space(
        self,
        clip: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
        to_clip: Transform3d,
        like: torch.Tensor,
        world_coordinates: bool,
        kwargs: dict[str, Any],
    ) -> torch.Tensor:
        """Map homogeneous coordinates, (N or 1, P) each, to view or world space, with the batch dimension of ``like``.

        Callers pass coordinates multiplied by the depth, so that depth 0 gives the camera's centre.
        """
        homogeneous = matmul(torch.stack(torch.broadcast_tensors(*clip), -1), to_clip.inverse().get_matrix())
        view = homogeneous[..., :3] / homogeneous[..., 3:]
        points = (
            self.get_world_to_view_transform(**kwargs).inverse().transform_points(view) if world_coordinates else view
        )
        return points[0] if like.dim() == 2 and len(points) == 1 else points

    def _constructor_args(self) -> dict[str, Any]:
        """The constructor's arguments that give these cameras; only attributes have a leading underscore."""
        return {name.removeprefix("_"): getattr(self, name) for name in self._FIELDS}

    def _parameter(self, name: str, kwargs: dict[str, Any]) -> torch.Tensor:
        """A camera parameter, from ``kwargs`` or the camera's own, as a tensor."""
        value = format_tensor(kwargs.get(name, getattr(self, name)), dtype=self.R.dtype, device=self.device)
        return as_floats(name, value)

    def _given_matrix(self, kwargs: dict[str, Any]) -> torch.Tensor | None:
        """The calibration matrix ``K`` (N, 4, 4) for column vectors, or None."""
        K = kwargs.get("K", self.K)
        return None if K is None else self._check_matrix(K)

    def _check_matrix(self, K: torch.Tensor) -> torch.Tensor:
        """Return ``K`` if it is (N, 4, 4) and its last row says the same as :meth:`is_perspective`, else raise."""
        perspective = self.is_perspective()
        third, fourth = ("(0, 0, 0, 1)", "(0, 0, 1, 0)") if perspective else ("(0, 0, 1, 0)", "(0, 0, 0, 1)")
        expected = f"shape (N, 4, 4) with rows (fx, 0, px, 0), (0, fy, py, 0), {third}, {fourth}"
        if isinstance(K, torch.Tensor) and K.shape[-2:] == (3, 3):
            fail("K", f"{expected} (utils.cameras_from_opencv_projection takes OpenCV's 3 x 3)", tuple(K.shape))
        K = as_floats("K", check_tensor("K", K, ("N", 4, 4)))
        other = K.new_tensor([0, 0, 0, 1] if perspective else [0, 0, 1, 0])
        if len(K) and bool((K.detach()[:, 3] == other).all(1).any()):
            what = "an orthographic camera, or of OpenCV's layout" if perspective else "a perspective camera"
            fail("K", expected, f"the last row of {what}")
        return K


def _is_number(tensor: torch.Tensor) -> bool:
    return tensor.dtype != torch.bool and not tensor.is_complex()


def try_get_projection_transform(cameras: CamerasBase, cameras_kwargs: dict[str, Any]) -> Transform3d | None:
    """``cameras.get_projection_transform(**cameras_kwargs)``, or None if the projection is not a 4x4 matrix."""
    try:
        return cameras.get_projection_transform(**cameras_kwargs)
    except NotImplementedError:
        return None


def get_ndc_to_screen_transform(
    cameras: CamerasBase, with_xyflip: bool = False, image_size: ImageSize | None = None
) -> Transform3d:
    """The transform from NDC to pixels, z unchanged.

    Args:
        cameras: determine the dtype and device.
        with_xyflip: use +X right and +Y down, from the upper left corner; otherwise +X left and +Y up, with the upper
            left corner at (0, 0) and the lower right at (-width, -height).
        image_size: (height, width) in pixels, or (N, 2) of them; one int for a square.
    Raises:
        ValueError: if the image size is missing or has another shape.
    """
    height, width = image_size_tensor(image_size).to(cameras.R).unbind(1)
    scale = torch.minimum(height, width) / 2
    sign = -1.0 if with_xyflip else 1.0
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    rows = [
        [sign * scale, zero, zero, zero],
        [zero, sign * scale, zero, zero],
        [zero, zero, one, zero],
        [-sign * width / 2, -sign * height / 2, zero, one],
    ]
    return Transform3d(matrix=stack_matrix(rows))


def get_screen_to_ndc_transform(
    cameras: CamerasBase, with_xyflip: bool = False, image_size: ImageSize | None = None
) -> Transform3d:
    """The transform from pixels to NDC; the inverse of :func:`get_ndc_to_screen_transform`."""
    return get_ndc_to_screen_transform(cameras, with_xyflip=with_xyflip, image_size=image_size).inverse()


def image_size_tensor(image_size: ImageSize | None) -> torch.Tensor:
    """``image_size`` as float32 (N, 2), height and width in pixels; raises ``ValueError`` if it is missing or wrong."""
    if image_size is None:
        fail("image_size", "(height, width), to convert between NDC and screen", None)
    size = torch.as_tensor(image_size)
    size = size.expand(2) if size.dim() == 0 else size
    if size.dim() > 2 or size.shape[-1] != 2 or (size < 1).any():
        fail("image_size", "positive numbers of shape (2,) or (N, 2)", image_size)
    return size.reshape(-1, 2).float()


def image_points(xy_depth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The coordinates x, y and depth, (N, P) each, of image points (P, 3) or (N, P, 3)."""
    check_tensor("xy_depth", xy_depth, ("...", "P", 3), FLOATS)
    if xy_depth.dim() > 3:
        fail("xy_depth", "shape (P, 3) or (N, P, 3)", tuple(xy_depth.shape))
    x, y, depth = (xy_depth[None] if xy_depth.dim() == 2 else xy_depth).unbind(-1)
    return x, y, depth


def stack_matrix(rows: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
    """Matrices (N, ., .) from rows of their entries, (N,) or (1,) each."""
    n_columns = len(rows[0])
    entries = torch.broadcast_tensors(*(entry for row in rows for entry in row))
    return torch.stack(entries, -1).unflatten(-1, (-1, n_columns))
