"""Deform a sphere until its silhouettes are those of an object (figures 8 and 9 of the tutorials).

python examples/fit_silhouette.py               # tirender's creature
python examples/fit_silhouette.py --mesh cow    # the tutorial's cow: from TIRENDER_DATA, or downloaded
python examples/fit_silhouette.py --mesh my.obj # any mesh file
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import torch

from tirender import datasets
from tirender.fit import SilhouetteConfig, fit_silhouettes, normalized, render_views
from tirender.fit.callbacks import save_figure
from tirender.fit.quality import silhouette_iou
from tirender.fit.rendering import silhouette_renderer
from tirender.io import IO
from tirender.utils import ico_sphere
from tirender.vis import image_grid, plot_losses, visualize_prediction


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="creature", help="creature, cow, or a mesh file (default: creature)")
    parser.add_argument("--steps", type=int, default=2000, help="steps of the fit (default: 2000)")
    parser.add_argument("--size", type=int, default=128, help="side of each view in pixels (default: 128)")
    parser.add_argument("--level", type=int, default=4, help="subdivisions of the sphere (default: 4)")
    parser.add_argument("--output", type=Path, default=Path("out/fit_silhouette"), help="folder for the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    path = datasets.path_of(args.mesh)
    target, centre, scale = normalized(IO().load_mesh(path, device=args.device))
    views = render_views(target, n_views=20, image_size=args.size)
    image_grid(views.images, rows=4, cols=5)
    save_figure(args.output / "figure8_images.png")
    image_grid(views.silhouettes[..., None].expand(-1, -1, -1, 3), rows=4, cols=5)
    save_figure(args.output / "figure8_silhouettes.png")

    # The defaults are the tutorial's settings. The cameras are known; the target mesh is not.
    config = SilhouetteConfig(steps=args.steps)
    run = fit_silhouettes(views, ico_sphere(args.level, args.device), config)
    plot_losses(run.history)
    save_figure(args.output / "figure9_losses.png")

    fitted = run.module()
    renderer = silhouette_renderer(views.image_size, config)
    renderer.rasterizer.cameras = views.cameras[1]
    visualize_prediction(fitted, renderer, views.silhouettes[1], silhouette=True)
    save_figure(args.output / "prediction.png")
    iou = silhouette_iou(fitted, renderer, views)

    with torch.no_grad():  # back to the target's own size and position
        IO().save_mesh(fitted.scale_verts(scale).offset_verts(centre), args.output / "mesh.obj")
    print(f"{args.output}: mesh.obj, figures; total loss {run.losses['total']:.6f}, mean silhouette IoU {iou:.3f}")


if __name__ == "__main__":
    main()
