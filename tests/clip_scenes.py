"""Scenes in clip space, and a comparison, that several test files share."""

from __future__ import annotations

import torch
from conftest import rounding

import tirender.nvdiffrast.torch as dr
from tirender.utils import ico_sphere

SIZE = (14, 19)


def ball(dtype: torch.dtype = torch.float32, n_images: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed surface seen in perspective: pos (N, V, 4) and tri."""
    verts, faces = ico_sphere(1).get_mesh_verts_faces(0)
    verts = verts.to(dtype) + 0.1 * torch.randn(n_images, *verts.shape, dtype=dtype)
    w = 3 - verts[..., 2:]
    return torch.cat([2.1 * verts[..., :2], 1.2 * w - 2, w], 2), faces.int()


def rasterize(pos, tri, size=SIZE):
    return dr.rasterize(dr.RasterizeCudaContext(), pos, tri, size)


def check_alike(ours, theirs, leaves):
    """Values and gradients of two tuples of tensors."""
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5 * rounding(), atol=1e-5 * rounding())
    ups = [torch.randn_like(x) for x in ours]
    grads = [torch.autograd.grad(out, leaves, ups, retain_graph=True) for out in (ours, theirs)]
    for a, b in zip(*grads, strict=True):
        assert b.any()
        torch.testing.assert_close(a, b, rtol=1e-4 * rounding(), atol=1e-5 * rounding() * float(b.abs().max()))
