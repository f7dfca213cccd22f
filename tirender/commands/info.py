"""``tirender info``: this machine, or a file."""

from __future__ import annotations

import argparse
from typing import Any

from tirender.commands.arguments import add_allow_parent, add_arch


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``info`` to what ``add_subparsers`` returned."""
    info = commands.add_parser(
        "info",
        help="what is in a file; or versions, arch, device, driver and kernel cache",
        description=(
            "Print what is in FILE: a mesh, cloud, volume, fit, or folder of photos. Without FILE print versions, "
            "arch, device, driver and kernel cache."
        ),
    )
    info.add_argument("file", nargs="?", metavar="FILE", help="what to look into")
    add_allow_parent(info)
    add_arch(info)
    info.set_defaults(run=_info)


def _info(args: argparse.Namespace) -> None:
    from tirender.checks import fail

    if args.file is None and args.allow_parent:
        fail("--allow-parent", "a FILE with it", "none")
    if args.file is not None:
        if args.arch is not None:
            fail("--arch", "no FILE beside it, as nothing runs on it", args.arch)
        from tirender.scenes.facts import facts_of

        facts = facts_of(args.file, args.allow_parent)
    else:
        from tirender.engine import runtime

        runtime.init(args.arch)
        facts = list(runtime.describe().items())
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        print(f"{name:<{width}}  {value}")
