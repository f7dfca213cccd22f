"""``tirender capture``: cameras for a folder of plain photos."""

from __future__ import annotations

import argparse
from typing import Any

CAMERA_MODELS = ("SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "PINHOLE", "SIMPLE_PINHOLE")
PAIRS = ("auto", "all", "sequence")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``capture`` to what ``add_subparsers`` returned."""
    parser = commands.add_parser(
        "capture",
        help="find the cameras of a folder of plain photos, by COLMAP",
        description=(
            "Find where the photos of FOLDER were taken, and points of what they show, by COLMAP (pip install "
            "'tirender[photos]'). Writes FOLDER/sparse/0, which tirender fit reads, FOLDER/capture.json with what "
            "became of each photo, and FOLDER/database.db, from which an interrupted call goes on."
        ),
        epilog=(
            "The photos lie in FOLDER, or in FOLDER/images. Take 30 or more, sharp, of a thing that stands still,\n"
            "from all around, each sharing most of what it shows with the next.\n\n"
            "examples:\n"
            "  tirender capture photos/\n"
            "  tirender fit splats photos/ --downscale 2"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="with photos")
    parser.add_argument(
        "--camera-model", choices=CAMERA_MODELS, default=CAMERA_MODELS[0], help="of the lens (default: SIMPLE_RADIAL)"
    )
    parser.add_argument(
        "--pairs",
        choices=PAIRS,
        default=PAIRS[0],
        help="photos that are compared: all; neighbours in a sequence, as of a video; or all up to 250 photos (auto)",
    )
    parser.add_argument("--again", action="store_true", help="begin anew where there is a reconstruction")
    parser.set_defaults(run=_capture)


def _capture(args: argparse.Namespace) -> int:
    from tirender.captures.reconstruct import reconstruct

    report = reconstruct(args.folder, args.camera_model, args.pairs, args.again)
    print(report)
    return 0
