"""Arguments of the commands that show a scene: ``render`` and ``view``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tirender.commands.arguments import add_allow_parent, device_of, number

if TYPE_CHECKING:
    from tirender.scenes import Scene

SHADERS = ("phong", "gouraud", "flat", "normal", "color", "silhouette", "depth")
FILES = (
    "a mesh (OBJ, PLY, OFF, STL, GLB, glTF; with the extra formats\n"
    "also 3MF, DAE, ZAE, XAML, 3DXML), Gaussians (PLY, SPLAT), a point cloud (PLY, or NPZ\n"
    "with verts and rgb), a volume (NPZ with densities and features), or the checkpoint of a fit"
)


def add_scene_arguments(parser: argparse.ArgumentParser, sizes: range, default_size: list[int]) -> None:
    """Add FILE, ``--size``, ``--shader``, ``--background`` and ``--allow-parent``.

    Args:
        parser: of the command.
        sizes: the sizes that a picture may have, in pixels.
        default_size: its side, or its height and width.
    """
    parser.add_argument("file", nargs="?", metavar="FILE", help="what to show; it goes before the options")
    pixels = f"{sizes[0]} to {sizes[-1]} pixels (the file goes before the options)"
    parser.add_argument(
        "--size",
        type=number(int, sizes[0], sizes[-1], pixels),
        nargs="+",
        default=default_size,
        metavar="PX",
        help=f"side, or height and width (default: {' '.join(map(str, default_size))})",
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
        help="colour of the background, each 0 to 1 (default: white)",
    )
    add_allow_parent(parser)


def size_of(args: argparse.Namespace) -> tuple[int, int]:
    """Height and width from ``--size``.

    Raises:
        ValueError: more than two numbers.
    """
    from tirender.checks import fail

    if len(args.size) > 2:
        fail("--size", "the side, or height and width", " ".join(map(str, args.size)))
    return args.size[0], args.size[-1]


def load_scene_of(args: argparse.Namespace) -> tuple[Path, Scene]:
    """Start the runtime and load the scene.

    Returns:
        the path of the file, and its scene.
    Raises:
        ValueError: a shader that this scene does not have; or as :func:`tirender.scenes.load_scene`.
    """
    from tirender import datasets
    from tirender.checks import fail
    from tirender.scenes import load_scene

    path = Path(args.file or datasets.creature())
    scene = load_scene(path, device_of(args.arch), allow_parent=args.allow_parent)
    if args.shader not in (None, *scene.shaders):
        fail("--shader", f"{', '.join(scene.shaders)} for {scene.facts}", args.shader)
    return path, scene
