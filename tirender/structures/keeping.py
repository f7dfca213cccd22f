"""Tensors that are computed once and kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def compute_to_keep(compute: Callable[[], T]) -> T:
    """Return ``compute()``, computed outside of ``torch.inference_mode``.

    Tensors that are made within it may never be part of a graph. What a preview is the first to ask for would then be
    of no use to a fit.
    """
    if not torch.is_inference_mode_enabled():
        return compute()
    with torch.inference_mode(False), torch.no_grad():
        return compute()


class kept_property(cached_property[T]):  # noqa: N801 (as property, cached_property)
    """A ``cached_property`` of tensors; see :func:`compute_to_keep`."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        super().__init__(lambda owner: compute_to_keep(partial(compute, owner)))
        self.__doc__ = compute.__doc__


def version_of(tensor: torch.Tensor) -> int:
    """How often a tensor was written to in place; 0 for inference tensors, which have no counter."""
    return 0 if tensor.is_inference() else tensor._version
