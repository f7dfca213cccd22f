"""Functions of gsplat that tirender does not have; programs may import them, and learn so when they call one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


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
