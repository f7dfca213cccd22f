"""Losses that keep meshes regular, over ``kernels/shape_losses.py``."""

from __future__ import annotations

from typing import Any

import torch

from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import shape_losses as kernels
from tirender.engine.neighbourhood import Neighbourhood


@runtime.not_compiled
def shape_losses(verts: torch.Tensor, neighbourhood: Neighbourhood, target_length: float) -> torch.Tensor:
    """Weighted sums over edges, over pairs of faces and over vertices.

    Args:
        verts: (V, 3) float32 or float64.
        neighbourhood: the connectivity and the weights.
        target_length: of edges, in the unit of verts.
    Returns:
        (3,): squared differences of lengths from the target; cosines between normals; lengths of the Laplacians.
        Differentiable in verts.
    """
    with torch.autocast(verts.device.type, enabled=False):
        return _ShapeLosses.apply(verts, neighbourhood, target_length)


class _ShapeLosses(FirstOrder):
    @staticmethod
    def forward(ctx: Any, verts: torch.Tensor, neighbourhood: Any, target_length: float) -> torch.Tensor:
        verts = verts.detach().contiguous()
        n_faces, n_verts = len(neighbourhood.faces), len(verts)
        directions, of_faces = verts.new_empty(n_faces, 3), verts.new_empty(n_faces)
        of_vertices, laplacians = verts.new_empty(n_verts, 2), torch.empty_like(verts)
        arrays = (verts.new_tensor([target_length]), *neighbourhood, verts, directions)
        runtime.launch(kernels.shape_losses_forward, *arrays, of_vertices, of_faces, laplacians)
        ctx.save_for_backward(*arrays, laplacians)
        edge, laplacian = of_vertices.sum(0)
        return torch.stack([edge, of_faces.sum(), laplacian])

    @staticmethod
    def backward(ctx: Any, grads: torch.Tensor) -> Any:
        *arrays, laplacians = ctx.saved_tensors
        grad_sides, grad_verts = laplacians.new_empty(len(arrays[1]), 6), torch.empty_like(laplacians)
        runtime.launch(kernels.shape_losses_adjoint, *arrays, laplacians, grads.contiguous(), grad_sides, grad_verts)
        return grad_verts, None, None
