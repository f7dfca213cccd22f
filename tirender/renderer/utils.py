"""The base class of cameras, lights and materials, and conversions from NDC to ``grid_sample`` coordinates."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from tirender.checks import as_tensor, check_tensor, fail

Broadcastable = float | int | list | tuple | torch.Tensor | np.ndarray | np.number


class TensorProperties(nn.Module):
    """An object whose keyword arguments become tensor attributes with one batch size.

    Numbers, lists, tuples and arrays become tensors. Their first dimension is the batch; a size of 1 broadcasts to N.
    None, strings and bools become attributes unchanged. Attributes may be assigned later; they are validated at use.

    Args:
        dtype: the dtype of values that are not tensors; float64 if one of the tensors has that dtype.
        device: the device to which all tensors are moved.
        kwargs: the attributes.
    Raises:
        ValueError: if the batch sizes are neither N nor 1.
        TypeError: if a value has another type.
    """

    def __init__(self, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", **kwargs: Any) -> None:
        super().__init__()
        self.device = make_device(device)
        to_broadcast = {}
        for name, value in kwargs.items():
            if value is None or isinstance(value, str | bool):
                setattr(self, name, value)
            else:
                to_broadcast[name] = value
        tensors = _broadcast(to_broadcast, dtype, self.device)
        for name, tensor in tensors.items():
            setattr(self, name, tensor)
        self._N = next((len(tensor) for tensor in tensors.values()), 0)

    def __len__(self) -> int:
        return self._N

    def isempty(self) -> bool:
        """Whether the batch has no elements."""
        return self._N == 0

    def __getitem__(self, index: int | slice) -> Any:
        """The attributes of one or more elements, to read or to assign: ``lights[0].location = ...``.

        Raises:
            TypeError: if the index has another type.
        """
        if isinstance(index, bool) or not isinstance(index, int | slice):
            raise TypeError(f"index: expected int or slice, got {index!r}")
        return TensorAccessor(self, index)

    def to(self, device: torch.device | str = "cpu") -> TensorProperties:  # type: ignore[override]
        """Move all tensors to ``device``, in place; returns self."""
        self.device = make_device(device)
        super().to(self.device)
        for name, value in self._attributes().items():
            if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
                setattr(self, name, value.to(self.device))
        return self

    def cpu(self) -> TensorProperties:
        """Move all tensors to the CPU, in place; returns self."""
        return self.to("cpu")

    def cuda(self, device: int | None = None) -> TensorProperties:  # type: ignore[override]
        """Move all tensors to a CUDA device, by default the current one, in place; returns self."""
        return self.to("cuda" if device is None else f"cuda:{device}")

    def clone(self, other: TensorProperties | None = None) -> Any:
        """Copy all attributes to ``other``; tensors become differentiable clones.

        Args:
            other: the object to copy to; None for a new object of this class.
        Returns:
            the copy.
        """
        other = type(self)(device=self.device) if other is None else other
        for name, value in self._attributes().items():
            setattr(other, name, value.clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value))
        return other

    def gather_props(self, batch_idx: torch.Tensor) -> TensorProperties:
        """Select elements of every tensor with a batch size above 1, in place; returns self.

        Args:
            batch_idx: int64 (M,) or (M, ...), with at most as many dimensions as each tensor; the result is (M, ...).
        Raises:
            ValueError: if ``batch_idx`` has another dtype or more dimensions.
        """
        check_tensor("batch_idx", batch_idx, dtype=torch.int64)
        for name, value in self._attributes().items():
            if isinstance(value, torch.Tensor) and len(value) > 1:
                extra = value.dim() - batch_idx.dim()
                if extra < 0:
                    fail("batch_idx", f"at most {value.dim()} dimensions, as {name} has", tuple(batch_idx.shape))
                index = batch_idx.reshape(*batch_idx.shape, *(1,) * extra).expand(-1, *value.shape[1:])
                setattr(self, name, value.gather(0, index))
        return self

    def _attributes(self) -> dict[str, Any]:
        """The attributes of this object without those that ``nn.Module`` adds."""
        own = {name: value for name, value in vars(self).items() if name not in _MODULE_INTERNALS}
        return {**own, **self._parameters, **self._buffers}


_MODULE_INTERNALS = frozenset(vars(nn.Module()))


class TensorAccessor:
    """A view of some elements of a :class:`TensorProperties`, to read and to assign.

    Args:
        class_object: the object.
        index: the elements of the batch.
    """

    def __init__(self, class_object: TensorProperties, index: int | slice) -> None:
        self.__dict__.update(class_object=class_object, index=index)

    def __getattr__(self, name: str) -> torch.Tensor:
        return self._tensor(name)[self.index]

    def __setattr__(self, name: str, value: Any) -> None:
        """Write ``value`` into the attribute's selected elements.

        Raises:
            AttributeError: if the attribute is not a tensor.
            ValueError: if the shape does not fit.
        """
        target = self._tensor(name)
        value = format_tensor(value, dtype=target.dtype, device=target.device)
        if target.dim() > 1 and value.dim() > 1 and value.shape[1:] != target.shape[1:]:
            fail(name, f"shape (..., {', '.join(map(str, target.shape[1:]))})", tuple(value.shape))
        # attributes may be expanded views, so the write goes to a copy
        target = target.clone()
        target[self.index] = value
        setattr(self.class_object, name, target)

    def _tensor(self, name: str) -> torch.Tensor:
        value = getattr(self.class_object, name)
        if not isinstance(value, torch.Tensor):
            raise AttributeError(f"{name}: expected a tensor attribute, got {type(value).__name__}")
        return value


def make_device(device: torch.device | str) -> torch.device:
    """``device`` as a ``torch.device``; "cuda" without an index is the current CUDA device."""
    device = torch.device(device)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def format_tensor(
    input: Broadcastable, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Convert ``input`` to a tensor with at least one dimension.

    Args:
        input: a number, list, tuple, array or tensor; a tensor keeps its dtype.
        dtype: the dtype of an ``input`` that is not a tensor.
        device: the device of the result.
    Raises:
        TypeError: if ``input`` has another type.
    """
    return _format("input", input, dtype, device)


