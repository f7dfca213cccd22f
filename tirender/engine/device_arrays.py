"""Arrays in the memory of a device, which no launch copies: what kernels leave for each other and for nobody else."""

from __future__ import annotations

import math
from typing import Any

import torch


class DeviceArray:
    """An array of numbers that kernels alone write and read.

    Args:
        shape: without a 0.
        dtype: of its numbers.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        import taichi as ti
        from taichi.lang.util import to_taichi_type

        self.shape, self.dtype = torch.Size(shape), dtype
        self._array = ti.ndarray(to_taichi_type(dtype), shape)

    def dim(self) -> int:
        """Its dimensions, as a tensor's."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def handle(self) -> Any:
        """What a launch is given."""
        return self._array.arr

    def like(self) -> torch.Tensor:
        """A tensor for which kernels are compiled alike."""
        return torch.empty([1] * len(self.shape), dtype=self.dtype)

    def __del__(self) -> None:
        from taichi.lang import impl

        if hasattr(self, "_array") and impl.get_runtime().prog is not None:
            impl.get_runtime().sync()  # Taichi 1.7 never frees what a launch in flight has used
