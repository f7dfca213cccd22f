"""Colours of files: their ranges, and linear light against sRGB."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

HARMONIC = 0.28209479177387814
"""The spherical harmonic of degree 0, 1 / (2 sqrt(pi)): a colour is 0.5 + HARMONIC * f_dc."""


def unit_range(colors: np.ndarray, what: str, whole: bool = False) -> np.ndarray:
    """Return numbers that count to 1 or to 255 as float32 in [0, 1].

    Args:
        colors: floats; all of one file, as their maximum decides: above 2 they count to 255. Others are clipped, with a
            warning where one is above 1.
        what: file and feature, for the warning.
        whole: whether whole numbers above 1 count to 255 too, as in text that does not tell numbers' types.
    """
    top = float(colors.max(initial=0.0))
    if top > 2.0 or (whole and top > 1.0 and (colors == np.floor(colors)).all()):
        colors = colors / 255.0
    elif top > 1.0:
        warnings.warn(f"{what} reach {top:.4g}, clipped to 1", stacklevel=2)
    return colors.astype(np.float32).clip(0.0, 1.0)


def unit_integers(columns: Sequence[np.ndarray], what: str) -> np.ndarray:
    """Return columns (N,) of integers as float32 (N, C) in [0, 1]: divided by the maximum of their types.

    Wide ones that stay below 256 are bytes in spite of their type, with a warning.

    Args:
        columns: all of one file.
        what: file and feature, for the warning.
    """
    tops = [float(np.iinfo(column.dtype).max) for column in columns]
    if min(tops) > 65535 and 1 < max(int(column.max(initial=0)) for column in columns) < 256:
        warnings.warn(f"{what} stay below 256, taken as bytes in spite of their type", stacklevel=2)
        tops = [255.0] * len(tops)
    return np.stack([column / top for column, top in zip(columns, tops)], axis=1).clip(0.0, 1.0).astype(np.float32)


def with_alpha(rgb: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
    """Return (N, 4) float32 of (N, 3) colours and (N,) alphas; 1 where there are none, or where all are 0 (unset)."""
    rgba = np.ones((len(rgb), 4), dtype=np.float32)
    rgba[:, :3] = rgb
    if alpha is not None and alpha.any():
        rgba[:, 3] = alpha
    return rgba


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Encode linear light as sRGB (IEC 61966-2-1); values above 1 go on along the curve."""
    linear = np.maximum(linear, 0.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.0 + 1.055 * (linear ** (1.0 / 2.4) - 1.0))  # 1 stays 1


def decode_srgb(encoded: np.ndarray) -> np.ndarray:
    """The inverse of :func:`encode_srgb`."""
    encoded = np.maximum(encoded, 0.0)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
