"""``tirender``, ``python -m tirender``, and ``torchrun -m tirender``: the command line."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

# of glibc's malloc: the number of each setting in malloc.h, its name in the environment, and its value in bytes
MALLOC_SETTINGS = (
    (-1, "MALLOC_TRIM_THRESHOLD_", 1 << 30),  # so much freed memory is kept
    (-3, "MALLOC_MMAP_THRESHOLD_", 256 << 20),  # blocks of more are not
)


def main() -> int:
    """Run the command line; Ctrl-C ends it quietly from the first import on. Returns the exit code."""
    let_idle_threads_sleep()
    keep_freed_memory()
    ask_for_large_pages()
    gc.set_threshold(50_000)  # imports alone make 300,000 objects that stay: a tenth of the time to a first picture
    try:
        from tirender import cli

        return cli.main()
    except KeyboardInterrupt:
        return 130


def let_idle_threads_sleep() -> None:
    """Have torch's threads sleep soon after their work, before torch is imported.

    They would otherwise wait in a loop for milliseconds, on the cores that Taichi's threads need. On two cores a step
    of a fit took a fifth longer.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # rounds; for GNU's runtime, where not at all is slow too


def keep_freed_memory() -> None:
    """Have glibc keep the memory that a step frees, here and in processes that this one starts.

    It would give large blocks back to the system, which hands them out again page by page: an eighth of the time of a
    step of a volume. What the user has set stays. Other C libraries are left as they are.
    """
    names = {"GLIBC_TUNABLES", *(name for _, name, _ in MALLOC_SETTINGS)}
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt and not names & os.environ.keys():
        for number, name, value in MALLOC_SETTINGS:
            mallopt(number, value)
            os.environ[name] = str(value)


def ask_for_large_pages() -> None:
    """Have torch ask Linux for pages of 2 MB, where it has such, for its large tensors, before torch is imported.

    The rays of a volume pass through more small pages than a core remembers: a step took a ninth longer.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


if __name__ == "__main__":
    sys.exit(main())
