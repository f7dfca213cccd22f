"""Checkpoints on disk: replaced atomically, checked when read; the previous one is kept in case of damage."""

from __future__ import annotations

import glob
import os
import platform
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from tirender.budget import check_inflation
from tirender.checks import fail
from tirender.io.files import naming

MAX_VALUES = 1 << 20  # of a checkpoint, in all that is nested


def save_checkpoint(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a checkpoint. After a crash at any moment, :func:`load_checkpoint` finds this one or the previous one.

    Args:
        path: of the file. An undamaged checkpoint in it is kept beside it, see :func:`previous`.
        state: tensors, numbers, strings, and dicts, lists and tuples of them.
    Raises:
        OSError: it cannot be written, perhaps because the disk is full; the previous one is unchanged.
    """
    path = Path(path)
    _remove_leftovers(path)
    partial = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.partial")  # of this process alone
    try:
        with naming(path), partial.open("wb") as stream:
            _write(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    if _is_undamaged(path):  # otherwise the previous one is the last good one, and stays
        os.replace(path, previous(path))
    os.replace(partial, path)
    _sync_folder(path.parent)


def load_checkpoint(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Read the newest undamaged checkpoint; None if no file exists.

    Only data is read, no code (``weights_only``), and its checksums are verified. Tensors may not be far
    larger than the file: one that repeats a number has any size.

    Args:
        path: as given to :func:`save_checkpoint`.
        device: of its tensors.
    Raises:
        ValueError: all checkpoints are damaged.
    """
    path = Path(path)
    problems = []
    for candidate in (path, previous(path)):
        if not candidate.exists():
            continue
        try:
            state = _read(candidate, device)
        except Exception as error:  # zipfile, zlib and pickle raise all kinds of errors for damaged files
            problems.append(f"{candidate}: {' '.join(str(error).split())[:200]}")
            continue
        for problem in problems:
            warnings.warn(f"{problem}; continuing from {candidate.name}", stacklevel=2)
        return state
    if problems:
        fail("checkpoint", "an undamaged file", "; ".join(problems))
    return None


def previous(path: str | os.PathLike[str]) -> Path:
    """The path of the checkpoint before that in ``path``."""
    path = Path(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _write(state: Mapping[str, Any], stream: BinaryIO) -> None:
    try:
        torch.save(dict(state), stream)
    except RuntimeError as error:  # torch reports that the file is too short, and not why
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _read(path: Path, device: torch.device | str) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed, as no checkpoint is")  # and could be far larger than the file
        if damaged := archive.testzip():  # torch.load does not verify checksums
            raise ValueError(f"{damaged} is damaged")
    state = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(state, dict):
        fail(str(path), "a checkpoint", type(state).__name__)
    check_inflation("tensors", _bytes_of_tensors(state), path.stat().st_size)
    return state


def _bytes_of_tensors(state: dict[str, Any]) -> int:
    """The size of all dense tensors in nested dicts, lists and tuples, which may hold one another many times over."""
    n_bytes = 0
    rest: list[Any] = [state]
    for _ in range(MAX_VALUES):
        if not rest:
            return n_bytes
        value = rest.pop()
        if isinstance(value, torch.Tensor):
            n_bytes += value.nbytes if value.layout == torch.strided else 0
        elif isinstance(value, (dict, list, tuple)):
            rest.extend(value.values() if isinstance(value, dict) else value)
    return fail("values", f"at most {MAX_VALUES}", "more")


def _is_undamaged(path: Path) -> bool:
    """Whether there is an undamaged checkpoint; its tensors are not kept in memory."""
    try:
        _read(path, "meta")
    except Exception:  # as in load_checkpoint
        return False
    return True


def _remove_leftovers(path: Path) -> None:
    """Delete what writers on this machine left that have ended."""
    start = f"{path.name}.{platform.node()}."
    for leftover in path.parent.glob(f"{glob.escape(start)}*.partial"):
        writer = leftover.name.removeprefix(start).removesuffix(".partial")
        if os.name == "posix" and writer.isdigit() and not _is_running(int(writer)):
            leftover.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _sync_folder(folder: Path) -> None:
    """Make renamed files in a folder survive a power failure, if the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
