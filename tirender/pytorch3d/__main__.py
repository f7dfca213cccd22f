"""``python -m tirender.pytorch3d script.py arguments``: run a program written for PyTorch3D on tirender."""

from __future__ import annotations

import os
import runpy
import sys

from tirender.pytorch3d.alias import SITE, install

USAGE = "usage: python -m tirender.pytorch3d (script.py | -m module) [arguments]"


def main() -> None:
    """Run the script or module that the command line names, as ``__main__``, under the name ``pytorch3d``."""
    arguments = sys.argv[1:]
    as_module = arguments[:1] == ["-m"]
    program = arguments[as_module:][:1]
    if not program or program[0].startswith("-"):
        sys.exit(USAGE)
    install()
    # processes that the program starts find the name by this folder
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SITE), *filter(None, [os.environ.get("PYTHONPATH")])])
    sys.argv = arguments[as_module:]
    if as_module:
        runpy.run_module(program[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(program[0]))
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main()
