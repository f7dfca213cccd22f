"""Pictures of metallic-roughness materials, over ``kernels/physical_shading.py``; without gradients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch

from tirender.engine import runtime
from tirender.engine.cube_maps import cube_points, texel_centres
from tirender.engine.kernels import physical_shading as kernels
from tirender.engine.kernels.material_shading import MaterialInputs
from tirender.engine.rasterize_meshes import RasterMode


def join_levels(levels: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cube maps (1, 6, s, s, 3) as ``Surroundings`` of ``kernels/reflectance.py`` has them: levels and texels."""
    layout, parts, first = [], [], 0
    for level in levels:
        size = level.shape[2]
        layout.append([first, size, size])
        first += 6 * (size + 2) ** 2
        framed = level.reshape(-1, 3).index_select(0, _framed(size).to(level.device)).view(6, size + 2, size + 2, 3)
        for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):  # where three faces meet there is no fourth texel
            y, x = (1 if row == 0 else -2), (1 if column == 0 else -2)
            framed[:, row, column] = (framed[:, y, x] + framed[:, row, x] + framed[:, y, column]) / 3
        parts.append(framed.view(-1, 3))
    return torch.tensor(layout, dtype=torch.int32, device=levels[0].device), torch.cat(parts)


@cache
def _framed(size: int) -> torch.Tensor:
    """(6 (size + 2)^2,) int64: the texel at each place of the faces and one beyond; see ``kernels/cube.py``."""
    x, y, z = cube_points(texel_centres(size, frame=1)).view(-1, 3).unbind(1)
    axis = torch.stack([x.abs(), y.abs(), z.abs()]).argmax(0)
    sign = torch.where(axis == 0, x, torch.where(axis == 1, y, z)).sign()
    reach = torch.maximum(torch.maximum(x.abs(), y.abs()), z.abs())
    s = torch.where(axis == 0, -z * sign, torch.where(axis == 1, x, x * sign))
    t = torch.where(axis == 1, z * sign, -y)
    row, column = (((coord / reach + 1) * size / 2).floor().long().clamp(0, size - 1) for coord in (t, s))
    return ((2 * axis + (sign < 0)) * size + row) * size + column


@runtime.not_compiled
def draw_physically(
    mode: RasterMode,
    lighting: kernels.PhysicalLighting,
    numbers: tuple[kernels.Limits, kernels.Curve],
    inputs: MaterialInputs,
    physical: kernels.PhysicalInputs,
) -> torch.Tensor:
    """Light the fragments of each pixel, blend them front to back, and map tones.

    Args:
        mode: how they were rasterized.
        lighting, numbers, inputs, physical: see there.
    Returns:
        (N, H, W, 4) RGBA, the background behind what is transparent.
    """
    n_images, n_pixels = len(inputs.params), len(inputs.offsets) - 1
    image = inputs.verts.new_empty(n_pixels, 4)
    if n_pixels:
        floats = (t.to(image.dtype) if t.is_floating_point() else t.int() for t in (*inputs, *physical))
        arrays = (t.detach().contiguous() for t in floats)
        runtime.launch(kernels.physical_shading, mode.raster, lighting, *numbers, *arrays, image)
    return image.view(n_images, *mode.image_size, 4)
