"""What fits of volumes and radiance fields share: settings, losses, and the depths at which rays are sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tirender.captures import Capture
from tirender.checks import check_integer, fail
from tirender.fit.adam import adam
from tirender.fit.loop import Losses, fit
from tirender.fit.run import Callback, FitConfig, FitRun
from tirender.fit.views import Views
from tirender.loss import huber
from tirender.renderer import CamerasBase

DECAY_FROM, DECAY = 0.75, 0.1  # after this fraction of the steps, this fraction of the learning rate
WARMUP = 0.1  # the fraction of the learning rate in the first steps
MAX_POINTS = 1 << 15  # along a ray
NEAREST = 0.1  # the least depth of a sample, in world units


@dataclass(frozen=True)
class RadianceConfig(FitConfig):
    """Settings of a fit to views; in the last quarter of the steps the learning rate is a tenth of ``lr``.

    Attributes:
        steps, seed, progress, smoothing: see :class:`FitConfig`.
        views_per_step: views drawn at random for each step, each at most once.
        n_pts_per_ray: samples along a ray, evenly spaced.
        extent: side of the cube around the origin that holds the object, in world units.
        min_depth, max_depth: depths of the first and the last sample. None: half the extent in front of the origin for
            the nearest camera, and half the extent behind it for the furthest. The tutorials have 0.1 and 3.
        lr: learning rate of Adam.
        warmup_steps: steps with a tenth of ``lr``; over as many steps again it rises to ``lr``.
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
        if self.views_per_step < 1:
            fail("views_per_step", "at least 1", self.views_per_step)
        if not 1 <= self.n_pts_per_ray <= MAX_POINTS:
            fail("n_pts_per_ray", f"1 to {MAX_POINTS}", self.n_pts_per_ray)
        check_integer("warmup_steps", self.warmup_steps, 0)
        for name in ("extent", "lr"):
            if not getattr(self, name) > 0:
                fail(name, "a number above 0", getattr(self, name))

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss, by its name."""
        return {"color": self.w_color, "silhouette": self.w_silhouette}

    def depths(self, cameras: CamerasBase) -> tuple[float, float]:
        """The depths of the first and the last sample of a ray."""
        of_origin = cameras.T[:, 2]
        near = max(float(of_origin.min()) - self.extent / 2, NEAREST) if self.min_depth is None else self.min_depth
        far = float(of_origin.max()) + self.extent / 2 if self.max_depth is None else self.max_depth
        if not near < far:
            fail("min_depth, max_depth", "min_depth < max_depth", (near, far))
        return near, far

    @property
    def sample_distance(self) -> float:
        """The distance between the samples along a ray, in world units."""
        near, far = self.min_depth, self.max_depth
        depth = self.extent if near is None or far is None else far - near
        return depth / max(self.n_pts_per_ray - 1, 1)

    def rate_factor(self, step: int) -> float:
        """The factor of the learning rate at a step."""
        if step >= round(DECAY_FROM * self.steps):
            return DECAY
        rising = (step - self.warmup_steps) / self.warmup_steps if self.warmup_steps else 1.0
        return WARMUP + (1 - WARMUP) * min(max(rising, 0.0), 1.0)

    def rate_factors(self, optimizer: torch.optim.Optimizer) -> list[Callable[[int], float]]:
        """The factor of the learning rate at a step, for each group of parameters."""
        return [self.rate_factor for _ in optimizer.param_groups]

    def make_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Adam over a module's parameters."""
        return adam(module, lr=self.lr)

    def fit(
        self,
        losses: Losses,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        views: Views | Capture,
        callbacks: Sequence[Callback],
    ) -> FitRun:
        """Run the loop with these settings; ``module(cameras)`` returns images (N, H, W, 4)."""
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate_factors(optimizer))
        shown = min(1, len(views) - 1)
        target = views.image(shown) if isinstance(views, Capture) else views.on_black[shown]

        def images() -> dict[str, torch.Tensor]:
            return {"prediction": module(views.cameras[[shown]])[0, ..., :3], "target": target}

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
        colors: (..., 3), the true colours on black.
        silhouettes: (...), the true opacity.
    """
    return {
        "color": huber(rendered[..., :3], colors).mean(),
        "silhouette": huber(rendered[..., 3], silhouettes).mean(),
    }


Render = Callable[[CamerasBase], torch.Tensor]
"""Returns images (N, H, W, 4) for N cameras: colours on black, and opacity."""
