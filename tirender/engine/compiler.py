"""Which Taichi compiles kernels: Taichi 1.7, or the fork taichi-forge, chosen by ``TIRENDER_TAICHI=taichi_forge``.

The fork keeps Taichi's names. Where they are used, ``import taichi`` gives the one that was chosen.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import os
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NAMES = ("taichi", "taichi_forge")
STALE_SECONDS = 60.0  # Taichi holds a lock for less than one
PATIENCE = 3.0  # seconds for another process that reads or writes the cache


def choose() -> None:
    """Let the fork take Taichi's name in this process, if the environment asks for it.

    Raises:
        ValueError: for a name that is not one of the two.
        RuntimeError: where the program has imported Taichi already.
    """
    name = os.environ.get("TIRENDER_TAICHI") or "taichi"
    if name not in NAMES:
        raise ValueError(f"TIRENDER_TAICHI: expected 'taichi' or 'taichi_forge', got {name!r}")
    if name == "taichi" or ("taichi" in sys.modules and sys.modules["taichi"] is sys.modules.get(name)):
        return
    if "taichi" in sys.modules:
        raise RuntimeError(f"TIRENDER_TAICHI: expected {name} before any import of taichi, got it afterwards")
    importlib.import_module(name)
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        sys.modules["taichi" + module.removeprefix(name)] = sys.modules[module]


def free_cache(folder: str | os.PathLike[str]) -> None:
    """Wait until other processes have read or written the cache of compiled kernels, and remove what killed ones left.

    Where Taichi finds a lock in the folder, it neither reads nor writes the cache, and says so to nobody. A process
    that is killed while it holds the lock leaves it there for all that follow.
    """
    until = time.monotonic() + PATIENCE
    for lock in Path(folder).glob("*.lock"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            while (age := time.time() - lock.stat().st_mtime) < STALE_SECONDS and time.monotonic() < until:
                time.sleep(0.01)
            if age >= STALE_SECONDS:
                lock.unlink()


def remember_sources() -> None:
    """Have Taichi read and format each piece of a kernel's source once.

    It reads the source of a function at each call of it, and quotes the line of each name and operator, in case there
    will be an error to report. That was more than half of the time that a kernel's first launch took, however often it
    had been compiled.
    """
    from taichi.lang import kernel_impl
    from taichi.lang.ast import ast_transformer_utils as transformer

    if transformer.TextWrapper is not textwrap.TextWrapper:
        return  # they are remembered already
    transformer.TextWrapper = _LineWrapper
    kernel_impl.getsourcelines = functools.cache(kernel_impl.getsourcelines)
    kernel_impl.getsourcefile = functools.cache(kernel_impl.getsourcefile)
    kernel_impl.textwrap = SimpleNamespace(dedent=textwrap.dedent, fill=functools.lru_cache(4096)(textwrap.fill))
    context = transformer.ASTTransformerContext
    context.get_pos_info = _remembering_places(context.get_pos_info)


def _remembering_places(quote: Callable[[Any, ast.AST], str]) -> Callable[[Any, ast.AST], str]:
    """``ASTTransformerContext.get_pos_info``, which remembers what it has said of a place in a function."""
    said: dict[Any, str] = {}

    def quote_once(context: Any, node: Any) -> str:
        key = (context.func.func, type(node), node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)
        if key not in said:
            said[key] = quote(context, node)
        return said[key]

    return quote_once


class _LineWrapper:
    """A ``textwrap.TextWrapper`` that leaves short lines alone and remembers long ones; its results are only read."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.wrap_long = _wrapping(width)

    def wrap(self, text: str) -> list[str]:
        if len(text) > self.width or not text.isprintable():
            return self.wrap_long(text)
        line = text.rstrip()
        return [line] if line else []


@functools.cache
def _wrapping(width: int) -> Callable[[str], list[str]]:
    return functools.lru_cache(4096)(textwrap.TextWrapper(width=width).wrap)


def launch(program: Any, kernel: Any, context: Any) -> None:
    """Launch a kernel of Taichi's program, compiled where it is not yet."""
    if hasattr(program, "compile_and_launch_kernel"):  # taichi-forge
        program.compile_and_launch_kernel(program.config(), program.get_device_caps(), kernel, context)
    else:
        program.launch_kernel(program.compile_kernel(program.config(), program.get_device_caps(), kernel), context)
