"""Arguments of the commands that show a scene: ``render`` and ``view``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tirender.commands.arguments import (
    TRANSPARENT,
    add_allow_parent,
    add_up,
    background,
    device_of,
    number,
    numbers,
    size,
)
from tirender.commands.parsing import takes_numbers

if TYPE_CHECKING:
    from tirender.renderer import EnvironmentLights
    from tirender.scenes import Scene

SHADERS = ("phong", "pbr", "gouraud", "flat", "unlit", "normals", "silhouette", "depth")
FILES = (
    "a mesh (OBJ, PLY, OFF, STL, GLB, glTF; with the extra formats\n"
    "also 3MF, DAE, ZAE, XAML, 3DXML), Gaussians (PLY, SPLAT), a point cloud (PLY, or NPZ\n"
    "with verts and rgb), a volume (NPZ with densities and features), or the folder of a fit"
)
WHITE = (1.0, 1.0, 1.0)
OF_SURROUNDINGS = {"environment": None, "environment_turn": 0.0, "exposure": 1.0, "tone_mapping": "neutral"}
"""The options of ``--shader pbr`` alone, and what they are where they are not given."""


def add_scene_arguments(
    parser: argparse.ArgumentParser, sizes: range, default_size: tuple[int, int], several: bool = False
) -> None:
    """Add FILE, ``--size``, ``--shader``, ``--environment``, ``--background``, ``--up`` and ``--allow-parent``.

    Args:
        parser: of the command.
        sizes: the sizes that a picture may have, in pixels.
        default_size: its width and height.
        several: whether there may be several FILEs, a list.
    """
    parser.add_argument("file", nargs="*" if several else "?", metavar="FILE", help="what to show")
    default = " ".join(map(str, default_size[: 1 + (default_size[0] != default_size[1])]))
    takes_numbers(
        parser.add_argument(
            "--size",
            type=size(sizes[0], sizes[-1]),
            metavar="W H",
            help=f"width and height in pixels, or one side (default: {default})",
        ),
        2,
    )
    parser.set_defaults(default_size=default_size)
    parser.add_argument(
        "--shader",
        choices=SHADERS,
        metavar="SHADER",
        help="meshes: phong (default), pbr (default for metallic-roughness materials), gouraud, flat, normals; all: "
        "unlit, silhouette, depth",
    )
    parser.add_argument(
        "--environment",
        type=Path,
        metavar="FILE",
        help="surroundings for --shader pbr, a picture of all directions: .hdr, .exr, .png ... (default: a studio)",
    )
    takes_numbers(
        parser.add_argument(
            "--background",
            type=background,
            metavar="COLOR",
            help="a colour's name, RRGGBB, three numbers of 0 to 1, or transparent",
        ),
        3,
    )
    add_up(parser)
    add_allow_parent(parser)


def add_camera_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add ``--azimuth``, ``--elevation``, ``--zoom``, ``--look-at`` and ``--camera``, in a group that is returned."""
    camera = parser.add_argument_group("camera", "It looks at what there is to see, which just fits into the picture.")
    degrees = number(float, -1e6, 1e6, "degrees")
    camera.add_argument("--azimuth", type=degrees, metavar="DEG", help="0 is the front, 90 on its left (default: -30)")
    camera.add_argument("--elevation", type=degrees, metavar="DEG", help="above the horizon (default: 10)")
    camera.add_argument("--zoom", type=number(float, 1e-3, 1e3, "0.001 to 1000"), metavar="F", help="enlarge so much")
    takes_numbers(
        camera.add_argument(
            "--look-at", type=numbers(3, "three numbers"), metavar="X Y Z", help="a place, in the file's coordinates"
        ),
        3,
    )
    camera.add_argument(
        "--camera", metavar="N", help="look through one of the file's cameras (glTF), or of those of a fit: 0, 1 ..."
    )
    return camera


def check_one_camera(args: argparse.Namespace, names: Sequence[str], given: str) -> None:
    """Raise where one of these options moves a camera, and another (``given``) has chosen one of the file's own."""
    from tirender.checks import fail

    for name in names:
        if getattr(args, name) is not None:
            fail(f"--{name.replace('_', '-')}", "a camera around the object", f"{given}, the file's own")


def size_of(args: argparse.Namespace) -> tuple[int, int]:
    """Height and width from ``--size``."""
    width, height = args.size or args.default_size
    return height, width


def environment_of(args: argparse.Namespace, scene: Scene) -> EnvironmentLights | None:
    """The surroundings of ``--environment``; None for a studio.

    Raises:
        ValueError: a damaged file, or a shader that has no surroundings and an option for them.
        OSError: it cannot be opened.
    """
    from tirender.checks import fail

    shader = args.shader or scene.shaders[0]
    for name, default in OF_SURROUNDINGS.items():
        if shader != "pbr" and getattr(args, name, default) != default:
            fail("--" + name.replace("_", "-"), "--shader pbr", f"{shader}")
    if args.environment is None:
        return None
    if "surroundings" not in args:  # all pictures share their maps
        from tirender.io import load_environment
        from tirender.renderer import EnvironmentLights

        args.surroundings = EnvironmentLights(load_environment(args.environment)).to(scene.device)
    lights: EnvironmentLights = args.surroundings
    return lights


def color_of(args: argparse.Namespace) -> tuple[float, float, float]:
    """The background of what cannot be transparent.

    Raises:
        ValueError: a transparent one is asked for.
    """
    from tirender.checks import fail

    if args.background == TRANSPARENT:
        fail("--background", "a colour here", TRANSPARENT)
    color: tuple[float, float, float] = args.background or WHITE
    return color


@contextmanager
def threads_for(scene: Scene) -> Iterator[None]:
    """Give kernels the processor: waiting threads of torch spin, which slows down those of the kernels."""
    import torch

    from tirender.scenes import FieldScene

    before = torch.get_num_threads()
    if not isinstance(scene, FieldScene):  # fields are drawn by torch, the others by kernels
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_scene_of(args: argparse.Namespace, file: str | None = None) -> tuple[Path, Scene]:
    """Start the runtime and load the scene.

    Args:
        args: of the command.
        file: to load; by default the FILE of the command, or else tirender's creature.
    Returns:
        the path of the file, and its scene.
    Raises:
        ValueError: a shader that this scene does not have; or as :func:`tirender.scenes.load_scene`.
    """
    from tirender import datasets
    from tirender.checks import fail
    from tirender.scenes import load_scene

    name = next((name for name in (file, args.file) if name is not None), "creature")
    scene = load_scene(name, device_of(args.arch), allow_parent=args.allow_parent, up=args.up)
    if args.shader not in (None, *scene.shaders):
        fail("--shader", f"{', '.join(scene.shaders)} for {scene.facts}", args.shader)
    return datasets.path_of(name), scene
