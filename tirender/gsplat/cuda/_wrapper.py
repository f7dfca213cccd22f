"""``gsplat.cuda._wrapper``: the single steps of rasterization."""

from __future__ import annotations

import math
import warnings
from enum import Enum

import torch

from tirender.checks import FLOATS, check_choice, check_tensor, fail
from tirender.engine.composite_gaussians import Canvas, composite_gaussians, limits_of
from tirender.engine.gaussian_tiles import Gaussians2D, given_tiles
from tirender.engine.kernels.composite_gaussians import ROWS
from tirender.engine.project_gaussians import MODELS, Projection, project_gaussians
from tirender.engine.spherical_harmonics import MAX_DEGREE, view_colors
from tirender.engine.tiles import prefix_sum
from tirender.gsplat.not_built import (
    FThetaCameraDistortionParameters,
    FThetaPolynomialType,
    UnscentedTransformParameters,
    accumulate,
    fully_fused_projection_2dgs,
    fully_fused_projection_with_ut,
    rasterize_to_indices_in_range,
    rasterize_to_indices_in_range_2dgs,
    rasterize_to_pixels_2dgs,
    rasterize_to_pixels_eval3d,
)
from tirender.transforms.rotation_conversions import quaternion_to_matrix

__all__ = [
    "FThetaCameraDistortionParameters",
    "FThetaPolynomialType",
    "RollingShutterType",
    "UnscentedTransformParameters",
    "accumulate",
    "fully_fused_projection",
    "fully_fused_projection_2dgs",
    "fully_fused_projection_with_ut",
    "isect_offset_encode",
    "isect_tiles",
    "proj",
    "quat_scale_to_covar_preci",
    "rasterize_to_indices_in_range",
    "rasterize_to_indices_in_range_2dgs",
    "rasterize_to_pixels",
    "rasterize_to_pixels_2dgs",
    "rasterize_to_pixels_eval3d",
    "spherical_harmonics",
    "world_to_cam",
]
UPPER = ([0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2])


class RollingShutterType(Enum):
    """gsplat's kinds of shutter; only ``GLOBAL`` is built."""

    ROLLING_TOP_TO_BOTTOM = 0
    ROLLING_LEFT_TO_RIGHT = 1
    ROLLING_BOTTOM_TO_TOP = 2
    ROLLING_RIGHT_TO_LEFT = 3
    GLOBAL = 4


def spherical_harmonics(
    degrees_to_use: int, dirs: torch.Tensor, coeffs: torch.Tensor, masks: torch.Tensor | None = None
) -> torch.Tensor:
    """Sums of spherical harmonics.

    Args:
        degrees_to_use: 0 to 4.
        dirs: (..., 3) directions of any length.
        coeffs: (..., K, 3), K at least ``(degrees_to_use + 1) ** 2``.
        masks: (...) bool, where the result is wanted; 0 elsewhere. None for everywhere.
    Returns:
        (..., 3); differentiable in directions and coefficients.
    Raises:
        ValueError: if shapes do not fit.
    """
    check_tensor("dirs", dirs, ("...", 3), FLOATS)
    shape = dirs.shape[:-1]
    if degrees_to_use not in range(MAX_DEGREE + 1):
        fail("degrees_to_use", f"0 to {MAX_DEGREE}", degrees_to_use)
    if coeffs.shape[:-2] != shape or coeffs.shape[-1:] != (3,) or coeffs.shape[-2] < (degrees_to_use + 1) ** 2:
        expected = f"shape {(*shape, f'{(degrees_to_use + 1) ** 2} or more', 3)}"
        fail("coeffs", expected, tuple(coeffs.shape))
    n = math.prod(shape)
    drawn = torch.ones(1, n, 1, dtype=torch.int32, device=dirs.device)
    if masks is not None:
        drawn = check_tensor("masks", masks, shape).reshape(1, n, 1).int()
    flat = coeffs.reshape(n, *coeffs.shape[-2:])
    colors = view_colors(dirs.reshape(n, 3), dirs.new_zeros(1, 3), flat, degrees_to_use, drawn, clamped=False)
    return colors.view(dirs.shape)


