"""Arguments that several commands have."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable

import tirender
from tirender.engine.archs import ARCHS


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


def numbers(n: int, expected: str) -> Callable[[str], tuple[float, ...]]:
    """An argument's ``type``: n finite numbers with commas between them; see ``parsing.takes_numbers``."""

    def read(text: str) -> tuple[float, ...]:
        try:
            values = tuple(map(float, text.split(",")))
        except ValueError:
            values = ()
        if len(values) != n or not all(map(math.isfinite, values)):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text.replace(',', ' ')!r}")
        return values

    return read


def size(low: int, high: int) -> Callable[[str], tuple[int, int]]:
    """An argument's ``type``: width and height as 640x480 or 640,480, or one number for both."""

    def read(text: str) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,9})(?:[x,](\d{1,9}))?", text.strip().lower())
        sides = (0, 0) if found is None else (int(found[1]), int(found[2] or found[1]))
        if not all(low <= side <= high for side in sides):
            expected = f"a side, or width and height (1280 720, 1280x720), each {low} to {high} pixels"
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text.replace(',', ' ')!r}")
        return sides

    return read


TRANSPARENT = "transparent"


def background(text: str) -> tuple[float, float, float] | str:
    """An argument's ``type``: a colour as RGB in [0, 1], by name, by hexadecimal digits or by three numbers.

    Returns:
        the colour, or ``TRANSPARENT``.
    """
    if text.lower() in (TRANSPARENT, "none"):
        return TRANSPARENT
    if re.fullmatch(r"[-+.\deE]+(,[-+.\deE]+)+", text):
        try:
            red, green, blue = map(float, text.split(","))
            if all(0 <= value <= 1 for value in (red, green, blue)):
                return red, green, blue
        except ValueError:
            pass
    else:
        from PIL import ImageColor

        digits = text.removeprefix("#")
        try:
            is_hex = re.fullmatch(r"[\da-fA-F]{3}|[\da-fA-F]{6}", digits)
            red, green, blue = (part / 255 for part in ImageColor.getrgb(f"#{digits}" if is_hex else text)[:3])
            if max(red, green, blue) <= 1:
                return red, green, blue
        except ValueError:
            pass
    expected = "a colour's name, RRGGBB, three numbers of 0 to 1, or transparent"
    raise argparse.ArgumentTypeError(f"expected {expected}, got {text.replace(',', ' ')!r}")


UPS = ("x", "y", "z", "-x", "-y", "-z")


def up(text: str) -> str:
    """An argument's ``type``: one of ``UPS``; a plus sign and capitals do not matter."""
    word = text.lower().removeprefix("+")
    if word not in UPS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(UPS)}, got {text!r}")
    return word


def add_up(parser: argparse.ArgumentParser) -> None:
    """Add ``--up``."""
    parser.add_argument("--up", type=up, metavar="AXIS", help="the file's axis that points up: x, y, z, -x, -y or -z")


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


LOCALHOST = "127.0.0.1"


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
        metavar="ADDRESS",
        help=f"where the page is served (default: {LOCALHOST}, this machine only; 0.0.0.0: the whole network)",
    )
