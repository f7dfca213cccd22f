"""``tirender tour``: the six tutorials and Gaussians, one after the other, and a report."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tirender.commands.arguments import add_arch, device_of

DATA = ("creature", "tutorials")  # as in tour.data, whose import takes seconds; a test compares them


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``tour`` to what ``add_subparsers`` returned."""
    parser = commands.add_parser(
        "tour",
        help="do the six tutorials and a section on Gaussians, and write a report",
        description=(
            "Do the six tutorials one after the other: fit a mesh, render a mesh and a point cloud, fit a mesh, a\n"
            "volume and a radiance field to views. A seventh section fits Gaussians. Then write report.html, one file\n"
            "with all figures, loss curves, times and turntables. An interrupted tour continues when called again."
        ),
        epilog=(
            "examples:\n"
            "  tirender tour --quick -o out/tour     # minutes\n"
            "  tirender tour                         # ten minutes on two cores\n"
            "  tirender tour --data tutorials        # the cow, the dolphin and the bridge, downloaded\n"
            "  tirender tour --quick --only 2 5      # sections 2 and 5"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="smaller pictures and shorter fits")
    parser.add_argument(
        "--data",
        choices=DATA,
        default="creature",
        help="files that come with tirender (default), or those of the tutorials",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="default: out/tour, out/tour_quick or the like",
    )
    parser.add_argument(
        "--only",
        type=int,
        choices=range(1, 8),
        nargs="+",
        default=[],
        metavar="N",
        help="only these sections, 1 to 7",
    )
    add_arch(parser)
    parser.set_defaults(run=_tour)


def _tour(args: argparse.Namespace) -> None:
    from tirender.tour import FULL, QUICK, run_tour

    words = ["tour", *["quick"] * args.quick, *[args.data] * (args.data != "creature")]
    folder = args.output or Path("out", "_".join(words))
    device = device_of(args.arch)
    try:
        config = QUICK if args.quick else FULL
        say = partial(print, flush=True)  # appears at once in a pipe, too
        report = run_tour(config, folder, args.data, args.only, device, say)
    except KeyboardInterrupt:
        print(f"tirender tour: stopped; what is done is kept in {folder}, the same command continues", file=sys.stderr)
        raise
    print(f"{report}: open it in a browser")
