"""``tirender fit``: its arguments; ``mesh``, ``silhouette`` and ``images``; and what every fit writes."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.commands import fit_radiance
from tirender.commands.arguments import add_arch

if TYPE_CHECKING:
    import torch

    from tirender.fit import FitRun, Views
    from tirender.fit.run import Callback, FitConfig
    from tirender.structures import Meshes

PRESETS = ("tutorial", "best")
PREVIEWS = ("window", "web", "video")
Finish = Callable[["FitRun", Path], tuple[str, dict[str, float]]]
LAST = 50  # final losses are also given as the mean over so many steps


def add_parser(commands: Any, number: Callable[..., Callable[[str], float]]) -> None:
    """Add ``fit`` to a command line.

    Args:
        commands: what ``add_subparsers`` returned.
        number: ``number(kind, low, high, expected)`` makes a reader of a number in a range.
    """
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="for the results (default: out/fit_...)")
    shared.add_argument(
        "--preset", choices=PRESETS, default="tutorial", help="the tutorials' settings, or ones that reach further"
    )
    shared.add_argument(
        "--steps", type=number(int, 1, 10**7, "1 or more steps"), metavar="N", help="default: the preset's"
    )
    shared.add_argument("--seed", type=number(int, 0, 2**31, "an integer of 0 or more"), default=0, metavar="N")
    shared.add_argument(
        "--every", type=number(int, 1, 10**7, "1 or more steps"), metavar="N", help="steps between figures"
    )
    shared.add_argument(
        "--checkpoint",
        type=number(int, 1, 10**7, "1 or more steps"),
        default=100,
        metavar="N",
        help="steps between checkpoints (default: 100)",
    )
    shared.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    shared.add_argument(
        "--preview",
        nargs="?",
        const="window",
        choices=PREVIEWS,
        help="watch the fit in a window (default), on a page on 127.0.0.1, or as a video in the output folder",
    )
    add_arch(shared)

    of_sphere = argparse.ArgumentParser(add_help=False)
    of_sphere.add_argument(
        "--level", type=number(int, 0, 7, "0 to 7"), metavar="N", help="of the icosphere to start from (default: 4)"
    )

    of_views = argparse.ArgumentParser(add_help=False)
    of_views.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder with images, masks and a transforms.json, or a mesh file to render views of",
    )
    of_views.add_argument(
        "--size", type=number(int, 8, 4096, "8 to 4096 pixels"), default=128, metavar="PX", help="of views (128)"
    )
    of_views.add_argument(
        "--views",
        type=number(int, 1, 1000, "1 to 1000"),
        metavar="N",
        help="of a mesh file (default: 20; 40 for volumes and fields)",
    )

    fit = commands.add_parser(
        "fit",
        help="find a mesh, volume or radiance field that looks like a mesh, silhouettes or images",
        description="Deform a sphere, or fill a volume or field, until it looks like something.",
        epilog=(
            "examples:\n"
            "  tirender fit mesh creature -o out/shape\n"
            "  tirender fit silhouette creature --steps 500\n"
            "  tirender fit volume scan.ply --preset best\n"
            "  tirender fit images photos/ --texture uv     # photos/transforms.json has their cameras\n"
            "  tirender fit images photos/ --resume --preview\n"
            "  tirender fit nerf photos/ --field hashgrid"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = fit.add_subparsers(dest="kind", required=True, metavar="KIND")
    mesh = kinds.add_parser("mesh", parents=[of_sphere, shared], help="to the surface of a mesh")
    mesh.add_argument("target", metavar="TARGET", help="the mesh file")
    mesh.set_defaults(run=_fit_mesh)
    silhouette = kinds.add_parser("silhouette", parents=[of_views, of_sphere, shared], help="to silhouettes")
    silhouette.set_defaults(run=_fit_silhouette)
    images = kinds.add_parser("images", parents=[of_views, of_sphere, shared], help="to images, with colours")
    images.add_argument(
        "--texture", choices=("vertex", "uv"), default="vertex", help="colours at vertices, or a texture map"
    )
    images.set_defaults(run=_fit_images)
    fit_radiance.add_parsers(kinds, [of_views, shared], number)
    for parser in kinds.choices.values():
        parser.set_defaults(run=_on_all_processes(parser.get_default("run")))


def _on_all_processes(run: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    """A command that first joins the processes which ``torchrun`` has started, if it has."""

    def call(args: argparse.Namespace) -> None:
        from tirender.fit.distributed import process_group

        with process_group(gpus=args.arch == "cuda" if args.arch else None):
            run(args)

    return call


def _fit_mesh(args: argparse.Namespace) -> None:
    from tirender import vis
    from tirender.fit import normalized
    from tirender.fit.mesh import BEST_MESH, MeshConfig, fit_mesh, surface_chamfer

    device = device_of(args)
    target, centre, scale = normalized(load_mesh(args.target, device))
    config = config_of(args, MeshConfig(), BEST_MESH)

    def draw(run: FitRun) -> None:
        vis.plot_pointcloud(run.module(), title=f"iter: {run.step}")

    def compare(run: FitRun) -> None:
        image, renderer = _drawn(target)
        vis.visualize_prediction(grey(run.module()), renderer, image)

    def quality(run: FitRun) -> dict[str, float]:
        return {"chamfer": surface_chamfer(run.module(), target)}

    def fit(callbacks: Sequence[Callback]) -> FitRun:
        return fit_mesh(target, config=config, callbacks=callbacks)

    run_fit(args, config, [target.verts_packed()], fit, draw, _mesh_finish(compare, quality, centre, scale))


def _fit_silhouette(args: argparse.Namespace) -> None:
    from tirender import vis
    from tirender.fit import SilhouetteConfig, fit_silhouettes
    from tirender.fit.quality import silhouette_iou
    from tirender.fit.rendering import BEST_SILHOUETTE, silhouette_renderer

    views, centre, scale = _views(args, device_of(args))
    config = config_of(args, SilhouetteConfig(), BEST_SILHOUETTE)
    renderer = silhouette_renderer(views.image_size, config)

    def draw(run: FitRun) -> None:
        vis.visualize_prediction(
            run.module(),
            lambda mesh: renderer(mesh, cameras=views.cameras[views.shown]),
            views.silhouettes[views.shown],
            title=f"iter: {run.step}",
            silhouette=True,
        )

    def quality(run: FitRun) -> dict[str, float]:
        return {"silhouette_iou": silhouette_iou(run.module(), renderer, views)}

    def fit(callbacks: Sequence[Callback]) -> FitRun:
        return fit_silhouettes(views, config=config, callbacks=callbacks)

    run_fit(args, config, [views.silhouettes], fit, draw, _mesh_finish(draw, quality, centre, scale))


def _fit_images(args: argparse.Namespace) -> None:
    from tirender import vis
    from tirender.fit import ImageConfig, fit_images
    from tirender.fit.quality import image_psnr, silhouette_iou
    from tirender.fit.rendering import BEST_IMAGES, image_renderer

    views, centre, scale = _views(args, device_of(args))
    images: Any = views.images
    config = dataclasses.replace(config_of(args, ImageConfig(), BEST_IMAGES), texture=args.texture)
    renderer = image_renderer(views.image_size, config, views.lights)

    def draw(run: FitRun) -> None:
        vis.visualize_prediction(
            run.module(),
            lambda mesh: renderer(mesh, cameras=views.cameras[views.shown]),
            images[views.shown],
            title=f"iter: {run.step}",
        )

    def quality(run: FitRun) -> dict[str, float]:
        mesh = run.module()
        return {
            "silhouette_iou": silhouette_iou(mesh, renderer, views),
            "image_psnr": image_psnr(mesh, renderer, views),
        }

    def fit(callbacks: Sequence[Callback]) -> FitRun:
        return fit_images(views, config=config, callbacks=callbacks)

    run_fit(args, config, [views.silhouettes, images], fit, draw, _mesh_finish(draw, quality, centre, scale))


def run_fit(
    args: argparse.Namespace,
    config: FitConfig,
    data: list[torch.Tensor],
    fit: Callable[[Sequence[Callback]], FitRun],
    draw: Callable[[FitRun], None],
    finish: Finish,
) -> None:
    """Fit and write everything; also where the fit stops half-way, from its last good state.

    Args:
        args: the command's.
        config: the fit's settings.
        data: what is fitted to.
        fit: called with callbacks.
        draw: makes a figure of a run on its way.
        finish: writes results into a folder; gives the name of the first, and the quality.
    """
    import matplotlib

    from tirender.fit import Checkpoint, Figures, NonFiniteLoss, Preview
    from tirender.fit.checkpoint import previous
    from tirender.fit.distributed import is_main
    from tirender.fit.interrupts import Interrupted

    if not is_main():  # which shows and writes
        fit(())
        return
    matplotlib.use("agg")
    folder = args.output or Path("out") / f"fit_{args.kind}"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {k: v for k, v in vars(config).items() if k not in ("steps", "progress")}
    settings |= {"kind": args.kind, "digest of what is fitted to": _digest(data)}
    checkpoint = folder / "checkpoint.pt"
    if args.resume != (checkpoint.exists() or previous(checkpoint).exists()):
        found = "no checkpoint to go on from" if args.resume else "starting anew; --resume would have gone on"
        print(f"tirender: {folder}: {found}", file=sys.stderr)
    callbacks: list[Callback] = [
        Checkpoint(checkpoint, args.checkpoint, args.resume, settings),
        Figures(args.every or math.ceil(config.steps / 8), draw, folder),
    ]
    with contextlib.ExitStack() as stack:
        if args.preview:
            callbacks.append(stack.enter_context(Preview(args.preview, title=f"fit {args.kind}", path=folder)))
        try:
            run = fit(callbacks)
        except NonFiniteLoss as error:
            _write(error.run, folder, settings, finish)
            raise
        except Interrupted as error:
            raise KeyboardInterrupt(f"{error}; the same command with --resume goes on") from error
    name = _write(run, folder, settings, finish)
    losses = ", ".join(f"{name} {value:.6f}" for name, value in run.losses.items())
    print(f"{folder}: {name} after {run.step} steps; {losses}")


def _write(run: FitRun, folder: Path, settings: dict[str, Any], finish: Finish) -> str:
    """The results, losses.png and losses.json."""
    from tirender import vis
    from tirender.fit.callbacks import save_figure
    from tirender.io.files import write_file

    name, quality = finish(run, folder)
    vis.plot_losses(run.history)
    save_figure(folder / "losses.png")
    facts = {
        "steps": run.step,
        "losses": run.losses,
        f"mean_of_last_{LAST}": {k: sum(v[-LAST:]) / len(v[-LAST:]) for k, v in run.history.items()},
        "best_step": run.best_step,
        "quality": quality,
        "settings": settings,
    }
    write_file(folder / "losses.json", [(json.dumps(facts, indent=2) + "\n").encode()])
    return name


def _mesh_finish(
    compare: Callable[[FitRun], None],
    quality: Callable[[FitRun], dict[str, float]],
    centre: torch.Tensor,
    scale: float,
) -> Finish:
    """What writes mesh.obj, in the target's own coordinates, and comparison.png."""

    def finish(run: FitRun, folder: Path) -> tuple[str, dict[str, float]]:
        import torch

        from tirender.fit.callbacks import save_figure
        from tirender.io import IO
        from tirender.renderer import TexturesVertex
        from tirender.utils.bake_textures import bake_vertex_colors

        with torch.no_grad():
            mesh = run.module().scale_verts(scale).offset_verts(centre)
            if isinstance(mesh.textures, TexturesVertex):
                mesh.textures = bake_vertex_colors(mesh)
        IO().save_mesh(mesh, folder / "mesh.obj")
        compare(run)
        save_figure(folder / "comparison.png")
        return "mesh.obj", quality(run)

    return finish


