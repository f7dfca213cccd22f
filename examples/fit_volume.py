"""Fit a volume of voxels to 40 views of an object by marching along rays (figure 12 of the tutorials).

python examples/fit_volume.py               # tirender's creature
python examples/fit_volume.py --mesh cow    # the tutorial's cow: from TIRENDER_DATA, or downloaded
python examples/fit_volume.py --mesh my.obj # any mesh file with colours
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import torch

from tirender import datasets
from tirender.fit import VolumeConfig, cameras_around, fit_volume, normalized, render_views, render_views_between
from tirender.fit.callbacks import save_figure
from tirender.fit.quality import view_quality
from tirender.io import IO, save_volume
from tirender.vis import compare_view, image_grid, plot_losses, save_animation


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="creature", help="creature, cow, or a mesh file (default: creature)")
    parser.add_argument("--steps", type=int, default=300, help="steps of the fit (default: 300)")
    parser.add_argument("--size", type=int, default=128, help="side of each view in pixels (default: 128)")
    parser.add_argument("--voxels", type=int, default=128, help="along each axis (default: 128)")
    parser.add_argument("--output", type=Path, default=Path("out/fit_volume"), help="folder for the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    path = datasets.path_of(args.mesh)
    target, _, _ = normalized(IO().load_mesh(path, device=args.device))
    views = render_views(target, n_views=40, image_size=args.size)
    unseen = render_views_between(target, n_views=40, image_size=args.size)  # from places halfway between

    # The defaults are the tutorial's settings, except for the depths of samples: they just cover the cube around the
    # object, and go from 0.1 to 3 in the tutorial. With double_at=(80, 160) the voxels start coarse, which is faster
    # and smoother.
    run = fit_volume(views, VolumeConfig(steps=args.steps, volume_size=args.voxels))
    model = run.module  # model(cameras) renders; model.volumes() returns the voxels
    plot_losses(run.history)
    save_figure(args.output / "losses.png")

    with torch.no_grad():
        compare_view(model(unseen.cameras[0])[0], unseen.on_black[0], unseen.silhouettes[0])
        save_figure(args.output / "unseen_view.png")
        frames = torch.cat([model(camera)[..., :3] for camera in cameras_around(views.cameras, 20)])
        save_volume(args.output / "volume.npz", model.volumes())
    image_grid(frames, rows=4, cols=5)
    save_figure(args.output / "figure12_volume.png")
    save_animation(frames, args.output / "turntable.gif")
    quality = view_quality(model, unseen)
    print(
        f"{args.output}: volume.npz, turntable.gif, figures; total loss {run.losses['total']:.6f}, "
        f"views not fitted to: PSNR {quality['psnr']:.1f} dB, SSIM {quality['ssim']:.3f}"
    )


if __name__ == "__main__":
    main()
