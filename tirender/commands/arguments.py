"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from tirender.engine.runtime import ARCHS


def number(kind: type[int] | type[float], low: float, high: float, expected: str) -> Callable[[str], float]:
    """A reader of one argument that must lie in [low, high]; ``expected`` says so in words."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return read


def add_arch(parser: argparse.ArgumentParser) -> None:
    """Add ``--arch``."""
    parser.add_argument("--arch", choices=ARCHS, help="where kernels run (default: cuda if torch has it, else cpu)")
