"""Conversions between packed tensors (items concatenated) and padded tensors (one row an item)."""

from __future__ import annotations

import torch

from tirender.checks import INTEGERS, check_integer, check_tensor, fail


def packed_to_padded(inputs: torch.Tensor, first_idxs: torch.Tensor, max_size: int) -> torch.Tensor:
    """Convert a packed tensor to a padded one.

    Args:
        inputs: (F,) or (F, ...), any dtype.
        first_idxs: (N,) integers, the first row of each item in ``inputs``; ascending from 0.
        max_size: the length of the padded rows, at least that of the longest item.
    Returns:
        (N, max_size) or (N, max_size, ...), padded with 0; differentiable in ``inputs``.
    Raises:
        ValueError: if ``first_idxs`` does not ascend from 0 to at most F, or an item is longer than ``max_size``.
    """
    if not check_tensor("inputs", inputs).dim():
        fail("inputs", "shape (F,) or (F, ...)", "()")
    slots = _slots(first_idxs, len(inputs), check_integer("max_size", max_size, 0))
    padded = inputs.new_zeros(len(first_idxs) * max_size, *inputs.shape[1:]).index_copy(0, slots, inputs)
    return padded.reshape(len(first_idxs), max_size, *inputs.shape[1:])


def padded_to_packed(
    inputs: torch.Tensor, first_idxs: torch.Tensor, num_inputs: int, max_size_dim: int = 1
) -> torch.Tensor:
    """Convert a padded tensor to a packed one: the inverse of ``packed_to_padded``.

    Args:
        inputs: (N, max_size) or (N, ..., max_size, ...), any dtype.
        first_idxs: (N,) integers, the first row of each item in the result; ascending from 0.
        num_inputs: F, the length of the result.
        max_size_dim: the padded dimension of ``inputs``.
    Returns:
        (F,) or (F, ...); differentiable in ``inputs``.
    Raises:
        ValueError: if ``first_idxs`` does not have N entries that ascend from 0 to at most F, or a row is too short.
    """
    if not 1 <= max_size_dim < check_tensor("inputs", inputs).dim():
        fail("max_size_dim", "a dimension of inputs after the first", max_size_dim)
    inputs = inputs.movedim(max_size_dim, 1)
    check_tensor("first_idxs", first_idxs, (len(inputs),), INTEGERS)
    slots = _slots(first_idxs, check_integer("num_inputs", num_inputs, 0), inputs.shape[1])
    return inputs.flatten(0, 1).index_select(0, slots)


def _slots(first_idxs: torch.Tensor, n_packed: int, max_size: int) -> torch.Tensor:
    """(F,): the index of each packed row in the flattened padded tensor."""
    check_tensor("first_idxs", first_idxs, ("N",), INTEGERS)
    bounds = torch.cat([first_idxs.long(), first_idxs.new_tensor([n_packed]).long()])
    sizes = bounds.diff()
    if int(bounds[0]) != 0 or (len(sizes) and int(sizes.min()) < 0):
        fail("first_idxs", f"ascending indices, from 0 to at most {n_packed}", first_idxs.tolist())
    if len(sizes) and int(sizes.max()) > max_size:
        fail("max_size", f"at least {int(sizes.max())}, the longest item", max_size)
    items = torch.arange(len(sizes), device=sizes.device)
    shift = (items * max_size - bounds[:-1]).repeat_interleave(sizes, output_size=n_packed)
    return torch.arange(n_packed, device=sizes.device) + shift
