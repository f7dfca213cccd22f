"""``tirender view``: look at a mesh, cloud, volume or fit from all sides."""

from __future__ import annotations

import argparse
from pathlib import Path

from tirender.commands.arguments import add_arch, number
from tirender.commands.render import SHADERS


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``view`` to what ``add_subparsers`` returned."""
    parser = commands.add_parser(
        "view",
        help="look at a mesh, cloud, volume or fit from all sides",
        usage="tirender view [FILE] [options]",
        description=(
            "Open a window with a mesh (OBJ, PLY, OFF, GLB, glTF), a point cloud (PLY, or NPZ with verts and rgb), a\n"
            "volume (NPZ with densities and features), or the checkpoint of a fit; without a file, tirender's own\n"
            "creature. Drag to turn, shift or middle drag to shift, right drag to come nearer, h for help."
        ),
        epilog=(
            "examples:\n"
            "  tirender view scan.obj\n"
            "  tirender view out/fit_images --size 768\n"
            "  tirender view scan.ply --web        # from another machine, with ssh -L 8123:127.0.0.1:8123"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="what to look at; name it before the options")
    parser.add_argument(
        "--size",
        type=number(int, 64, 8192, "64 to 8192 pixels (the file goes before the options)"),
        nargs="+",
        default=[512, 768],
        metavar="PX",
        help="of the window: side, or height and width (default: 512 768)",
    )
    parser.add_argument(
        "--shader",
        choices=SHADERS,
        help="meshes: phong (default), gouraud, flat, normal; others: color (default); all: silhouette, depth",
    )
    parser.add_argument(
        "--background",
        type=number(float, 0, 1, "0 to 1"),
        nargs=3,
        default=[1.0, 1.0, 1.0],
        metavar=("R", "G", "B"),
        help="each 0 to 1 (default: white)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="FOLDER", help="for pictures saved with p (default: here)"
    )
    parser.add_argument("--web", action="store_true", help="a page on 127.0.0.1 in place of a window")
    add_arch(parser)
    parser.set_defaults(run=_view)


def _view(args: argparse.Namespace) -> None:
    import torch

    import tirender
    from tirender import datasets
    from tirender.checks import fail
    from tirender.scenes import FieldScene, load_scene
    from tirender.scenes.viewer import KEYS, Viewer
    from tirender.vis.display import Display
    from tirender.vis.web import WebPage
    from tirender.vis.window import NoWindow, Window

    if len(args.size) > 2:
        fail("--size", "the side, or height and width", " ".join(map(str, args.size)))
    device = "cuda" if tirender.init(args.arch) == "cuda" else "cpu"
    path = Path(args.file or datasets.creature())
    scene = load_scene(path, device)
    if args.shader not in (None, *scene.shaders):
        fail("--shader", f"{', '.join(scene.shaders)} for {scene.facts}", args.shader)
    viewer = Viewer(scene, path.name, args.output, args.shader, tuple(args.background))
    height, width = (args.size * 2)[:2]
    title = f"tirender: {path.name}"
    try:
        display: Display = WebPage(title, (height, width), KEYS) if args.web else Window(title, (height, width))
    except NoWindow as error:
        raise NoWindow(f"{error}; tirender view --web shows a page in a browser, tirender render a file") from error
    if not isinstance(scene, FieldScene):  # which torch draws; the others, kernels
        torch.set_num_threads(1)  # torch's threads wait by spinning, and hold up those of the kernels
    viewer.run(display)
