"""``tirender info``."""

from __future__ import annotations

import argparse
from typing import Any

from tirender.commands.arguments import add_arch


def add_parser(commands: Any) -> None:
    """Add ``info`` to what ``add_subparsers`` returned."""
    info = commands.add_parser("info", help="versions, arch, device, driver and kernel cache")
    add_arch(info)
    info.set_defaults(run=_info)


def _info(args: argparse.Namespace) -> None:
    from tirender.engine import runtime

    runtime.init(args.arch)
    facts = runtime.describe()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
