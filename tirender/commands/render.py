"""``tirender render``: a mesh, cloud, volume or fit as a picture or a turntable."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tirender.commands.arguments import add_arch, number
from tirender.commands.scene_arguments import FILES, add_scene_arguments, load_scene_of, size_of

if TYPE_CHECKING:
    import torch

    from tirender.scenes import Look, Scene

TURN_SECONDS = 3  # of a turntable
MAX_FPS = 60


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``render`` to what ``add_subparsers`` returned."""
    parser = commands.add_parser(
        "render",
        help="draw a mesh, cloud, volume or fit as a picture or a turntable",
        usage="tirender render [FILE] [-o FILE] [options]",
        description=f"Draw {FILES}. FILE may also be\ncreature (default) or harbour, which come with tirender.",
        epilog=(
            "examples:\n"
            "  tirender render -o creature.png\n"
            "  tirender render harbour -o harbour.webp --turntable 36 --elevation 25\n"
            "  tirender render scan.obj -o scan.png --size 1080 1920 --azimuth 200\n"
            "  tirender render -o creature.mp4 --turntable 90\n"
            "  tirender render scan.ply -o depth.png --shader depth\n"
            "  tirender render out/fit_images -o fitted.gif --turntable 36 --size 256"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_scene_arguments(parser, range(1, 16385), [512])
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: out.png; out.gif for a turntable")
    parser.add_argument(
        "--turntable",
        type=number(int, 1, 10000, "1 to 10000 views"),
        metavar="N",
        help="draw N views from all around, as an animation (GIF, WebP, PNG or MP4)",
    )
    parser.add_argument(
        "--supersample",
        type=number(int, 1, 8, "1 to 8"),
        metavar="N",
        help="average N x N samples in each pixel, for smooth edges (default: 2; volumes and fields: 1)",
    )
    add_arch(parser)
    _add_camera(parser)
    _add_look(parser)
    parser.set_defaults(run=_render)


def _add_camera(parser: argparse.ArgumentParser) -> None:
    camera = parser.add_argument_group(
        "camera", "It looks at the centre of the object, which is scaled to the unit sphere."
    )
    degrees = number(float, -1e6, 1e6, "degrees")
    camera.add_argument(
        "--azimuth", type=degrees, default=150.0, metavar="DEG", help="0 is on +Z, 90 on +X, 180 on -Z (default: 150)"
    )
    camera.add_argument(
        "--elevation", type=degrees, default=10.0, metavar="DEG", help="above the horizon; +Y is up (default: 10)"
    )
    camera.add_argument(
        "--distance",
        type=number(float, 0.01, 1e4, "0.01 to 10000"),
        metavar="D",
        help="from the centre, in radii of the object (default: the object just fits)",
    )
    camera.add_argument(
        "--fov",
        type=number(float, 1, 170, "1 to 170 degrees"),
        default=60.0,
        metavar="DEG",
        help="field of view along the short side (default: 60)",
    )


def _add_look(parser: argparse.ArgumentParser) -> None:
    look = parser.add_argument_group("light and points")
    look.add_argument(
        "--light",
        type=number(float, -1e6, 1e6, "a finite number"),
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="position of the light, for phong, gouraud and flat (default: beside the camera)",
    )
    look.add_argument(
        "--radius",
        type=number(float, 1e-6, 1, "above 0, at most 1"),
        metavar="R",
        help="radius of a cloud's points, in radii of the cloud (default: neighbours overlap)",
    )


def _render(args: argparse.Namespace) -> None:
    from PIL import Image

    from tirender.scenes import CloudScene, Look
    from tirender.vis import save_animation

    output = _output(args)
    height, width = size_of(args)
    _, scene = load_scene_of(args)
    if args.radius and isinstance(scene, CloudScene):
        scene.radius = args.radius
    look = Look(
        image_size=(height, width),
        shader=args.shader,
        background=tuple(args.background),
        light=args.light and tuple(args.light),
        supersample=args.supersample,
    )
    n_views = args.turntable or 1
    pictures = _views(args, scene, look, n_views)
    if args.turntable:
        save_animation(pictures, output, fps=min(n_views / TURN_SECONDS, MAX_FPS))
    else:
        Image.fromarray((next(pictures) * 255).round().byte().cpu().numpy()).save(output)
    print(f"{output}: {width} x {height} px, {n_views} view{'s' * (n_views > 1)} of {scene.facts}")


def _views(args: argparse.Namespace, scene: Scene, look: Look, n_views: int) -> Iterator[torch.Tensor]:
    """Images (H, W, 3) from all around the scene."""
    from tqdm import tqdm

    from tirender.renderer import FoVPerspectiveCameras, look_at_view_transform

    distance = args.distance or 1.05 / math.sin(math.radians(args.fov) / 2)
    for i in tqdm(range(n_views), desc="views", disable=n_views == 1 or not sys.stderr.isatty()):
        R, T = look_at_view_transform(distance, args.elevation, args.azimuth + i * 360 / n_views)
        cameras = FoVPerspectiveCameras(0.01 * distance, 100 * distance, R=R, T=T, fov=args.fov, device=scene.device)
        yield scene.render(cameras, look)[0]


def _output(args: argparse.Namespace) -> Path:
    """The file to write.

    Raises:
        ValueError: files of this kind cannot be written, or the folder does not exist.
    """
    from PIL import Image

    from tirender.checks import fail
    from tirender.vis.animation import ANIMATIONS

    output = args.output or Path("out.gif" if args.turntable else "out.png")
    Image.init()
    kinds = ANIMATIONS if args.turntable else [end for end, kind in Image.EXTENSION.items() if kind in Image.SAVE]
    if output.suffix.lower() not in kinds:
        turntable = "a turntable's file to end in .gif, .webp, .png or .mp4"
        fail("--output", turntable if args.turntable else "a picture, such as .png or .jpg", repr(str(output)))
    if output.is_dir() or not output.parent.is_dir():
        fail("--output", "a file in a folder that exists", repr(str(output)))
    return output
