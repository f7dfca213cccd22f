"""Lights of the Phong reflection model: what they add to a surface point's colour.

Every function here works on any leading shape: (N, ..., 3) for N images, with one light value an image or one for all,
and (M, 3) for packed points, with light values gathered to M rows (``gather_props``) or one for all.

A new light is a class here. Its ``diffuse`` and ``specular`` serve the torch path. ``fused_kind`` names its kind in
``engine/kernels/lighting.py`` and ``fused_row`` gives what that reads; without them the torch path is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch

from tirender.checks import check_tensor, fail
from tirender.engine.kernels.lighting import DIRECTIONAL, POINT, UNLIT
from tirender.renderer.utils import TensorProperties

EPS = 1e-6  # vectors shorter than this have no direction

Color = Sequence[Sequence[float]] | torch.Tensor


def diffuse(normals: torch.Tensor, color: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Diffuse light that a surface scatters (Lambert): color x max(normal . direction, 0).

    Args:
        normals: (N, ..., 3), of any length.
        color: (1, 3), (N, 3) or (N, ..., 3), RGB of the light.
        direction: (1, 3), (N, 3) or (N, ..., 3), from the surface towards the light, of any length.
    Returns:
        (N, ..., 3), differentiable; vectors shorter than 1e-6 have no direction: about 0, with gradient 0.
    Raises:
        ValueError: where the shapes do not fit.
    """
    direction = per_point("direction", direction, normals)
    cos = (unit_vectors(normals) * unit_vectors(direction)).sum(-1, keepdim=True)
    return per_point("color", color, normals) * cos.relu()


def specular(
    points: torch.Tensor,
    normals: torch.Tensor,
    direction: torch.Tensor,
    color: torch.Tensor,
    camera_position: torch.Tensor,
    shininess: torch.Tensor,
) -> torch.Tensor:
    """Specular highlight (Phong 1975): color x max(reflected . to_camera, 0) ^ shininess, on the lit side only.

    As 0 ^ 0 is 1, a shininess of 0 adds the colour everywhere, on the unlit side too.

    Args:
        points: (N, ..., 3), world space.
        normals: (N, ..., 3), of any length.
        direction: (1, 3), (N, 3) or (N, ..., 3), from the surface towards the light, of any length.
        color: (1, 3), (N, 3) or (N, ..., 3), RGB of the light.
        camera_position: (1, 3), (N, 3) or (N, ..., 3), world space.
        shininess: (1,), (N,) or (N, ...), the exponent.
    Returns:
        (N, ..., 3), differentiable; the gradient is 0 where the highlight is, and where a vector is shorter than 1e-6.
    Raises:
        ValueError: where the shapes do not fit.
    """
    normals = unit_vectors(normals)
    direction = unit_vectors(per_point("direction", direction, points))
    cos = (normals * direction).sum(-1, keepdim=True)
    reflected = 2 * cos * normals - direction
    to_camera = unit_vectors(per_point("camera_position", camera_position, points) - points)
    alpha = torch.where(cos > 0, (to_camera * reflected).sum(-1, keepdim=True), 0)
    exponent = torch.as_tensor(shininess, dtype=points.dtype, device=points.device).reshape(-1, 1)
    if exponent.shape[0] not in (1, *points.shape[:1]):
        exponent = exponent.reshape(*points.shape[:-1], 1)
    exponent = per_point("shininess", exponent, points)
    # The inner `where` keeps 0 from the power, whose gradient can be infinite there.
    lit = alpha > EPS
    power = torch.where(lit, torch.where(lit, alpha, 1) ** exponent, (exponent == 0).to(alpha.dtype))
    return per_point("color", color, points) * power


class FusedRow(NamedTuple):
    """What the fused kernel reads of a light: rows (1, 3) or (N, 3), without the material's colours.

    ``vector`` is what the kind of light makes of it: a location or a direction. None: this light has no such part.
    """

    ambient: torch.Tensor
    diffuse: torch.Tensor | None = None
    specular: torch.Tensor | None = None
    vector: torch.Tensor | None = None


