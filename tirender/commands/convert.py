"""``tirender convert``: any file that is read as any file that is written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.commands.arguments import (
    add_allow_parent,
    add_arch,
    add_up,
    device_of,
    number,
    numbers,
)
from tirender.commands.parsing import takes_numbers
from tirender.commands.places import check_place, is_named_by

if TYPE_CHECKING:
    from tirender.io.writing import NewFile
    from tirender.scenes.converting import Converted
    from tirender.scenes.export import ExportOptions

TEXELS = (16, 16384)


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``convert`` to what ``add_subparsers`` returned."""
    parser = commands.add_parser(
        "convert",
        help="turn a mesh, cloud, volume, Gaussians or a fit into a file of another kind",
        usage="tirender convert IN OUT [options]",
        description=(
            "Turn IN into OUT, whose ending decides the kind: GLB, glTF, OBJ, PLY, OFF, STL, SPLAT,\n"
            "or NPZ for clouds and volumes. IN is any file that render shows, or the folder of a fit.\n"
            "What OUT cannot hold is named."
        ),
        epilog=(
            "examples:\n"
            "  tirender convert scan.obj scan.glb\n"
            "  tirender convert scene.glb mesh.ply\n"
            "  tirender convert part.stl part.gltf --up z\n"
            "  tirender convert scan.ply scan.glb --bake 2048   # colours of vertices become a texture\n"
            "  tirender convert out/fit_nerf scene.glb --bake 2048\n"
            "  tirender convert splats.ply splats.splat"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="IN", help="what to convert")
    parser.add_argument("output", type=Path, metavar="OUT", help="the file to write")
    add_export_arguments(parser)
    parser.add_argument("--points", action="store_true", help="the centres of Gaussians, not a surface")
    add_up(parser)
    add_allow_parent(parser)
    add_arch(parser)
    parser.set_defaults(run=_convert)


def add_bake(parser: argparse.ArgumentParser) -> None:
    """Add ``--bake``."""
    low, high = TEXELS
    parser.add_argument(
        "--bake",
        type=number(int, low, high, f"{low} to {high} texels"),
        metavar="PX",
        help="side of a texture map that colours are baked into (default: colours at vertices; needs tirender[bake])",
    )


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--bake``, ``--voxels``, ``--isolevel`` and ``--crop``."""
    add_bake(parser)
    surface = parser.add_argument_group("surface", "of volumes, radiance fields and Gaussians")
    surface.add_argument(
        "--voxels",
        type=number(int, 8, 512, "8 to 512"),
        metavar="N",
        help="voxels along the longest side (default: 128, 160 of Gaussians, or a volume's own if these are more)",
    )
    surface.add_argument(
        "--isolevel",
        type=number(float, 1e-6, 1.0, "0.000001 to 1"),
        metavar="F",
        help="opacity where the surface lies (default: 0.5)",
    )
    takes_numbers(
        surface.add_argument(
            "--crop",
            type=numbers(6, "6 numbers"),
            metavar="X Y Z X Y Z",
            help="the surface lies in this box, in the coordinates of IN",
        ),
        6,
    )


def export_options(args: argparse.Namespace) -> ExportOptions:
    """The options that the arguments give.

    Raises:
        ValueError: a box without a volume.
        ImportError: ``--bake`` is given and xatlas is not installed.
    """
    import torch

    from tirender.checks import fail
    from tirender.fit.baking import check_xatlas
    from tirender.scenes.export import ExportOptions

    if args.bake is not None:
        check_xatlas()
    box = None
    if args.crop is not None:
        ends = torch.tensor(args.crop, dtype=torch.float64).view(2, 3)
        if bool((ends[0] == ends[1]).any()):
            fail("--crop", "two corners of a box with a volume", " ".join(f"{x:g}" for x in args.crop))
        box = ends.sort(0).values
    return ExportOptions(args.bake, args.voxels, args.isolevel or 0.5, box)


def _convert(args: argparse.Namespace) -> None:
    from tirender.checks import fail
    from tirender.scenes.converting import SUFFIXES, ConvertOptions, convert

    if args.output.suffix.lower() not in SUFFIXES:
        fail("OUT", f"a file that ends in {', '.join(SUFFIXES)}", repr(str(args.output)))
    check_place("OUT", args.input, args.output)
    options = ConvertOptions(export_options(args), args.up, args.points, args.allow_parent, device_of(args.arch))
    print(write_converted(convert(args.input, args.output, options), args.input))


def write_converted(converted: Converted, source: str) -> str:
    """Write the files; returns what was written, in words.

    Raises:
        ValueError: one of the images or materials is a file that the source reads.
    """
    from tirender.checks import fail
    from tirender.io.files import write_file

    *beside, main = converted.files
    others = [file for file in beside if not _is_there(file)]
    for file in others:
        if is_named_by(source, file.path):
            fail("OUT", f"a name whose {file.path.name} is not what {source} reads", repr(str(main.path)))
    main.path.parent.mkdir(parents=True, exist_ok=True)
    words = [f"{file.path.name}{' (replaced)' * (file.path.exists() and file in others)}" for file in beside]
    with_them = f", with {', '.join(words)}" if words else ""
    replaced = " (replaced)" * main.path.exists()
    for file in (*others, main):
        write_file(file.path, file.chunks)
    return f"{main.path}: {converted.facts}{replaced}{with_them}"


def _is_there(file: NewFile) -> bool:
    """Whether a file has these contents already."""
    if not file.path.is_file():
        return False
    return file.path.read_bytes() == b"".join(file.chunks)
