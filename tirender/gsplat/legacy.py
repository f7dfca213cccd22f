"""Functions of gsplat 0.1, for programs that were written for it; ``gsplat.rasterization`` does all of it in one call.

Their pixel centres, blur and limits are those of gsplat 0.1.11, which later versions share.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from tirender.checks import FLOATS, check_tensor
from tirender.engine.composite_gaussians import Canvas, composite_gaussians
from tirender.engine.gaussian_tiles import Gaussians2D
from tirender.gsplat.cuda import _wrapper
from tirender.transforms.rotation_conversions import quaternion_to_matrix

__all__ = ["num_sh_bases", "project_gaussians", "quat_to_rotmat", "rasterize_gaussians", "spherical_harmonics"]


def project_gaussians(
    means3d: torch.Tensor,
    scales: torch.Tensor,
    glob_scale: float,
    quats: torch.Tensor,
    viewmat: torch.Tensor,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    img_height: int,
    img_width: int,
    block_width: int,
    clip_thresh: float = 0.01,
) -> tuple[torch.Tensor, ...]:
    """Project N Gaussians to one image.

    Args:
        means3d: (N, 3), in world space.
        scales: (N, 3) standard deviations.
        glob_scale: a factor of all scales.
        quats: (N, 4) rotations (w, x, y, z).
        viewmat: (4, 4) or its first 3 rows, from the world to camera space.
        fx, fy, cx, cy: focal lengths and centre, in pixels.
        img_height, img_width: in pixels.
        block_width: the side of a tile in pixels, for ``num_tiles_hit``.
        clip_thresh: the least depth that is drawn.
    Returns:
        xys (N, 2) in pixels, depths (N,), radii (N,) int32 with 0 for what is not drawn, conics (N, 3), compensation
        (N,), num_tiles_hit (N,) int32, cov3d (N, 6). Differentiable in means3d, scales, quats and viewmat.
    Raises:
        ValueError: if shapes do not fit.
    """
    check_tensor("viewmat", viewmat, ("3 or 4", 4), FLOATS)
    view = torch.cat([viewmat[:3], viewmat.new_tensor([[0, 0, 0, 1]])])
    intrinsics = view.new_tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    scales = scales * glob_scale
    found: Any = _wrapper.fully_fused_projection(
        means3d,
        None,
        quats,
        scales,
        view[None],
        intrinsics[None],
        img_width,
        img_height,
        near_plane=clip_thresh,
        calc_compensations=True,
    )
    radii, xys, depths, conics, compensation = found
    tiles = (-(-img_width // block_width), -(-img_height // block_width))
    hit, _, _ = _wrapper.isect_tiles(xys, radii, depths, block_width, *tiles, sort=False)
    covars, _ = _wrapper.quat_scale_to_covar_preci(quats, scales, compute_preci=False, triu=True)
    assert covars is not None
    return xys[0], depths[0], radii[0].amax(-1), conics[0], compensation[0], hit[0], covars


def rasterize_gaussians(
    xys: torch.Tensor,
    depths: torch.Tensor,
    radii: torch.Tensor,
    conics: torch.Tensor,
    num_tiles_hit: torch.Tensor,
    colors: torch.Tensor,
    opacity: torch.Tensor,
    img_height: int,
    img_width: int,
    block_width: int,
    background: torch.Tensor | None = None,
    return_alpha: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Draw N projected Gaussians.

    Args:
        xys, depths, radii, conics: of :func:`project_gaussians`.
        num_tiles_hit, block_width: ignored.
        colors: (N, C) floats, or uint8, which count as 255ths.
        opacity: (N, 1).
        img_height, img_width: in pixels.
        background: (C,); None for 1.
        return_alpha: whether opacities are returned too.
    Returns:
        (H, W, C), and (H, W) if asked for; differentiable in xys, conics, colors, opacity and background.
    Raises:
        ValueError: if shapes do not fit.
    """
    del num_tiles_hit, block_width
    n = len(check_tensor("xys", xys, ("N", 2), FLOATS))
    if colors.dtype == torch.uint8:
        colors = colors.to(xys) / 255
    check_tensor("conics", conics, (n, 3), like=xys)
    n_channels = check_tensor("colors", colors, (n, "C"), like=xys).shape[1]
    check_tensor("opacity", opacity, (n, 1), like=xys)
    drawn = check_tensor("radii", radii, (n,)).int()[:, None]
    check_tensor("depths", depths, (n,), like=xys)
    if background is None:
        background = xys.new_ones(n_channels)
    check_tensor("background", background, (n_channels,), like=xys)
    gaussians = Gaussians2D(
        xys, conics, colors, opacity[:, 0], torch.zeros_like(drawn[:, 0]), depths.detach().contiguous(), drawn
    )
    images, alphas = composite_gaussians(gaussians, background[None], Canvas(img_height, img_width, 1))
    return (images[0], alphas[0, ..., 0]) if return_alpha else images[0]


def spherical_harmonics(
    degrees_to_use: int, viewdirs: torch.Tensor, coeffs: torch.Tensor, method: str = "fast"
) -> torch.Tensor:
    """Sums of spherical harmonics, (..., 3); ``method`` is ignored."""
    del method
    return _wrapper.spherical_harmonics(degrees_to_use, F.normalize(viewdirs, dim=-1), coeffs)


def num_sh_bases(degree: int) -> int:
    """How many coefficients harmonics up to a degree have; those of degrees above 4 count as 25."""
    return (min(degree, 4) + 1) ** 2


def quat_to_rotmat(quat: torch.Tensor) -> torch.Tensor:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4) of any length, w first."""
    return quaternion_to_matrix(quat)
