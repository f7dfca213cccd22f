"""Valid containers with hostile contents: ``python hostile_worker.py FOLDER N FIRST KIND ...`` tries N of each kind.

What each case does is one of "loaded", "refused" (a ValueError or OSError that names a file of the folder), or a fault:
another exception, no name, numbers that are not finite, a file opened outside of the folder, more than two seconds of
this process's time, more memory than the budget allows. Faults are printed, a line each; the last line counts all
outcomes by kind, as JSON. A crash or an endless loop ends the process: ``last.txt`` then tells at which case.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fuzz_files import Files
from fuzz_worker import CHECKS, TooLong, check_cloud, check_meshes, check_record, watch, whole_files
from hostile_files import VARIANTS, colmap_files
from hostile_fits import answers_of_fits, checkpoint, whole_fits
from hostile_web import attack, hostile_page, is_up
from small_fits import FITS

from tirender.captures import load_capture
from tirender.scenes import load_scene
from tirender.scenes.facts import facts_of

SECONDS, BUDGET = 2.0, 256 << 20
A_BYTE, SLACK = 40, 48 << 20  # memory for each byte of the files, and for anything
HARD = 2 << 30  # more memory than this is not given
FAULTS = ("raw", "unnamed", "outside", "time", "memory")

Case = tuple[str, Path, int, list[Callable[[Path], Any]]]
"""Its kind and number, the path, the bytes of its files, and what is asked about it."""


def kinds_of_files(folder: Path) -> dict[str, tuple[str, Files]]:
    """Of each kind, the name of the file to load, and all files that belong to it."""
    made = whole_files(folder)
    made["images"] = made["obj polygons"]
    for binary in (True, False):
        made[f"colmap {'binary' if binary else 'text'}"] = ("sparse", colmap_files(binary))
    return {kind: made[kind] for kind in VARIANTS if kind in made}


def answers(kind: str) -> list[Callable[[Path], Any]]:
    """What is asked about a file."""
    if kind.startswith("colmap"):
        return [lambda path: _finite_capture(path.parent)]
    if kind == "transforms":
        return [CHECKS[kind]]
    first = [CHECKS[kind]] if kind in CHECKS else [check_meshes, check_record]
    return [*([check_cloud] if kind.startswith("cloud") else first), load_scene, lambda path: facts_of(str(path))]


def _finite_capture(folder: Path) -> None:
    capture = load_capture(folder)
    capture.photos.prepare()
    numbers = [capture.cameras.R, capture.cameras.T, capture.cameras.focal_length]
    numbers += [capture.image(i) for i in range(min(len(capture), 2))]
    numbers += [] if capture.points is None else [capture.points.points_packed(), capture.points.features_packed()]
    assert all(x.isfinite().all() for x in numbers)


# --- measuring ---


def peak() -> int:
    """The most memory since ``reset_peak``, in bytes."""
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) << 10


def reset_peak() -> int:
    """Forget the peak; returns the memory that is used now."""
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")
    return peak()


def outcome(path: Path, ask: Callable[[Path], Any], size: int, opened: list[str]) -> tuple[str, str]:
    """How one question about a file ends, and what is wrong with that; its time and memory are measured."""
    opened.clear()
    before, began = reset_peak(), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    how, what = "loaded", ""
    try:
        ask(path)
    except (ValueError, OSError) as error:
        named = str(path.parent) in str(error) or path.name in str(error)
        how, what = ("refused", "") if named else ("unnamed", repr(error)[:300])
    except TooLong:
        how, what = "time", "stopped"
    except BaseException as error:
        how, what = "raw", f"{error!r}"[:300]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds, memory = time.process_time() - began, peak() - before
    root = str(path.parent)
    if outside := [name for name in opened if not os.path.realpath(name).startswith(root)]:
        return "outside", str(outside)
    if how in ("loaded", "refused") and seconds > SECONDS:
        return "time", f"{seconds:.1f} s"
    if how in ("loaded", "refused") and memory > BUDGET + A_BYTE * size + SLACK:
        return "memory", f"{memory >> 20} MB"
    return how, what


def write(place: Path, files: Files) -> None:
    """The only files in a folder."""
    shutil.rmtree(place, ignore_errors=True)
    for name, data in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def run(folder: Path, cases: Iterable[Case]) -> dict[str, Counter[str]]:
    """Ask all; the outcomes by kind.

    Args:
        folder: for notes.
        cases: made one after the other.
    """
    opened: list[str] = []
    watch(opened, HARD, "/dev/null")
    counts: dict[str, Counter[str]] = {}
    for name, path, size, asked in cases:
        (folder / "last.txt").write_text(name)
        how = "loaded"
        for ask in asked:
            one, what = outcome(path, ask, size, opened)
            how = one if how not in FAULTS and one != "loaded" else how
            if one in FAULTS:
                print(f"{name}: {one} {getattr(ask, '__name__', '')} {what}", flush=True)
                break
        counts.setdefault(name.rpartition(" ")[0], Counter())[how] += 1
    return counts


def main(folder: Path, n: int, first: int, kinds: list[str]) -> None:
    folder = folder.resolve()
    os.environ["TIRENDER_MAX_BYTES"] = str(BUDGET)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    files = {kind: whole for kind, whole in kinds_of_files(folder).items() if kind in kinds}
    fits = whole_fits(folder, [name for name in FITS if f"fit {name}" in kinds])
    place = folder / "case"
    for kind, (name, contents) in files.items():  # whole they load, which imports what is imported late
        write(place, contents)
        for ask in answers(kind):
            ask(place / name)
    for name in fits:
        write(place, {"checkpoint.pt": (folder / f"whole {name}" / "checkpoint.pt").read_bytes()})
        for ask in answers_of_fits(name):
            ask(place / "checkpoint.pt")

    def cases() -> Iterator[Case]:
        for kind, (name, contents) in files.items():
            for i in range(first, first + n):
                new = VARIANTS[kind]((name, contents), random.Random(f"{kind} {i}"))
                write(place, new)
                main_file = "m.obj" if kind == "images" else name
                yield f"{kind} {i}", place / main_file, sum(map(len, new.values())), answers(kind)
        for name, state in fits.items():
            for i in range(first, first + n):
                data = checkpoint(state, random.Random(f"fit {name} {i}"))
                write(place, {"checkpoint.pt": data})
                yield f"fit {name} {i}", place / "checkpoint.pt", len(data), answers_of_fits(name)
        if pages := [kind for kind in kinds if kind.startswith("web")]:
            yield from attacks(pages)

    def attacks(pages: list[str]) -> Iterator[Case]:
        with hostile_page() as page:
            assert is_up(page)
            for kind in pages:
                for i in range(first, first + n):
                    rng = random.Random(f"{kind} {i}")
                    yield f"{kind} {i}", place, 1 << 20, [partial(_attack, page, kind, rng), partial(_up, page)]

    counts = run(folder, cases())
    print(json.dumps({kind: dict(sorted(outcomes.items())) for kind, outcomes in counts.items()}))


def _attack(page: Any, kind: str, rng: random.Random, _: Path) -> None:
    attack(page, kind, rng)


def _up(page: Any, _: Path) -> None:
    assert is_up(page)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
