"""Checks of arguments that several functions share."""

from __future__ import annotations

import torch

from tirender.checks import INTEGERS, as_floats, check_range, check_tensor, fail

MAX_TRIANGLES = 2**24  # float32 holds their ids exactly up to there


def check_triangles(tri: torch.Tensor, n_verts: int, device: torch.device) -> torch.Tensor:
    """``tri`` (T, 3) as contiguous int32, all indices of vertices."""
    check_tensor("tri", tri, ("num_triangles", 3), INTEGERS)
    check_device("tri", tri, device)
    if len(tri) > MAX_TRIANGLES:
        fail("tri", f"at most {MAX_TRIANGLES} triangles", len(tri))
    check_range("tri", tri, n_verts, "vertices")
    return tri.int().contiguous()


def check_rast(rast: torch.Tensor, name: str = "rast") -> torch.Tensor:
    """``rast`` or ``rast_db`` (N, H, W, 4) as floats."""
    check_tensor(name, rast, ("minibatch_size", "height", "width", 4))
    return as_floats(name, rast)


def check_device(name: str, tensor: torch.Tensor, device: torch.device) -> None:
    """Raise ``ValueError`` if a tensor is not on the device."""
    if tensor.device != device:
        fail(name, f"a tensor on {device}, where the others are", tensor.device)


def in_one_dtype(**tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The tensors that are given, by name: on one device, and all of them in the widest of their float dtypes."""
    given = {name: as_floats(name, tensor) for name, tensor in tensors.items() if tensor is not None}
    first = next(iter(given.values()))
    for name, tensor in given.items():
        check_device(name, tensor, first.device)
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in given.values()) else torch.float32
    return {name: tensor.to(dtype) for name, tensor in given.items()}
