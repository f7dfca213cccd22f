"""Run the sections of a tour; finished ones are skipped."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Collection
from pathlib import Path

from tirender.checks import fail
from tirender.io.files import write_file
from tirender.tour.config import TourConfig
from tirender.tour.data import find_data
from tirender.tour.report import write_report
from tirender.tour.results import Result, load_result, save_result
from tirender.tour.sections import SECTIONS
from tirender.tour.stage import Stage


def run_tour(
    config: TourConfig,
    folder: Path,
    data: str = "creature",
    only: Collection[int] = (),
    device: str = "cpu",
    say: Callable[[str], None] = print,
) -> Path:
    """Do the six tutorials and a section on Gaussians, and write a report.

    An interrupted tour continues when called again. It also writes the report, of the sections that are done.

    Args:
        config: sizes and settings.
        folder: for all files. A section is done if its folder, such as ``section3``, has a ``result.json``.
        data: "creature" or "tutorials", see :func:`~tirender.tour.data.find_data`.
        only: numbers of the sections to do, 1 to 7; all by default.
        device: of tensors.
        say: is called with lines of progress.
    Returns:
        the path of ``report.html``.
    Raises:
        ValueError: there is no such section, or the folder holds a tour with other settings.
    """
    import matplotlib

    matplotlib.use("agg")
    chosen = sorted({*only} or SECTIONS)
    if not {*chosen} <= {*SECTIONS}:
        fail("only", f"numbers of sections, {min(SECTIONS)} to {max(SECTIONS)}", list(only))
    folder.mkdir(parents=True, exist_ok=True)
    _check_settings(config, data, folder)
    results = {number: load_result(_result_path(folder, number)) for number in SECTIONS}
    files = find_data(data, [number for number in chosen if results[number] is None])
    try:
        for i, number in enumerate(chosen):
            title, section = SECTIONS[number]
            heading = f"[{i + 1}/{len(chosen)}] section {number}, {title}"
            if results[number] is not None:
                say(f"{heading}: done before")
                continue
            say(heading)
            began = time.perf_counter()
            result = section(Stage(folder, number, config, files, device))
            save_result(result, _result_path(folder, number))
            results[number] = result
            say(f"      {time.perf_counter() - began:.0f} s{_summary(result)}")
    finally:
        report = folder / "report.html"
        write_report(folder, {n: r for n, r in results.items() if r is not None}, report)
    return report


def _result_path(folder: Path, number: int) -> Path:
    return folder / f"section{number}" / "result.json"


def _summary(result: Result) -> str:
    words = [f"{name} {value}" for work in result.work for name, value in (work.quality or {}).items()]
    return ": " + ", ".join(words) if words else ""


def _check_settings(config: TourConfig, data: str, folder: Path) -> None:
    """Raise if the folder holds a tour with other settings; otherwise write the settings."""
    path = folder / "tour.json"
    settings = json.dumps({"data": data, **dataclasses.asdict(config)}, indent=1)
    if path.exists():
        try:
            found = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            fail(str(path), "the settings of a tour", f"{type(error).__name__}: {error}")
        if found != json.loads(settings):
            fail(str(folder), "a new folder, or one of a tour with the same --quick and --data", "that of another tour")
    write_file(path, [settings.encode()])
