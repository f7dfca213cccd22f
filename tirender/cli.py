"""The command line; each command has a file in ``tirender/commands``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

import tirender
from tirender.commands import bench, capture, convert, fit, info, render, tour, view
from tirender.commands.errors import EXPECTED, in_words, was_interrupted
from tirender.commands.parsing import Parser
from tirender.signals import terminable


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; ``sys.argv[1:]`` by default.
    Returns:
        The exit code: 0 for success; 1 if a part of the work failed, as the command has reported; 2 for a bad argument
        or file, with one line on stderr; 130 after Ctrl-C or SIGTERM.
    """
    args = make_parser().parse_args(argv)
    with warnings.catch_warnings():
        # numbers that are not finite are reported where they are checked
        warnings.filterwarnings("ignore", ".* encountered in ", RuntimeWarning)
        warnings.showwarning = lambda message, *_: print(f"tirender: {message}", file=sys.stderr)
        try:
            with terminable():
                code: int | None = args.run(args)
            return code or 0
        except BrokenPipeError:  # whoever read the output has seen enough
            sys.stderr.close()
            return 1
        except EXPECTED as error:
            if was_interrupted(error):
                return 130
            print(f"tirender {args.command}: {in_words(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as error:
            if error.args:
                print(f"tirender {args.command}: {error}", file=sys.stderr)
            return 130


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands.

    The arguments that it returns have a function ``run``. It takes the arguments, and returns an exit code or None.
    """
    parser = Parser(
        prog="tirender",
        description="A differentiable renderer of meshes, point clouds, Gaussians, volumes and radiance fields.",
        epilog=(
            "examples:\n"
            "  tirender tour --quick -o out/tour                       # start here: six tutorials, one report\n"
            "  tirender render mesh.obj -o turn.gif --turntable 36     # mesh.obj from all sides\n"
            "  tirender view mesh.obj                                  # the same in a window\n"
            "  tirender capture photos                                 # where each of a folder's photos was taken\n"
            "  tirender fit images creature --preset best -o out/fox   # a sphere learns to look like the creature\n"
            "  tirender convert mesh.obj mesh.glb                      # for other programs\n"
            "  tirender bench --quick                                  # how fast it is here\n"
            "  tirender info                                           # what runs where\n"
            "Each has its own --help."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-v", "--version", action="version", version=f"tirender {tirender.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    tour.add_parser(commands)
    render.add_parser(commands)
    view.add_parser(commands)
    capture.add_parser(commands)
    fit.add_parser(commands)
    convert.add_parser(commands)
    bench.add_parser(commands)
    info.add_parser(commands)
    return parser
