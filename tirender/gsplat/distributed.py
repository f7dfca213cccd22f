"""``gsplat.distributed``: how gsplat's trainers start; here in one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["cli"]


def cli(fn: Callable[[int, int, int, Any], Any], args: Any, verbose: bool = False) -> bool:
    """Call ``fn(local_rank, world_rank, world_size, args)`` once, as the only process; returns True."""
    if verbose:
        print("tirender.gsplat: one process")
    fn(0, 0, 1, args)
    return True
