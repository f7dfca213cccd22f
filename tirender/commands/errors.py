"""What a command says when it fails: one line, whatever went wrong."""

from __future__ import annotations

import re

EXPECTED = (OSError, ValueError, RuntimeError, ImportError, MemoryError)
"""What a command reports in a line; other exceptions are faults of tirender, and end with a traceback."""
LESS = "ask for less, with --size, --supersample, --views, --level or a smaller file"


def in_words(error: BaseException) -> str:
    """The error in one line, with what to do."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or _is_out_of_memory(error, text):
        size = _bytes_of(text)
        return f"out of memory{f': {size} more were needed' if size else ''}; {LESS}"
    return text or type(error).__name__


def was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: imports of compiled modules turn it into one of their own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _is_out_of_memory(error: BaseException, text: str) -> bool:
    """Whether torch, CUDA or Taichi could not allocate memory."""
    if not isinstance(error, RuntimeError):
        return False
    signs = ("DefaultCPUAllocator", "out of memory", "not enough memory", "failed to allocate", "bad_alloc")
    return type(error).__name__ == "OutOfMemoryError" or any(sign.lower() in text.lower() for sign in signs)


def _bytes_of(text: str) -> str:
    """The size that a message of torch's names, in GB or MB."""
    found = re.search(r"allocate (\d+) bytes", text)
    if found:
        n = int(found[1])
        return f"{n / 1e9:.1f} GB" if n >= 1e8 else f"{n / 1e6:.1f} MB"
    found = re.search(r"Tried to allocate ([\d.]+ [KMGT]iB)", text)
    return found[1] if found else ""
