"""Attributes of vertices at the pixels of a picture, over ``kernels/interpolate.py``."""

from __future__ import annotations

from typing import Any

import torch

from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import interpolate as kernels
from tirender.engine.partial_sums import part_bounds, part_count


@runtime.not_compiled
def interpolate(
    attributes: torch.Tensor,
    rast: torch.Tensor,
    faces: torch.Tensor,
    rast_db: torch.Tensor | None,
    chosen: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attributes of vertices at pixels, and how they change from pixel to pixel.

    Args:
        attributes: (N or 1, V, A) float32 or float64; 1 where all images share them.
        rast: (N, H, W, 4) of the same dtype, the picture of :func:`rasterize_clip`.
        faces: (T, 3) int32 indices in [0, V).
        rast_db: (N, H, W, 4) its second result; None where ``chosen`` is empty.
        chosen: (D,) int32 in [0, A), the attributes whose changes are wanted.
    Returns:
        out: (N, H, W, A), 0 where a pixel shows no triangle.
        changes: (N, H, W, 2 * D), those with x and with y of each chosen attribute.

        Both are differentiable in the attributes, in u and v of ``rast``, and in ``rast_db``.
    """
    size, (n_tables, n_verts, width) = rast.shape[:3], attributes.shape
    batch = kernels.Batch(max(size[1] * size[2], 1), n_verts if n_tables > 1 else 0)
    changes = rast.new_zeros(0, 4) if rast_db is None else rast_db.reshape(-1, 4)
    rows = attributes.flatten(0, 1)
    out, changes = _Interpolate.apply(rows, rast.reshape(-1, 4), changes, faces, chosen, batch)
    return out.view(*size, width), changes.view(*size, 2 * len(chosen))


class _Interpolate(FirstOrder):
    @staticmethod
    def forward(ctx: Any, rows: Any, rast: Any, rast_db: Any, faces: Any, chosen: Any, batch: Any) -> Any:
        rows, rast, rast_db = (x.detach().contiguous() for x in (rows, rast, rast_db))
        out, changes = rast.new_zeros(len(rast), rows.shape[1]), rast.new_zeros(len(rast), 2 * len(chosen))
        surface = kernels.Surface(rast, rast_db, faces, rows, chosen)
        if len(rast):
            runtime.launch(kernels.interpolate_forward, batch, *surface, out, changes)
        ctx.batch = batch
        ctx.save_for_backward(*surface)
        return out, changes

    @staticmethod
    def backward(ctx: Any, grad_out: torch.Tensor, grad_changes: torch.Tensor) -> Any:
        surface = kernels.Surface(*ctx.saved_tensors)
        rows, n_pixels, wanted = surface.attributes, len(surface.rast), ctx.needs_input_grad[0]
        n_parts = part_count(rows.numel() if wanted else 0, n_pixels)
        grad_rows = rows.new_zeros(n_parts, len(rows) if wanted else 0, rows.shape[1])
        grad_rast, grad_rast_db = torch.zeros_like(surface.rast), torch.zeros_like(surface.rast_db)
        if n_pixels:
            bounds, atomic = part_bounds(n_pixels, n_parts, rows.device), runtime.is_parallel_device()
            upstream = (grad_out.contiguous(), grad_changes.contiguous(), bounds, atomic)
            runtime.launch(
                kernels.interpolate_adjoint, ctx.batch, *surface, *upstream, grad_rast, grad_rast_db, grad_rows
            )
        return grad_rows.sum(0) if wanted else None, grad_rast, grad_rast_db, None, None, None
