"""Voxel volumes in NumPy's .npz archives, the arrays named and laid out as the arguments of ``Volumes``."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch

from tirender.budget import bounded, spend
from tirender.checks import check_tensor, fail
from tirender.io.files import read_source, write_file
from tirender.io.npz_io import read_arrays
from tirender.structures.volumes import Volumes, voxel_sizes

BYTES_A_VOXEL = 64  # what its place takes while a volume is shown
ARRAYS = ("densities", "features", "voxel_size", "volume_translation")


@bounded
def load_volume(f: Any, device: torch.device | str = "cpu", *, path_manager: Any = None) -> Volumes:
    """Load one volume from an .npz file; no pickle is ever loaded.

    Arrays: ``densities`` (D, H, W) or (1, D, H, W), opacities in [0, 1]; if wanted ``features`` (C, D, H, W),
    ``voxel_size``, a number or (x, y, z), by default 1, and ``volume_translation``, minus the world position (x, y, z)
    of the centre, by default 0. Integer densities and features count to 255.

    Args:
        f: a path or a binary stream.
        device: where the volume goes.
        path_manager: an iopath ``PathManager``, or None for the local file system.
    Returns:
        a batch of one volume, float32.
    Raises:
        ValueError: naming the file and array: a damaged archive, missing arrays, other shapes, NaN and infinity.
        OSError: the file cannot be opened.
    """
    source = read_source(f, path_manager)
    arrays = read_arrays(source, ARRAYS, (0, 1, 3, 4))
    if "densities" not in arrays:
        fail(source.name, "an array 'densities'", "none of that name")
    for name, array in arrays.items():
        spend(f"{source.name}, array '{name}'", array.size * (4 + BYTES_A_VOXEL * (name == "densities")), "numbers")
    tensors = {name: _float32(f"{source.name}, array '{name}'", name, array) for name, array in arrays.items()}
    densities, features = tensors.pop("densities"), tensors.pop("features", None)
    low, high = (float(x) for x in densities.aminmax())
    if low < 0 or high > 1:
        fail(f"{source.name}, array 'densities'", "opacities in [0, 1]", f"{low:g} to {high:g}")
    try:
        placed = {name: value if value.dim() else float(value) for name, value in tensors.items()}
        return Volumes(densities[None], None if features is None else features[None], **placed).to(device)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"{source.name}, {error}") from None


def save_volume(f: Any, volume: Volumes, *, path_manager: Any = None) -> None:
    """Save one volume to a compressed .npz file, as :func:`load_volume` reads it.

    Args:
        f: a path or a binary stream.
        volume: a batch of one, densities (1, 1, D, H, W).
        path_manager: an iopath ``PathManager``, or None for the local file system.
    Raises:
        ValueError: a batch of another size, or densities of several channels.
    """
    densities = check_tensor("volume's densities", volume.densities(), (1, 1, "D", "H", "W"))
    tensors = {
        "densities": densities[0, 0],
        "voxel_size": voxel_sizes(volume)[0],
        "volume_translation": -volume.get_local_to_world_coords_transform().get_matrix()[0, 3, :3],
    }
    features = volume.features()
    if features is not None:
        tensors["features"] = features[0]
    arrays: dict[str, Any] = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    write_file(f, [stream.getvalue()], path_manager)


def _float32(where: str, name: str, array: np.ndarray) -> torch.Tensor:
    """One of the arrays as a tensor, its shape checked, its numbers finite."""
    if name in ("densities", "features"):
        if array.ndim == 3 and name == "densities":
            array = array[None]
        if array.ndim != 4 or (name == "densities" and len(array) != 1):
            fail(where, "shape (D, H, W)" if name == "densities" else "shape (C, D, H, W)", array.shape)
    elif array.shape != (3,) and (array.shape or name == "volume_translation"):
        fail(where, "three numbers" if name == "volume_translation" else "one number or three", array.shape)
    with np.errstate(over="ignore"):
        values = torch.from_numpy(array.astype(np.float32))
    if not bool(values.isfinite().all()):
        fail(where, "values finite in float32", "NaN or infinity")
    return values / 255 if array.dtype.kind in "iu" and values.dim() == 4 else values
