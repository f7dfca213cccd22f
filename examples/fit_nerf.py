"""Fit a radiance field to 40 views of an object (figure 13 of the tutorials).

python examples/fit_nerf.py                    # tirender's creature; a hash grid, which learns within minutes on a CPU
python examples/fit_nerf.py --field harmonic   # the tutorial's network
python examples/fit_nerf.py --mesh cow         # the tutorial's cow: from TIRENDER_DATA, or downloaded
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import torch

from tirender import datasets
from tirender.fit import (
    NerfConfig,
    NerfModel,
    cameras_around,
    fit_nerf,
    normalized,
    render_views,
    render_views_between,
)
from tirender.fit.callbacks import save_figure
from tirender.fit.nerf import HASHGRID_NERF
from tirender.fit.quality import view_quality
from tirender.io import IO
from tirender.vis import compare_view, image_grid, plot_losses, save_animation


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="creature", help="creature, cow, or a mesh file (default: creature)")
    parser.add_argument("--field", choices=("hashgrid", "harmonic"), help="default: hashgrid on a CPU, else harmonic")
    parser.add_argument("--steps", type=int, help="steps of the fit (default: 3000, or 1000 for a hash grid)")
    parser.add_argument("--size", type=int, default=128, help="side of each view in pixels (default: 128)")
    parser.add_argument("--output", type=Path, default=Path("out/fit_nerf"), help="folder for the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    path = datasets.path_of(args.mesh)
    target, _, _ = normalized(IO().load_mesh(path, device=args.device))
    views = render_views(target, n_views=40, image_size=args.size)
    unseen = render_views_between(target, n_views=40, image_size=args.size)  # from places halfway between

    # The defaults of NerfConfig are the tutorial's settings and a warm-up. A hash grid has its own settings.
    field = args.field or ("hashgrid" if args.device == "cpu" else "harmonic")
    config = NerfConfig() if field == "harmonic" else HASHGRID_NERF
    config = dataclasses.replace(config, steps=args.steps or config.steps)
    run = fit_nerf(views, config)
    model = run.module  # model(cameras) renders; model.field returns opacities and colours of points on rays
    plot_losses(run.history)
    save_figure(args.output / "losses.png")

    compare_view(model(unseen.cameras[0])[0], unseen.on_black[0], unseen.silhouettes[0])
    save_figure(args.output / "unseen_view.png")
    larger = NerfModel(model.field, (2 * args.size, 2 * args.size), views.cameras, config)  # the size in the tutorial
    frames = torch.cat([larger(camera)[..., :3] for camera in cameras_around(views.cameras, 15)])
    image_grid(frames, rows=3, cols=5)
    save_figure(args.output / "figure13_nerf.png")
    save_animation(frames, args.output / "turntable.gif")
    quality = view_quality(model, unseen)
    print(
        f"{args.output}: turntable.gif, figures; total loss {run.losses['total']:.6f}, "
        f"views not fitted to: PSNR {quality['psnr']:.1f} dB, SSIM {quality['ssim']:.3f}"
    )


if __name__ == "__main__":
    main()
