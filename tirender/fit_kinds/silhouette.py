"""``tirender fit silhouette``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import ViewsTarget
from tirender.fit_kinds.sphere import LEVEL, SphereFit
from tirender.fit_kinds.targets import EDGES, VIEW_OPTIONS, load_views_target

if TYPE_CHECKING:
    import torch

    from tirender.fit import Callback, FitRun, SilhouetteConfig
    from tirender.fit.quality import Watch


class SilhouetteFit(SphereFit):
    """A sphere becomes an object by its silhouettes."""

    name = "silhouette"
    finds, so_that = "a deformation of a sphere", "it covers the same pixels in every view"
    options = (*VIEW_OPTIONS, LEVEL, EDGES)

    def presets(self) -> dict[str, SilhouetteConfig]:
        from tirender.fit.rendering import BEST_SILHOUETTE, SilhouetteConfig

        return {"tutorial": SilhouetteConfig(), "best": BEST_SILHOUETTE}

    def load(self, given: Mapping[str, Any], device: str) -> ViewsTarget:
        return load_views_target(given, device)

    def data(self, target: ViewsTarget) -> list[torch.Tensor]:
        return [target.views.silhouettes]

    def fit(self, target: ViewsTarget, config: SilhouetteConfig, callbacks: Sequence[Callback]) -> FitRun:
        from tirender.fit import fit_silhouettes

        return fit_silhouettes(target.views, config=config, callbacks=callbacks)

    def draw(self, run: FitRun, target: ViewsTarget) -> None:
        from tirender import vis

        views, renderer = target.views, self._renderer(run, target)
        vis.visualize_prediction(
            run.module(),
            lambda mesh: renderer(mesh, cameras=views.cameras[views.shown]),
            views.silhouettes[views.shown],
            title=f"iter: {run.step}",
            silhouette=True,
        )

    def quality(self, run: FitRun, target: ViewsTarget, watch: Watch | None = None) -> dict[str, float]:
        from tirender.fit.quality import silhouette_iou

        return {"silhouette_iou": silhouette_iou(run.module(), self._renderer(run, target), target.views)}

    def _renderer(self, run: FitRun, target: ViewsTarget) -> Any:
        from tirender.fit.rendering import silhouette_renderer

        config: Any = run.config
        return silhouette_renderer(target.views.image_size, config)
