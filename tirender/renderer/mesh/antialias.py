"""Anti-aliased outlines of meshes, with gradients in the vertices."""

from __future__ import annotations

import torch

from tirender.checks import as_floats, check_kind, check_tensor, fail
from tirender.engine.antialias import blend_outlines
from tirender.structures.fragments import Fragments


def antialias(images: torch.Tensor, fragments: Fragments) -> torch.Tensor:
    """Blend the pixels on both sides of each outline, by where it crosses between their centres.

    Pictures lose their steps, and vertices on outlines have gradients though a pixel shows one face. The images may be
    anything that has one value a pixel: colours, masks, features, depths. They must show the nearest face alone, as the
    hard shaders do.

    Source: Laine et al., "Modular Primitives for High-Performance Differentiable Rendering", 2020. Outlines of faces
    narrower than a pixel, and where faces pierce each other, are not found.

    Args:
        images: (N, H, W, C) floats; integers and masks are cast to float32.
        fragments: of a ``MeshRasterizer``.
    Returns:
        (N, H, W, C), differentiable in the images and, through the outlines, in the vertices and cameras.
    Raises:
        ValueError: for fragments made by hand or detached, or images of another size.
    """
    check_kind("fragments", fragments, Fragments)
    images = as_floats("images", images.float() if check_tensor("images", images).dtype == torch.bool else images)
    rasterization = fragments.rasterization
    if rasterization is None:
        fail("fragments", "those of a MeshRasterizer", "fragments made by hand, or detached")
    size = rasterization.mode.image_size
    if images.dim() != 4 or images.shape[:3] != (rasterization.triangles.n_images, *size):
        fail("images", f"shape {(rasterization.triangles.n_images, *size, 'C')}", tuple(images.shape))
    return blend_outlines(images.flatten(0, 2), rasterization.picture, size).view(images.shape)