def quat_scale_to_covar_preci(
    quats: torch.Tensor,
    scales: torch.Tensor,
    compute_covar: bool = True,
    compute_preci: bool = True,
    triu: bool = False,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Covariances and their inverses.

    Args:
        quats: (..., 4) rotations (w, x, y, z) of any length.
        scales: (..., 3).
        compute_covar, compute_preci: which of the two are wanted; None stands for the other.
        triu: whether only xx, xy, xz, yy, yz, zz are wanted, (..., 6).
    Returns:
        (..., 3, 3) twice; differentiable.
    Raises:
        ValueError: if shapes do not fit.
    """
    check_tensor("quats", quats, ("...", 4), FLOATS)
    check_tensor("scales", scales, (*quats.shape[:-1], 3), like=quats)
    turns = quaternion_to_matrix(quats)

    def squared(factors: torch.Tensor) -> torch.Tensor:
        half = turns * factors[..., None, :]
        full = half @ half.transpose(-1, -2)
        return full[..., UPPER[0], UPPER[1]] if triu else full

    return squared(scales) if compute_covar else None, squared(1 / scales) if compute_preci else None


def world_to_cam(
    means: torch.Tensor, covars: torch.Tensor, viewmats: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Means (..., C, N, 3) and covariances (..., C, N, 3, 3) in the space of cameras; deprecated in gsplat too."""
    warnings.warn("world_to_cam: removed from later versions of gsplat", DeprecationWarning, stacklevel=2)
    turn = viewmats[..., None, :3, :3]
    moved = (turn @ means[..., None, :, :, None])[..., 0] + viewmats[..., None, :3, 3]
    return moved, turn @ covars[..., None, :, :, :] @ turn.transpose(-1, -2)


def proj(
    means: torch.Tensor,
    covars: torch.Tensor,
    Ks: torch.Tensor,
    width: int,
    height: int,
    camera_model: str = "pinhole",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Project Gaussians in the space of cameras, without blur.

    Args:
        means: (C, N, 3).
        covars: (C, N, 3, 3).
        Ks: (C, 3, 3) in pixels.
        width, height: of the images.
        camera_model: ``"pinhole"``, ``"ortho"`` or ``"fisheye"``.
    Returns:
        means (C, N, 2) and covariances (C, N, 2, 2) in pixels; 0 for what is at or behind the camera, or out of sight.
        Differentiable in means and covariances.
    """
    check_choice("camera_model", camera_model, list(MODELS))
    projection = Projection(width, height, camera_model, 0.0, -1e30 if camera_model == "ortho" else 0.0)
    outputs = []
    for mean, covar, K in zip(means, covars, Ks):
        view = torch.eye(4).to(mean)[None]
        means2d, _, conics, _, _ = project_gaussians(
            mean, None, covar[:, UPPER[0], UPPER[1]], None, view, K[None], projection
        )
        a, b, c = conics[0].unbind(-1)
        inverse = torch.stack([c, -b, -b, a], -1) / (a * c - b * b).where(a > 0, 1)[..., None]
        outputs.append((means2d[0], inverse.view(-1, 2, 2)))
    return torch.stack([m for m, _ in outputs]), torch.stack([c for _, c in outputs])


def fully_fused_projection(
    means: torch.Tensor,
    covars: torch.Tensor | None,
    quats: torch.Tensor | None,
    scales: torch.Tensor | None,
    viewmats: torch.Tensor,
    Ks: torch.Tensor,
    width: int,
    height: int,
    eps2d: float = 0.3,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    packed: bool = False,
    sparse_grad: bool = False,
    calc_compensations: bool = False,
    camera_model: str = "pinhole",
    opacities: torch.Tensor | None = None,
) -> tuple[torch.Tensor | None, ...]:
    """Project Gaussians of the world to images.

    Args:
        means: (N, 3).
        covars: (N, 6), or None to take quats and scales.
        quats: (N, 4) rotations (w, x, y, z) of any length.
        scales: (N, 3).
        viewmats: (C, 4, 4) from the world to camera space.
        Ks: (C, 3, 3) in pixels.
        width, height: of the images.
        eps2d: variance added in the image, in square pixels.
        near_plane, far_plane: the least and the greatest depth that is drawn.
        radius_clip: what is not larger, in pixels, is not drawn.
        packed: whether to list only what is drawn.
        calc_compensations: whether to compute by how much the blur is to lower opacities.
        camera_model: ``"pinhole"``, ``"ortho"`` or ``"fisheye"``.
        opacities: (N,), for tighter radii; None for 1.
    Returns:
        radii (C, N, 2) int32, means2d (C, N, 2), depths (C, N), conics (C, N, 3), compensations (C, N) or None. Packed:
        batch_ids, camera_ids and gaussian_ids (n,) int64, and then these as (n, ...). Differentiable in means, covars,
        quats, scales and viewmats.
    Raises:
        ValueError: if shapes do not fit, or for ``sparse_grad`` or another camera.
    """
    n = len(check_tensor("means", means, ("N", 3), FLOATS))
    if sparse_grad:
        fail("sparse_grad", "False, as dense gradients are all that is built", sparse_grad)
    check_choice("camera_model", camera_model, list(MODELS))
    if covars is None:
        check_tensor("quats", quats, (n, 4), like=means)
        shapes = check_tensor("scales", scales, (n, 3), like=means)
    else:
        shapes, quats = check_tensor("covars", covars, (n, 6), like=means), None
    n_cameras = len(check_tensor("viewmats", viewmats, ("C", 4, 4), like=means))
    check_tensor("Ks", Ks, (n_cameras, 3, 3), like=means)
    projection = Projection(
        width, height, camera_model, eps2d, near_plane, far_plane, radius_clip, compensated=calc_compensations
    )
    means2d, depths, conics, compensations, radii = project_gaussians(
        means, quats, shapes, opacities, viewmats, Ks, projection
    )
    values = [radii, means2d, depths, conics, *([compensations] if calc_compensations else [])]
    none = [] if calc_compensations else [None]
    if not packed:
        return (*values, *none)
    rows = (radii.view(-1, 2)[:, 0] > 0).nonzero()[:, 0]
    values = [v.reshape(n_cameras * n, *v.shape[2:]).index_select(0, rows) for v in values]
    return (torch.zeros_like(rows), rows // n, rows % n, *values, *none)


@torch.no_grad()
def isect_tiles(
    means2d: torch.Tensor,
    radii: torch.Tensor,
    depths: torch.Tensor,
    tile_size: int,
    tile_width: int,
    tile_height: int,
    sort: bool = True,
    segmented: bool = False,
    packed: bool = False,
    n_images: int | None = None,
    image_ids: torch.Tensor | None = None,
    gaussian_ids: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The tiles that the boxes of Gaussians meet.

    Args:
        means2d: (..., N, 2), or (n, 2) if packed.
        radii: (..., N, 2) or (n, 2) int32.
        depths: (..., N) or (n,).
        tile_size: in pixels.
        tile_width, tile_height: tiles in a row and in a column of an image.
        sort: whether to sort by image, tile and depth.
        packed: whether these are of what is drawn only; then ``n_images`` and ``image_ids`` (n,) are needed.
    Returns:
        tiles of each Gaussian, int32 (..., N) or (n,); ids (m,) int64, image, tile and the bits of the depth in one
        number; Gaussians (m,) int32, counted through all images.
    """
    del segmented, gaussian_ids
    shape = depths.shape
    if packed:
        if n_images is None or image_ids is None:
            fail("image_ids", "a tensor, and n_images, if packed", None)
        image = image_ids.long()
    else:
        image = torch.arange(math.prod(shape[:-1]), device=depths.device).repeat_interleave(shape[-1])
    means2d, radii, depths = means2d.reshape(-1, 2), radii.reshape(-1, 2), depths.reshape(-1).float().contiguous()
    most = torch.tensor([tile_width, tile_height], device=depths.device)
    first = ((means2d - radii) / tile_size).floor().long().clamp(min=0).minimum(most)
    last = ((means2d + radii) / tile_size).ceil().long().clamp(min=0).minimum(most)
    size = torch.where((radii > 0).all(1, keepdim=True), last - first, 0)
    counts = size.prod(1)
    owner = torch.repeat_interleave(torch.arange(len(counts), device=depths.device), counts)
    place = torch.arange(len(owner), device=depths.device) - (counts.cumsum(0) - counts).index_select(0, owner)
    columns = size[:, 0].index_select(0, owner).clamp(min=1)
    x = first[:, 0].index_select(0, owner) + place % columns
    y = first[:, 1].index_select(0, owner) + place // columns
    tile_bits = (tile_width * tile_height).bit_length()
    tile = (image.index_select(0, owner) << tile_bits) + y * tile_width + x
    ids = (tile << 32) + (depths.view(torch.int32).long() & 0xFFFFFFFF).index_select(0, owner)
    owner = owner.int()
    if sort:
        ids, order = ids.sort(stable=True)
        owner = owner.index_select(0, order)
    return counts.view(shape).int(), ids, owner


@torch.no_grad()
def isect_offset_encode(isect_ids: torch.Tensor, n_images: int, tile_width: int, tile_height: int) -> torch.Tensor:
    """Where the entries of each tile begin, (n_images, tile_height, tile_width) int32, in sorted ids (m,)."""
    n_tiles, tile_bits = tile_width * tile_height, (tile_width * tile_height).bit_length()
    tile = isect_ids >> 32
    tile = (tile >> tile_bits) * n_tiles + (tile & ((1 << tile_bits) - 1))
    counts = torch.bincount(tile, minlength=n_images * n_tiles)
    return prefix_sum(counts)[:-1].view(n_images, tile_height, tile_width)


def rasterize_to_pixels(
    means2d: torch.Tensor,
    conics: torch.Tensor,
    colors: torch.Tensor,
    opacities: torch.Tensor,
    image_width: int,
    image_height: int,
    tile_size: int,
    isect_offsets: torch.Tensor,
    flatten_ids: torch.Tensor,
    backgrounds: torch.Tensor | None = None,
    masks: torch.Tensor | None = None,
    packed: bool = False,
    absgrad: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw Gaussians of images that are listed tile by tile.

    Args:
        means2d: (..., N, 2) in pixels, or (n, 2) if packed.
        conics: (..., N, 3) or (n, 3).
        colors: (..., N, C) or (n, C).
        opacities: (..., N) or (n,).
        image_width, image_height: in pixels.
        tile_size: 16.
        isect_offsets: (..., tiles in a column, tiles in a row).
        flatten_ids: (m,), from :func:`isect_tiles`.
        backgrounds: (..., C).
        masks: the shape of ``isect_offsets``, bool: where Gaussians are drawn at all.
        packed: whether Gaussians are those drawn only.
        absgrad: whether ``means2d`` gets an attribute ``absgrad`` in the backward pass.
    Returns:
        colours (..., H, W, C) and alphas (..., H, W, 1); differentiable.
    Raises:
        ValueError: if shapes do not fit, or for tiles of another size.
    """
    if tile_size != ROWS:
        fail("tile_size", f"{ROWS}", tile_size)
    shape = isect_offsets.shape[:-2]
    n_images, n = math.prod(shape), opacities.numel()
    check_tensor("means2d", means2d, ("...", 2), FLOATS)
    for name, value, last in (("means2d", means2d, 2), ("conics", conics, 3)):
        check_tensor(name, value, (*opacities.shape, last), like=means2d)
    check_tensor("colors", colors, (*opacities.shape, "C"), like=means2d)
    index = torch.arange(n, device=means2d.device)
    image = torch.zeros_like(index) if packed else index // max(n // max(n_images, 1), 1)  # only lists are read
    gaussians = Gaussians2D(
        means2d.reshape(n, 2),
        conics.reshape(n, 3),
        colors.reshape(n, colors.shape[-1]),
        opacities.reshape(n),
        image.int(),
        depths=opacities.detach().reshape(n),
        drawn=image.int()[:, None],
    )
    canvas = Canvas(image_height, image_width, n_images)
    offsets = torch.cat([isect_offsets.flatten(), isect_offsets.new_tensor([len(flatten_ids)])]).int()
    members = flatten_ids.int()
    if masks is not None:
        kept = check_tensor("masks", masks, isect_offsets.shape).flatten().repeat_interleave(offsets.diff().long())
        offsets, members = prefix_sum(kept.int()).index_select(0, offsets.long()), members[kept]
    tiles = given_tiles(gaussians, image_height, image_width, offsets, members, limits_of(canvas, means2d))
    if backgrounds is not None:
        backgrounds = check_tensor("backgrounds", backgrounds, (*shape, colors.shape[-1])).reshape(n_images, -1)
    images, alphas = composite_gaussians(gaussians, backgrounds, canvas, means2d if absgrad else None, tiles)
    size = (*shape, image_height, image_width)
    return images.view(*size, colors.shape[-1]), alphas.view(*size, 1)
