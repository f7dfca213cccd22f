"""Copies of tensors that stay on a device with memory of its own, for what launch after launch reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef


@dataclass(frozen=True)
class Lasting:
    """An argument of a launch: a tensor that the kernel only reads, and that later launches are likely to read too.

    Not for what an optimizer changes, which may do so behind torch's back (``x.data -= ...``).
    """

    tensor: torch.Tensor


def is_optimized(tensor: torch.Tensor) -> bool:
    """Whether a tensor wants gradients, or is a view, made without them, of one that does."""
    return tensor.requires_grad or (tensor._base is not None and tensor._base.requires_grad)


@dataclass
class _Copy:
    storage: StorageWeakRef
    version: int
    array: Any = None  # a Taichi ndarray, from the second launch on


class DeviceCopies:
    """Copies by storage, place, shape and type; each as long as its tensor lives and nobody has written to it."""

    def __init__(self) -> None:
        self._copies: dict[tuple[Any, ...], _Copy] = {}
        self._program: Any = None

    def find(self, tensor: torch.Tensor, n_element_dims: int) -> Any:
        """A Taichi ndarray with a tensor's numbers; None where this is the first launch that reads them.

        Args:
            tensor: contiguous.
            n_element_dims: how many of its last dimensions make up one element.
        """
        from taichi.lang import impl

        if not tensor.numel() or tensor.is_inference():  # which does not tell when it is written to
            return None
        if self._program is not impl.get_runtime().prog:  # the other ended, and its arrays with it
            self._copies, self._program = {}, impl.get_runtime().prog
        storage = tensor.untyped_storage()
        key = (storage._cdata, tensor.data_ptr(), tensor.shape, tensor.dtype, n_element_dims)
        copy = self._copies.get(key)
        if copy is None or copy.storage.expired() or copy.version != tensor._version:
            self._drop(key)
            self._copies[key] = _Copy(StorageWeakRef(storage), tensor._version)
            return None
        if copy.array is None:
            copy.array = _to_device(tensor, n_element_dims)
        return copy.array

    def _drop(self, replaced: tuple[Any, ...]) -> None:
        """Free the copies of what is gone, and this one."""
        gone = [key for key, copy in self._copies.items() if key == replaced or copy.storage.expired()]
        arrays = [array for key in gone if (array := self._copies.pop(key).array) is not None]
        if arrays:
            self._program.synchronize()  # Taichi 1.7 never frees what a launch in flight has used
        for array in arrays:
            if array.element_shape:  # it frees those of numbers by itself
                self._program.delete_ndarray(array.arr)


def _to_device(tensor: torch.Tensor, n_element_dims: int) -> Any:
    import taichi as ti
    from taichi.lang.util import to_taichi_type

    n_dims = tensor.dim() - n_element_dims
    dtype = to_taichi_type(tensor.dtype)
    if n_element_dims:
        array = ti.Vector.ndarray(tensor.shape[-1], dtype, tensor.shape[:n_dims])
    else:
        array = ti.ndarray(dtype, tuple(tensor.shape))
    array.from_numpy(tensor.numpy())
    return array
