"""Functions of gsplat that tirender does not have; programs may import them, and learn so when they call one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn


class FThetaPolynomialType(Enum):
    """Which way the polynomial of an f-theta lens leads."""

    PIXELDIST_TO_ANGLE = 0
    ANGLE_TO_PIXELDIST = 1


@dataclass
class FThetaCameraDistortionParameters:
    """An f-theta lens, for ``ftheta_coeffs``, which is refused."""

    reference_poly: FThetaPolynomialType
    pixeldist_to_angle_poly: tuple[float, ...]
    angle_to_pixeldist_poly: tuple[float, ...]
    max_angle: float
    linear_cde: tuple[float, float, float]


@dataclass
class UnscentedTransformParameters:
    """Settings of the projection ``with_ut``, which is refused."""

    alpha: float = 0.1
    beta: float = 2.0
    kappa: float = 0.0
    in_image_margin_factor: float = 0.1
    require_all_sigma_points_valid: bool = True


def _not_built(name: str, instead: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(f"{name}: tirender.gsplat does not have it; {instead}")

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


_3D = "rasterization draws 3D Gaussians"
_UT = "rasterization projects Gaussians by their Jacobian"
rasterization_2dgs = _not_built("rasterization_2dgs", _3D)
rasterization_2dgs_inria_wrapper = _not_built("rasterization_2dgs_inria_wrapper", _3D)
rasterize_to_pixels_2dgs = _not_built("rasterize_to_pixels_2dgs", _3D)
rasterize_to_indices_in_range_2dgs = _not_built("rasterize_to_indices_in_range_2dgs", _3D)
fully_fused_projection_2dgs = _not_built("fully_fused_projection_2dgs", _3D)
accumulate_2dgs = _not_built("accumulate_2dgs", _3D)
fully_fused_projection_with_ut = _not_built("fully_fused_projection_with_ut", _UT)
rasterize_to_pixels_eval3d = _not_built("rasterize_to_pixels_eval3d", _UT)
rasterization_inria_wrapper = _not_built("rasterization_inria_wrapper", "use rasterization")
rasterize_to_indices_in_range = _not_built("rasterize_to_indices_in_range", "use rasterize_to_pixels")
accumulate = _not_built("accumulate", "use rasterize_to_pixels")
png_compression = _not_built("PngCompression", "tirender.io saves and loads .ply and .splat")
