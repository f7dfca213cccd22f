"""``tirender fit``: its arguments, and what every fit writes."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.commands.arguments import (
    LOCALHOST,
    add_allow_parent,
    add_arch,
    add_up,
    add_web_arguments,
    device_of,
    number,
    numbers,
)
from tirender.commands.convert import add_bake
from tirender.commands.fit_folder import CHECKPOINTS, choose_folder, locked
from tirender.commands.fit_page import N_FRAMES, Flight, Page
from tirender.commands.parsing import takes_numbers
from tirender.fit_kinds import KINDS, PRESETS, FitKind, Numbers, Option
from tirender.fit_kinds.photos import is_photos
from tirender.progress import prints_lines, shows_bar

if TYPE_CHECKING:
    import torch

    from tirender.fit import Callback, FitRun, Preview

PREVIEWS = ("window", "web", "video")
LAST = 50  # steps that the mean of the final losses is over
MAX_STEPS = 10**7


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``fit`` to what ``add_subparsers`` returned."""
    parser = commands.add_parser(
        "fit",
        help="find a mesh, volume, radiance field or Gaussians that look like a mesh, silhouettes or images",
        description="Deform a sphere, fill a volume or a field, or place Gaussians, until it looks like something.",
        epilog=(
            "examples:\n"
            "  tirender fit mesh creature -o out/shape\n"
            "  tirender fit silhouette creature --steps 500\n"
            "  tirender fit volume scan.ply --preset best\n"
            "  tirender fit images photos/ --texture uv     # photos/transforms.json has their cameras\n"
            "  tirender fit images photos/ --resume --preview\n"
            "  tirender fit images creature --export fox.glb --bake 1024   # for other programs\n"
            "  tirender fit nerf photos/ --field hashgrid\n"
            "  tirender fit splats photos/ --downscale 2    # plain photos, or with COLMAP's photos/sparse/0"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind in KINDS.values():
        phrase = f"{kind.finds}, so that {kind.so_that}"
        of_kind = kinds.add_parser(kind.name, help=phrase, description=f"Find {phrase}.")
        for option in kind.options:
            _add_option(of_kind, option)
        _add_shared(of_kind)
        of_kind.set_defaults(run=_fit)


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    """Add an argument of one kind of fit."""
    settings: dict[str, Any] = {"help": option.help, "metavar": option.metavar}
    if isinstance(option.values, range):
        low, high = option.values[0], option.values[-1]
        settings["type"] = number(int, low, high, f"{low} to {high} {option.unit}".strip())
    elif isinstance(option.values, Numbers):
        n, least, most = option.values.n, option.values.low, option.values.high
        is_one = number(float, least, most, f"{least:g} to {most:g}")
        settings["type"] = numbers(n, f"{n} numbers") if n > 1 else is_one
    elif option.values is not None:
        settings["choices"] = option.values
    if option.required:
        parser.add_argument(option.name, **settings)
        return
    if option.flag:
        parser.add_argument(f"--{option.name}", help=option.help, action="store_const", const=True)
        return
    action = parser.add_argument(f"--{option.name}", default=option.default, **settings)
    if isinstance(option.values, Numbers):
        takes_numbers(action, option.values.n)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of all kinds of fits."""
    steps = number(int, 1, MAX_STEPS, "1 or more steps")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="new or empty, for the results (default: out/fit_KIND, out/fit_KIND_2 ...)",
    )
    parser.add_argument(
        "--preset", choices=PRESETS, default=PRESETS[0], help="the tutorials' settings, or better ones of our own"
    )
    parser.add_argument("--steps", type=steps, metavar="N", help="steps of the fit (default: the preset's)")
    parser.add_argument(
        "--seed",
        type=number(int, 0, 2**31, "an integer of 0 or more"),
        default=0,
        metavar="N",
        help="seed of the random generators (default: 0)",
    )
    parser.add_argument("--every", type=steps, metavar="N", help="steps between figures (default: 8 figures in all)")
    parser.add_argument(
        "--checkpoint", type=steps, default=100, metavar="N", help="steps between checkpoints (default: 100)"
    )
    parser.add_argument("--resume", action="store_true", help="resume from the checkpoint in the output folder")
    parser.add_argument(
        "--preview",
        nargs="?",
        const="window",
        choices=PREVIEWS,
        help="watch the fit in a window (default), on a page (where it can be turned), or as a video in the folder",
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="also write the result as a mesh: GLB, glTF, OBJ, PLY, OFF or STL",
    )
    add_bake(parser)
    add_up(parser)
    add_web_arguments(parser)
    add_allow_parent(parser)
    add_arch(parser)


def _fit(args: argparse.Namespace) -> None:
    """Load, fit and write; together with other processes if ``torchrun`` has started several."""
    from tirender.fit.callbacks import DIGEST
    from tirender.fit.distributed import is_main, process_group

    kind = KINDS[args.kind]
    _check_used(args)
    _check_export(args)
    names = ("steps", "seed", "allow_parent", "up", *(option.name.replace("-", "_") for option in kind.options))
    given = {name: getattr(args, name) for name in names}
    with process_group(gpus=args.arch == "cuda" if args.arch else None):
        folder = choose_folder(args.output, kind.name, args.resume) if is_main() else Path()
        target = kind.load(given, device_of(args.arch))
        config = dataclasses.replace(kind.configure_for(target, args.preset, given), progress=shows_bar())
        if not is_main():  # the first process shows and writes
            kind.fit(target, config, ())
            return
        settings = {name: value for name, value in vars(config).items() if name not in ("steps", "progress")}
        settings |= {"kind": kind.name, DIGEST: _digest(kind.data(target))}
        with locked(folder):
            _run(_Job(kind, target, config, settings, given, folder), args)


@dataclass(frozen=True)
class _Job:
    """A fit that is asked for.

    Attributes:
        kind, target, config: of the fit.
        settings: what a checkpoint must share with it to be resumed.
        given: the arguments of this kind of fit, by name.
        folder: for the results.
    """

    kind: FitKind
    target: Any
    config: Any
    settings: dict[str, Any]
    given: dict[str, Any]
    folder: Path


def _run(job: _Job, args: argparse.Namespace) -> None:
    """Fit and write everything; after a loss that is not finite, from the last good state."""
    import matplotlib

    from tirender.fit import Checkpoint, Figures, NonFiniteLoss
    from tirender.fit.callbacks import ProgressLines
    from tirender.fit.interrupts import Interrupted

    matplotlib.use("agg")
    kind, target, config, folder = job.kind, job.target, job.config, job.folder
    if args.resume and not any((folder / name).exists() for name in CHECKPOINTS):
        print(f"tirender: {folder}: no checkpoint to resume from, starting", file=sys.stderr)
    asked = {name: value for name, value in job.given.items() if isinstance(value, (str, int, float))}
    about = {**target.about(), "asked": asked}
    callbacks: list[Callback] = [
        *([ProgressLines(f"fit {kind.name}", str(folder))] if prints_lines() else []),
        Checkpoint(folder / CHECKPOINTS[0], args.checkpoint, args.resume, job.settings, about),
        Figures(args.every or math.ceil(config.steps / 8), lambda run: kind.draw(run, target), folder),
    ]
    with contextlib.ExitStack() as stack:
        if args.preview:
            callbacks.append(stack.enter_context(_preview(job, args)))
        try:
            run = kind.fit(target, config, callbacks)
        except NonFiniteLoss as error:
            _write(job, error.run)
            raise
        except Interrupted as error:
            raise KeyboardInterrupt(f"{error}; the same command with --resume continues") from error
    if run.step > config.steps:
        print(f"tirender: {folder}: has {run.step} steps already, none were made", file=sys.stderr)
    name = _write(job, run)
    losses = ", ".join(f"{name} {value:.6f}" for name, value in run.losses.items())
    print(f"{folder}: {name} after {run.step} steps; {losses}")
    if args.export is not None:
        print(_export(job, run, args))


def _check_used(args: argparse.Namespace) -> None:
    """Raise for an option that this fit has no use for."""
    from tirender.checks import fail
    from tirender.datasets import SHORT_NAMES
    from tirender.io.pluggable_formats import has_suffix
    from tirender.io.reading import KNOWN_SUFFIXES

    for name in ("port", "host"):
        if getattr(args, name) is not None and args.preview != "web":
            fail(f"--{name}", "--preview web with it", args.preview or "none")
    if "source" not in args:
        return
    if Path(args.source).is_file() and not is_photos(args.source) and not has_suffix(args.source, KNOWN_SUFFIXES):
        known = f"a folder of photos, a .json, or a file that ends in {', '.join(KNOWN_SUFFIXES)}"
        fail("SOURCE", known, repr(args.source))
    if args.views is not None and is_photos(args.source):
        fail("--views", "a mesh file as SOURCE, with it", f"photos, {args.source}")
    if args.downscale is not None:
        if args.size is not None:
            fail("--size, --downscale", "one of them", "both")
        if not is_photos(args.source) and (args.source in SHORT_NAMES or Path(args.source).is_file()):
            fail("--downscale", "photos as SOURCE, with it", args.source)


def _check_export(args: argparse.Namespace) -> None:
    """Raise, before anything is fitted, for a file that cannot be written."""
    from tirender.checks import fail

    if args.bake is not None:
        if args.export is None:
            fail("--bake", "--export with it, as --export scene.glb", "none")
        from tirender.fit.baking import check_xatlas

        check_xatlas()
    if args.export is not None:
        from tirender.commands.places import check_place
        from tirender.scenes.converting import KEPT, SUFFIXES
        from tirender.structures import Gaussians, Volumes

        if args.export.suffix.lower() not in SUFFIXES:
            fail("--export", f"a file that ends in {', '.join(SUFFIXES)}", repr(str(args.export)))
        owner = {".splat": "splats", ".npz": "volume"}.get(args.export.suffix.lower(), args.kind)
        if owner != args.kind:
            fail("--export", f"a file that shows what fit {args.kind} finds", repr(str(args.export)))
        kept = {"splats": KEPT[Gaussians], "volume": KEPT[Volumes]}.get(args.kind, ())
        if args.bake is not None and args.export.suffix.lower() in kept:
            fail("--bake", "an --export of a surface", repr(str(args.export)))
        check_place("--export", vars(args).get("source") or args.target, args.export)


def _export(job: _Job, run: FitRun, args: argparse.Namespace) -> str:
    """Write the result as a file for other programs; returns what was written, in words."""
    from tirender.commands.convert import write_converted
    from tirender.scenes.converting import ConvertOptions, convert_fit
    from tirender.scenes.export import ExportOptions
    from tirender.scenes.fitted import restored_fit

    module: Any = run.module
    about, given = job.target.about(), job.given
    fit = restored_fit(job.kind.result(module), job.config, about, module.state_dict())
    crop = given.get("crop")
    if crop is not None:
        import torch

        crop = torch.tensor(crop, dtype=torch.float64).view(2, 3).sort(0).values
    options = ConvertOptions(ExportOptions(args.bake, None, given.get("isolevel") or 0.5, crop))
    source: str = given.get("source") or given["target"]
    return write_converted(convert_fit(fit, args.export, options), source)


def _preview(job: _Job, args: argparse.Namespace) -> Preview:
    """What shows the fit while it runs."""
    title = f"fit {job.kind.name}"
    if args.preview != "web":
        from tirender.fit import Preview

        return Preview(args.preview, title=title, path=job.folder)
    from tirender.io.orientation import oriented
    from tirender.scenes import Scene, fitted_scene
    from tirender.scenes.live import LivePreview

    def scene(module: Any) -> Scene:
        return fitted_scene(job.kind.result(module), job.config, oriented(job.target.up, job.target.front), place=False)

    return LivePreview(scene, title, getattr(job.target, "views", None), args.host or LOCALHOST, args.port)


def _write(job: _Job, run: FitRun) -> str:
    """Write the results, comparison.png, losses.png and losses.json; returns the name of the main file."""
    from tirender import vis
    from tirender.fit.callbacks import save_figure
    from tirender.io.files import write_file

    name = job.kind.write(run, job.target, job.folder, job.given)
    photos = getattr(job.target, "names", ())
    page = Page(photos) if photos else None
    quality = job.kind.quality(run, job.target, page)
    if page is not None and page.has_photos:
        title = f"tirender fit {job.kind.name} {job.given['source']}"
        paint, n_frames = job.kind.painter(run, job.target), job.given.get("frames", N_FRAMES)
        page.write(run, job.target, Flight(paint, n_frames, job.kind.flight_side), job.folder, title)
    job.kind.compare(run, job.target)
    save_figure(job.folder / "comparison.png")
    vis.plot_losses(run.history)
    save_figure(job.folder / "losses.png")
    facts = {
        "steps": run.step,
        "losses": run.losses,
        f"mean_of_last_{LAST}": {k: sum(v[-LAST:]) / len(v[-LAST:]) for k, v in run.history.items()},
        "best_step": run.best_step,
        "quality": quality,
        "settings": job.settings,
    }
    write_file(job.folder / "losses.json", [(json.dumps(facts, indent=2) + "\n").encode()])
    return name


def _digest(tensors: list[torch.Tensor]) -> str:
    """A hash of the tensors' values."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
