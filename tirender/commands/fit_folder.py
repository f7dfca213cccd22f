"""The output folder of a fit: nothing in it is lost, and one process alone writes to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKPOINTS = ("checkpoint.pt", "checkpoint.previous.pt")
LOCK = ".lock"


def choose_folder(given: Path | None, kind: str, resume: bool) -> Path:
    """The folder of a fit: as given, else ``out/fit_KIND``, or with a number behind that name.

    Args:
        given: on the command line.
        kind: of the fit.
        resume: whether to continue the fit in it; without a given one, in the last that there is.
    Raises:
        ValueError: a new fit would overwrite an earlier one, or other files.
    """
    if given is not None:
        if not resume:
            _check_empty(given)
        return given
    usual = Path("out") / f"fit_{kind}"
    numbered = (usual.with_name(f"{usual.name}_{i}") for i in range(2, 10**9))
    last, free = usual, usual
    while not _is_free(free):
        last, free = free, next(numbered)
    return last if resume else free


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other fits out of a folder, which is made if need be; when a process ends, however it ends, so does this.

    Raises:
        ValueError: another process is writing to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    from tirender.checks import fail  # which imports torch

    try:
        descriptor = _lock(path)
    except (BlockingIOError, FileExistsError):
        fail(str(folder), "a folder of its own (another -o)", "one that another fit is writing to")
    try:
        yield
    finally:
        path.unlink(missing_ok=True) if os.name == "posix" else None
        os.close(descriptor)


def _lock(path: Path) -> int:
    """The descriptor of a file that no other process holds."""
    if os.name != "posix":
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_TEMPORARY)  # type: ignore[attr-defined]
    import fcntl

    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(descriptor).st_nlink:  # its owner has just removed it
            raise BlockingIOError
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_empty(folder: Path) -> None:
    from tirender.checks import fail

    others = _others(folder)
    if any(name in CHECKPOINTS for name in others):
        fail(str(folder), "a folder without a fit", "one with a fit; --resume continues it, another -o keeps it")
    if others:
        fail(str(folder), "an empty or new folder", f"one with {len(others)} files, such as {others[0]}; name another")


def _is_free(folder: Path) -> bool:
    return not folder.exists() or (folder.is_dir() and not _others(folder))


def _others(folder: Path) -> list[str]:
    """The names of files; neither hidden ones, nor those of a fit that was stopped before its first checkpoint."""
    if not folder.is_dir():
        return []
    return sorted(name for name in os.listdir(folder) if not name.startswith((".", "iter_")))
