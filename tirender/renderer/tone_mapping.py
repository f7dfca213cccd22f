"""From linear light to what a screen shows: the sRGB curve and tone mapping, in torch."""

from __future__ import annotations

import torch

from tirender.checks import check_choice

TONE_MAPPINGS = ("linear", "srgb", "neutral")
START = 0.8 - 0.04  # of the neutral curve's shoulder
DESATURATION = 0.15
TOE = 0.08  # below, the neutral curve takes less than 0.04 off


def encode_srgb(linear: torch.Tensor) -> torch.Tensor:
    """Encode linear light of any shape as sRGB (IEC 61966-2-1); above 1 it goes on along the curve. Differentiable."""
    linear = linear.clamp(min=0)
    is_dark = linear <= 0.0031308
    curve = 1.055 * torch.where(is_dark, 1.0, linear) ** (1 / 2.4) - 0.055
    return torch.where(is_dark, 12.92 * linear, curve)


def decode_srgb(encoded: torch.Tensor) -> torch.Tensor:
    """The inverse of :func:`encode_srgb`. Differentiable."""
    encoded = encoded.clamp(min=0)
    is_dark = encoded <= 0.04045
    curve = ((torch.where(is_dark, 1.0, encoded) + 0.055) / 1.055) ** 2.4
    return torch.where(is_dark, encoded / 12.92, curve)


def compress_neutral(linear: torch.Tensor) -> torch.Tensor:
    """Compress linear light (..., 3) to [0, 1] by Khronos's PBR Neutral Tone Mapper (2024), still linear.

    Colours below 0.76 lose 0.04, the reflection of a dielectric, and keep their hue and saturation. Brighter ones are
    compressed, and turn towards white. Differentiable.
    """
    least = linear.amin(-1, keepdim=True)
    color = linear - torch.where(least < TOE, least - 6.25 * least * least, 0.04)
    peak = color.amax(-1, keepdim=True)
    room = 1 - START
    is_bright = peak > START
    safe = torch.where(is_bright, peak, 1)
    new_peak = 1 - room * room / (safe + room - START)
    white = 1 - 1 / (DESATURATION * (safe - new_peak) + 1)
    bright = torch.lerp(color * (new_peak / safe), new_peak.expand_as(color), white)
    return torch.where(is_bright, bright, color)


def tone_map(linear: torch.Tensor, mapping: str) -> torch.Tensor:
    """Turn linear light (..., 3) into colours of a picture.

    Args:
        linear: at least 0.
        mapping: "linear" returns it as it is, without a bound; "srgb" clamps it to [0, 1] and encodes it as sRGB;
            "neutral" compresses it (:func:`compress_neutral`) and encodes it as sRGB.
    Returns:
        (..., 3), differentiable; clamped colours pass no gradient.
    Raises:
        ValueError: another mapping.
    """
    check_choice("tone_mapping", mapping, TONE_MAPPINGS)
    if mapping == "linear":
        return linear
    return encode_srgb((compress_neutral(linear) if mapping == "neutral" else linear).clamp(0, 1))
