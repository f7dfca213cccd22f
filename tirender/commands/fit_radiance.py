"""``tirender fit volume`` and ``tirender fit nerf``."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from tirender.fit import FitRun, Views
    from tirender.fit.radiance import RadianceConfig
    from tirender.fit.run import Callback

FIELDS = ("harmonic", "hashgrid")  # those of fit.nerf, whose import takes seconds; a test compares them
N_VIEWS = 40
VOXELS = 128  # along an axis, of which a mesh is made
HELD_OUT = 8  # one in so many views, and at most so many
FPS = 15


def add_parsers(kinds: Any, parents: list[Any], number: Callable[..., Callable[[str], float]]) -> None:
    """Add both kinds of fits.

    Args:
        kinds: what ``add_subparsers`` of ``tirender fit`` returned.
        parents: with the arguments that they share with others.
        number: makes a reader of a number in a range.
    """
    volume = kinds.add_parser("volume", parents=parents, help="a volume of voxels to images")
    nerf = kinds.add_parser("nerf", parents=parents, help="a radiance field to images")
    nerf.add_argument(
        "--field",
        choices=FIELDS,
        help="a network of harmonics, as in the tutorial (the default), or a hash grid (the default of --preset best)",
    )
    for parser in (volume, nerf):
        parser.description = "Writes turntable.gif, turntable.mp4, mesh.ply, figures, checkpoint.pt and losses.json."
        parser.add_argument(
            "--frames", type=number(int, 0, 10000, "0 to 10000"), default=36, metavar="N", help="of turntables (36)"
        )
        parser.set_defaults(run=_fit_radiance)


def _fit_radiance(args: argparse.Namespace) -> None:
    from tirender import vis
    from tirender.checks import fail
    from tirender.commands.fit import device_of, run_fit
    from tirender.fit.callbacks import save_figure
    from tirender.fit.quality import WINDOW, view_quality

    views, held_out, centre, scale = _views(args, device_of(args))
    if min(views.image_size) < WINDOW:
        fail("--size", f"views of at least {WINDOW} x {WINDOW} pixels", " x ".join(map(str, views.image_size)))
    truth = views if held_out is None else held_out
    config, fit = _fit_of(args, views)

    def draw(run: FitRun) -> None:
        rendered = run.module(truth.cameras[0])[0]
        vis.compare_view(rendered, truth.on_black[0], truth.silhouettes[0], f"iter: {run.step}")

    def finish(run: FitRun, folder: Path) -> tuple[str, dict[str, float]]:
        draw(run)
        save_figure(folder / "comparison.png")
        _write_mesh(run, config, folder / "mesh.ply", centre, scale)
        if args.frames:
            _write_turntable(run, views, args.frames, folder)
        quality: dict[str, float] = view_quality(run.module, truth)
        return "checkpoint.pt", {("held_out_" if held_out else "fitted_") + k: v for k, v in quality.items()}

    run_fit(args, config, [views.silhouettes, views.on_black], fit, draw, finish)


def _fit_of(args: argparse.Namespace, views: Views) -> tuple[RadianceConfig, Callable[[Sequence[Callback]], FitRun]]:
    """The settings, and what fits with them."""
    from tirender.commands.fit import config_of
    from tirender.fit.nerf import HASHGRID_NERF, NerfConfig, fit_nerf
    from tirender.fit.volume import BEST_VOLUME, VolumeConfig, fit_volume

    if args.kind == "volume":
        of_volume = config_of(args, VolumeConfig(), BEST_VOLUME)
        return of_volume, lambda callbacks: fit_volume(views, of_volume, callbacks)
    field = args.field or ("hashgrid" if args.preset == "best" else "harmonic")
    of_field = config_of(args, *[HASHGRID_NERF if field == "hashgrid" else NerfConfig()] * 2)
    return of_field, lambda callbacks: fit_nerf(views, of_field, callbacks)


def _write_mesh(run: FitRun, config: RadianceConfig, path: Path, centre: torch.Tensor, scale: float) -> None:
    from tirender.fields import VolumeModel
    from tirender.fit import extract_mesh
    from tirender.io import IO
    from tirender.renderer import VolumeSampler

    module: Any = run.module
    field = VolumeSampler(module.volumes()) if isinstance(module, VolumeModel) else module.field
    mesh = extract_mesh(field, config.extent, VOXELS, device=centre.device)
    if mesh.isempty():
        warnings.warn(f"no {path.name}: the opacity is below 0.5 everywhere", stacklevel=2)
        return
    IO().save_mesh(mesh.scale_verts(scale).offset_verts(centre), path, colors_as_uint8=True)


def _write_turntable(run: FitRun, views: Views, n_frames: int, folder: Path) -> None:
    import torch

    from tirender import vis
    from tirender.fit import cameras_around

    with torch.no_grad():
        frames = torch.cat([run.module(camera)[..., :3] for camera in cameras_around(views.cameras, n_frames)])
    vis.save_animation(frames, folder / "turntable.gif", FPS)
    try:
        vis.save_animation(frames, folder / "turntable.mp4", FPS)
    except ImportError as error:
        warnings.warn(f"no turntable.mp4: {error}", stacklevel=2)


def _views(args: argparse.Namespace, device: str) -> tuple[Views, Views | None, torch.Tensor, float]:
    """The views of SOURCE, of an object at the origin, others to compare with, and the way back to its own place."""
    source = Path(args.source)
    if source.is_dir() or source.suffix.lower() == ".json":
        return _views_of_folder(source, args.size, device)
    return _views_of_mesh(args, device)


def _views_of_mesh(args: argparse.Namespace, device: str) -> tuple[Views, Views, torch.Tensor, float]:
    """Views from around a mesh, and some from halfway between them."""
    from tirender.commands.fit import grey, load_mesh
    from tirender.fit import normalized, render_views, render_views_between

    n = args.views or N_VIEWS
    mesh, centre, scale = normalized(load_mesh(args.source, device))
    mesh = mesh if mesh.textures is not None else grey(mesh)
    held_out = render_views_between(mesh, n, HELD_OUT, args.size)
    return render_views(mesh, n, args.size), held_out, centre, scale


def _views_of_folder(source: Path, size: int, device: str) -> tuple[Views, Views | None, torch.Tensor, float]:
    """All but one in eight views; or all, and those of the files that NeRF's synthetic scenes have for comparison."""
    from tirender.fit import load_views

    everything, centre, scale = load_views(source, device).resized(size).normalized()
    folder = source if source.is_dir() else source.parent
    of_training = source.name == "transforms_train.json" or not (folder / "transforms.json").exists()
    for other in ("transforms_test.json", "transforms_val.json") if of_training else ():
        if (folder / other).is_file():
            others = load_views(folder / other, device).resized(size).moved(centre, scale)
            return everything, others[_spread(len(others), HELD_OUT)], centre, scale
    if len(everything) < HELD_OUT:
        return everything, None, centre, scale
    chosen = _spread(len(everything), min(len(everything) // HELD_OUT, HELD_OUT))
    return everything[[i for i in range(len(everything)) if i not in chosen]], everything[chosen], centre, scale


def _spread(n: int, n_chosen: int) -> list[int]:
    """Indices of some of n views, evenly spread."""
    n_chosen = min(n, n_chosen)
    return [(2 * i + 1) * n // (2 * n_chosen) for i in range(n_chosen)]
