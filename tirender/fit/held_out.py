"""The quality of photos that Gaussians are not fitted to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tirender.captures import Capture
from tirender.checks import check_integer
from tirender.fit.photos import as_capture, image_on
from tirender.fit.quality import psnr
from tirender.fit.run import Callback, FitRun
from tirender.fit.views import Views
from tirender.loss import ssim

if TYPE_CHECKING:
    from tirender.fit.splats import SplatModel


class HeldOut(Callback):
    """Measures the quality of photos that are not fitted to, every n steps.

    Args:
        photos: the truth.
        n: the period, in steps.
        report: is called with a line of text; None prints it to stderr.
    Attributes:
        history: the numbers of each time, with the step and the number of Gaussians.
    """

    def __init__(self, photos: Capture | Views, n: int = 1000, report: Callable[[str], object] | None = None) -> None:
        self.photos, self.n = photos, check_integer("n", n, 1)
        self.report = report or (lambda line: print(line, file=sys.stderr))
        self.history: list[dict[str, float]] = []

    def on_step(self, run: FitRun) -> None:
        if run.step % self.n == 0 or run.step == run.config.steps:
            module: Any = run.module
            quality = photo_quality(module, self.photos)
            n = len(module.values["means"])
            self.history.append({"step": run.step, "gaussians": n, **quality})
            self.report(
                f"step {run.step}: {n} Gaussians, held out: {quality['psnr']:.2f} dB, SSIM {quality['ssim']:.4f}"
            )


def photo_quality(module: SplatModel, photos: Capture | Views) -> dict[str, float]:
    """``"psnr"`` in dB, the mean of all photos, and ``"ssim"``."""
    photos, n = as_capture(photos), len(photos)
    values = {"psnr": 0.0, "ssim": 0.0}
    for i in range(n):
        truth = image_on(photos, i, module.background)
        rendered = module(photos.cameras[[i]], photos.sizes[i])[..., :3]
        values["psnr"] += psnr(rendered[0], truth) / n
        values["ssim"] += float(ssim(rendered.clamp(0, 1), truth[None], "valid")) / n
    return values
