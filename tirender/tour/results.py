"""What a section of the tour has come to, kept as JSON beside its pictures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
    """Read a result; None where there is none."""
    if not path.exists():
        return None
    facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
    facts["cover"] = Picture(**facts["cover"])
    facts["figures"] = tuple(
        Figure(**{**figure, "pictures": tuple(Picture(**picture) for picture in figure["pictures"])})
        for figure in facts["figures"]
    )
    facts["work"] = tuple(Work(**work) for work in facts["work"])
    return Result(**facts)
