"""``tirender fit splats``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import FitKind, Option
from tirender.fit_kinds.photos import PhotosTarget, data_of_photos, draw_photo, quality_of_photos
from tirender.fit_kinds.refined import REFINEMENT_OPTIONS, write_cameras
from tirender.fit_kinds.targets import VIEW_OPTIONS, load_photos_target

if TYPE_CHECKING:
    import torch

    from tirender.fit import Callback, FitRun, SplatConfig
    from tirender.fit.quality import Watch
    from tirender.structures import Gaussians

SIZE = Option("size", "short side of the views (default: 128; photos: as they are)", range(8, 16385), "pixels", "PX")
MOST = Option(
    "max-gaussians", "the greatest number of Gaussians (default: the preset's)", range(1, 100_000_001), "", "N"
)
GROWTH = Option(
    "growth", "how Gaussians grow: by relocation (default), as the original, or not", ("mcmc", "split", "none")
)
PHOTOS = Option(
    "photos-per-step", "photos in each step, which processes share (default: 1)", range(1, 10_001), "photos", "N"
)


class SplatFit(FitKind):
    """Gaussians become a scene by photos."""

    name = "splats"
    finds, so_that = "Gaussians", "they look the same in every photo"
    options = (
        *(SIZE if option.name == "size" else option for option in VIEW_OPTIONS),
        MOST,
        GROWTH,
        PHOTOS,
        *REFINEMENT_OPTIONS,
    )

    def presets(self) -> dict[str, SplatConfig]:
        from tirender.fit.splats import BEST_SPLATS, SplatConfig

        return {"tutorial": SplatConfig(), "best": BEST_SPLATS}

    def load(self, given: Mapping[str, Any], device: str) -> PhotosTarget:
        return load_photos_target(given, device)

    def data(self, target: PhotosTarget) -> list[torch.Tensor]:
        return data_of_photos(target)

    def fit(self, target: PhotosTarget, config: SplatConfig, callbacks: Sequence[Callback]) -> FitRun:
        from tirender.fit import HeldOut, fit_splats

        if target.held_out is not None and callbacks:
            callbacks = [*callbacks, HeldOut(target.held_out)]
        return fit_splats(target.photos, config=config, callbacks=callbacks)

    def draw(self, run: FitRun, target: PhotosTarget) -> None:
        draw_photo(run, target)

    def quality(self, run: FitRun, target: PhotosTarget, watch: Watch | None = None) -> dict[str, float]:
        module: Any = run.module
        return {**quality_of_photos(run, target, watch), "gaussians": float(len(module.gaussians()))}

    def write(self, run: FitRun, target: PhotosTarget, folder: Path, given: Mapping[str, Any]) -> str:
        """Write splats.ply, in the scene's own space; one so far away that it would blur stays around its origin."""
        from tirender.io import save_gaussians
        from tirender.transforms import Scale, Translate

        gaussians = self.result(run.module)
        if target.centre is not None:
            back = Scale(target.scale, device=target.centre.device).compose(Translate(target.centre[None]))
            gaussians = gaussians.transform(back)
        comments = [target.comment()]
        if target.origin is not None:
            comments.append(f"origin {' '.join(f'{x:.17g}' for x in target.origin.tolist())}")
            warnings.warn(f"splats.ply: add its {comments[1]} for the place in the photos' files", stacklevel=2)
        save_gaussians(folder / "splats.ply", gaussians, comment="\n".join(comments))
        write_cameras(run, target, target.photos, folder)
        return "splats.ply"

    def result(self, module: Any) -> Gaussians:
        gaussians: Gaussians = module.gaussians().detach()
        return gaussians

    def rebuild(self, config: SplatConfig, parameters: Mapping[str, Any], device: Any) -> Gaussians:
        from tirender.fit.splats import gaussians_of

        return gaussians_of(parameters).to(device)
