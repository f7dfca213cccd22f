"""Copies on a device with memory of its own of what launch after launch reads."""

from __future__ import annotations

import weakref
from typing import Any

import torch


class DeviceCopies:
    """Copies of rows of numbers (n, k) that nobody writes to, each as long as its tensor lives."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[Any, ...], Any] = {}  # Taichi's, or None before the first launch
        self._gone: list[tuple[Any, ...]] = []
        self._runtime: Any = None  # not its program, which must end with ti.reset

    def keep(self, tensor: torch.Tensor) -> None:
        """Have launches that read this tensor, contiguous, copy it once."""
        key = _key(tensor)
        self._drop_gone()
        if len(tensor) and key not in self._arrays:
            self._arrays[key] = None
            weakref.finalize(tensor, self._gone.append, key)

    def find(self, tensor: torch.Tensor) -> Any:
        """The copy on the device, made at first; None of what is not to be kept."""
        import taichi as ti
        from taichi.lang import impl
        from taichi.lang.util import to_taichi_type

        self._drop_gone()
        key = _key(tensor)
        if key not in self._arrays:
            return None
        if self._runtime is not impl.get_runtime():  # the other has ended, and its arrays with it
            self._runtime, self._arrays = impl.get_runtime(), dict.fromkeys(self._arrays)
        if self._arrays[key] is None:
            self._arrays[key] = ti.Vector.ndarray(tensor.shape[1], to_taichi_type(tensor.dtype), len(tensor))
            self._arrays[key].from_numpy(tensor.numpy())
        return self._arrays[key]

    def _drop_gone(self) -> None:
        """Free the copies of tensors that live no longer, before others take their places in memory."""
        arrays = [array for _ in range(len(self._gone)) if (array := self._arrays.pop(self._gone.pop(), None))]
        if arrays and self._runtime.prog is not None:  # else it has ended, and its arrays with it
            self._runtime.sync()  # Taichi 1.7 never frees what a launch in flight has used
            for array in arrays:
                self._runtime.prog.delete_ndarray(array.arr)


def _key(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.dtype
