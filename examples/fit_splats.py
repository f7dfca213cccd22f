"""Fit Gaussians to photos of a scene, or to 40 views of a mesh (Gaussian splatting).

python examples/fit_splats.py               # views of tirender's creature
python examples/fit_splats.py --photos fox  # a folder with images/ and COLMAP's sparse/0
python examples/fit_splats.py --mesh my.obj # any mesh file with colours
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import torch

from tirender import datasets
from tirender.fit import (
    HeldOut,
    SplatConfig,
    cameras_around,
    fit_splats,
    load_capture,
    normalized,
    render_views,
    render_views_between,
)
from tirender.fit.callbacks import save_figure
from tirender.fit.held_out import photo_quality
from tirender.fit.photos import as_capture, image_on
from tirender.io import IO, save_gaussians
from tirender.vis import compare_view, plot_losses, save_animation


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="creature", help="creature, cow, or a mesh file (default: creature)")
    parser.add_argument("--photos", help="a folder with photos and their reconstruction by COLMAP, instead of a mesh")
    parser.add_argument("--steps", type=int, default=2000, help="steps of the fit (default: 2000)")
    parser.add_argument("--size", type=int, default=128, help="short side of the views in pixels (default: 128)")
    parser.add_argument("--most", type=int, default=50_000, help="the greatest number of Gaussians (default: 50000)")
    parser.add_argument("--output", type=Path, default=Path("out/fit_splats"), help="folder for the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    if args.photos:
        photos, unseen = load_capture(args.photos, args.size).to(args.device).split()
    else:
        mesh, _, _ = normalized(IO().load_mesh(datasets.path_of(args.mesh), device=args.device))
        photos = render_views(mesh, n_views=40, image_size=args.size)
        unseen = render_views_between(mesh, n_views=40, image_size=args.size)  # from places halfway between

    # Gaussians start at the points of the reconstruction, or at random. Every 100 steps, those that have become
    # transparent move to opaque ones, and a twentieth is added. growth="split" clones, splits and prunes instead.
    config = SplatConfig(steps=args.steps, max_gaussians=args.most, n_random=min(5000, args.most))
    callbacks = [] if unseen is None else [HeldOut(unseen, 500)]
    run = fit_splats(photos, config=config, callbacks=callbacks)
    model = run.module  # model(cameras) renders; model.gaussians() returns the Gaussians
    save_gaussians(args.output / "splats.ply", model.gaussians())
    plot_losses(run.history)
    save_figure(args.output / "losses.png")

    truth = as_capture(photos if unseen is None else unseen)
    image = image_on(truth, 0)
    compare_view(model(truth.cameras[[0]], truth.sizes[0])[0], image, torch.ones_like(image[..., 0]))
    save_figure(args.output / "unseen_view.png")
    if not args.photos:
        frames = torch.cat([model(camera)[..., :3] for camera in cameras_around(photos.cameras, 20)])
        save_animation(frames, args.output / "turntable.gif")
    quality = photo_quality(model, truth)
    print(
        f"{args.output}: splats.ply, figures; {len(model.gaussians())} Gaussians, total loss "
        f"{run.losses['total']:.6f}, PSNR {quality['psnr']:.1f} dB, SSIM {quality['ssim']:.3f}"
    )


if __name__ == "__main__":
    main()
