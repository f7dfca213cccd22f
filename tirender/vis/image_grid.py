"""A grid of images in one matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tirender.checks import fail


def image_grid(
    images: torch.Tensor | np.ndarray | Sequence[torch.Tensor | np.ndarray],
    rows: int | None = None,
    cols: int | None = None,
    fill: bool = True,
    show_axes: bool = False,
    rgb: bool = True,
) -> None:
    """Draw images in rows and columns, in a new pyplot figure, which becomes the current one (``plt.gcf()``).

    Args:
        images: (N, H, W, C) or N images (H, W, C), tensors or arrays; floats in [0, 1] (clipped) or uint8.
        rows, cols: size of the grid; both, or neither for one column. Images that do not fit are left out; cells after
            the last image stay empty.
        fill: leave no space between the images.
        show_axes: draw ticks and a frame around each image.
        rgb: show the first three channels; otherwise the fourth, alpha.
    Raises:
        ValueError: only one of ``rows`` and ``cols``, or an image of another shape.
    """
    import matplotlib.pyplot as plt

    if (rows is None) != (cols is None):
        fail("rows, cols", "both or neither", (rows, cols))
    arrays = [_as_array(i, image, 3 if rgb else 4) for i, image in enumerate(images)]
    if not arrays:
        fail("images", "at least one image", 0)

    spacing = {"wspace": 0, "hspace": 0} if fill else {}
    figure, axes = plt.subplots(rows or len(arrays), cols or 1, squeeze=False, gridspec_kw=spacing, figsize=(15, 9))
    if fill:
        figure.subplots_adjust(left=0, bottom=0, right=1, top=1)
    for i, axis in enumerate(axes.ravel()):
        if i < len(arrays):
            image = arrays[i]
            axis.imshow(image[..., :3]) if rgb else axis.imshow(image[..., 3])
        if i >= len(arrays) or not show_axes:
            axis.set_axis_off()


def _as_array(index: int, image: torch.Tensor | np.ndarray, n_channels: int) -> np.ndarray:
    array = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    if array.ndim != 3 or array.shape[2] < n_channels:
        fail(f"images[{index}]", f"shape (H, W, C) with C >= {n_channels}", array.shape)
    return np.clip(array, 0, 1) if np.issubdtype(array.dtype, np.floating) else array
