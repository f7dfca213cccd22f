"""``tirender view``: look at a mesh, cloud, volume or fit from all sides."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tirender.commands.arguments import add_arch
from tirender.commands.scene_arguments import FILES, add_scene_arguments, color_of, load_scene_of, size_of


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``view`` to what ``add_subparsers`` returned."""
    parser = commands.add_parser(
        "view",
        help="look at a mesh, cloud, volume or fit from all sides",
        usage="tirender view [FILE] [options]",
        description=(
            f"Open a window that shows {FILES}.\n"
            "Without FILE it shows tirender's own creature. Drag to turn, shift-drag to pan, right-drag\n"
            "to zoom; press h for help."
        ),
        epilog=(
            "examples:\n"
            "  tirender view scan.obj\n"
            "  tirender view out/fit_images --size 768\n"
            "  tirender view scan.ply --web        # from another machine, with ssh -L 8123:127.0.0.1:8123"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_scene_arguments(parser, range(64, 8193), (768, 512))
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="FOLDER", help="for pictures saved with p (default: here)"
    )
    parser.add_argument("--web", action="store_true", help="show a page on 127.0.0.1 instead of a window")
    add_arch(parser)
    parser.set_defaults(run=_view)


def _view(args: argparse.Namespace) -> None:
    import torch

    from tirender.scenes import FieldScene
    from tirender.scenes.viewer import KEYS, Viewer
    from tirender.vis.display import Display
    from tirender.vis.web import WebPage
    from tirender.vis.window import NoWindow, Window

    size = size_of(args)
    path, scene = load_scene_of(args)
    viewer = Viewer(scene, path.name, args.output, args.shader, color_of(args))
    title = f"tirender: {path.name}"
    try:
        display: Display = WebPage(title, size, KEYS) if args.web else Window(title, size)
    except NoWindow as error:
        hint = "tirender view --web shows a page in a browser, tirender render writes a file"
        raise NoWindow(f"{error}; {hint}") from error
    if not isinstance(scene, FieldScene):  # fields are drawn by torch, the others by kernels
        torch.set_num_threads(1)  # waiting threads of torch spin, which slows down those of the kernels
    viewer.run(display)
