"""Fisheye cameras with radial, tangential and thin-prism distortion: the FisheyeRadTanThinPrism model of Project Aria.

The projection, with (a, b) = (x, y) / z, r = |(a, b)| and theta = atan(r), is:
    radial      d = (a, b) * theta / r * (1 + k0 theta^2 + k1 theta^4 + ...)
    tangential  t = 2 (d . p) d + |d|^2 p
    thin prism  s = |d|^2 (s0, s2) + |d|^4 (s1, s3)
    projection  f * (d + t + s) + c, with (a, b) in place of this d if ``use_radial`` is False
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from tirender.checks import FLOATS, check_tensor, fail
from tirender.renderer.cameras_base import IDENTITY_R, ZERO_T, CamerasBase, ImageSize, image_size_tensor
from tirender.renderer.utils import Broadcastable
from tirender.transforms.math import away_from_zero

MAX_NEWTON_STEPS = 50
MAX_THETA = 0.999 * math.pi / 2  # unprojected points stay in front of the camera


class FishEyeCameras(CamerasBase):
    """Cameras with wide-angle lenses. Points behind a camera are projected through its centre.

    Args:
        focal_length: (N, 1) or (N, 2), in the unit of the image: NDC (needed for rendering) or pixels.
        principal_point: (N, 2), in the same unit.
        radial_params: (N, n), the coefficients k0, k1, ... of theta^2, theta^4, ...
        tangential_params: (N, 2), p.
        thin_prism_params: (N, 4), s0 to s3.
        R: (N, 3, 3), rotations from world to view space.
        T: (N, 3), translations from world to view space.
        world_coordinates: whether points are in world space; otherwise they are in view space, and ``R`` and ``T`` are
            ignored.
        use_radial, use_tangential, use_thin_prism: which distortions to apply. Radial parameters of zero give the
            equidistant fisheye; ``use_radial=False`` gives a pinhole.
        device: the device of the tensors.
        image_size: (height, width) or (N, 2) of them, in pixels, for the transform from NDC to the screen.
    Raises:
        ValueError: if a shape does not fit, or an image size is not positive.
    """

    focal_length: torch.Tensor
    principal_point: torch.Tensor
    radial_params: torch.Tensor
    tangential_params: torch.Tensor
    thin_prism_params: torch.Tensor
    _SHARED_FIELDS = ("world_coordinates", "use_radial", "use_tangential", "use_thin_prism")
    _FIELDS = (
        "focal_length",
        "principal_point",
        "radial_params",
        "tangential_params",
        "thin_prism_params",
        "R",
        "T",
        "image_size",
        *_SHARED_FIELDS,
    )

    def __init__(
        self,
        focal_length: Broadcastable = ((1.0,),),
        principal_point: Broadcastable = ((0.0, 0.0),),
        radial_params: Broadcastable = ((0.0, 0.0, 0.0, 0.0, 0.0, 0.0),),
        tangential_params: Broadcastable = ((0.0, 0.0),),
        thin_prism_params: Broadcastable = ((0.0, 0.0, 0.0, 0.0),),
        R: Any = IDENTITY_R,
        T: Any = ZERO_T,
        world_coordinates: bool = False,
        use_radial: bool = True,
        use_tangential: bool = True,
        use_thin_prism: bool = True,
        device: torch.device | str = "cpu",
        image_size: ImageSize | None = None,
    ) -> None:
        super().__init__(
            device=device,
            focal_length=focal_length,
            principal_point=principal_point,
            radial_params=radial_params,
            tangential_params=tangential_params,
            thin_prism_params=thin_prism_params,
            R=R,
            T=T,
            image_size=None if image_size is None else image_size_tensor(image_size),
        )
        self.world_coordinates = world_coordinates
        self.use_radial = use_radial
        self.use_tangential = use_tangential
        self.use_thin_prism = use_thin_prism
        if self.focal_length.dim() != 2 or self.focal_length.shape[1] not in (1, 2):
            fail("focal_length", "shape (N, 1) or (N, 2)", tuple(self.focal_length.shape))
        check_tensor("principal_point", self.principal_point, ("N", 2))
        check_tensor("radial_params", self.radial_params, ("N", "n"))
        check_tensor("tangential_params", self.tangential_params, ("N", 2))
        check_tensor("thin_prism_params", self.thin_prism_params, ("N", 4))

    def transform_points(self, points: torch.Tensor, eps: float | None = None, **kwargs: Any) -> torch.Tensor:
        """Project points onto the image.

        Args:
            points: (P, 3), or (N or 1, P, 3), in world space if ``world_coordinates``, else in view space.
            eps: least distance from the camera plane in the division; a point closer to it is treated as at this
                distance on its side, without a gradient. None: a point on the camera plane gives inf or nan.
            R, T: override the cameras' own and are stored.
        Returns:
            x, y and 1: (N, P, 3), or (P, 3) if ``points`` is (P, 3) and N = 1; differentiable.
        Raises:
            ValueError: if a shape does not fit.
        """
        batch = self._batch_of("points", points)
        if self.world_coordinates:
            batch = self.get_world_to_view_transform(**kwargs).transform_points(batch)
        z = batch[..., 2:] if eps is None else away_from_zero(batch[..., 2:], eps)
        distorted = self._distort(batch[..., :2] / z)
        image = self.focal_length[:, None] * distorted + self.principal_point[:, None]
        return _unbatch(torch.cat([image, torch.ones_like(image[..., :1])], -1), points)

    def unproject_points(
        self,
        xy_depth: torch.Tensor,
        world_coordinates: bool = True,
        scaled_depth_input: bool = False,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Map image points and depths to points in space, by Newton's method: the inverse of :meth:`transform_points`.

        PyTorch3D always returns points of depth 1 in view space, and inverts the radial distortion even if it is off.

        Args:
            xy_depth: (P, 3), or (N or 1, P, 3): x and y as ``transform_points`` returns them, and the view depth.
            world_coordinates: return points in world space if the cameras take such points; otherwise in view space.
            scaled_depth_input: ignored; these cameras have no scaled depth.
            R, T: override the cameras' own and are stored.
        Returns:
            (N, P, 3), or (P, 3) if ``xy_depth`` is (P, 3) and N = 1; differentiable (implicit function theorem).
        Raises:
            ValueError: if a shape does not fit.
        """
        batch = self._batch_of("xy_depth", xy_depth)
        undistorted = self._undistort((batch[..., :2] - self.principal_point[:, None]) / self.focal_length[:, None])
        depth = batch[..., 2:].expand(*undistorted.shape[:-1], 1)
        points = torch.cat([undistorted * depth, depth], -1)
        if world_coordinates and self.world_coordinates:
            points = self.get_world_to_view_transform(**kwargs).inverse().transform_points(points)
        return _unbatch(points, xy_depth)

    def is_perspective(self) -> bool:
        """False: straight lines are curved in the image."""
        return False

    def in_ndc(self) -> bool:
        """True: rendering interprets the output of ``transform_points`` as NDC."""
        return True

    def _batch_of(self, name: str, points: torch.Tensor) -> torch.Tensor:
        check_tensor(name, points, ("...", "P", 3), FLOATS)
        batch = points[None] if points.dim() == 2 else points
        if batch.dim() != 3 or (len(batch) != len(self) and 1 not in (len(batch), len(self))):
            fail(name, f"shape (P, 3) or (N, P, 3) with N of 1 or {len(self)}", tuple(points.shape))
        return batch.to(self.device)

    def _distort(self, slopes: torch.Tensor) -> torch.Tensor:
        """Apply all distortions to (x, y) / z, (N, P, 2)."""
        radial = self._distort_radially(slopes)
        return (radial if self.use_radial else slopes) + self._offset(radial)

    def _distort_radially(self, slopes: torch.Tensor) -> torch.Tensor:
        squared = (slopes * slopes).sum(-1, keepdim=True)
        small = squared < 1e-4
        r = torch.where(small, 1, squared).sqrt()
        series = 1 - squared * (1 / 3 - squared * (1 / 5 - squared * (1 / 7 - squared / 9)))
        theta_over_r = torch.where(small, series, r.atan() / r)
        return slopes * theta_over_r * self._radial_gain(theta_over_r**2 * squared)

    def _radial_gain(self, squared_theta: torch.Tensor) -> torch.Tensor:
        """1 + k0 theta^2 + k1 theta^4 + ..., from theta^2 (N, P, 1)."""
        gain = torch.zeros_like(squared_theta)
        for k in reversed(self.radial_params.unbind(1)):
            gain = (gain + k[:, None, None]) * squared_theta
        return 1 + gain

    def _offset(self, radial: torch.Tensor) -> torch.Tensor:
        """The offsets (N, P, 2) of the tangential and the thin-prism distortion."""
        offset = torch.zeros_like(radial)
        squared = (radial * radial).sum(-1, keepdim=True)
        if self.use_tangential:
            p = self.tangential_params[:, None]
            offset = offset + 2 * (radial * p).sum(-1, keepdim=True) * radial + squared * p
        if self.use_thin_prism:
            s = self.thin_prism_params[:, None]
            offset = offset + squared * s[..., 0::2] + squared**2 * s[..., 1::2]
        return offset

    def _undistort(self, distorted: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`_distort`, up to an angle of 89.9 degrees from the axis."""
        if not self.use_radial:
            return _solve(self._distort, distorted)
        radial = _solve(lambda d: d + self._offset(d), distorted)
        length = torch.linalg.vector_norm(radial, dim=-1, keepdim=True)
        theta = _solve(lambda t: t * self._radial_gain(t * t), length, 0, MAX_THETA)
        small = theta < 1e-4
        near_axis = (1 + theta * theta / 3) / self._radial_gain(theta * theta)
        return radial * torch.where(small, near_axis, theta.tan() / torch.where(small, 1, length))


def _solve(
    function: Callable[[torch.Tensor], torch.Tensor],
    target: torch.Tensor,
    lower: float = -math.inf,
    upper: float = math.inf,
) -> torch.Tensor:
    """Solve function(x) = target by Newton's method, starting at x = target; the last dimension has size 1 or 2.

    Only the last step is differentiable, with a constant Jacobian. By the implicit function theorem, this gives the
    exact gradient of the solution, whatever the number of steps before.
    """
    with torch.no_grad():
        x = target.clamp(lower, upper)
        for _ in range(MAX_NEWTON_STEPS):
            previous = x
            x = (x + _newton_step(function, x, target)).clamp(lower, upper)
            if not ((x - previous).abs() > 4 * torch.finfo(x.dtype).eps * (1 + x.abs())).any():
                break
    return (x + _newton_step(function, x, target)).clamp(lower, upper)


def _newton_step(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """J^-1 (target - function(x)), with the Jacobian J detached and its determinant kept away from 0."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        value = function(leaf)
        columns = [torch.autograd.grad(v.sum(), leaf, retain_graph=True)[0] for v in value.unbind(-1)]
    jacobian = torch.stack(columns, -2).detach()
    residual = target - function(x.detach())
    if x.shape[-1] == 1:
        return residual / away_from_zero(jacobian[..., 0], 1e-10)
    (a, b), (c, d) = (row.unbind(-1) for row in jacobian.unbind(-2))
    determinant = away_from_zero(a * d - b * c, 1e-10)
    u, v = residual.unbind(-1)
    return torch.stack([(d * u - b * v) / determinant, (a * v - c * u) / determinant], -1)


def _unbatch(result: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return result[0] if points.dim() == 2 and len(result) == 1 else result
