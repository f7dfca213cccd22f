"""The picture of a fit in progress: images side by side, curves of the losses, step and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from tirender.vis.drawing import BACKGROUND, DIM, LINES, PANEL, TEXT, draw_curves, font, to_picture

HEADER, CAPTION, MARGIN, FOOTER = 44, 26, 12, 30
BAR = 4
CURVES = 0.3  # fraction of the height, below images


def dashboard(
    images: Mapping[str, torch.Tensor | np.ndarray],
    history: Mapping[str, Sequence[float]],
    title: str,
    step: int,
    steps: int | None = None,
    facts: str = "",
    footer: str = "",
    size: tuple[int, int] = (720, 960),
) -> np.ndarray:
    """Draw the picture.

    Args:
        images: by caption, (H, W), (H, W, 1) or (H, W, 3 or more) each: floats in [0, 1] (clipped) or uint8.
        history: the losses by name, one value a step.
        title: at the top.
        step: number of steps so far.
        steps: number of steps in all; None if unknown.
        facts: at the top, on the right.
        footer: at the bottom.
        size: height and width in pixels.
    Returns:
        (H, W, 3) uint8.
    """
    height, width = size
    picture = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, HEADER // 2), title, TEXT, font(18), anchor="lm")
    draw.text((width - MARGIN, HEADER // 2), facts, DIM, font(14), anchor="rm")
    draw.rectangle((0, HEADER, width, HEADER + BAR - 1), LINES)
    if steps:
        draw.rectangle((0, HEADER, round(width * min(step / steps, 1)), HEADER + BAR - 1), (90, 169, 255))
    draw.text((width // 2, height - FOOTER // 2), footer, DIM, font(13), anchor="mm")

    top, bottom = HEADER + BAR + MARGIN, height - FOOTER
    curves_top = bottom - round(CURVES * height) if images else top
    if bottom - curves_top > 60:
        picture.paste(draw_curves(history, (width - 2 * MARGIN, bottom - curves_top)), (MARGIN, curves_top))
    panel_width = (width - MARGIN) // max(len(images), 1) - MARGIN
    for i, (caption, image) in enumerate(images.items()):
        left = MARGIN + i * (panel_width + MARGIN)
        box = (left, top, left + panel_width, curves_top - MARGIN)
        draw.rounded_rectangle(box, 4, PANEL)
        draw.text(((box[0] + box[2]) // 2, box[1] + CAPTION // 2), caption, DIM, font(14), anchor="mm")
        fitted = _fitted(to_picture(image), panel_width - MARGIN, box[3] - box[1] - CAPTION - MARGIN // 2)
        x = (box[0] + box[2] - fitted.width) // 2
        y = box[1] + CAPTION + (box[3] - MARGIN // 2 - box[1] - CAPTION - fitted.height) // 2
        picture.paste(fitted, (x, y))
    return np.asarray(picture)


def _fitted(image: np.ndarray, width: int, height: int) -> Image.Image:
    """An image, scaled to just fit in a box."""
    scale = min(width / image.shape[1], height / image.shape[0])
    size = max(round(scale * image.shape[1]), 1), max(round(scale * image.shape[0]), 1)
    return Image.fromarray(image).resize(size, Image.Resampling.BILINEAR if scale > 1 else Image.Resampling.BOX)
