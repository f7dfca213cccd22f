"""The result of a section of the tour, saved as JSON beside its pictures."""

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
        alt: a description for readers who cannot see it.
        label: below it, if its figure has several pictures.
    """

    file: str
    alt: str
    label: str = ""


@dataclass(frozen=True)
class Figure:
    """Pictures with a caption; ``number`` is that in the tutorials, None for figures that they do not have."""

    number: int | None
    caption: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Work:
    """A row of the table: what was computed, how long it took, and how good it is.

    Attributes:
        name: of the work.
        seconds, cpu_seconds: wall-clock time, and time summed over threads.
        steps: of a fit.
        began_at: the step at which an interrupted fit was resumed; the seconds count from there.
        losses: means over the last steps, by name, with ``"total"``.
        quality: numbers with their units, by name.
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
        number: 1 to 6 for the tutorials, 7 for Gaussians.
        title: of the section.
        text: a paragraph about it.
        cover: a small picture.
        figures: in order.
        work: its rows of the table.
        note: a remark on what is different from the tutorial.
    """

    number: int
    title: str
    text: str
    cover: Picture
    figures: tuple[Figure, ...]
    work: tuple[Work, ...]
    note: str = ""


def save_result(result: Result, path: Path) -> None:
    """Write a result; a failure leaves no partial file."""
    write_file(path, [(json.dumps(asdict(result), indent=1) + "\n").encode()])


def load_result(path: Path) -> Result | None:
    """Read a result; None if there is none, or if it is damaged, of another version, or lacks pictures.

    Args:
        path: of ``result.json`` in a section's folder, such as ``section3``.
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
    """The path of a picture of the tour in this folder.

    Raises:
        ValueError: there is no such file, or it is outside the folder.
    """
    path = (folder / picture.file).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        fail("picture", "a file in the tour's folder", repr(picture.file))
    return path


def _read(kind: Any, value: Any) -> Any:
    """A value of a type, from JSON of its ``asdict``; raises ``ValueError`` or ``TypeError`` for other JSON."""
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
