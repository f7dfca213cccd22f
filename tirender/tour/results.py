"""What a section of the tour has come to, kept as JSON beside its pictures."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from tirender.checks import fail
from tirender.io.files import write_file


@dataclass(frozen=True)
class Picture:
    """A picture in the tour's folder.

    Attributes:
        file: its path below that folder.
        alt: what it shows, for who cannot see it.
        label: below it, where a figure has several.
    """

    file: str
    alt: str
    label: str = ""


@dataclass(frozen=True)
class Figure:
    """Pictures under one caption; ``number`` is the tutorials', or None where they have no such figure."""

    number: int | None
    caption: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Work:
    """A row of the table: what was computed, for how long, and how good it is.

    Attributes:
        name: of the work.
        seconds, cpu_seconds: that it took, on the clock and summed over threads.
        steps: of a fit.
        began_at: the step from which an interrupted fit went on; the seconds are those since then.
        losses: in the end, the mean of the last steps; with ``"total"``.
        quality: name -> a number with its unit.
    """

    name: str
    seconds: float
    cpu_seconds: float
    steps: int = 0
    began_at: int = 0
    losses: dict[str, float] | None = None
    quality: dict[str, str] | None = None


@dataclass(frozen=True)
class Result:
    """A section that is done.

    Attributes:
        number: 1 to 6.
        title: of the tutorial.
        text: a paragraph on what is seen.
        cover: a small picture.
        figures: in order.
        work: what was computed.
        note: a word on what is not as it should be.
    """

    number: int
    title: str
    text: str
    cover: Picture
    figures: tuple[Figure, ...]
    work: tuple[Work, ...]
    note: str = ""


def save_result(result: Result, path: Path) -> None:
    """Write a result, whole or not at all."""
    write_file(path, [(json.dumps(asdict(result), indent=1) + "\n").encode()])


def load_result(path: Path) -> Result | None:
    """Read a result; None where there is none, or where it is damaged, of another version or without its pictures.

    Args:
        path: ``section3/result.json``, or its like, in the tour's folder.
    """
    if not path.exists():
        return None
    try:
        result: Result = _read(Result, json.loads(path.read_text("utf-8")))
        if path.parent.name != f"section{result.number}":
            fail("number", f"that of {path.parent.name}", result.number)
        for picture in [result.cover, *(picture for figure in result.figures for picture in figure.pictures)]:
            picture_path(path.parent.parent, picture)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        warnings.warn(f"{path}: damaged, so that it counts as not done ({error})", stacklevel=2)
        return None
    return result


def picture_path(folder: Path, picture: Picture) -> Path:
    """Where a picture of the tour in this folder is.

    Raises:
        ValueError: there is none, or outside the folder.
    """
    path = (folder / picture.file).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        fail("picture", "a file in the tour's folder", repr(picture.file))
    return path


def _read(kind: Any, value: Any) -> Any:
    """A value of this type, of what ``asdict`` and JSON have made of it; another is a ValueError or TypeError."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind in (Result, Figure, Picture, Work) and isinstance(value, dict):
        types = get_type_hints(kind)
        return kind(**{name: _read(types.get(name), of_name) for name, of_name in value.items()})
    if origin is tuple and isinstance(value, list):
        return tuple(_read(parts[0], item) for item in value)
    if origin is dict and isinstance(value, dict):
        return {name: _read(parts[1], item) for name, item in value.items()}
    if type(None) in parts:
        return None if value is None else _read(parts[0], value)
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind not in (int, str) or type(value) is not kind:
        fail("result", f"a value of type {getattr(kind, '__name__', kind)}", repr(value)[:80])
    return value