class PointLights(TensorProperties):
    """Lights at a position, as strong near as far.

    Args:
        ambient_color, diffuse_color, specular_color: RGB, (3,) a light: a tuple of N such tuples, or (N, 3).
        location: xyz in world space, (N, 3).
        device: where the tensors live.
    Raises:
        ValueError: where a shape does not fit.
    """

    ambient_color: torch.Tensor
    diffuse_color: torch.Tensor
    specular_color: torch.Tensor
    location: torch.Tensor

    fused_kind: ClassVar[int] = POINT
    widths: ClassVar[dict[str, int | None]] = {
        "ambient_color": None,
        "diffuse_color": 3,
        "specular_color": 3,
        "location": 3,
    }

    def __init__(
        self,
        ambient_color: Color = ((0.5, 0.5, 0.5),),
        diffuse_color: Color = ((0.3, 0.3, 0.3),),
        specular_color: Color = ((0.2, 0.2, 0.2),),
        location: Color = ((0, 1, 0),),
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            device=device,
            ambient_color=ambient_color,
            diffuse_color=diffuse_color,
            specular_color=specular_color,
            location=location,
        )
        check_rows(self, "ambient_color", "diffuse_color", "specular_color", "location")

    def fused_row(self) -> FusedRow:
        """What the fused kernel reads."""
        return FusedRow(*map(as_rows, (self.ambient_color, self.diffuse_color, self.specular_color, self.location)))

    def reshape_location(self, points: torch.Tensor) -> torch.Tensor:
        """``location`` with as many dimensions as ``points`` (N, ..., 3) has."""
        return per_point("location", self.location, points)

    def diffuse(self, normals: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Diffuse light at ``points`` (N, ..., 3) with ``normals`` (N, ..., 3); see :func:`diffuse`."""
        return diffuse(normals, self.diffuse_color, self.reshape_location(points) - points)

    def specular(
        self, normals: torch.Tensor, points: torch.Tensor, camera_position: torch.Tensor, shininess: torch.Tensor
    ) -> torch.Tensor:
        """Specular light at ``points`` (N, ..., 3); see :func:`specular`."""
        direction = self.reshape_location(points) - points
        return specular(points, normals, direction, self.specular_color, camera_position, shininess)


class DirectionalLights(TensorProperties):
    """Lights infinitely far away.

    Args:
        ambient_color, diffuse_color, specular_color: RGB, (N, 3) or N tuples.
        direction: from the scene towards the light, world space, (N, 3), of any length.
        device: where the tensors live.
    Raises:
        ValueError: where a shape does not fit.
    """

    ambient_color: torch.Tensor
    diffuse_color: torch.Tensor
    specular_color: torch.Tensor
    direction: torch.Tensor

    fused_kind: ClassVar[int] = DIRECTIONAL
    widths: ClassVar[dict[str, int | None]] = {
        "ambient_color": None,
        "diffuse_color": 3,
        "specular_color": 3,
        "direction": 3,
    }

    def __init__(
        self,
        ambient_color: Color = ((0.5, 0.5, 0.5),),
        diffuse_color: Color = ((0.3, 0.3, 0.3),),
        specular_color: Color = ((0.2, 0.2, 0.2),),
        direction: Color = ((0, 1, 0),),
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            device=device,
            ambient_color=ambient_color,
            diffuse_color=diffuse_color,
            specular_color=specular_color,
            direction=direction,
        )
        check_rows(self, "ambient_color", "diffuse_color", "specular_color", "direction")

    def fused_row(self) -> FusedRow:
        """What the fused kernel reads."""
        return FusedRow(*map(as_rows, (self.ambient_color, self.diffuse_color, self.specular_color, self.direction)))

    def diffuse(self, normals: torch.Tensor, points: torch.Tensor | None = None) -> torch.Tensor:
        """Diffuse light on surfaces with ``normals`` (N, ..., 3), wherever they are; see :func:`diffuse`."""
        return diffuse(normals, self.diffuse_color, self.direction)

    def specular(
        self, normals: torch.Tensor, points: torch.Tensor, camera_position: torch.Tensor, shininess: torch.Tensor
    ) -> torch.Tensor:
        """Specular light at ``points`` (N, ..., 3); see :func:`specular`."""
        return specular(points, normals, self.direction, self.specular_color, camera_position, shininess)


class AmbientLights(TensorProperties):
    """The same light from everywhere, with any number of channels; no diffuse and no specular part.

    Args:
        ambient_color: (N, C) or N tuples; None: white, (1, 3).
        device: where the tensor lives.
    Raises:
        ValueError: where the shape does not fit.
    """

    ambient_color: torch.Tensor

    fused_kind: ClassVar[int] = UNLIT
    widths: ClassVar[dict[str, int | None]] = {"ambient_color": None}

    def __init__(self, *, ambient_color: Color | None = None, device: torch.device | str = "cpu") -> None:
        super().__init__(device=device, ambient_color=((1.0, 1.0, 1.0),) if ambient_color is None else ambient_color)
        check_rows(self, "ambient_color", channels=None)

    def fused_row(self) -> FusedRow:
        """What the fused kernel reads."""
        return FusedRow(as_rows(self.ambient_color))

    def diffuse(self, normals: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Zeros (N, ..., C)."""
        return self._zeros(points)

    def specular(
        self, normals: torch.Tensor, points: torch.Tensor, camera_position: torch.Tensor, shininess: torch.Tensor
    ) -> torch.Tensor:
        """Zeros (N, ..., C)."""
        return self._zeros(points)

    def _zeros(self, points: torch.Tensor) -> torch.Tensor:
        return points.new_zeros(*points.shape[:-1], self.ambient_color.shape[-1])


def unit_vectors(vectors: torch.Tensor) -> torch.Tensor:
    """``vectors`` (..., 3) scaled to length 1; those shorter than 1e-6 are divided by 1e-6 and pass no gradient."""
    squared = (vectors * vectors).sum(-1, keepdim=True)
    long_enough = squared > EPS * EPS
    unit = vectors / torch.where(long_enough, squared, 1).sqrt()
    return torch.where(long_enough, unit, vectors.detach() / EPS)


def per_point(name: str, value: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """``value`` (1, C) or (N, C) as (1 or N, 1, ..., 1, C), to be broadcast with ``points`` (N, ..., 3)."""
    if value.dim() != points.dim():
        value = as_rows(value)
    if value.dim() == points.dim():
        if value.dim() == 2 and value.shape[0] not in (1, points.shape[0]):
            fail(name, f"1 or {points.shape[0]} rows", value.shape[0])
        return value
    if value.dim() != 2 or value.shape[0] not in (1, points.shape[0]):
        fail(name, f"shape (1, C), ({points.shape[0]}, C) or that of the points {tuple(points.shape)}", value.shape)
    return value.view(value.shape[0], *(1,) * (points.dim() - 2), value.shape[1])


def as_rows(value: torch.Tensor) -> torch.Tensor:
    """(N, C) of a property (N, 1, ..., 1, C), as PyTorch3D takes it too; others as they are."""
    return value.reshape(len(value), -1) if value.dim() > 2 and set(value.shape[1:-1]) == {1} else value


def check_rows(properties: Any, *names: str, channels: int | None = 3) -> None:
    """Raise ``ValueError`` where one of an object's tensors is not (N, channels) or (N, 1, ..., 1, channels)."""
    for name in names:
        check_tensor(name, as_rows(check_tensor(name, getattr(properties, name))), ("N", channels or "C"))
