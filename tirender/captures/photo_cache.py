"""Photos that took long to make ready, kept for later runs: one file of bytes for each folder and size.

They lie in ``$TIRENDER_CACHE/photos``, by default ``~/.cache/tirender/photos``; with ``TIRENDER_CACHE=off`` none are
kept. Those that were not used for the longest time are removed first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

import numpy as np

SLOW = 5.0  # seconds; what was ready sooner is made again
MOST_BYTES, SHARE_OF_DISK = 8_000_000_000, 0.1  # of all that is kept; the share is of what is free
FOLDER = "TIRENDER_CACHE"


def cache_folder() -> Path | None:
    """Where photos are kept; None for nowhere."""
    given = os.environ.get(FOLDER, "")
    if given.lower() == "off":
        return None
    return Path(given or "~/.cache/tirender").expanduser() / "photos"


def key_of(parts: Iterable[object], paths: Iterable[str]) -> str:
    """A name for what is made of files, which changes with them.

    Args:
        parts: what else it depends on; of types whose ``repr`` says all.
        paths: of the files, whose sizes and times are looked at.
    Raises:
        OSError: a file is gone.
    """
    digest = hashlib.sha256(repr([*parts]).encode())
    for path in paths:
        found = os.stat(path)
        digest.update(repr((os.path.abspath(path), found.st_size, found.st_mtime_ns)).encode())
    return digest.hexdigest()[:32]


def kept(key: str, shape: tuple[int, int]) -> np.ndarray | None:
    """The bytes that were kept under a name, mapped into memory, not to be changed; None where there are none."""
    folder = cache_folder()
    if folder is None:
        return None
    path = folder / key
    try:
        if path.stat().st_size != shape[0] * shape[1]:
            return None
        os.utime(path)
        return np.memmap(path, np.uint8, "c", shape=shape)
    except (OSError, ValueError):
        return None


def keep(key: str, data: np.ndarray) -> None:
    """Keep bytes under a name; nothing happens where there is no place for them."""
    folder = cache_folder()
    if folder is None:
        return
    partial = folder / f"{uuid.uuid4().hex[:8]}.partial"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if not _make_room(folder, data.nbytes):
            return
        try:
            with open(partial, "xb") as stream:
                data.tofile(stream)
            os.replace(partial, folder / key)
        finally:
            partial.unlink(missing_ok=True)


def _make_room(folder: Path, n_bytes: int) -> bool:
    """Remove what was used longest ago, until there is room; whether there is."""
    files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in folder.iterdir())
    total = sum(size for _, size, _ in files)
    most = min(MOST_BYTES, SHARE_OF_DISK * (shutil.disk_usage(folder).free + total))
    if n_bytes > most:
        return False
    for _, size, path in files:
        if total + n_bytes <= most:
            break
        path.unlink()
        total -= size
    return True
