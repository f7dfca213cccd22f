"""Gaussians of the world as Gaussians of the image, over ``kernels/project_gaussians.py`` and
``kernels/project_gaussians_lanes.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tirender.engine import runtime
from tirender.engine.kernels import project_gaussians as kernels
from tirender.engine.kernels.gaussian_geometry import FISHEYE, ORTHO, PINHOLE
from tirender.engine.kernels.project_gaussians_lanes import project_gaussians_lanes_forward
from tirender.engine.partial_sums import part_bounds, part_count

MODELS = {"pinhole": PINHOLE, "ortho": ORTHO, "fisheye": FISHEYE}
ALPHA_MIN = 1 / 255


@dataclass(frozen=True)
class Projection:
    """Numbers of a projection.

    Args:
        width, height: of the images, in pixels.
        model: ``"pinhole"``, ``"ortho"`` or ``"fisheye"`` (equidistant).
        blur: variance added in the image, in square pixels.
        near, far: least and greatest depth that is drawn.
        radius_clip: in pixels; what is not larger is not drawn.
        compensated: whether the compensation is to lower the opacities, so that less is drawn.
    """

    width: int
    height: int
    model: str = "pinhole"
    blur: float = 0.3
    near: float = 0.01
    far: float = 1e10
    radius_clip: float = 0.0
    compensated: bool = False


@runtime.not_compiled
def project_gaussians(
    means: torch.Tensor,
    quats: torch.Tensor | None,
    shapes: torch.Tensor,
    opacities: torch.Tensor | None,
    viewmats: torch.Tensor,
    intrinsics: torch.Tensor,
    projection: Projection,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The Gaussians that cameras see.

    Args:
        means: (N, 3) float32 or float64, in world space.
        quats: (N, 4) rotations (w, x, y, z) of any length (the identity for 0), or None where shapes are covariances.
        shapes: (N, 3) scales, or (N, 6) the covariances' xx, xy, xz, yy, yz, zz.
        opacities: (N,), or None for opaque ones. Without gradient, as they only bound what is drawn.
        viewmats: (I, 4, 4) from the world to camera space: x right, y down, z forward.
        intrinsics: (I, 3, 3) in pixels; focal lengths and principal point are read. Without gradient.
    Returns:
        means2d: (I, N, 2) in pixels, (0, 0) the upper left corner of the image.
        depths: (I, N).
        conics: (I, N, 3).
        compensations: (I, N).
        radii: (I, N, 2) int32 half the size, in pixels, of the box outside of which alpha is below 1/255.
        All are 0 for what is not drawn. All but the radii are differentiable in means, quats, shapes and viewmats.
    """
    with torch.autocast(means.device.type, enabled=False):
        quats = means.new_empty(1, 4) if quats is None else quats
        opacities = means.new_ones(1).expand(len(means)) if opacities is None else opacities
        return _ProjectGaussians.apply(means, quats, shapes, viewmats, opacities, intrinsics, projection)


class _ProjectGaussians(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means: torch.Tensor,
        quats: torch.Tensor,
        shapes: torch.Tensor,
        viewmats: torch.Tensor,
        opacities: torch.Tensor,
        intrinsics: torch.Tensor,
        projection: Projection,
    ) -> Any:
        world = kernels.World(*(x.detach().contiguous() for x in (means, quats, shapes)))
        cameras = (viewmats.detach().contiguous(), intrinsics.detach().contiguous())
        p = projection
        limits = means.new_tensor([p.blur, p.near, p.far, p.radius_clip, ALPHA_MIN])
        shape = (len(viewmats), len(means))
        means2d, depths, conics, compensations = (means.new_empty(*shape, *n) for n in ((2,), (), (3,), ()))
        radii = torch.empty(*shape, 2, dtype=torch.int32, device=means.device)
        ctx.settings = kernels.Settings(p.width, p.height, p.compensated)
        ctx.variant = kernels.Variant(MODELS[p.model], shapes.shape[1] == 6)
        ctx.save_for_backward(limits, *world, *cameras, radii)
        ctx.mark_non_differentiable(radii)
        if radii.numel():
            has_lanes = not runtime.is_parallel_device() and p.model != "fisheye"
            runtime.launch(
                project_gaussians_lanes_forward if has_lanes else kernels.project_gaussians_forward,
                ctx.settings,
                ctx.variant,
                limits,
                *world,
                opacities.detach().contiguous(),
                *cameras,
                means2d,
                depths,
                conics,
                compensations,
                radii,
            )
        return means2d, depths, conics, compensations, radii

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        limits, means, quats, shapes, *cameras, radii = ctx.saved_tensors
        n_views, n = radii.shape[:2]
        views_wanted = ctx.needs_input_grad[3]
        n_parts = part_count(n_views * kernels.VIEW, n)
        grad_world = kernels.World(*(torch.zeros_like(x) for x in (means, quats, shapes)))
        grad_views = means.new_zeros((n_parts, n_views * kernels.VIEW) if views_wanted else (1, 1))
        if radii.numel():
            runtime.launch(
                kernels.project_gaussians_adjoint,
                ctx.settings._replace(views_wanted=views_wanted),
                ctx.variant._replace(atomic=runtime.is_parallel_device()),
                limits,
                means,
                quats,
                shapes,
                *cameras,
                radii,
                *(g.contiguous() for g in grads[:4]),
                part_bounds(n, n_parts, means.device),
                *grad_world,
                grad_views,
            )
        return *grad_world, _viewmat_gradients(grad_views, n_views) if views_wanted else None, None, None, None


def _viewmat_gradients(parts: torch.Tensor, n_views: int) -> torch.Tensor:
    """(I, 4, 4) from the parts' sums of the rows' and the translations' gradients."""
    sums = parts.sum(0).view(n_views, 4, 3)
    grads = sums.new_zeros(n_views, 4, 4)
    grads[:, :3, :3] = sums[:, :3]
    grads[:, :3, 3] = sums[:, 3]
    return grads