def convert_to_tensors_and_broadcast(
    *args: Broadcastable, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> list[torch.Tensor]:
    """Convert the arguments to tensors and broadcast their first dimension.

    Args:
        args: numbers, lists, tuples, arrays or tensors; tensors keep their dtype.
        dtype: the dtype of arguments that are not tensors; float64 if one of the tensors has that dtype.
        device: the device of the results.
    Returns:
        the tensors, with a first dimension N.
    Raises:
        ValueError: if a first dimension is neither N nor 1.
        TypeError: if an argument has another type.
    """
    return list(_broadcast({f"argument {i}": arg for i, arg in enumerate(args)}, dtype, device).values())


def ndc_grid_sample(
    input: torch.Tensor, grid_ndc: torch.Tensor, *, align_corners: bool = False, **grid_sample_kwargs: Any
) -> torch.Tensor:
    """Sample images at points in NDC (+X left, +Y up, [-1, 1] on the short side).

    Args:
        input: (N, C, H, W) floats.
        grid_ndc: (N, ..., 2), x and y in NDC.
        align_corners: True puts NDC -1 and 1 at the centres of the outermost pixels, False at their outer edges.
        grid_sample_kwargs: further arguments of ``torch.nn.functional.grid_sample``.
    Returns:
        (N, C, ...); differentiable.
    Raises:
        ValueError: if the shapes do not fit.
    """
    check_tensor("input", input, ("N", "C", "H", "W"))
    check_tensor("grid_ndc", grid_ndc, ("...", "N", 2))
    if len(grid_ndc) != len(input):
        fail("grid_ndc", f"a batch of {len(input)}, as the input has", len(grid_ndc))
    batch, *spatial_size, _ = grid_ndc.shape
    height, width = input.shape[2:]
    grid = ndc_to_grid_sample_coords(grid_ndc.reshape(batch, -1, 1, 2), (height, width))
    sampled = nn.functional.grid_sample(input, grid, align_corners=align_corners, **grid_sample_kwargs)
    return sampled.reshape(batch, input.shape[1], *spatial_size)


def ndc_to_grid_sample_coords(xy_ndc: torch.Tensor, image_size_hw: tuple[int, int]) -> torch.Tensor:
    """Convert NDC to the coordinates of ``grid_sample``.

    NDC has +X left, +Y up and [-1, 1] on the short side. ``grid_sample`` has +X right, +Y down and [-1, 1] on both.

    Args:
        xy_ndc: (..., 2).
        image_size_hw: height and width in pixels.
    Returns:
        (..., 2); differentiable.
    Raises:
        ValueError: if the size or the shape is wrong.
    """
    check_tensor("xy_ndc", xy_ndc, ("...", 2))
    height, width = parse_image_size(image_size_hw)
    short = min(height, width)
    return xy_ndc * xy_ndc.new_tensor([-short / width, -short / height])


def parse_image_size(image_size: int | Sequence[int]) -> tuple[int, int]:
    """Convert ``image_size`` to (height, width).

    Args:
        image_size: one int for a square, or (height, width), in pixels; an array or tensor of these, also (N, 2) with
            equal rows, as cameras have it.
    Raises:
        ValueError: if it is not one or two positive whole numbers.
    """
    size: Any = image_size
    if isinstance(image_size, np.ndarray | torch.Tensor):
        rows = torch.as_tensor(image_size).detach()
        same = rows.dim() == 2 and len(rows) > 0 and bool((rows == rows[:1]).all())
        size = (rows[0] if same else rows).tolist()
    pair = size if isinstance(size, tuple | list) else [size, size]
    numbers = [
        s.item() if isinstance(s, np.generic) or (isinstance(s, torch.Tensor) and s.dim() == 0) else s for s in pair
    ]
    is_whole = [isinstance(s, int | float) and not isinstance(s, bool) and s > 0 and s == s // 1 for s in numbers]
    if len(numbers) != 2 or not all(is_whole):
        fail("image_size", "a positive int or (height, width) of two", repr(image_size))
    return int(numbers[0]), int(numbers[1])


def _format(name: str, value: Broadcastable, dtype: torch.dtype, device: torch.device | str) -> torch.Tensor:
    if not isinstance(value, Broadcastable):
        raise TypeError(f"{name}: expected number, list, tuple, array or tensor, got {type(value).__name__}")
    tensor = as_tensor(name, value, None if isinstance(value, torch.Tensor) else dtype, device)
    return tensor.reshape(1) if tensor.dim() == 0 else tensor


def _broadcast(
    values: Mapping[str, Broadcastable], dtype: torch.dtype, device: torch.device | str
) -> dict[str, torch.Tensor]:
    if any(isinstance(value, torch.Tensor) and value.dtype == torch.float64 for value in values.values()):
        dtype = torch.float64
    tensors = {}
    for name, value in values.items():
        tensors[name] = _format(name, value, dtype, device)
    sizes = {name: len(tensor) for name, tensor in tensors.items()}
    larger = {size for size in sizes.values() if size != 1}
    if len(larger) > 1:
        fail("batch", "one size, or 1", ", ".join(f"{name} of {size}" for name, size in sizes.items()))
    n = larger.pop() if larger else 1
    return {name: tensor.expand(n, *tensor.shape[1:]) for name, tensor in tensors.items()}
