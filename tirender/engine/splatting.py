"""Gaussians of the world drawn as cameras see them: projected, coloured, composited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from tirender.engine.composite_gaussians import Canvas, composite_gaussians
from tirender.engine.gaussian_tiles import Gaussians2D
from tirender.engine.project_gaussians import Projection, project_gaussians
from tirender.engine.spherical_harmonics import view_colors

MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")


@dataclass(frozen=True)
class Drawing:
    """How Gaussians are drawn.

    Args:
        degree: of the spherical harmonics that colours are computed from; None where colours are given.
        mode: which channels images have: colours (``RGB``), depth weighted as colours are (``D``), or that divided by
            the opacity, the expected depth (``ED``).
        packed: whether what is known of each Gaussian in each image is listed for those drawn only.
        absgrad: whether the backward pass gives ``means2d`` an attribute ``absgrad``.
        alpha_max: the greatest alpha that a Gaussian has at a pixel.
    """

    degree: int | None = None
    mode: str = "RGB"
    packed: bool = False
    absgrad: bool = False
    alpha_max: float = 0.999


class World(NamedTuple):
    """N Gaussians.

    Attributes:
        means: (N, 3) float32 or float64.
        quats: (N, 4) rotations (w, x, y, z) of any length; None where shapes are covariances.
        shapes: (N, 3) scales, or (N, 6) covariances.
        opacities: (N,).
        colors: (N, C), or the coefficients (N, K, 3) of harmonics; or one of these an image, (I, N, ...).
        rest: (N, L, 3) further coefficients, after those (N, K, 3); or None.
    """

    means: torch.Tensor
    quats: torch.Tensor | None
    shapes: torch.Tensor
    opacities: torch.Tensor
    colors: torch.Tensor
    rest: torch.Tensor | None = None


class Drawn(NamedTuple):
    """I images, and what is known of each Gaussian in them: (I, N, ...), or (n, ...) if packed.

    Attributes:
        images: (I, H, W, C).
        alphas: (I, H, W, 1).
        rows: (n,) int64, image * N + Gaussian; None if not packed.
        means2d, depths, conics, opacities, radii: as of ``project_gaussians``; opacities lowered by the compensation.
    """

    images: torch.Tensor
    alphas: torch.Tensor
    rows: torch.Tensor | None
    means2d: torch.Tensor
    depths: torch.Tensor
    conics: torch.Tensor
    opacities: torch.Tensor
    radii: torch.Tensor


def draw_gaussians(
    world: World,
    viewmats: torch.Tensor,
    intrinsics: torch.Tensor,
    backgrounds: torch.Tensor | None,
    projection: Projection,
    drawing: Drawing,
) -> Drawn:
    """Draw Gaussians from I cameras.

    Args:
        world: the Gaussians.
        viewmats: (I, 4, 4) from the world to camera space: x right, y down, z forward.
        intrinsics: (I, 3, 3) in pixels. Without gradient.
        backgrounds: (I, C), or None for 0; depth has none.
    Returns:
        images and all else, differentiable in the world, viewmats and backgrounds.
    """
    n_images, n = len(viewmats), len(world.means)
    shape = (world.means, world.quats, world.shapes, world.opacities)
    means2d, depths, conics, compensations, radii = project_gaussians(*shape, viewmats, intrinsics, projection)
    colors = _colors(world, viewmats, radii, drawing.degree)
    opacities = world.opacities.expand(n_images, n)
    if projection.compensated:
        opacities = opacities * compensations
    image = torch.arange(n_images, dtype=torch.int32, device=radii.device).repeat_interleave(n)
    values = [means2d, depths, conics, opacities, radii, colors]
    rows = None
    if drawing.packed:
        rows = (radii.view(-1, 2)[:, 0] > 0).nonzero()[:, 0]
        values = [v.reshape(n_images * n, *v.shape[2:]).index_select(0, rows) for v in values]
        image = image.index_select(0, rows)
    means2d, depths, conics, opacities, radii, colors = values
    if drawing.mode != "RGB":
        with_colors = [colors] if "RGB" in drawing.mode else []
        colors = torch.cat([*with_colors, depths[..., None]], -1)
        if backgrounds is not None:
            given = [backgrounds] if with_colors else []
            backgrounds = torch.cat([*given, backgrounds.new_zeros(n_images, 1)], -1)
    gaussians = Gaussians2D(
        means2d.reshape(-1, 2),
        conics.reshape(-1, 3),
        colors.reshape(len(image), colors.shape[-1]),
        opacities.reshape(-1),
        image,
        depths.detach().reshape(-1),
        radii.reshape(-1, 2),
    )
    canvas = Canvas(projection.height, projection.width, n_images, drawing.alpha_max)
    images, alphas = composite_gaussians(gaussians, backgrounds, canvas, means2d if drawing.absgrad else None)
    if "ED" in drawing.mode:
        expected = images[..., -1:] / alphas.clamp(min=1e-10)
        images = torch.cat([images[..., :-1], expected], -1)
    return Drawn(images, alphas, rows, means2d, depths, conics, opacities, radii)


def _colors(world: World, viewmats: torch.Tensor, radii: torch.Tensor, degree: int | None) -> torch.Tensor:
    """(I, N, C) the colours of Gaussians in images."""
    n_images, n = len(viewmats), len(world.means)
    if degree is None:
        return world.colors.expand(n_images, n, world.colors.shape[-1])
    centres = torch.inverse(viewmats)[:, :3, 3]
    if world.colors.dim() == 3:
        return view_colors(world.means, centres, world.colors, degree, radii, rest=world.rest)
    each = zip(centres.split(1), world.colors, radii.split(1))
    return torch.cat([view_colors(world.means, c, coefficients, degree, r) for c, coefficients, r in each])
