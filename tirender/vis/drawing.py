"""Text, panels and curves in pictures, fast enough to redraw many times a second."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from tirender.vis.display import Notes

BACKGROUND, PANEL = (20, 22, 26), (29, 32, 38)
TEXT, DIM, LINES = (225, 229, 235), (139, 147, 160), (52, 57, 66)
COLORS = [
    (90, 169, 255),
    (255, 158, 74),
    (99, 201, 122),
    (235, 110, 128),
    (180, 142, 240),
    (212, 190, 90),
    (120, 200, 210),
]
AXES = [(240, 97, 109), (126, 208, 106), (90, 157, 255)]
SHARPNESS = 2  # lines are drawn larger by this factor, and reduced, so that they are smooth


@lru_cache(maxsize=16)
def font(size: int) -> Any:
    """The font DejaVu Sans, which comes with matplotlib."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def to_picture(image: torch.Tensor | np.ndarray) -> np.ndarray:
    """An image as (H, W, 3) uint8.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3 or more), floats in [0, 1] (clipped) or uint8.
    """
    array = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array[..., :3]
    if array.dtype != np.uint8:
        array = np.rint(np.clip(np.nan_to_num(array), 0, 1) * 255).astype(np.uint8)
    return np.array(np.broadcast_to(array, (*array.shape[:2], 3)))


@lru_cache(maxsize=8)
def text_panel(rows: tuple[tuple[str, str], ...], size: int) -> np.ndarray:
    """A translucent panel (H, W, 4) uint8 with rows of a name and a value, or of a heading and ""."""
    letters, pad, line = font(size), size, round(1.6 * size)
    name_width = max((math.ceil(letters.getlength(name)) for name, value in rows if value), default=0)
    widths = [
        letters.getlength(name) if not value else name_width + pad + letters.getlength(value) for name, value in rows
    ]
    panel = Image.new("RGBA", (math.ceil(max(widths)) + 2 * pad, len(rows) * line + pad), (*BACKGROUND, 215))
    draw = ImageDraw.Draw(panel)
    for i, (name, value) in enumerate(rows):
        y = pad // 2 + i * line + line // 2
        draw.text((pad, y), name, TEXT if not value else DIM, letters, anchor="lm")
        if value:
            draw.text((pad + name_width + pad, y), value, TEXT, letters, anchor="lm")
    return np.asarray(panel)


def overlay(picture: np.ndarray, panel: np.ndarray, x: int, y: int) -> None:
    """Lay a panel over a picture (H, W, 3), in place, with its upper left corner at (x, y); overhang is cut off."""
    place = picture[max(y, 0) : y + panel.shape[0], max(x, 0) : x + panel.shape[1]]
    panel = panel[max(-y, 0) :, max(-x, 0) :][: place.shape[0], : place.shape[1]]
    alpha = panel[..., 3:].astype(np.uint16)
    place[:] = (place * (255 - alpha) + panel[..., :3] * alpha + 127) // 255


