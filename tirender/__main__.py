"""``python -m tirender``, and ``torchrun -m tirender``: the command line."""

import sys

from tirender.cli import main

if __name__ == "__main__":
    sys.exit(main())
