"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import tirender
from tirender.engine.runtime import ARCHS


def number(kind: type[int] | type[float], low: float, high: float, expected: str) -> Callable[[str], float]:
    """An argument's ``type``: a number in [low, high]; ``expected`` says so in messages."""

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


def add_allow_parent(parser: argparse.ArgumentParser) -> None:
    """Add ``--allow-parent``."""
    parser.add_argument(
        "--allow-parent",
        action="store_true",
        help="also read materials and images from the folder above FILE's, as ../textures/a.png",
    )


def device_of(arch: str | None) -> str:
    """Start the runtime; returns the device of its tensors."""
    return "cuda" if tirender.init(arch) == "cuda" else "cpu"


def add_web_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--port`` and ``--host``, of a page."""
    parser.add_argument(
        "--port",
        type=number(int, 0, 65535, "0 to 65535"),
        metavar="N",
        help="port of the page (default: 8123, or any that is free)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where the page is served (default: 127.0.0.1, this machine only; 0.0.0.0: the whole network)",
    )