def write_notes(picture: np.ndarray, notes: Notes) -> None:
    """Lay notes over a picture (H, W, 3) uint8, in place; help takes the place of facts."""
    height, width = picture.shape[:2]
    letters = 13 if min(height, width) >= 400 else 10
    if notes.axes and notes.camera is not None:
        _draw_axes(picture, np.reshape(notes.camera, (4, 4)), letters)
    if notes.help:
        panel = text_panel(notes.help, letters)
        overlay(picture, panel, (width - panel.shape[1]) // 2, (height - panel.shape[0]) // 2)
    elif notes.facts:
        overlay(picture, text_panel(notes.facts, letters), 10, 10)
    if notes.message:
        panel = text_panel(((notes.message, ""),), letters)
        overlay(picture, panel, (width - panel.shape[1]) // 2, height - panel.shape[0] - 10)


def _draw_axes(picture: np.ndarray, camera: np.ndarray, letters: int) -> None:
    """Draw where the axes of the world point, in the lower left corner."""
    long, side = 2.2 * letters, 8 * letters
    directions = -camera[:3, :2] / np.linalg.norm(camera[:3, 0])  # of +X, +Y and +Z; x to the right, y down
    corner = picture[-side:, :side]
    large = Image.fromarray(corner).resize((SHARPNESS * corner.shape[1], SHARPNESS * corner.shape[0]))
    draw = ImageDraw.Draw(large)
    for i in np.argsort(-camera[:3, 3]):  # the furthest first
        middle = np.array([side / 2, corner.shape[0] - side / 2])
        end, letter = middle + long * directions[i], middle + 1.45 * long * directions[i]
        draw.line((*(SHARPNESS * middle), *(SHARPNESS * end)), AXES[i], 2 * SHARPNESS)
        draw.text((SHARPNESS * letter).tolist(), "XYZ"[i], AXES[i], font(SHARPNESS * letters), anchor="mm")
    corner[:] = np.asarray(large.resize((corner.shape[1], corner.shape[0]), Image.Resampling.BOX))


def draw_curves(history: Mapping[str, Sequence[float]], size: tuple[int, int]) -> Image.Image:
    """A picture of loss curves over the steps, on a logarithmic scale.

    Args:
        history: by name, one value a step; values that are not above 0 are left out.
        size: width and height in pixels.
    """
    width, height = size
    letters = font(12)
    left, right, top, bottom = 58, width - 12, 30, height - 24
    steps = max(max((len(values) for values in history.values()), default=0), 2)
    curves = {name: thinned(values, max(right - left, 1)) for name, values in history.items()}
    shown = np.concatenate([values[values > 0] for _, values in curves.values()] or [np.ones(1)])
    low, high = _decades(shown)

    def to_pixels(step: Any, value: Any) -> tuple[Any, Any]:
        x = left + (right - left) * step / (steps - 1)
        return x, bottom - (bottom - top) * (np.log10(value) - low) / (high - low)

    large = Image.new("RGB", (SHARPNESS * width, SHARPNESS * height), PANEL)
    draw = ImageDraw.Draw(large)
    ticks = range(math.ceil(low), math.floor(high) + 1)
    for tick in ticks:
        y = SHARPNESS * to_pixels(0, 10.0**tick)[1]
        draw.line((SHARPNESS * left, y, SHARPNESS * right, y), LINES, SHARPNESS)
    for (at_steps, values), color in zip(curves.values(), COLORS * (1 + len(curves) // len(COLORS))):
        positive = values > 0
        x, y = to_pixels(at_steps[positive], values[positive])
        points = np.stack([x, y], 1) * SHARPNESS
        if len(points) > 1:
            draw.line(points.ravel().tolist(), color, round(1.5 * SHARPNESS), joint="curve")
    picture = large.resize((width, height), Image.Resampling.BOX)

    draw = ImageDraw.Draw(picture)
    for tick in ticks[:: math.ceil(len(ticks) / 6)]:
        draw.text((left - 8, to_pixels(0, 10.0**tick)[1]), f"1e{tick}", DIM, letters, anchor="rm")
    for step in (0, steps // 2, steps):
        anchor = "ra" if step == steps else "ma"
        draw.text((left + (right - left) * step / steps, bottom + 6), str(step), DIM, letters, anchor=anchor)
    x = left
    for (name, losses), color in zip(history.items(), COLORS * (1 + len(history) // len(COLORS))):
        label = f"{name} {losses[-1]:.4g}" if len(losses) else name
        if x + 24 + letters.getlength(label) > right:
            break
        draw.rounded_rectangle((x, 13, x + 12, 17), 2, color)
        draw.text((x + 18, 15), label, TEXT, letters, anchor="lm")
        x += 34 + math.ceil(letters.getlength(label))
    return picture


def thinned(values: Sequence[float], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a curve; a long one is cut into about ``n`` stretches, and each gives its two extremes."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) <= 2 * n:
        return np.arange(len(array)), array
    stretch = math.ceil(len(array) / n)
    whole = array[: len(array) // stretch * stretch].reshape(-1, stretch)
    starts = stretch * np.arange(len(whole))
    both = np.stack([starts + whole.argmin(1), starts + whole.argmax(1)], 1)
    steps = np.append(np.sort(both, 1).ravel(), len(array) - 1)
    return steps, array[steps]


def _decades(values: np.ndarray) -> tuple[float, float]:
    """The range of decimal logarithms to show, at least 1 and at most 8 wide."""
    values = values[np.isfinite(values)]
    if not len(values):
        return -1.0, 0.0
    low, high = np.log10(values.min()) - 0.1, np.log10(values.max()) + 0.1
    if high - low < 1:
        middle = (low + high) / 2
        low, high = middle - 0.5, middle + 0.5
    return float(max(low, high - 8)), float(high)
