"""``tirender fit nerf``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import Option, ViewsTarget, replaced
from tirender.fit_kinds.photos import (
    SIZE_OF_VIEWS,
    PhotosTarget,
    data_of_photos,
    draw_photo,
    evenly_spread,
    is_photos,
    load_photos,
    quality_of_photos,
)
from tirender.fit_kinds.radiance import RADIANCE_OPTIONS, RadianceFit, check_size
from tirender.fit_kinds.refined import REFINEMENT_OPTIONS, write_cameras
from tirender.fit_kinds.targets import load_scene_target, load_views_and_held_out

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tirender.fit import Callback, FitRun, NerfConfig
    from tirender.fit.quality import Watch

FIELD = Option(
    "field",
    "a network of harmonics, as in the tutorial (the default), or a hash grid (the default of --preset best, and of "
    "photos without masks)",
    ("harmonic", "hashgrid"),
)
PRECISION = Option(
    "precision",
    "what networks multiply: float32 (the default), or bf16 (bfloat16), where this machine is faster with it",
    ("float32", "bf16"),
)
SIDE = 160  # of figures of a fit in progress, in pixels at most: a field takes seconds to draw a photo
WATCHED = 2  # photos that measure quality while a field is fitted


class NerfFit(RadianceFit):
    """A radiance field becomes an object by images, or a whole scene by photos without masks."""

    name = "nerf"
    finds = "a radiance field: the tutorial's network, or a hash grid, which learns much faster"
    so_that = "it looks the same in every view"
    options = (*RADIANCE_OPTIONS, FIELD, PRECISION, *REFINEMENT_OPTIONS)

    def presets(self) -> dict[str, NerfConfig]:
        from tirender.fit.nerf import HASHGRID_NERF, NerfConfig

        return {"tutorial": NerfConfig(), "best": HASHGRID_NERF}

    def configure(self, preset: str, given: Mapping[str, Any]) -> NerfConfig:
        """The settings; each field has presets of its own, a hash grid but one."""
        from tirender.fit.nerf import HARMONIC_NERF

        if given.get("field") == "harmonic" and preset == "best":
            return replaced(HARMONIC_NERF, given)
        config: NerfConfig = super().configure("best" if given.get("field") == "hashgrid" else preset, given)
        return config

    def configure_for(self, target: ViewsTarget | PhotosTarget, preset: str, given: Mapping[str, Any]) -> NerfConfig:
        """The settings; those of a scene do not depend on the preset but for its steps."""
        if not isinstance(target, PhotosTarget):
            return self.configure(preset, given)
        import dataclasses

        from tirender.captures import Capture
        from tirender.fit.nerf import SCENE_NERF, config_for

        assert isinstance(target.photos, Capture)
        given = {name: value for name, value in given.items() if value is not None}
        names = {field.name for field in dataclasses.fields(SCENE_NERF)} & given.keys()
        config = dataclasses.replace(SCENE_NERF, **{name: given[name] for name in names})
        return config_for(target.photos, config)

    def load(self, given: Mapping[str, Any], device: str) -> Any:
        """Photos without masks are a scene, unless the network is asked for, which knows an object alone."""
        capture = None
        if is_photos(given["source"]):
            capture = load_photos(given, device, SIZE_OF_VIEWS)
            if not capture.has_masks and given.get("field") != "harmonic":
                target = load_scene_target(capture, given)
                check_size(target.photos.image_size)
                return target
        views = load_views_and_held_out(given, device, capture)
        check_size(views.views.image_size)
        return views

    def data(self, target: Any) -> list[torch.Tensor]:
        return data_of_photos(target) if isinstance(target, PhotosTarget) else super().data(target)

    def draw(self, run: FitRun, target: Any) -> None:
        module: Any = run.module
        if isinstance(target, PhotosTarget):
            draw_photo(run, target, SIDE)
        elif module.refinement is not None:
            draw_photo(run, PhotosTarget(photos=target.views, held_out=target.held_out), SIDE)
        else:
            super().draw(run, target)

    def quality(self, run: FitRun, target: Any, watch: Watch | None = None) -> dict[str, float]:
        module: Any = run.module
        if isinstance(target, PhotosTarget):
            return quality_of_photos(run, target, watch)
        if module.refinement is None and module.exposure is None:
            return super().quality(run, target, watch)
        return quality_of_photos(run, PhotosTarget(photos=target.views, held_out=target.held_out), watch)

    def write(self, run: FitRun, target: Any, folder: Path, given: Mapping[str, Any]) -> str:
        """Write mesh.ply, a turntable of an object, and refined cameras; the result itself is the checkpoint."""
        is_scene = isinstance(target, PhotosTarget)
        photos = target.photos if is_scene else target.views
        write_cameras(run, target, photos, folder)
        if not is_scene:
            return super().write(run, target, folder, given)
        self._write_mesh(run, target, folder / "mesh.ply", given)
        return "checkpoint.pt"

    def fit(self, target: Any, config: NerfConfig, callbacks: Sequence[Callback]) -> FitRun:
        from tirender.fit import HeldOut, fit_nerf

        if not isinstance(target, PhotosTarget):
            return fit_nerf(target.views, config, callbacks)
        if target.held_out is not None and callbacks:
            some = target.held_out[evenly_spread(len(target.held_out), WATCHED)]
            callbacks = [*callbacks, HeldOut(some)]
        return fit_nerf(target.photos, config, callbacks)

    def result(self, module: Any) -> nn.Module:
        field: nn.Module = module.field
        return field

    def rebuild(self, config: NerfConfig, parameters: Mapping[str, Any], device: Any) -> nn.Module:
        field, prefix = config.make_field(), "field."
        own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
        field.load_state_dict(own)
        return field.to(device)
