"""A voxel grid of opacities and colours to fit (section 5.3 of the tutorials)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from tirender.checks import fail
from tirender.structures import Volumes


class VolumeModel(torch.nn.Module):
    """Voxels with an opacity and a colour, each the sigmoid of a parameter; ``forward(cameras)`` renders them.

    The initial volume is a faint grey fog. Loading a state dict of another resolution changes the grid to it.

    Args:
        renderer: a ``VolumeRenderer``; None where ``forward`` is not called.
        volume_size: number of voxels along z, y and x.
        voxel_size: distance between voxel centres in world units; the grid is centred on the origin.
    Raises:
        ValueError: if a size is not positive.
    """

    def __init__(
        self, renderer: Callable[..., Any] | None, volume_size: Sequence[int] = (64, 64, 64), voxel_size: float = 0.1
    ) -> None:
        super().__init__()
        if len(volume_size) != 3 or min(volume_size) < 1:
            fail("volume_size", "three positive integers", tuple(volume_size))
        if not voxel_size > 0:
            fail("voxel_size", "a positive number", voxel_size)
        self.log_densities = torch.nn.Parameter(torch.full((1, *volume_size), -4.0))
        self.log_colors = torch.nn.Parameter(torch.zeros(3, *volume_size))
        self._extent = voxel_size * volume_size[0]
        self._renderer = renderer

    @property
    def voxel_size(self) -> float:
        """The distance between voxel centres in world units."""
        return self._extent / self.log_densities.shape[1]

    def forward(self, cameras: Any) -> torch.Tensor:
        """Render the volume.

        Args:
            cameras: N cameras.
        Returns:
            (N, ..., 4): colours on black, then opacity, in the shape of the renderer's rays; differentiable.
        Raises:
            ValueError: without a renderer.
        """
        if self._renderer is None:
            fail("renderer", "a VolumeRenderer", None)
        return self._renderer(cameras=cameras, volumes=self.volumes(cameras.R.shape[0]))[0]

    def volumes(self, batch_size: int = 1) -> Volumes:
        """The voxels as N equal volumes, expanded without a copy."""
        densities, colors = torch.sigmoid(self.log_densities), torch.sigmoid(self.log_colors)
        return Volumes(
            densities=densities.expand(batch_size, *densities.shape),
            features=colors.expand(batch_size, *colors.shape),
            voxel_size=self.voxel_size,
        )

    @torch.no_grad()
    def refine(self, factor: int = 2) -> None:
        """Divide each voxel into ``factor`` along each axis; parameters are interpolated trilinearly.

        The parameters stay the same objects, with values of another shape and no gradient. Before the call, delete
        results computed from the old values (``del loss``). After it, reset the optimizer's state
        (``optimizer.state.clear()``).

        Raises:
            ValueError: if ``factor`` is below 1.
        """
        if factor < 1:
            fail("factor", "a positive integer", factor)
        for parameter in self.parameters():
            finer = F.interpolate(parameter[None], scale_factor=factor, mode="trilinear", align_corners=False)
            _replace(parameter, finer[0])

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for name, parameter in self.named_parameters(recurse=False):
            saved = state_dict.get(prefix + name)
            if saved is not None and saved.shape != parameter.shape and saved.dim() == 4:
                _replace(parameter, parameter.new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _replace(parameter: torch.nn.Parameter, values: torch.Tensor) -> None:
    parameter.grad = None
    parameter.data = values
