"""Tables for the terminal, in Markdown, and numbers that are easy to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tirender.bench.limits import UNITS

COLUMNS = ("a step, or an operation", "median", "min", "quartiles", "throughput", "of limit", "first run", "memory")
SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class Table:
    """A table of fixed column widths, to be printed row by row.

    Args:
        columns: their names; the first column is aligned left, the others right.
        widths: of the columns; a longer cell makes its row longer.
    """

    def __init__(self, columns: Sequence[str], widths: Sequence[int]) -> None:
        self.columns, self.widths = columns, [max(w, len(c)) for w, c in zip(widths, columns)]

    def head(self) -> str:
        """The heading, two lines."""
        first, *rest = self.widths
        return f"{self.row(self.columns)}\n|{'-' * (first + 2)}|" + "|".join(f"{'-' * (w + 1)}:" for w in rest) + "|"

    def row(self, cells: Sequence[str]) -> str:
        """A row."""
        first, *rest = cells
        padded = [first.ljust(self.widths[0]), *(c.rjust(w) for c, w in zip(rest, self.widths[1:]))]
        return f"| {' | '.join(padded)} |"

    def failed(self, title: str, message: str) -> str:
        """A row that could not be measured, with the error message."""
        return self.row([title, *["-"] * (len(self.columns) - 2), message.replace("|", r"\|")])


def cells(title: str, unit: str, result: Mapping[str, Any], limits: Mapping[str, float]) -> list[str]:
    """The cells of ``COLUMNS`` in a row.

    Args:
        title: of the workload.
        unit: the unit of its throughput.
        result: what ``worker.row`` returned.
        limits: the machine's rates by name; without them, nothing is compared.
    """
    rate = result["n_units"] / result["median"]
    share = "-"
    if result["needs"] and result["needs"][0] in limits:
        limit, need = result["needs"]
        share = f"{percent(rate * need / limits[limit])} {limit}"
    peak = result["peak_memory"]
    return [
        title,
        seconds(result["median"]),
        seconds(result["min"]),
        f"{seconds(result['quartile_1'])} - {seconds(result['quartile_3'])}",
        f"{quantity(rate)} {unit}/s",
        share,
        seconds(result["first"]),
        "-" if peak is None else f"{peak / 1e6:.0f} MB",
    ]


def limits_line(limits: Mapping[str, float]) -> str:
    """The machine's rates in one line."""
    return ", ".join(f"{name} {quantity(rate)}{UNITS[name]}" for name, rate in limits.items())


def seconds(value: float) -> str:
    """A duration in three digits: 12.3 ms."""
    scale, unit = next(((s, u) for s, u in ((1.0, "s"), (1e-3, "ms")) if value >= 0.9995 * s), (1e-6, "us"))
    return f"{_digits(value / scale)} {unit}"


def quantity(value: float) -> str:
    """A number, if large in three digits: 12.3 M."""
    if value < 1000 and value == int(value):
        return f"{value:.0f}"
    scale, prefix = next(((s, p) for s, p in SI if value >= 0.9995 * s), (1.0, ""))
    return f"{_digits(value / scale)} {prefix}".rstrip()


def percent(share: float) -> str:
    """A fraction in two digits: 12 %."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
