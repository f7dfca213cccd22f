"""Batches of voxel volumes; ``volume_locator`` has their coordinate systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tirender.checks import FLOATS, batch_index, check_tensor, fail
from tirender.structures.utils import list_to_padded
from tirender.structures.volume_locator import PerVolume, VolumeLocator, extents
from tirender.transforms import Transform3d

VolumesOrPadded = Sequence[torch.Tensor] | torch.Tensor


class Volumes:
    """A batch of N voxel volumes with densities and optional features.

    A batch may be one volume expanded without a copy (``volume[None].expand(N, ...)``). No method copies it N times,
    and ``is_one_volume`` is then True.

    Args:
        densities: (N, Cd, D, H, W) of a float dtype, or N tensors (Cd, D_i, H_i, W_i), which are padded with 0.
        features: (N, Cf, D, H, W), or N tensors (Cf, D_i, H_i, W_i), of the same dtype and device; None for none.
        voxel_size: the distance between voxel centres in world units: a number, (x, y, z), or a tensor of shape (),
            (1,), (3,), (N, 1) or (N, 3). Without ``align_corners``, along an axis of n > 1 voxels the centres are only
            voxel_size * (n - 1) / n apart, as in PyTorch3D.
        volume_translation: the negated world position of the volumes' centres, as (x, y, z) or a tensor (3,) or (N, 3).
        align_corners: True puts local -1 and 1 at the centres of the outermost voxels, False at their outer faces. With
            True, an axis with a single voxel has its centre at 0, and -1 and 1 lie half a voxel away.
    Raises:
        ValueError: if shapes, dtypes or devices do not fit, a voxel size is not positive, or a number is not finite.
    """

    def __init__(
        self,
        densities: VolumesOrPadded,
        features: VolumesOrPadded | None = None,
        voxel_size: PerVolume = 1.0,
        volume_translation: PerVolume = (0.0, 0.0, 0.0),
        align_corners: bool = True,
    ) -> None:
        self._densities, sizes = _pad_volumes("densities", densities)
        self._features = None
        if features is not None:
            padded, feature_sizes = _pad_volumes("features", features)
            if not torch.equal(feature_sizes.expand(len(self), 3), sizes.expand(len(self), 3)):
                fail("features", f"the grid sizes of densities, {sizes.tolist()}", feature_sizes.tolist())
            self._features = self._checked("features", padded)
        self.locator = VolumeLocator(
            batch_size=len(self),
            grid_sizes=sizes,
            device=self.device,
            voxel_size=voxel_size,
            volume_translation=volume_translation,
            align_corners=align_corners,
            dtype=self._densities.dtype,
        )

    @classmethod
    def _of(cls, densities: torch.Tensor, features: torch.Tensor | None, locator: VolumeLocator) -> Volumes:
        """Volumes from parts that are already validated."""
        volumes = cls.__new__(cls)
        volumes._densities, volumes._features, volumes.locator = densities, features, locator
        return volumes

    def __len__(self) -> int:
        """The number of volumes, N."""
        return len(self._densities)

    @property
    def device(self) -> torch.device:
        """The device of the densities."""
        return self._densities.device

    @property
    def is_one_volume(self) -> bool:
        """Whether all N volumes are one volume, expanded without a copy, in the same place."""
        tensors = [self._densities] if self._features is None else [self._densities, self._features]
        return len(self) == 1 or (len(self) > 1 and self.locator.is_uniform and all(map(_is_expanded, tensors)))

    # --- views ---

    def densities(self) -> torch.Tensor:
        """(N, Cd, D, H, W): padded with 0 where a volume is smaller."""
        return self._densities

    def features(self) -> torch.Tensor | None:
        """(N, Cf, D, H, W), padded with 0 where a volume is smaller, or None."""
        return self._features

    def densities_list(self) -> list[torch.Tensor]:
        """N tensors (Cd, D_i, H_i, W_i)."""
        return self._as_list(self._densities)

    def features_list(self) -> list[torch.Tensor] | None:
        """N tensors (Cf, D_i, H_i, W_i), or None."""
        return None if self._features is None else self._as_list(self._features)

    # --- coordinates; see VolumeLocator ---

    def get_grid_sizes(self) -> torch.Tensor:
        """(N, 3) int64: the sizes (D_i, H_i, W_i) without padding."""
        return self.locator.get_grid_sizes()

    def get_align_corners(self) -> bool:
        """The value of ``align_corners``."""
        return self.locator.get_align_corners()

    def get_local_to_world_coords_transform(self) -> Transform3d:
        """The N transforms from local to world coordinates."""
        return self.locator.get_local_to_world_coords_transform()

    def get_world_to_local_coords_transform(self) -> Transform3d:
        """The N transforms from world to local coordinates."""
        return self.locator.get_world_to_local_coords_transform()

    def local_to_world_coords(self, points_3d_local: torch.Tensor) -> torch.Tensor:
        """Points (N, ..., 3) from local to world coordinates; differentiable."""
        return self.locator.local_to_world_coords(points_3d_local)

    def world_to_local_coords(self, points_3d_world: torch.Tensor) -> torch.Tensor:
        """Points (N, ..., 3) from world to local coordinates; differentiable."""
        return self.locator.world_to_local_coords(points_3d_world)

    def get_coord_grid(self, world_coordinates: bool = True) -> torch.Tensor:
        """(N, D, H, W, 3): the centres of all voxels as (x, y, z), in world or local coordinates."""
        return self.locator.get_coord_grid(world_coordinates)

    # --- other volumes ---

    def update_padded(self, new_densities: VolumesOrPadded, new_features: VolumesOrPadded | None = None) -> Volumes:
        """New volumes with other values in the same places; differentiable.

        Args:
            new_densities: (N, Cd, D, H, W), or N tensors (Cd, D_i, H_i, W_i), of the same dtype and device.
            new_features: likewise; None gives volumes without features.
        Raises:
            ValueError: if a shape, dtype or device is wrong.
        """
        densities = self._updated("new_densities", new_densities)
        features = None if new_features is None else self._updated("new_features", new_features)
        return self._of(densities, features, self.locator)

    def __getitem__(self, index: int | slice | list[int] | torch.Tensor) -> Volumes:
        """A batch of the selected volumes; differentiable. No copy is made of consecutive volumes or of one expanded.

        Args:
            index: an integer, slice, list of integers, bool tensor (N,) or integer tensor (n,); negatives count from
                the end.
        Raises:
            IndexError: if an index is out of range or has another type.
        """
        rows = batch_index(index, len(self), self.device)
        features = None if self._features is None else _pick(self._features, rows)
        return self._of(_pick(self._densities, rows), features, self.locator[rows])

    def clone(self) -> Volumes:
        """A copy with its own tensors; differentiable. One expanded volume is copied once and expanded again."""
        return self._map(torch.clone, self.locator.clone())

    def detach(self) -> Volumes:
        """The same volumes without gradients, sharing memory."""
        return self._map(torch.Tensor.detach, self.locator.detach())

    def to(self, device: torch.device | str, copy: bool = False) -> Volumes:
        """These volumes on a device. Returns self if they are there already and ``copy`` is False."""
        moved = self._map(lambda values: values.to(device), self.locator.to(device))
        if moved.device == self.device:
            return self.clone() if copy else self
        return moved

    def cpu(self) -> Volumes:
        """These volumes on the CPU."""
        return self.to("cpu")

    def cuda(self) -> Volumes:
        """These volumes on the current CUDA device."""
        return self.to("cuda")

    # --- helpers ---

    def _checked(self, name: str, values: torch.Tensor) -> torch.Tensor:
        return check_tensor(name, values, (len(self), "C", *self._densities.shape[2:]), like=self._densities)

    def _updated(self, name: str, values: VolumesOrPadded) -> torch.Tensor:
        """New values of these volumes, padded."""
        if isinstance(values, torch.Tensor):
            return self._checked(name, values)
        padded, sizes = _pad_volumes(name, values)
        given, own = sizes.expand(len(padded), 3).tolist(), self.get_grid_sizes().tolist()
        if given != own:
            fail(name, f"volumes of {own}", given)
        return self._checked(name, padded)

    def _as_list(self, values: torch.Tensor) -> list[torch.Tensor]:
        return [volume[:, :d, :h, :w] for volume, (d, h, w) in zip(values, self.get_grid_sizes().tolist())]

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor], locator: VolumeLocator) -> Volumes:
        features = None if self._features is None else _map_one(function, self._features)
        return self._of(_map_one(function, self._densities), features, locator)


def voxel_sizes(volumes: Volumes) -> torch.Tensor:
    """The distances between voxel centres in world units: (N, 3) as (x, y, z)."""
    scale = volumes.get_local_to_world_coords_transform().get_matrix().diagonal(dim1=1, dim2=2)[:, :3]
    return 2 * scale / extents(volumes.get_grid_sizes(), volumes.get_align_corners())


def _pad_volumes(name: str, value: VolumesOrPadded) -> tuple[torch.Tensor, torch.Tensor]:
    """Check volumes; return them as one padded tensor, with their grid sizes (1 or N, 3)."""
    if isinstance(value, torch.Tensor):
        check_tensor(name, value, ("N", "C", "D", "H", "W"), FLOATS)
        return value, torch.tensor([value.shape[2:]], device=value.device)
    if not isinstance(value, list | tuple) or not value:
        is_empty = isinstance(value, list | tuple)
        fail(name, "a tensor or a list of at least one", "an empty list" if is_empty else type(value).__name__)
    check_tensor(f"{name}[0]", value[0], ("C", "D", "H", "W"), FLOATS)
    for i, volume in enumerate(value):
        check_tensor(f"{name}[{i}]", volume, (value[0].shape[0], "D", "H", "W"), like=value[0])
    sizes = torch.tensor([volume.shape[1:] for volume in value], device=value[0].device)
    return list_to_padded(value), sizes[:1] if bool((sizes == sizes[0]).all()) else sizes


def _is_expanded(values: torch.Tensor) -> bool:
    return len(values) > 1 and values.stride(0) == 0


def _pick(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """``values[rows]`` along the batch, without a copy where possible."""
    if _is_expanded(values):
        return _first(values).expand(len(rows), *values.shape[1:])
    if len(rows) and bool((rows.diff() == 1).all()):
        return values.narrow(0, int(rows[0]), len(rows))
    return values.index_select(0, rows)


def _map_one(function: Callable[[torch.Tensor], torch.Tensor], values: torch.Tensor) -> torch.Tensor:
    """``function(values)``; applied once if the batch is one expanded volume."""
    if _is_expanded(values):
        return function(_first(values)).expand(values.shape)
    return function(values)


def _first(values: torch.Tensor) -> torch.Tensor:
    """(1, ...): the first of N volumes that share their memory."""
    first: torch.Tensor = _FirstOfEqual.apply(values)
    return first


class _FirstOfEqual(torch.autograd.Function):
    """``values[:1]`` with a gradient divided equally among all N.

    The gradient stays an expanded tensor. Slicing would allocate N gradients, N - 1 of them 0.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(values: torch.Tensor) -> torch.Tensor:
        return values[:1]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        ctx.n = len(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return (grad / ctx.n).expand(ctx.n, *grad.shape[1:])
