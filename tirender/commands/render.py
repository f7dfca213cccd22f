"""``tirender render``: meshes, clouds, volumes and fits as pictures, depths, turntables and videos."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.commands.arguments import TRANSPARENT, add_arch, number, numbers
from tirender.commands.errors import EXPECTED, in_words
from tirender.commands.parsing import takes_numbers
from tirender.commands.places import check_place
from tirender.commands.scene_arguments import (
    FILES,
    add_camera_arguments,
    add_scene_arguments,
    check_one_camera,
    color_of,
    environment_of,
    load_scene_of,
    threads_for,
)
from tirender.progress import followed

if TYPE_CHECKING:
    from tirender.scenes import Look, Scene
    from tirender.scenes.shots import Shot

TURN_SECONDS = 3  # of a turntable
MAX_FPS, PATH_FPS = 60, 24
ANGLES = {"azimuth": -30.0, "elevation": 10.0, "fov": 40.0, "zoom": 1.0}  # of the camera, where none is given
LIT = ("phong", "pbr", "gouraud", "flat")
ANIMATED = "a turntable's or path's file to end in .gif, .webp, .png or .mp4"


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``render`` to what ``add_subparsers`` returned."""
    parser = commands.add_parser(
        "render",
        help="draw meshes, clouds, volumes or fits as pictures, turntables or videos",
        usage="tirender render [FILE ...] [-o FILE | -o FOLDER/] [options]",
        description=f"Draw {FILES}. FILE may also be\ncreature (default) or harbour, which come with tirender.",
        epilog=(
            "examples:\n"
            "  tirender render scan.obj -o scan.png\n"
            "  tirender render scan.stl -o scan.jpg --size 1920 1080 --azimuth 20 --shadow\n"
            "  tirender render a.obj b.ply c.glb -o pictures/\n"
            "  tirender render scan.obj -o turn.mp4 --turntable 90\n"
            "  tirender render scan.ply -o depth.npy --shader depth\n"
            "  tirender render out/fit_images -o view3.png --camera 3\n"
            "  tirender render out/fit_nerf -o flight.mp4 --camera-path 120"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_scene_arguments(parser, range(1, 16385), (512, 512), several=True)
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="file, or folder for several (default: out.png; out.gif for views)"
    )
    views = number(int, 1, 10000, "1 to 10000 views")
    parser.add_argument(
        "--turntable",
        type=views,
        metavar="N",
        help="draw N views from all around, as an animation (GIF, WebP, PNG or MP4)",
    )
    parser.add_argument(
        "--camera-path", type=views, metavar="N", help="draw N views along a path through the file's cameras"
    )
    parser.add_argument("--fps", type=number(float, 0.1, 1000, "0.1 to 1000"), help="views a second of an animation")
    add_arch(parser)
    _add_camera(parser)
    _add_look(parser)
    parser.set_defaults(run=_render)


def _add_camera(parser: argparse.ArgumentParser) -> None:
    camera = add_camera_arguments(parser)
    camera.add_argument(
        "--distance",
        type=number(float, 0.01, 1e4, "0.01 to 10000"),
        metavar="D",
        help="from the place it looks at, in radii of the object (default: the object just fits)",
    )
    camera.add_argument(
        "--fov",
        type=number(float, 1, 170, "1 to 170 degrees"),
        metavar="DEG",
        help="field of view along the short side (default: 40)",
    )


def _add_look(parser: argparse.ArgumentParser) -> None:
    look = parser.add_argument_group("look")
    look.add_argument("--shadow", action="store_true", help="let it cast a soft shadow on the ground")
    look.add_argument(
        "--edges",
        choices=("antialias", "hard"),
        default="antialias",
        help="smooth outlines and mipmaps of meshes (default), or neither",
    )
    look.add_argument(
        "--supersample",
        type=number(int, 1, 8, "1 to 8"),
        metavar="N",
        help="average N x N samples in each pixel (default: 2; depths, volumes and fields: 1)",
    )
    takes_numbers(
        look.add_argument(
            "--light",
            type=numbers(3, "three numbers"),
            metavar="X Y Z",
            help="position of the light, in the file's coordinates (default: beside the camera; pbr: none)",
        ),
        3,
    )
    look.add_argument(
        "--environment-turn",
        type=number(float, -1e6, 1e6, "degrees"),
        default=0.0,
        metavar="DEG",
        help="turn the surroundings of --shader pbr about the vertical",
    )
    look.add_argument(
        "--exposure",
        type=number(float, 0, 1e6, "0 to 1000000"),
        default=1.0,
        metavar="F",
        help="multiply the light of --shader pbr (default: 1)",
    )
    look.add_argument(
        "--tone-mapping",
        choices=("neutral", "srgb"),
        default="neutral",
        help="of --shader pbr: Khronos's PBR Neutral (default), or clamped sRGB",
    )
    look.add_argument(
        "--radius",
        type=number(float, 1e-6, 1, "above 0, at most 1"),
        metavar="R",
        help="radius of a cloud's points, in radii of the cloud (default: neighbours overlap)",
    )


def _render(args: argparse.Namespace) -> int:
    """Draw each FILE; where there are several, what fails is reported and the others are drawn."""
    _check(args)
    jobs = _jobs(args)
    failed = False
    for file, output in jobs:
        try:
            print(_draw(args, file, output), flush=True)
        except EXPECTED as error:
            if len(jobs) == 1:
                raise
            failed = True
            print(f"tirender render: {in_words(error)}", file=sys.stderr)
    return int(failed)


def _check(args: argparse.Namespace) -> None:
    """Raise for options that exclude one another."""
    from tirender.checks import fail

    chosen = [name for name in ("turntable", "camera_path", "camera") if getattr(args, name) is not None]
    if len(chosen) > 1:
        fail(", ".join(f"--{name.replace('_', '-')}" for name in chosen), "one of them", "both")
    if args.camera is not None or args.camera_path:
        check_one_camera(
            args, (*ANGLES, "look_at", "distance"), "--camera" if args.camera is not None else "--camera-path"
        )
    if args.fps and not (args.turntable or args.camera_path):
        fail("--fps", "an animation: --turntable or --camera-path", "a picture")
    colorless = {"shadow": ("silhouette", "depth", "normals"), "background": ("silhouette", "depth")}
    for name, shaders in colorless.items():
        if getattr(args, name) and args.shader in shaders:
            fail(f"--{name}", "a shader that shows colours", args.shader)
    if args.light and args.shader not in (None, *LIT):
        fail("--light", f"a shader with light: {', '.join(LIT)}", args.shader)
    if args.turntable or args.camera_path:
        color_of(args)


def _jobs(args: argparse.Namespace) -> list[tuple[str, Path]]:
    """Each FILE, and the file to write.

    Raises:
        ValueError: files of this kind cannot be written, a folder is missing for several FILEs, or a folder is a file.
    """
    from tirender.checks import fail

    files = args.file or ["creature"]
    is_animated = bool(args.turntable or args.camera_path)
    ending = ".gif" if is_animated else ".png"
    given = args.output or f"out{ending}"
    is_folder = given.endswith(("/", os.sep)) or Path(given).is_dir()
    if len(files) > 1 and not (args.output and (is_folder or not Path(given).suffix)):
        fail("--output", f"a folder for {len(files)} files, as -o pictures/", repr(given) if args.output else "none")
    if not is_folder and len(files) == 1:
        jobs = [(files[0], Path(given))]
        _check_kind(jobs[0][1], is_animated, args.shader)
    else:
        jobs = []
        for file in files:
            stem = Path(file).resolve().name if Path(file).is_dir() else Path(file).stem
            names = {output.name for _, output in jobs}
            free = (f"{stem}{n}{ending}" for n in ["", *(f"_{i}" for i in range(2, len(files) + 2))])
            jobs.append((file, Path(given) / next(name for name in free if name not in names)))
    for file, output in jobs:
        check_place("--output", file, output)
    return jobs


def _check_kind(output: Path, is_animated: bool, shader: str | None) -> None:
    """Raise if no file with this ending can be written."""
    from tirender.checks import fail
    from tirender.vis.animation import ANIMATIONS
    from tirender.vis.pictures import DEPTH_SUFFIXES, picture_suffixes

    ending = output.suffix.lower()
    if is_animated:
        if ending not in ANIMATIONS:
            fail("--output", ANIMATED, repr(str(output)))
        return
    if ending in DEPTH_SUFFIXES:
        if shader != "depth":
            fail("--output", f"--shader depth for a file that ends in {ending}", f"--shader {shader or 'phong'}")
        return
    if ending != ".png" and ending not in picture_suffixes():
        wanted = "a picture, such as .png or .jpg"
        if ending in ANIMATIONS:
            wanted += " (--turntable N makes a video)"
        fail("--output", wanted, repr(str(output)))


def _draw(args: argparse.Namespace, file: str, output: Path) -> str:
    """Draw one FILE; returns what was written, in words."""
    from tirender.checks import fail
    from tirender.scenes import CloudScene
    from tirender.scenes.shots import camera_shot, orbit_shot, path_shots, turntable_shots

    _, scene = load_scene_of(args, file)
    if args.radius and isinstance(scene, CloudScene):
        scene.radius = args.radius
    elif args.radius and len(args.file) < 2:  # others may be clouds
        fail("--radius", "a point cloud", scene.facts)
    if args.light and scene.shaders[0] not in LIT and len(args.file) < 2:
        fail("--light", f"a shader with light: {', '.join(LIT)}", f"{scene.shaders[0]} for {scene.facts}")
    size = None if args.size is None else args.size[::-1]
    angles: dict[str, Any] = {n: v if getattr(args, n) is None else getattr(args, n) for n, v in ANGLES.items()}
    angles |= {"look_at": args.look_at, "distance": args.distance, "shadow": args.shadow}
    if args.camera is not None:
        shots = [camera_shot(scene, args.camera, size)]
    elif args.camera_path:
        shots = path_shots(scene, args.camera_path, size)
    elif args.turntable:
        shots = turntable_shots(scene, args.turntable, size, **angles)
    else:
        shots = [orbit_shot(scene, size, **angles)]
    with threads_for(scene):
        return _write(args, scene, shots, output)


def _write(args: argparse.Namespace, scene: Scene, shots: list[Shot], output: Path) -> str:
    """Draw and write the file; returns what was written, in words."""
    from tirender.vis import save_animation

    output.parent.mkdir(parents=True, exist_ok=True)
    replaced = " (replaced)" if output.exists() else ""
    height, width = shots[0].image_size
    note = ""
    if args.turntable or args.camera_path:
        usual = PATH_FPS if args.camera_path else min(len(shots) / TURN_SECONDS, MAX_FPS)
        save_animation(_pictures(args, scene, shots), output, fps=args.fps or usual)
        if output.suffix.lower() == ".mp4":
            height, width = height + height % 2, width + width % 2  # as written
    else:
        note = _save_one(args, scene, shots[0], output)
    views = f"{len(shots)} view{'s' * (len(shots) > 1)} of {scene.facts}"
    return f"{output}: {width} x {height} px, {views}{note}{replaced}"


def _save_one(args: argparse.Namespace, scene: Scene, shot: Shot, output: Path) -> str:
    """Draw and write a picture, or depths; returns what else is to be said."""
    from tirender.checks import fail
    from tirender.vis.pictures import DEPTH_SUFFIXES, TRANSPARENT_SUFFIXES, save_depth, save_picture

    ending = output.suffix.lower()
    if args.shader == "depth" and ending in (*DEPTH_SUFFIXES, ".png"):
        environment_of(args, scene)  # refuses options that depths ignore
        if (args.supersample or 1) > 1:
            fail("--supersample", "a picture that shows colours", f"depths in {ending}")
        depth = scene.depth(shot.cameras(scene.device), shot.image_size)[0] * scene.scale
        _warn_if(not bool(depth.isfinite().any()), output)
        return f", {save_depth(output, depth)}"
    usual = (TRANSPARENT,) if scene.backdrop else (None, TRANSPARENT)
    is_transparent = args.background in usual and ending in TRANSPARENT_SUFFIXES
    if args.background == TRANSPARENT and not is_transparent:
        able = ", ".join(TRANSPARENT_SUFFIXES)
        fail("--background", f"a colour for {ending} (only {able} may be transparent)", TRANSPARENT)
    look = _look(args, scene, shot, is_transparent)
    picture = scene.render(shot.cameras(scene.device), look)[0]
    _warn_if(is_transparent and not bool(picture[..., -1].any()), output)
    save_picture(output, picture)
    return ""


def _warn_if(is_empty: bool, output: Path) -> None:
    """Warn of a picture that shows nothing."""
    if is_empty:
        warnings.warn(f"{output}: nothing of the object is in view", stacklevel=2)


def _pictures(args: argparse.Namespace, scene: Scene, shots: list[Shot]) -> Iterator[Any]:
    for shot in followed(shots, "view"):
        yield scene.render(shot.cameras(scene.device), _look(args, scene, shot))[0]


def _look(args: argparse.Namespace, scene: Scene, shot: Shot, is_transparent: bool = False) -> Look:
    from tirender.scenes import Look
    from tirender.scenes.shots import place_in

    return Look(
        image_size=shot.image_size,
        shader=args.shader,
        background=None if is_transparent else (args.background is None and scene.backdrop) or color_of(args),
        light=None if args.light is None else tuple(place_in(scene, args.light).tolist()),
        supersample=args.supersample,
        edges=args.edges,
        shadow=args.shadow,
        environment=environment_of(args, scene),
        environment_turn=args.environment_turn,
        exposure=args.exposure,
        tone_mapping=args.tone_mapping,
    )
