"""Where voxel volumes lie in the world.

Three coordinate systems are used, all in the order (x, y, z), with x along the last dimension of the grid:

- *world*;
- *local*: from -1 to 1 across a volume, as in ``torch.nn.functional.grid_sample``. As in PyTorch3D, this is
  (size - 1) * voxel_size in the world along an axis, with either ``align_corners``;
- *voxel*: voxel ``volume[..., k, j, i]`` has its centre at (i, j, k).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tirender.checks import FLOATS, as_tensor, batch_index, check_tensor, fail
from tirender.transforms import Transform3d

PerVolume = float | Sequence[float] | torch.Tensor
GridSizes = torch.Tensor | Sequence[int] | Sequence[torch.Tensor]


class VolumeLocator:
    """The positions and sizes of N volumes in the world.

    Args:
        batch_size: N.
        grid_sizes: (D, H, W), or an integer tensor (3,), (1, 3) or (N, 3), or N tensors (3,).
        device: where the transforms live.
        voxel_size, volume_translation, align_corners: as for :class:`~tirender.structures.Volumes`.
        dtype: the dtype of the transforms.
    Raises:
        ValueError: if a shape does not fit, or a size is not positive.
    """

    def __init__(
        self,
        batch_size: int,
        grid_sizes: GridSizes,
        device: torch.device | str,
        voxel_size: PerVolume = 1.0,
        volume_translation: PerVolume = (0.0, 0.0, 0.0),
        align_corners: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        sizes = _grid_sizes(grid_sizes, batch_size, device)
        spacing = _xyz("voxel_size", voxel_size, batch_size, dtype, device)
        if not bool((spacing > 0).all()):
            fail("voxel_size", "positive numbers", spacing.tolist())
        translation = _xyz("volume_translation", volume_translation, batch_size, dtype, device)
        self._batch_size, self._sizes, self._align_corners = batch_size, sizes, align_corners
        self._resolution = sizes.amax(0).tolist()
        scale = spacing * extents(sizes, align_corners=True).to(dtype) / 2
        self._to_world = _scale_then_translate(scale, -translation)
        self._to_local = _scale_then_translate(1 / scale, translation / scale)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled locator, also one of PyTorch3D."""
        if "_sizes" not in state:
            to_world = state["_local_to_world_transform"].get_matrix()
            sizes = _grid_sizes(state["_grid_sizes"], state["_batch_size"], to_world.device)
            state = {
                "_batch_size": state["_batch_size"],
                "_align_corners": state["_align_corners"],
                "_sizes": sizes,
                "_resolution": sizes.amax(0).tolist(),
                "_to_world": to_world,
                "_to_local": torch.linalg.inv(to_world),
            }
        self.__dict__.update(state)

    def __len__(self) -> int:
        return self._batch_size

    @property
    def device(self) -> torch.device:
        """The device of the transforms."""
        return self._to_world.device

    @property
    def is_uniform(self) -> bool:
        """Whether all volumes have the same transform and grid size."""
        return len(self._to_world) == len(self._sizes) == 1

    def get_grid_sizes(self) -> torch.Tensor:
        """(N, 3) int64: the sizes (D_i, H_i, W_i) without padding."""
        return self._sizes.expand(len(self), 3)

    def get_align_corners(self) -> bool:
        """The value of ``align_corners``."""
        return self._align_corners

    def get_local_to_world_coords_transform(self) -> Transform3d:
        """The N transforms from local to world coordinates: x * (size - 1) * voxel_size / 2 - translation."""
        return Transform3d(matrix=self._to_world.expand(len(self), 4, 4))

    def get_world_to_local_coords_transform(self) -> Transform3d:
        """The N transforms from world to local coordinates."""
        return Transform3d(matrix=self._to_local.expand(len(self), 4, 4))

    def local_to_world_coords(self, points_3d_local: torch.Tensor) -> torch.Tensor:
        """Points (N, ..., 3) from local to world coordinates; differentiable."""
        return self._transform("points_3d_local", points_3d_local, self._to_world)

    def world_to_local_coords(self, points_3d_world: torch.Tensor) -> torch.Tensor:
        """Points (N, ..., 3) from world to local coordinates; differentiable."""
        return self._transform("points_3d_world", points_3d_world, self._to_local)

    def get_coord_grid(self, world_coordinates: bool = True) -> torch.Tensor:
        """(N, D, H, W, 3): the centres of all voxels as (x, y, z), in world or local coordinates.

        D, H and W are the padded sizes, so the grid of a smaller volume extends beyond it. The result is an expanded
        tensor if all volumes lie in the same place.
        """
        shape = self._resolution
        axes = [torch.arange(n, device=self._sizes.device, dtype=self._to_world.dtype) for n in shape]
        z, y, x = torch.meshgrid(*axes, indexing="ij")
        last = (self._sizes.flip(1) - 1)[:, None, None, None]
        extent = extents(self._sizes, self._align_corners)[:, None, None, None]
        local = (2 * torch.stack([x, y, z], dim=-1) - last) / extent
        if world_coordinates:
            n = len(self._to_world) if len(local) == 1 else len(local)
            local = self._transform("grid", local.expand(n, *shape, 3), self._to_world)
        return local.expand(len(self), *shape, 3)

    def __getitem__(self, index: Any) -> VolumeLocator:
        """The locator of the selected volumes; see ``checks.batch_index`` for the index."""
        rows = batch_index(index, len(self), self._sizes.device)
        return self._map(lambda values: values if len(values) == 1 else values.index_select(0, rows), len(rows))

    def clone(self) -> VolumeLocator:
        """A copy with its own tensors; differentiable."""
        return self._map(torch.clone)

    def detach(self) -> VolumeLocator:
        """The same locator without gradients, sharing memory."""
        return self._map(torch.Tensor.detach)

    def to(self, device: torch.device | str) -> VolumeLocator:
        """The same locator on a device."""
        return self._map(lambda values: values.to(device))

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor], batch_size: int | None = None) -> VolumeLocator:
        locator = VolumeLocator.__new__(VolumeLocator)
        locator._batch_size = len(self) if batch_size is None else batch_size
        locator._align_corners, locator._resolution = self._align_corners, self._resolution
        locator._sizes, locator._to_world, locator._to_local = (
            function(values) for values in (self._sizes, self._to_world, self._to_local)
        )
        return locator

    def _transform(self, name: str, points: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        check_tensor(name, points, ("...", 3), FLOATS)
        if points.dim() < 2 or len(matrix) not in (1, len(points)):
            fail(name, f"shape ({len(self)}, ..., 3)", tuple(points.shape))
        broadcast = (-1, *[1] * (points.dim() - 2), 3)
        scale, offset = matrix.diagonal(dim1=1, dim2=2)[:, :3], matrix[:, 3, :3]
        return points * scale.reshape(broadcast) + offset.reshape(broadcast)


def extents(grid_sizes: torch.Tensor, align_corners: bool) -> torch.Tensor:
    """The number of voxels between local -1 and 1: (N, 3) as (x, y, z), from grid sizes (N, 3) as (D, H, W)."""
    return (grid_sizes.flip(1) - int(align_corners)).clamp(min=1)


def local_to_voxel_coords(points_local: torch.Tensor, grid_sizes: torch.Tensor, align_corners: bool) -> torch.Tensor:
    """Transform points from local to voxel coordinates.

    Args:
        points_local: (N, ..., 3).
        grid_sizes: (N, 3) or (1, 3) integers (D, H, W).
        align_corners: as for :class:`~tirender.structures.Volumes`.
    Returns:
        (N, ..., 3); differentiable.
    """
    broadcast = (-1, *[1] * (points_local.dim() - 2), 3)
    last, extent = grid_sizes.flip(1) - 1, extents(grid_sizes, align_corners)
    return (points_local * extent.reshape(broadcast) + last.reshape(broadcast)) / 2


def _grid_sizes(value: GridSizes, n: int, device: torch.device | str) -> torch.Tensor:
    """Check grid sizes; return them as (1 or N, 3) int64."""
    rows = [as_tensor("grid_sizes", size) for size in value]
    shapes = {tuple(row.shape) for row in rows}
    if not (shapes == {(3,)} and len(rows) in (1, n)) and not (shapes == {()} and len(rows) == 3):
        fail("grid_sizes", f"(D, H, W), or shape (1, 3) or ({n}, 3)", [tuple(row.shape) for row in rows])
    sizes = torch.stack(rows).to(device=device, dtype=torch.int64).reshape(-1, 3)
    if bool((sizes < 1).any()):
        fail("grid_sizes", "positive (D, H, W)", sizes.tolist())
    return sizes


def _xyz(name: str, value: PerVolume, n: int, dtype: torch.dtype, device: torch.device | str) -> torch.Tensor:
    """Check numbers or vectors, one for all volumes or one for each; return them as (1 or N, 3)."""
    given = as_tensor(name, value, dtype, device)
    rows = given.reshape(1, -1) if given.dim() < 2 else given
    if rows.dim() != 2 or len(rows) not in (1, n) or rows.shape[1] not in (1, 3):
        fail(name, f"a number, 3 numbers, or shape (3,), ({n}, 1) or ({n}, 3)", tuple(given.shape))
    if not bool(rows.isfinite().all()):
        fail(name, "finite numbers", given.tolist())
    return rows.expand(-1, 3)


def _scale_then_translate(scale: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
    """The (1 or N, 4, 4) matrices for row vectors."""
    scale, translation = torch.broadcast_tensors(scale, translation)
    diagonal = torch.cat([scale, torch.ones_like(scale[:, :1])], 1)
    last_row = torch.nn.functional.pad(translation[:, None], (0, 1, 3, 0))
    return torch.diag_embed(diagonal) + last_row
