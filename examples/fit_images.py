"""Deform and colour a sphere until it looks like an object in 20 views (figures 10 and 11 of the tutorials).

python examples/fit_images.py                # tirender's creature, a colour at each vertex
python examples/fit_images.py --texture uv   # a texture map
python examples/fit_images.py --mesh cow     # the tutorial's cow: from TIRENDER_DATA, or downloaded
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import torch

from tirender import datasets
from tirender.fit import ImageConfig, fit_images, normalized, render_views
from tirender.fit.callbacks import save_figure
from tirender.fit.quality import image_psnr
from tirender.fit.rendering import image_renderer
from tirender.io import IO
from tirender.renderer import TexturesVertex
from tirender.utils import ico_sphere
from tirender.utils.bake_textures import bake_vertex_colors
from tirender.vis import plot_losses, visualize_prediction


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="creature", help="creature, cow, or a mesh file (default: creature)")
    parser.add_argument("--texture", choices=("vertex", "uv"), default="vertex", help="what holds the colours")
    parser.add_argument("--steps", type=int, default=2000, help="steps of the fit (default: 2000)")
    parser.add_argument("--size", type=int, default=128, help="side of each view in pixels (default: 128)")
    parser.add_argument("--level", type=int, default=4, help="subdivisions of the sphere (default: 4)")
    parser.add_argument("--output", type=Path, default=Path("out/fit_images"), help="folder for the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    path = datasets.path_of(args.mesh)
    target, centre, scale = normalized(IO().load_mesh(path, device=args.device))
    views = render_views(target, n_views=20, image_size=args.size)

    # The tutorial sets perspective_correct=False, as its renderer gave NaN otherwise; None is the exact projection.
    config = ImageConfig(steps=args.steps, texture=args.texture, perspective_correct=None)
    run = fit_images(views, ico_sphere(args.level, args.device), config)

    fitted = run.module()
    renderer = image_renderer(views.image_size, config, views.lights)
    renderer.rasterizer.cameras = renderer.shader.cameras = views.cameras[1]
    visualize_prediction(fitted, renderer, views.images[1])
    save_figure(args.output / "figure10_prediction.png")
    plot_losses(run.history)
    save_figure(args.output / "figure11_losses.png")
    psnr = image_psnr(fitted, renderer, views)

    with torch.no_grad():  # back to the target's own size and position
        fitted = fitted.scale_verts(scale).offset_verts(centre)
        if isinstance(fitted.textures, TexturesVertex):
            fitted.textures = bake_vertex_colors(fitted)  # OBJ files have no colours at vertices
    IO().save_mesh(fitted, args.output / "mesh.obj")
    print(f"{args.output}: mesh.obj, figures; total loss {run.losses['total']:.6f}, PSNR {psnr:.1f} dB")


if __name__ == "__main__":
    main()
