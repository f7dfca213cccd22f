"""One bound on what files and shapes may make in memory: a small file can ask for images, arrays or copies of any size.

Whoever is about to make something large says so to :func:`spend` first. What one call of a reader makes is counted
together.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from tirender.checks import fail

DEFAULT_BYTES = 2 << 30
VARIABLE = "TIRENDER_MAX_BYTES"
FREE_INFLATION, MAX_INFLATION = 256 << 20, 100
"""An archive may hold so many bytes, or so many times its own size."""

P = ParamSpec("P")
T = TypeVar("T")


class _Budget:
    def __init__(self, limit: int) -> None:
        self.limit, self.spent = limit, 0


_current: ContextVar[_Budget | None] = ContextVar("budget", default=None)


@contextmanager
def budget(max_bytes: float | None = None) -> Iterator[None]:
    """Bound the memory that all files read within may make together.

    Args:
        max_bytes: the bound; None for that of the surrounding ``budget``, else of the environment variable
            ``TIRENDER_MAX_BYTES``, else 2 GB.
    Raises:
        ValueError: the bound is not a positive number.
    """
    outer = _current.get()
    if max_bytes is None and outer is not None:
        yield
        return
    token = _current.set(_Budget(_limit(max_bytes)))
    try:
        yield
    finally:
        _current.reset(token)


def allowed() -> int:
    """How many bytes may still be made."""
    with budget():
        current = _current.get()
        assert current is not None
        return current.limit - current.spent


def bounded(read: Callable[P, T]) -> Callable[P, T]:
    """Let a reader count together all that it makes."""

    @wraps(read)
    def reader(*args: P.args, **kwargs: P.kwargs) -> T:
        with budget():
            return read(*args, **kwargs)

    return reader


def spend(name: str, n_bytes: int, what: str) -> None:
    """Raise ``ValueError`` if something that is about to be made exceeds the budget.

    Args:
        name: of the file.
        n_bytes: its size in memory.
        what: it is, for the message: "an image of 100 x 100".
    """
    with budget():
        current = _current.get()
        assert current is not None
        current.spent += n_bytes
        if current.spent > current.limit:
            before = f", after {_size(current.spent - n_bytes)}" if current.spent > n_bytes else ""
            fail(
                name,
                f"at most {_size(current.limit)} in memory ({VARIABLE}=... or tirender.io.budget(...) allow more)",
                f"{what}, too large: {_size(n_bytes)}{before}",
            )


@contextmanager
def borrow(name: str, n_bytes: int, what: str) -> Iterator[None]:
    """:func:`spend` for what is needed within this block only."""
    with budget():
        spend(name, n_bytes, what)
        try:
            yield
        finally:
            current = _current.get()
            assert current is not None
            current.spent -= n_bytes


def check_inflation(name: str, n_bytes: int, stored: int) -> None:
    """Raise ``ValueError`` where something takes far more memory than the bytes that it is stored in."""
    if n_bytes > max(FREE_INFLATION, MAX_INFLATION * stored):
        what = f"{_size(n_bytes)} in {_size(stored)}, too large"
        fail(name, f"at most {MAX_INFLATION} times what is stored, or {_size(FREE_INFLATION)}", what)


def open_archive(name: str, data: bytes, kind: str = "") -> zipfile.ZipFile:
    """The archive in some bytes; a ``ValueError`` that names it where they are damaged, whatever ``zipfile`` raises."""
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except MemoryError:
        raise
    except Exception as error:
        fail(name, f"an undamaged {kind}archive", error)


def read_members(name: str, archive: zipfile.ZipFile, members: Iterable[zipfile.ZipInfo]) -> dict[str, bytes]:
    """The contents of members of an archive, by their names, after :func:`spend` and :func:`check_inflation`.

    Of each no more is inflated than it says to hold: ``ZipFile.read`` inflates everything, and then cuts it off.

    Raises:
        ValueError: they are damaged, too large, or compressed by another method than "deflate".
    """
    members = list(members)
    n_bytes, stored = (sum(getattr(m, size) for m in members) for size in ("file_size", "compress_size"))
    check_inflation(name, n_bytes, stored)
    spend(name, n_bytes, "an archive")
    contents = {}
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            fail(f"{name}, {member.filename}", "stored or deflated contents", f"method {member.compress_type}")
        try:
            with archive.open(member) as stream:
                contents[member.filename] = stream.read(member.file_size)
        except MemoryError:
            raise
        except Exception as error:  # zipfile raises whatever what it comes upon does
            fail(name, "an undamaged archive", error)
    return contents


def _limit(max_bytes: float | None) -> int:
    name = "max_bytes" if max_bytes is not None else VARIABLE
    given: Any = max_bytes if max_bytes is not None else os.environ.get(VARIABLE) or DEFAULT_BYTES
    try:
        limit = float(given)
    except (TypeError, ValueError):
        limit = math.nan
    if not 0 < limit < math.inf:
        fail(name, "a positive number of bytes", repr(given))
    return int(limit)


def _size(n_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size / 2:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"
