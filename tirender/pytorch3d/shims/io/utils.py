"""What PyTorch3D's file formats share."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from tirender.checks import check_choice
from tirender.io.files import decode_image, is_path, read_source

PathOrStr = Path | str


def _open_file(f: Any, path_manager: Any, mode: str = "r") -> AbstractContextManager[IO]:
    """Open a path, by iopath's ``path_manager`` if there is one; a stream is used as it is, and left open."""
    if not is_path(f):
        return nullcontext(f)
    return open(f, mode) if path_manager is None else path_manager.open(f, mode)


def _make_tensor(data: Any, cols: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
    """A list of rows as a tensor (len(data), cols)."""
    return torch.tensor(data, dtype=dtype, device=device).reshape(-1, cols)


def _check_faces_indices(faces_indices: torch.Tensor, max_index: int, pad_value: int | None = None) -> torch.Tensor:
    """Return the indices; warn of those that are not in 0 .. ``max_index`` - 1, ``pad_value`` aside."""
    outside = (faces_indices < 0) | (faces_indices >= max_index)
    if pad_value is not None:
        outside &= (faces_indices != pad_value).any(-1, keepdim=True)
    if bool(outside.any()):
        warnings.warn(f"faces_indices: expected 0 to {max_index - 1}, got others", stacklevel=2)
    return faces_indices


def _read_image(file_name: str, path_manager: Any, format: str | None = None) -> np.ndarray:
    """An image's pixels (H, W, 3) as float32 from 0 to 255, in the order "RGB" or "BGR".

    Raises:
        ValueError: if ``format`` is neither, or the image is damaged or too large.
    """
    check_choice("format", format, ("RGB", "BGR"))
    image = decode_image(read_source(file_name, path_manager).data, str(file_name))
    pixels = (image * 255).round().numpy()
    return pixels if format == "RGB" else pixels[..., ::-1]
