"""The report of a tour: one HTML file with its pictures inside, without scripts and without links to other files."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template

import torch
from PIL import Image

from tirender.engine import runtime
from tirender.io.files import decode_image, read_source, write_file
from tirender.tour.results import Figure, Picture, Result, Work, picture_path

WIDEST = 1200  # largest width of a picture in the report, in pixels
QUALITY = 85
N_SECTIONS = 7
PRIVATE = ("kernel cache",)  # its path may name the user


def write_report(folder: Path, results: Mapping[int, Result], path: Path) -> None:
    """Write a report.

    Args:
        folder: of the pictures.
        results: of the sections that are done, by number.
        path: of the HTML file; a failure leaves no partial file.
    Raises:
        ValueError: a picture is damaged, too large, or outside the folder.
    """
    done = [results[number] for number in sorted(results)]
    missing = [str(number) for number in range(1, N_SECTIONS + 1) if number not in results]
    facts = {name: value for name, value in runtime.describe().items() if name not in PRIVATE}
    page = Template(Path(__file__).with_name("report.html").read_text("utf-8")).substitute(
        date=time.strftime("%Y-%m-%d"),
        missing=f"<p class=note>Not done yet: section {', '.join(missing)}.</p>" if missing else "",
        covers="".join(_cover(folder, result) for result in done),
        rows="".join(_rows(result) for result in done),
        total=_total([work for result in done for work in result.work]),
        machine="".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items()),
        sections="".join(_section(folder, result) for result in done),
    )
    write_file(path, [page.encode()])


def _cover(folder: Path, result: Result) -> str:
    number, title = result.number, escape(result.title)
    return f'<li><a href="#section{number}">{_image(folder, result.cover)}<span>{number} {title}</span></a></li>\n'


def _section(folder: Path, result: Result) -> str:
    note = f"<p class=note>{escape(result.note)}</p>" if result.note else ""
    figures = "".join(_figure(folder, figure) for figure in result.figures)
    return (
        f'<section id="section{result.number}">\n<h2>{result.number} {escape(result.title)}</h2>\n'
        f"<p>{escape(result.text)}</p>{note}\n{figures}</section>\n"
    )


def _figure(folder: Path, figure: Figure) -> str:
    name = "" if figure.number is None else f"<b>Figure {figure.number}:</b> "
    pictures = "".join(
        f"<div>{_image(folder, picture)}{f'<small>{escape(picture.label)}</small>' if picture.label else ''}</div>"
        for picture in figure.pictures
    )
    anchor = "" if figure.number is None else f' id="figure{figure.number}"'
    return (
        f'<figure{anchor}><div class="pictures n{len(figure.pictures)}">{pictures}</div>'
        f"<figcaption>{name}{escape(figure.caption)}</figcaption></figure>\n"
    )


def _rows(result: Result) -> str:
    """The section's rows of the table; the first one names it."""
    rows = []
    for i, work in enumerate(result.work):
        head = f'<th scope="rowgroup" rowspan="{len(result.work)}">{result.number} {escape(result.title)}</th>'
        steps = f"{work.steps:,}" if work.steps else "–"
        clock = f"{_duration(work.seconds)}{f' (since step {work.began_at})' if work.began_at else ''}"
        cells = [work.name, steps, clock, _duration(work.cpu_seconds), _losses(work), _quality(work)]
        rows.append(f"<tr>{head if i == 0 else ''}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n")
    return "".join(rows)


def _losses(work: Work) -> str:
    losses = work.losses or {}
    return ", ".join(f"{name} {value:.3g}" for name, value in losses.items()) or "–"


def _quality(work: Work) -> str:
    return ", ".join(f"{name} {value}" for name, value in (work.quality or {}).items()) or "–"


def _total(work: list[Work]) -> str:
    return f"{_duration(sum(w.seconds for w in work))}, {_duration(sum(w.cpu_seconds for w in work))} of CPU time"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def _image(folder: Path, picture: Picture) -> str:
    """An image element with the picture inside; it has its size, so that the layout does not move."""
    data, width, height = _webp(picture_path(folder, picture))
    source = f"data:image/webp;base64,{base64.b64encode(data).decode()}"
    return f'<img src="{source}" alt="{escape(picture.alt)}" width="{width}" height="{height}">'


def _webp(path: Path) -> tuple[bytes, int, int]:
    """A picture as WebP, with its width and height; wide ones are reduced, animations are kept as they are."""
    data = read_source(path).data
    image = decode_image(data, str(path))
    if path.suffix == ".webp":
        return data, image.shape[1], image.shape[0]
    smaller = Image.fromarray((image * 255).round().to(torch.uint8).numpy())
    smaller.thumbnail((WIDEST, 2 * WIDEST))
    stream = io.BytesIO()
    smaller.save(stream, "WEBP", quality=QUALITY, method=4)
    return stream.getvalue(), *smaller.size
