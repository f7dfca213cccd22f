"""Endings of paths."""

from __future__ import annotations

from tirender.io.pluggable_formats import has_suffix
from tirender.pytorch3d.shims.io.utils import PathOrStr


def endswith(path: PathOrStr, suffixes: tuple[str, ...]) -> bool:
    """Whether a path has one of these endings, in lower or upper case."""
    return has_suffix(path, suffixes)
