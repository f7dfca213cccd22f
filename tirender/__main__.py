"""``tirender``, ``python -m tirender``, and ``torchrun -m tirender``: the command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; Ctrl-C ends it quietly from the first import on. Returns the exit code."""
    try:
        from tirender import cli

        return cli.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
