"""gsplat's name for tirender's Gaussian splatting: after ``install()``, ``import gsplat`` means this module.

Functions, arguments, conventions and returns are those of gsplat 1.5.3, so that a trainer written for gsplat runs where
there is no CUDA: replace its device by ``"cpu"``. So are those of gsplat 0.1, ``project_gaussians`` and
``rasterize_gaussians``. Two lines at the top of a program do it::

    import tirender.gsplat
    tirender.gsplat.install()

What differs:

- tiles are exact, so that they list fewer Gaussians; images are the same. ``tile_size``, ``segmented`` and
  ``channel_chunk`` change nothing;
- ``DefaultStrategy`` resets opacities, as gsplat's documentation says; its version 1.5.3 never does;
- with batch dimensions, what ``meta`` holds has no gradient;
- not built, and refused by name: ``sparse_grad``, ``distributed``, ``with_ut``, ``with_eval3d``,
  lens distortion, rolling shutter, the f-theta camera, 2D Gaussian splatting, PNG compression.
"""

from tirender.gsplat.compression import PngCompression
from tirender.gsplat.cuda._wrapper import (
    RollingShutterType,
    fully_fused_projection,
    isect_offset_encode,
    isect_tiles,
    proj,
    quat_scale_to_covar_preci,
    rasterize_to_pixels,
    spherical_harmonics,
    world_to_cam,
)
from tirender.gsplat.exporter import export_splats
from tirender.gsplat.legacy import num_sh_bases, project_gaussians, rasterize_gaussians
from tirender.gsplat.names import install
from tirender.gsplat.not_built import (
    accumulate,
    accumulate_2dgs,
    fully_fused_projection_2dgs,
    fully_fused_projection_with_ut,
    rasterization_2dgs,
    rasterization_2dgs_inria_wrapper,
    rasterization_inria_wrapper,
    rasterize_to_indices_in_range,
    rasterize_to_indices_in_range_2dgs,
    rasterize_to_pixels_2dgs,
    rasterize_to_pixels_eval3d,
)
from tirender.gsplat.optimizers import SelectiveAdam
from tirender.gsplat.rendering import rasterization
from tirender.gsplat.strategy import DefaultStrategy, MCMCStrategy, Strategy
from tirender.gsplat.version import __version__

__all__ = [
    "DefaultStrategy",
    "MCMCStrategy",
    "PngCompression",
    "RollingShutterType",
    "SelectiveAdam",
    "Strategy",
    "__version__",
    "accumulate",
    "accumulate_2dgs",
    "export_splats",
    "fully_fused_projection",
    "fully_fused_projection_2dgs",
    "fully_fused_projection_with_ut",
    "install",
    "isect_offset_encode",
    "isect_tiles",
    "num_sh_bases",
    "proj",
    "project_gaussians",
    "quat_scale_to_covar_preci",
    "rasterization",
    "rasterization_2dgs",
    "rasterization_2dgs_inria_wrapper",
    "rasterization_inria_wrapper",
    "rasterize_gaussians",
    "rasterize_to_indices_in_range",
    "rasterize_to_indices_in_range_2dgs",
    "rasterize_to_pixels",
    "rasterize_to_pixels_2dgs",
    "rasterize_to_pixels_eval3d",
    "spherical_harmonics",
    "world_to_cam",
]
