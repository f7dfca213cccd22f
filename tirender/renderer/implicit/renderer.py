"""Renderers of functions along rays, and of volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tirender.checks import check_choice, check_kind, check_number, check_tensor, fail
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.implicit.marching import can_march, march
from tirender.renderer.implicit.utils import HeterogeneousRayBundle, RayBundle, ray_bundle_to_ray_points
from tirender.structures.volume_locator import local_to_voxel_coords
from tirender.structures.volumes import Volumes
from tirender.transforms import Transform3d


class ImplicitRenderer(torch.nn.Module):
    """Render a function that gives densities and features along rays.

    Args:
        raysampler: called with ``cameras``, ``volumetric_function`` and the renderer's keyword arguments; returns a
            ``RayBundle``.
        raymarcher: called with ``rays_densities``, ``rays_features``, ``ray_bundle`` and the renderer's keyword
            arguments; returns images.
    Raises:
        ValueError: if one of them is not callable.
    """

    def __init__(self, raysampler: Callable[..., Any], raymarcher: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        for name, value in (("raysampler", raysampler), ("raymarcher", raymarcher)):
            if not callable(value):
                fail(name, "a callable", type(value).__name__)
        self.raysampler = raysampler
        self.raymarcher = raymarcher

    def forward(
        self, cameras: CamerasBase, volumetric_function: Callable[..., tuple[torch.Tensor, Any]], **kwargs: Any
    ) -> tuple[torch.Tensor, RayBundle | HeterogeneousRayBundle]:
        """Render a volumetric function.

        Args:
            cameras: N cameras.
            volumetric_function: called with ``ray_bundle``, ``cameras`` and ``kwargs``; returns densities
                (N, ..., P, 1) and features (N, ..., P, C) of the bundle's samples.
            kwargs: passed to the raysampler, the function and the raymarcher.
        Returns:
            the raymarcher's images, (N, ..., C + 1) for emission-absorption, and the ray bundle; differentiable if the
            function is.
        Raises:
            ValueError: if ``volumetric_function`` is not callable.
        """
        if not callable(volumetric_function):
            fail("volumetric_function", "a callable", type(volumetric_function).__name__)
        ray_bundle = self.raysampler(cameras=cameras, volumetric_function=volumetric_function, **kwargs)
        densities, features = volumetric_function(ray_bundle=ray_bundle, cameras=cameras, **kwargs)
        images = self.raymarcher(rays_densities=densities, rays_features=features, ray_bundle=ray_bundle, **kwargs)
        return images, ray_bundle


class VolumeRenderer(torch.nn.Module):
    """Render ``Volumes``.

    Args:
        raysampler, raymarcher: as for :class:`ImplicitRenderer`.
        sample_mode: ``"bilinear"`` (which is trilinear interpolation) or ``"nearest"``.
    Raises:
        ValueError: if the mode is unknown, or the raysampler or the raymarcher is not callable.
    """

    def __init__(
        self, raysampler: Callable[..., Any], raymarcher: Callable[..., torch.Tensor], sample_mode: str = "bilinear"
    ) -> None:
        super().__init__()
        self.renderer = ImplicitRenderer(raysampler, raymarcher)
        self._sample_mode = check_choice("sample_mode", sample_mode, SAMPLE_MODES)

    def forward(
        self, cameras: CamerasBase, volumes: Volumes, **kwargs: Any
    ) -> tuple[torch.Tensor, RayBundle | HeterogeneousRayBundle]:
        """Render volumes.

        Args:
            cameras: N cameras.
            volumes: N volumes, or one for all cameras.
            kwargs: passed to the raysampler and the raymarcher.
        Returns:
            the raymarcher's images, and the ray bundle. Differentiable in the volumes and, for ``"bilinear"``, in the
            cameras.
        Raises:
            ValueError: if ``volumes`` is not of class Volumes, or its number does not fit the cameras.
        """
        volumes = _single(volumes)
        sampler = VolumeSampler(volumes, sample_mode=self._sample_mode)
        raymarcher = self.renderer.raymarcher
        ray_bundle = self.renderer.raysampler(cameras=cameras, volumetric_function=sampler, **kwargs)
        if self._sample_mode == "bilinear" and can_march(volumes, raymarcher, ray_bundle):
            return march(volumes, raymarcher, ray_bundle, check_number("eps", kwargs.get("eps", 1e-10))), ray_bundle
        densities, features = sampler(ray_bundle=ray_bundle, cameras=cameras, **kwargs)
        images = raymarcher(rays_densities=densities, rays_features=features, ray_bundle=ray_bundle, **kwargs)
        return images, ray_bundle


SAMPLE_MODES = ("bilinear", "nearest")


class VolumeSampler(torch.nn.Module):
    """Sample the densities and features of volumes along rays.

    Args:
        volumes: N volumes, or one for all rays. One expanded volume is sampled without a copy.
        sample_mode: ``"bilinear"`` (which is trilinear interpolation) or ``"nearest"``.
        padding_mode: the values outside, as in ``torch.nn.functional.grid_sample``: ``"zeros"``, ``"border"``, or
            ``"reflection"`` if all volumes have one size.
    Raises:
        ValueError: if ``volumes`` is not of class Volumes, or a mode is unknown.
    """

    def __init__(self, volumes: Volumes, sample_mode: str = "bilinear", padding_mode: str = "zeros") -> None:
        super().__init__()
        self._volumes = _single(volumes)
        self._sample_mode = check_choice("sample_mode", sample_mode, SAMPLE_MODES)
        self._padding_mode = check_choice("padding_mode", padding_mode, ("zeros", "border", "reflection"))
        is_ragged = bool((volumes.get_grid_sizes() != self._resolution).any())
        if is_ragged and padding_mode == "reflection":
            fail("padding_mode", "'zeros' or 'border' for volumes of different sizes", repr(padding_mode))

    def forward(
        self, ray_bundle: RayBundle | HeterogeneousRayBundle, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sample the volumes at a bundle's points.

        Args:
            ray_bundle: rays (N, ..., .) with P samples each, world space.
            kwargs: ignored.
        Returns:
            densities (N, ..., P, Cd), and features (N, ..., P, Cf), Cf = 0 for volumes without. Differentiable in the
            volumes and, for ``"bilinear"``, in the rays. With ``"zeros"``, bilinear values fall to 0 over one voxel
            past the outermost voxel centres.
        Raises:
            ValueError: if the number of cameras in the bundle does not fit the volumes.
        """
        points = check_tensor("rays", ray_bundle_to_ray_points(ray_bundle), ("...", 3), like=self._volumes.densities())
        n_volumes = len(self._volumes)
        if n_volumes not in (1, len(points)):
            fail("ray_bundle", f"rays of as many cameras as volumes, {n_volumes}", len(points))
        local = self._volumes.world_to_local_coords(points.reshape(n_volumes, -1, 3))
        grid, align_corners = self._grid_sample_coords(local)

        def sample(values: torch.Tensor) -> torch.Tensor:
            sampled = F.grid_sample(
                values,
                grid[:, :, None, None],
                mode=self._sample_mode,
                padding_mode=self._padding_mode,
                align_corners=align_corners,
            )
            return sampled.flatten(2).transpose(1, 2).contiguous().view(*points.shape[:-1], values.shape[1])

        densities, features = sample(self._volumes.densities()), self._volumes.features()
        return densities, densities[..., :0] if features is None else sample(features)

    def _get_ray_directions_transform(self) -> Transform3d:
        """PyTorch3D's private name of the transform of directions, world to local; for samplers of one's own."""
        matrix = self._volumes.get_world_to_local_coords_transform().get_matrix().clone()
        matrix[:, 3, :3] = 0
        return Transform3d(matrix=matrix)

    @property
    def _resolution(self) -> torch.Tensor:
        """(3,): D, H, W of the padded volumes."""
        densities = self._volumes.densities()
        return torch.tensor(densities.shape[2:], device=densities.device)

    def _grid_sample_coords(self, local: torch.Tensor) -> tuple[torch.Tensor, bool]:
        """Map local coordinates to those of ``grid_sample`` on the padded volumes; return them and ``align_corners``.

        They change only if a volume is smaller than its padding, or an axis with one voxel has no extent to align.
        """
        sizes, align_corners = self._volumes.get_grid_sizes(), self._volumes.get_align_corners()
        resolution = self._resolution
        if not bool((sizes != resolution).any()) and not (align_corners and bool((sizes == 1).any())):
            return local, align_corners
        voxels = local_to_voxel_coords(local, sizes, align_corners)
        if self._padding_mode == "border":
            last = (sizes.flip(1) - 1)[:, None].to(voxels.dtype)
            voxels = torch.minimum(voxels.clamp(min=0), last)
        return (2 * voxels + 1) / resolution.flip(0) - 1, False


def _single(volumes: Volumes) -> Volumes:
    """One volume if all are the same, else all of them."""
    check_kind("volumes", volumes, Volumes)
    return volumes[0] if volumes.is_one_volume else volumes
