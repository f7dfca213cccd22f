"""Deform a sphere into a mesh by comparing points sampled from both (figures 1 to 3 of the tutorials).

python examples/fit_mesh.py                  # tirender's creature
python examples/fit_mesh.py --mesh dolphin   # the tutorial's dolphin: from TIRENDER_DATA, or downloaded
python examples/fit_mesh.py --mesh my.obj    # any mesh file
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import torch

from tirender import datasets
from tirender.fit import Figures, MeshConfig, fit_mesh, normalized
from tirender.fit.callbacks import save_figure
from tirender.io import IO
from tirender.utils import ico_sphere
from tirender.vis import plot_losses, plot_pointcloud


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="creature", help="creature, dolphin, cow, or a mesh file (default: creature)")
    parser.add_argument("--steps", type=int, default=2000, help="steps of the fit (default: 2000)")
    parser.add_argument("--level", type=int, default=4, help="subdivisions of the sphere (default: 4)")
    parser.add_argument("--output", type=Path, default=Path("out/fit_mesh"), help="folder for the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    path = getattr(datasets, args.mesh)() if args.mesh in ("creature", "dolphin", "cow") else args.mesh
    target, centre, scale = normalized(IO().load_mesh(path, device=args.device))
    source = ico_sphere(args.level, args.device)
    plot_pointcloud(target, "target mesh")
    save_figure(args.output / "figure1_target.png")
    plot_pointcloud(source, "source mesh")
    save_figure(args.output / "figure1_source.png")

    # The defaults are the tutorial's settings. Figure 2 shows four steps of the fit.
    config = MeshConfig(steps=args.steps)
    figures = Figures(
        max(args.steps // 4, 1),
        lambda run: plot_pointcloud(run.module(), f"iter: {run.step}"),
        args.output / "figure2",
    )
    run = fit_mesh(target, source, config, callbacks=[figures])
    plot_losses(run.history)
    save_figure(args.output / "figure3_losses.png")

    with torch.no_grad():
        fitted = run.module().scale_verts(scale).offset_verts(centre)  # back to the target's own size and position
    IO().save_mesh(fitted, args.output / "mesh.obj")
    print(f"{args.output}: mesh.obj, figures; total loss {run.losses['total']:.6f}")


if __name__ == "__main__":
    main()
