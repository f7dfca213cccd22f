"""``tirender fit nerf``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import Option, ViewsTarget
from tirender.fit_kinds.radiance import RADIANCE_OPTIONS, RadianceFit

if TYPE_CHECKING:
    from torch import nn

    from tirender.fit import Callback, FitRun, NerfConfig

FIELD = Option(
    "field",
    "a network of harmonics, as in the tutorial (the default), or a hash grid (the default of --preset best)",
    ("harmonic", "hashgrid"),
)


class NerfFit(RadianceFit):
    """A radiance field becomes an object by images."""

    name = "nerf"
    finds = "a radiance field: the tutorial's network, or a hash grid, which learns much faster"
    so_that = "it looks the same in every view"
    options = (*RADIANCE_OPTIONS, FIELD)

    def presets(self) -> dict[str, NerfConfig]:
        from tirender.fit.nerf import HASHGRID_NERF, NerfConfig

        return {"tutorial": NerfConfig(), "best": HASHGRID_NERF}

    def configure(self, preset: str, given: Mapping[str, Any]) -> NerfConfig:
        """The settings; each field has its own preset, whatever ``preset`` says."""
        field = given.get("field") or ("hashgrid" if preset == "best" else "harmonic")
        config: NerfConfig = super().configure("best" if field == "hashgrid" else "tutorial", given)
        return config

    def fit(self, target: ViewsTarget, config: NerfConfig, callbacks: Sequence[Callback]) -> FitRun:
        from tirender.fit import fit_nerf

        return fit_nerf(target.views, config, callbacks)

    def result(self, module: Any) -> nn.Module:
        field: nn.Module = module.field
        return field

    def rebuild(self, config: NerfConfig, parameters: Mapping[str, Any], device: Any) -> nn.Module:
        field, prefix = config.make_field(), "field."
        own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
        field.load_state_dict(own)
        return field.to(device)
