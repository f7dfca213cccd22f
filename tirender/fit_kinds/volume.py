"""``tirender fit volume``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from tirender.fit_kinds.base import ViewsTarget
from tirender.fit_kinds.radiance import RADIANCE_OPTIONS, RadianceFit

if TYPE_CHECKING:
    import torch

    from tirender.fit import Callback, FitRun, VolumeConfig
    from tirender.renderer import CamerasBase
    from tirender.structures import Volumes


class VolumeFit(RadianceFit):
    """Voxels become an object by images."""

    name = "volume"
    finds, so_that = "opacities and colours of voxels", "they look the same in every view"
    options = RADIANCE_OPTIONS

    def presets(self) -> dict[str, VolumeConfig]:
        from tirender.fit.volume import BEST_VOLUME, VolumeConfig

        return {"tutorial": VolumeConfig(), "best": BEST_VOLUME}

    def fit(self, target: ViewsTarget, config: VolumeConfig, callbacks: Sequence[Callback]) -> FitRun:
        from tirender.fit import fit_volume

        return fit_volume(target.views, config, callbacks)

    def painter(self, run: FitRun, target: ViewsTarget) -> Callable[[CamerasBase, tuple[int, int]], torch.Tensor]:
        from tirender.fit.volume import volume_renderer

        volumes, config = self.result(run.module), cast("VolumeConfig", run.config)

        def paint(cameras: CamerasBase, size: tuple[int, int]) -> torch.Tensor:
            renderer = volume_renderer(size, target.views.cameras, config)
            images: torch.Tensor = renderer(cameras=cameras, volumes=volumes)[0]
            return images

        return paint

    def result(self, module: Any) -> Volumes:
        volumes: Volumes = module.volumes()
        return volumes

    def rebuild(self, config: VolumeConfig, parameters: Mapping[str, Any], device: Any) -> Volumes:
        from tirender.fields import VolumeModel

        size = parameters["log_densities"].shape[1:]  # coarser than the settings' before it was refined
        model = VolumeModel(None, size, config.extent / size[0])
        model.load_state_dict(parameters)
        return self.result(model.to(device)).detach()
