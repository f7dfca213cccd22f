"""Words for ``repr``."""

from __future__ import annotations

from collections.abc import Sequence


def several(n: int, singular: str) -> str:
    """``1 mesh``, ``2 meshes``."""
    plural = f"{singular}es" if singular.endswith("sh") else f"{singular}s"
    return f"{n} {singular if n == 1 else plural}"


def span(numbers: Sequence[float]) -> str:
    """The number, or the least and the greatest of different ones: ``60``, ``12 to 40``; ``0`` of none."""
    low, high = min(numbers, default=0), max(numbers, default=0)
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
