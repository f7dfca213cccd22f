"""Pictures of texture maps with their uv vertices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image, ImageDraw

from tirender.checks import check_choice, fail
from tirender.renderer.mesh.textures import TexturesUV

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


def texturesuv_image_matplotlib(
    texture: TexturesUV,
    *,
    texture_index: int = 0,
    radius: float = 1,
    color: Any = (1.0, 0.0, 0.0),
    subsample: int | None = 10000,
    origin: Literal["upper", "lower"] = "upper",
) -> None:
    """Draw one mesh's texture map and its uv vertices into the current matplotlib axes.

    Args:
        texture: the textures.
        texture_index: index of the mesh.
        radius: of the circles, in texels.
        color: of the circles, as matplotlib takes it.
        subsample: largest number of vertices to draw, evenly picked; None draws all.
        origin: "upper" or "lower": the place of the map's first row.
    Raises:
        ValueError: ``texture`` is not a TexturesUV with one map a mesh, or an argument is out of range.
    """
    import matplotlib.pyplot as plt
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Circle

    check_choice("origin", origin, ("upper", "lower"))
    image, centers = _map_and_centers(texture, texture_index, subsample)
    axes = plt.gca()
    axes.imshow(image, origin=origin)
    axes.add_collection(PatchCollection([Circle((x, y), radius) for x, y in centers], color=color))


def texturesuv_image_PIL(
    texture: TexturesUV,
    *,
    texture_index: int = 0,
    radius: float = 1,
    color: Any = "red",
    subsample: int | None = 10000,
) -> PILImage:
    """One mesh's texture map and its uv vertices, as an 8-bit picture.

    Args:
        texture: the textures.
        texture_index: index of the mesh.
        radius: of the circles, in texels.
        color: of the circles, as PIL takes it.
        subsample: largest number of vertices to draw, evenly picked; None draws all.
    Returns:
        the picture; values are clipped to [0, 1].
    Raises:
        ValueError: ``texture`` is not a TexturesUV with one map a mesh, or an argument is out of range.
    """
    pixels, centers = _map_and_centers(texture, texture_index, subsample)
    picture = Image.fromarray((pixels * 255).round().astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for x, y in centers:
        draw.ellipse([(x - radius, y - radius), (x + radius, y + radius)], fill=color)
    return picture


def _map_and_centers(texture: TexturesUV, index: int, subsample: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The map (H, W, 3) in [0, 1], and its vertices (n, 2) in texels, x to the right and y down."""
    if not isinstance(texture, TexturesUV):
        fail("texture", "TexturesUV", type(texture).__name__)
    if not 0 <= index < len(texture):
        fail("texture_index", f"0 to {len(texture) - 1}", index)
    if subsample is not None and subsample <= 0:
        fail("subsample", "a number above 0, or None", subsample)
    centers = texture.centers_for_image(index)
    if subsample is not None and len(centers) > subsample:
        centers = centers[torch.linspace(0, len(centers) - 1, subsample).round().long()]
    image = texture.maps_padded()[index].detach().clamp(0, 1).float().cpu().numpy()
    if image.shape[-1] not in (1, 3, 4):
        fail("texture", "maps of 1, 3 or 4 channels", image.shape[-1])
    return image[..., 0] if image.shape[-1] == 1 else image, centers.cpu().numpy()
