"""``tirender fit splats``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import FitKind, Option, Target
from tirender.fit_kinds.targets import VIEW_OPTIONS, load_views_and_held_out, standing_of_cameras

if TYPE_CHECKING:
    import torch

    from tirender.fit import Callback, Capture, FitRun, SplatConfig, Views
    from tirender.structures import Gaussians

SOURCE = Option(
    "source",
    "a folder with images and a reconstruction by COLMAP (sparse/0), or with images, masks and a transforms.json, or a "
    "mesh file to render views of",
    metavar="SOURCE",
    required=True,
)
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
SIZE_OF_VIEWS = 128


@dataclass(frozen=True, kw_only=True)
class PhotosTarget(Target):
    """Photos of a scene; ``held_out`` are others, which measure quality and are not fitted to."""

    photos: Capture | Views
    held_out: Capture | Views | None = None

    def about(self) -> dict[str, Any]:
        from tirender.fit.views import camera_record

        return {**super().about(), "cameras": camera_record(self.photos)}


class SplatFit(FitKind):
    """Gaussians become a scene by photos."""

    name = "splats"
    finds, so_that = "Gaussians", "they look the same in every photo"
    options = (SOURCE, SIZE, *(o for o in VIEW_OPTIONS if o.name == "views"), MOST, GROWTH, PHOTOS)

    def presets(self) -> dict[str, SplatConfig]:
        from tirender.fit.splats import BEST_SPLATS, SplatConfig

        return {"tutorial": SplatConfig(), "best": BEST_SPLATS}

    def load(self, given: Mapping[str, Any], device: str) -> PhotosTarget:
        from tirender.captures import is_capture, load_capture

        if is_capture(given["source"]):
            capture = load_capture(given["source"], short_side=given["size"]).to(device)
            capture.photos.prepare()
            photos, held_out = capture.split()
            return PhotosTarget(photos=photos, held_out=held_out, **standing_of_cameras(capture.cameras, given))
        views = load_views_and_held_out({**given, "size": given["size"] or SIZE_OF_VIEWS}, device)
        fields = {field.name: getattr(views, field.name) for field in dataclasses.fields(Target)}
        return PhotosTarget(photos=views.views, held_out=views.held_out, **fields)

    def data(self, target: PhotosTarget) -> list[torch.Tensor]:
        from tirender.fit.photos import as_capture

        capture = as_capture(target.photos)
        return [capture.cameras.T, *(capture.photos[i] for i in range(len(capture)))]

    def fit(self, target: PhotosTarget, config: SplatConfig, callbacks: Sequence[Callback]) -> FitRun:
        from tirender.fit import HeldOut, fit_splats

        if target.held_out is not None and callbacks:
            callbacks = [*callbacks, HeldOut(target.held_out)]
        return fit_splats(target.photos, config=config, callbacks=callbacks)

    def draw(self, run: FitRun, target: PhotosTarget) -> None:
        import torch

        from tirender import vis
        from tirender.fit.photos import as_capture, image_on

        truth = as_capture(_truth(target))
        rendered = run.module(truth.cameras[[0]], truth.sizes[0])[0]
        image, mask = image_on(truth, 0), truth.mask(0)
        covered = torch.ones_like(image[..., 0]) if mask is None else mask
        vis.compare_view(rendered, image, covered, f"iter: {run.step}")

    def quality(self, run: FitRun, target: PhotosTarget) -> dict[str, float]:
        from tirender.fit.held_out import photo_quality

        module: Any = run.module
        prefix = "fitted" if target.held_out is None else "held_out"
        values = {f"{prefix}_{name}": value for name, value in photo_quality(module, _truth(target)).items()}
        return {**values, "gaussians": float(len(module.gaussians()))}

    def write(self, run: FitRun, target: PhotosTarget, folder: Path, given: Mapping[str, Any]) -> str:
        """Write splats.ply, in the scene's own space."""
        from tirender.io import save_gaussians
        from tirender.transforms import Scale, Translate

        gaussians = self.result(run.module)
        if target.centre is not None:
            back = Scale(target.scale, device=target.centre.device).compose(Translate(target.centre[None]))
            gaussians = gaussians.transform(back)
        save_gaussians(folder / "splats.ply", gaussians)
        return "splats.ply"

    def result(self, module: Any) -> Gaussians:
        gaussians: Gaussians = module.gaussians().detach()
        return gaussians

    def rebuild(self, config: SplatConfig, parameters: Mapping[str, Any], device: Any) -> Gaussians:
        from tirender.fit.splats import gaussians_of

        return gaussians_of(parameters).to(device)


def _truth(target: PhotosTarget) -> Any:
    return target.photos if target.held_out is None else target.held_out
