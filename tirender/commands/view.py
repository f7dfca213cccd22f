"""``tirender view``: look at a mesh, cloud, volume or fit from all sides."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.commands.arguments import LOCALHOST, add_arch, add_web_arguments
from tirender.commands.scene_arguments import (
    FILES,
    add_camera_arguments,
    add_scene_arguments,
    check_one_camera,
    color_of,
    environment_of,
    load_scene_of,
    size_of,
    threads_for,
)

if TYPE_CHECKING:
    import numpy as np


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``view`` to what ``add_subparsers`` returned."""
    parser = commands.add_parser(
        "view",
        help="look at a mesh, cloud, volume or fit from all sides",
        usage="tirender view [FILE] [options]",
        description=(
            f"Open a window that shows {FILES}.\n"
            "Without FILE it shows tirender's own creature. Drag to turn, shift-drag to pan, the wheel\n"
            "zooms; press h for help."
        ),
        epilog=(
            "examples:\n"
            "  tirender view scan.obj\n"
            "  tirender view out/fit_images --size 768\n"
            "  tirender view out/fit_images --camera 3\n"
            "  tirender view scan.ply --web        # from another machine, with ssh -L 8123:127.0.0.1:8123"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_scene_arguments(parser, range(64, 8193), (960, 640))
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="for pictures saved with p (default: here)")
    parser.add_argument(
        "--web", action="store_true", help="show a page in browsers instead of a window; pictures are downloaded"
    )
    add_web_arguments(parser)
    add_arch(parser)
    add_camera_arguments(parser)
    parser.set_defaults(run=_view)


def _view(args: argparse.Namespace) -> None:
    from tirender.checks import fail
    from tirender.scenes.cameras import frusta_of
    from tirender.scenes.controls import CAMERA_HELP, CONTROLS, HELP, WITH_CAMERAS
    from tirender.scenes.page import show_on_page
    from tirender.scenes.saved_pictures import saver
    from tirender.scenes.shots import camera_index
    from tirender.scenes.viewer import BACKGROUNDS, Viewer
    from tirender.vis.web import WebPage
    from tirender.vis.window import NoWindow, Window

    expected, got = ("a window", "--web") if args.web else ("--web with it", "none")
    for name in ("output", "size") if args.web else ("port", "host"):
        if getattr(args, name) is not None:
            fail(f"--{name}", expected, got)
    if args.camera is not None:
        check_one_camera(args, ("azimuth", "elevation", "zoom", "look_at"), "--camera")
    size = size_of(args)
    path, scene = load_scene_of(args)
    through = None if args.camera is None else camera_index(scene, args.camera)
    background = color_of(args) if args.background else scene.backdrop or BACKGROUNDS[0]
    environment = environment_of(args, scene)
    title = f"tirender: {path.name}"

    def viewer(save: Callable[[np.ndarray], str]) -> Viewer:
        made = Viewer(scene, path.name, save, args.shader, background, environment=environment)
        made.frame(args.azimuth, args.elevation, args.look_at, args.zoom)
        made.through = through
        if args.web and scene.cameras:
            made.help = (*CAMERA_HELP, *HELP)
        return made

    with threads_for(scene):
        if args.web:
            controls = WITH_CAMERAS if scene.cameras else CONTROLS
            page = WebPage(
                title, controls, frusta=frusta_of(scene.cameras), host=args.host or LOCALHOST, port=args.port
            )
            show_on_page(page, viewer)
            return
        try:
            window = Window(title, size)
        except NoWindow as error:
            hint = "tirender view --web shows a page in a browser, tirender render writes a file"
            raise NoWindow(f"{error}; {hint}") from error
        viewer(saver(args.output or Path())).run(window)
