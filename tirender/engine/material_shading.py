"""Pictures of faces with materials, over ``kernels/material_shading.py``; without gradients."""

from __future__ import annotations

import torch

from tirender.engine import runtime
from tirender.engine.kernels import material_shading as kernels
from tirender.engine.rasterize_meshes import RasterMode


@runtime.not_compiled
def draw_materials(
    mode: RasterMode, lighting: kernels.Lighting, inputs: kernels.MaterialInputs, tangents: torch.Tensor | None = None
) -> torch.Tensor:
    """Light the fragments of each pixel and blend them front to back.

    Args:
        mode: how they were rasterized.
        lighting, inputs: see there.
        tangents: (T, 4) see ``bent_normal``; None without normal maps.
    Returns:
        (N, H, W, 4) RGBA, the background behind what is transparent.
    """
    n_images, n_pixels = len(inputs.params), len(inputs.offsets) - 1
    image = inputs.verts.new_empty(n_pixels, 4)
    if n_pixels:
        bent = tangents is not None
        inputs_and_tangents = (*inputs, image.new_zeros(0, 4) if tangents is None else tangents)
        floats = (t.to(image.dtype) if t.is_floating_point() else t.int() for t in inputs_and_tangents)
        arrays = (t.detach().contiguous() for t in floats)
        runtime.launch(kernels.material_shading, mode.raster, lighting, bent, *arrays, image)
    return image.view(n_images, *mode.image_size, 4)
