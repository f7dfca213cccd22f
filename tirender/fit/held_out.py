"""The quality of photos that a scene is not fitted to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from tirender.captures import Capture
from tirender.checks import check_integer
from tirender.fit.exposure import matched
from tirender.fit.held_out_cameras import STEPS, aligned
from tirender.fit.photos import as_capture, image_on
from tirender.fit.quality import Watch, psnr
from tirender.fit.run import Callback, FitRun
from tirender.fit.views import Views
from tirender.loss import ssim


class HeldOut(Callback):
    """Measures the quality of photos that are not fitted to, every n steps.

    Args:
        photos: the truth.
        n: the period, in steps.
        report: is called with a line of text; None prints it to stderr.
    Attributes:
        history: the numbers of each time, with the step and the number of Gaussians, if there are any.
    """

    def __init__(self, photos: Capture | Views, n: int = 1000, report: Callable[[str], object] | None = None) -> None:
        self.photos, self.n = photos, check_integer("n", n, 1)
        self.report = report or (lambda line: print(line, file=sys.stderr))
        self.history: list[dict[str, float]] = []

    def on_step(self, run: FitRun) -> None:
        if run.step % self.n == 0 or run.step == run.config.steps:
            module: Any = run.module
            quality = photo_quality(module, self.photos, aligning=False)
            n = len(module.values["means"]) if hasattr(module, "values") else None
            self.history.append({"step": run.step, **({} if n is None else {"gaussians": n}), **quality})
            what = "held out" if module.refinement is None else "held out, cameras not yet aligned"
            self.report(
                f"step {run.step}: {'' if n is None else f'{n} Gaussians, '}{what}: {quality['psnr']:.2f} dB, "
                f"SSIM {quality['ssim']:.4f}"
            )


def photo_quality(
    module: Any,
    photos: Capture | Views,
    aligning: bool = True,
    are_fitted: bool = False,
    watch: Watch | None = None,
) -> dict[str, float]:
    """``"psnr"`` in dB, the mean of all photos, and ``"ssim"``.

    Where the fit refined its cameras, those of the photos are first aligned with the scene. Where photos have
    exposures, the pictures are matched to the photos before they are compared; ``"psnr_unmatched"`` is without that.

    Args:
        module: a :class:`~tirender.fit.SplatModel` or :class:`~tirender.fit.NerfModel`.
        photos: the truth.
        aligning: whether each camera is aligned by its photo; otherwise all move as a whole only.
        are_fitted: whether these are the photos that were fitted to, whose refined cameras are known.
        watch: is called with each photo, and the picture as it is compared with it.
    """
    photos, n = as_capture(photos), len(photos)
    photos = seen_by(module, photos, are_fitted, STEPS if aligning else 0)
    kind = "none" if module.exposure is None else module.exposure.kind
    values = {"psnr": 0.0, "ssim": 0.0, **({} if kind == "none" else {"psnr_unmatched": 0.0})}
    for i in range(n):
        truth = image_on(photos, i, module.background)
        rendered = module(photos.cameras[[i]], photos.sizes[i])[0, ..., :3]
        as_matched = matched(rendered, truth, kind)
        if watch is not None:
            watch(i, truth, as_matched)
        if kind != "none":
            values["psnr_unmatched"] += psnr(rendered, truth) / n
        of_photo = quality_of(as_matched, truth)
        values["psnr"] += of_photo[0] / n
        values["ssim"] += of_photo[1] / n
    return values


def quality_of(image: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    """PSNR in dB and SSIM of an image (H, W, 3)."""
    return psnr(image, truth), float(ssim(image.clamp(0, 1)[None], truth[None], "valid"))


def seen_by(module: Any, photos: Capture, are_fitted: bool, steps: int = STEPS) -> Capture:
    """Photos with the cameras that show the same of a scene, where the fit refined its cameras.

    Args:
        module, are_fitted: as for :func:`photo_quality`. Of photos that were fitted to, the first may be given alone.
        photos: any number.
        steps: see :func:`~tirender.fit.held_out_cameras.aligned`.
    """
    if module.refinement is None or not are_fitted:
        return aligned(module, photos, steps)
    with torch.no_grad():
        return replace(photos, cameras=module.refinement(range(len(photos))))
