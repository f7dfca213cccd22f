"""What fits of volumes and radiance fields share: settings, losses, the depths that rays are sampled at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tirender.checks import check_integer, fail
from tirender.fit.loop import Losses, fit
from tirender.fit.run import Callback, FitConfig, FitRun
from tirender.fit.views import Views
from tirender.loss import huber
from tirender.renderer import CamerasBase

DECAY_FROM, DECAY = 0.75, 0.1  # of the steps; of the learning rate
WARMUP = 0.1  # of the learning rate
NEAREST = 0.1


@dataclass(frozen=True)
class RadianceConfig(FitConfig):
    """Settings of a fit to views; the learning rate is a tenth in the last quarter of the steps.

    Attributes:
        steps, seed, progress, smoothing: see :class:`FitConfig`.
        views_per_step: views drawn at random for each step, each at most once.
        n_pts_per_ray: samples along a ray, evenly spaced.
        extent: side of the cube around the origin that holds the object, in world units.
        min_depth, max_depth: of the first and the last sample; None: as far as half the extent from the origin, before
            the nearest camera and behind for the furthest. The tutorials have 0.1 and 3.
        lr: learning rate of Adam.
        warmup_steps: steps at a tenth of that, and as many again in which it rises.
        w_color, w_silhouette: weights of the losses, :func:`~tirender.loss.huber` of colours on black and of opacity.
    """

    views_per_step: int = 10
    n_pts_per_ray: int = 128
    extent: float = 3.0
    min_depth: float | None = None
    max_depth: float | None = None
    lr: float = 1e-3
    warmup_steps: int = 0
    w_color: float = 1.0
    w_silhouette: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("views_per_step", "n_pts_per_ray"):
            if getattr(self, name) < 1:
                fail(name, "at least 1", getattr(self, name))
        check_integer("warmup_steps", self.warmup_steps, 0)
        for name in ("extent", "lr"):
            if not getattr(self, name) > 0:
                fail(name, "a number above 0", getattr(self, name))

    @property
    def weights(self) -> dict[str, float]:
        """The weights by the losses' names."""
        return {"color": self.w_color, "silhouette": self.w_silhouette}

    def depths(self, cameras: CamerasBase) -> tuple[float, float]:
        """The depths of the first and the last sample of a ray."""
        of_origin = cameras.T[:, 2]
        near = max(float(of_origin.min()) - self.extent / 2, NEAREST) if self.min_depth is None else self.min_depth
        far = float(of_origin.max()) + self.extent / 2 if self.max_depth is None else self.max_depth
        if not near < far:
            fail("min_depth, max_depth", "min_depth < max_depth", (near, far))
        return near, far

    def share_of_rate(self, step: int) -> float:
        """What part of the learning rate a step has."""
        if step >= round(DECAY_FROM * self.steps):
            return DECAY
        rising = (step - self.warmup_steps) / self.warmup_steps if self.warmup_steps else 1.0
        return WARMUP + (1 - WARMUP) * min(max(rising, 0.0), 1.0)

    def make_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimizer over a module's parameters."""
        return torch.optim.Adam(module.parameters(), lr=self.lr)

    def fit(
        self,
        losses: Losses,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        views: Views,
        callbacks: Sequence[Callback],
    ) -> FitRun:
        """Run the loop with these settings; ``module(cameras)`` gives images (N, H, W, 4)."""
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.share_of_rate)
        target = views.on_black[views.shown]

        def images() -> dict[str, torch.Tensor]:
            return {"prediction": module(views.cameras[views.shown])[0, ..., :3], "target": target}

        return fit(
            losses,
            module,
            optimizer,
            self,
            weights=self.weights,
            scheduler=scheduler,
            callbacks=callbacks,
            images=images,
        )


def view_losses(rendered: torch.Tensor, colors: torch.Tensor, silhouettes: torch.Tensor) -> dict[str, torch.Tensor]:
    """The losses ``"color"`` and ``"silhouette"``.

    Args:
        rendered: (..., 4), colours on black and opacity.
        colors: (..., 3), on black.
        silhouettes: (...).
    """
    return {
        "color": huber(rendered[..., :3], colors).mean(),
        "silhouette": huber(rendered[..., 3], silhouettes).mean(),
    }


Render = Callable[[CamerasBase], torch.Tensor]
"""Gives images (N, H, W, 4) of N cameras: colours on black, and opacity."""
