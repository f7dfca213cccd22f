"""How fast radiance fields learn: the quality of held-out views against the time spent on fitting.

The settings are those of the fits, except that the learning rate does not decay, as the clock ends these fits.

python examples/compare_fields.py              # ten minutes for each field, on tirender's creature
python examples/compare_fields.py --mesh cow   # the tutorial's cow: from TIRENDER_DATA, or downloaded
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch

from tirender import datasets
from tirender.fit import (
    Callback,
    FitRun,
    NerfConfig,
    Views,
    fit_nerf,
    normalized,
    render_views,
    render_views_between,
)
from tirender.fit.callbacks import save_figure
from tirender.fit.nerf import HASHGRID_NERF
from tirender.fit.quality import view_quality
from tirender.io import IO

# The network has the tutorial's settings, without a warm-up. The hash grid has its own settings.
FIELDS = {"harmonic network": NerfConfig(warmup_steps=0), "hash grid": HASHGRID_NERF}


class Clock(Callback):
    """Measures quality now and then, and stops the fit when its time is up."""

    def __init__(self, unseen: Views, seconds: float) -> None:
        self.unseen, self.seconds = unseen, seconds
        self.spent, self.due = 0.0, seconds / 128
        self.curve: list[dict[str, float]] = []

    def on_start(self, run: FitRun) -> None:
        self.began = time.perf_counter()

    def on_step(self, run: FitRun) -> None:
        now = time.perf_counter()
        self.spent += now - self.began
        over = self.spent >= self.seconds or run.step == run.config.steps
        if self.spent >= self.due or over:
            quality = view_quality(run.module, self.unseen)
            self.curve.append({"seconds": self.spent, "step": run.step, **quality})
            self.due = 1.4 * self.spent + (time.perf_counter() - now)  # so that measuring takes less time than fitting
        if over:
            run.stop()
        self.began = time.perf_counter()  # the time for measuring does not count


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="creature", help="creature, cow, or a mesh file (default: creature)")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each field (default: 10)")
    parser.add_argument("--steps", type=int, default=100_000, help="at most, 1 or more (default: 100000)")
    parser.add_argument("--size", type=int, default=128, help="side of each view in pixels (default: 128)")
    parser.add_argument("--output", type=Path, default=Path("out/compare_fields"), help="folder for the figure")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    target, _, _ = normalized(IO().load_mesh(datasets.path_of(args.mesh), device=args.device))
    views = render_views(target, n_views=40, image_size=args.size)
    unseen = render_views_between(target, n_views=40, n_between=4, image_size=args.size)
    curves = {}
    for name, config in FIELDS.items():
        clock = Clock(unseen, 60 * args.minutes)
        fit_nerf(views, dataclasses.replace(config, steps=args.steps), [clock])
        curves[name] = clock.curve
        last = clock.curve[-1]
        print(f"{name}: PSNR {last['psnr']:.1f} dB, SSIM {last['ssim']:.3f} after {last['step']} steps")
    (args.output / "curves.json").write_text(json.dumps(curves, indent=1))
    plot(curves)
    save_figure(args.output / "compare_fields.png")


def plot(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Draw the PSNR of each field against time."""
    _, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (name, curve), color in zip(curves.items(), ("#b5651d", "#3b6ea5")):
        seconds, psnr = [point["seconds"] for point in curve], [point["psnr"] for point in curve]
        ax.semilogx(seconds, psnr, "o-", color=color, markersize=4, linewidth=1.5, label=name)
    ax.set_xlabel("seconds of fitting")
    ax.set_ylabel("PSNR of unseen views [dB]")
    ax.grid(linewidth=0.5, alpha=0.4, which="both")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)


if __name__ == "__main__":
    main()