def device_of(args: argparse.Namespace) -> str:
    """Where tensors go; this starts the runtime."""
    import tirender

    return "cuda" if tirender.init(args.arch) == "cuda" else "cpu"


def config_of(args: argparse.Namespace, tutorial: Any, best: Any) -> Any:
    """The preset, with what the arguments say otherwise."""
    given = {name: getattr(args, name) for name in ("steps", "level") if getattr(args, name, None) is not None}
    config = best if args.preset == "best" else tutorial
    return dataclasses.replace(config, seed=args.seed, progress=None, **given)


def load_mesh(path: str, device: str) -> Meshes:
    """A mesh file, or one of tirender's own by its short name, with finite vertices that are not all one point."""
    from tirender import datasets
    from tirender.checks import fail
    from tirender.io import IO

    file = datasets.path_of(path)
    if not file.exists():  # whatever kind of file or folder it should be
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    mesh = IO().load_mesh(file, device=device)
    if mesh.isempty():
        fail(path, "at least one face", "none")
    verts = mesh.verts_packed()
    extent = float((verts - verts.mean(0)).abs().max())
    if not 0 < extent < math.inf:
        fail(path, "finite vertices that are not all one point", f"an extent of {extent}")
    return mesh


def _views(args: argparse.Namespace, device: str) -> tuple[Views, torch.Tensor, float]:
    """The views of SOURCE, of an object at the origin, with the centre and scale that bring it back."""
    from tirender.fit import load_views, normalized, render_views

    source = Path(args.source)
    if source.is_dir() or source.suffix.lower() == ".json":
        return load_views(source, device).resized(args.size).normalized()
    mesh, centre, scale = normalized(load_mesh(args.source, device))
    return render_views(mesh if mesh.textures is not None else grey(mesh), args.views or 20, args.size), centre, scale


def grey(mesh: Meshes) -> Meshes:
    """The mesh in grey, without its textures."""
    import torch

    from tirender.renderer import TexturesVertex

    mesh = mesh.clone()
    mesh.textures = TexturesVertex([torch.full_like(verts, 0.7) for verts in mesh.verts_list()])
    return mesh


def _drawn(target: Meshes) -> tuple[torch.Tensor, Any]:
    """A grey picture of a mesh, and the renderer that drew it."""
    import tirender.renderer as r

    R, T = r.look_at_view_transform(2.7, 10, 150)
    cameras = r.FoVPerspectiveCameras(R=R, T=T, device=target.device)
    lights = r.PointLights(location=[[1.0, 2.0, -3.0]], device=target.device)
    renderer = r.MeshRenderer(
        r.MeshRasterizer(cameras, r.RasterizationSettings(512)), r.HardPhongShader(target.device, cameras, lights)
    )
    return renderer(grey(target))[0, ..., :3], renderer


def _digest(tensors: list[torch.Tensor]) -> str:
    """What tells data from other data."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
