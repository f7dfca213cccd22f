"""Devices, as arguments have them."""

from __future__ import annotations

from typing import Any

import torch

Device = str | torch.device


def make_device(device: Device) -> torch.device:
    """The device of a name; "cuda" means the current one, with its number."""
    made = torch.device(device)
    if made.type == "cuda" and made.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return made


def get_device(x: Any, device: Device | None = None) -> torch.device:
    """``device`` if it is given, else where the tensor ``x`` lies; the CPU for what is no tensor."""
    if device is not None:
        return make_device(device)
    return x.device if isinstance(x, torch.Tensor) else torch.device("cpu")
