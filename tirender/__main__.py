"""``tirender``, ``python -m tirender``, and ``torchrun -m tirender``: the command line."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line; Ctrl-C ends it quietly from the first import on. Returns the exit code."""
    let_idle_threads_sleep()
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


if __name__ == "__main__":
    sys.exit(main())
