"""Batches of point clouds of different sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from tirender.checks import FLOATS, batch_index, check_tensor, fail
from tirender.structures.cloud_views import CloudViews
from tirender.structures.packing import (
    Partition,
    PartsOrPadded,
    concatenate,
    pack_parts,
    repeat_counts,
    repeat_rows,
)


class Pointclouds(CloudViews):
    """A batch of N point clouds with normals and features, available as lists, padded tensors and packed tensors.

    *List*: one tensor a cloud. *Packed*: all clouds concatenated. *Padded*: (N, largest, ...), padded with 0. One
    packed tensor holds each quantity. The other layouts are derived from it and differentiable. Index tensors are
    shared between clouds: copy one before you write into it.

    Args:
        points: N tensors (P_i, 3) of one float dtype and device, or one (N, P, 3) tensor; any unit of length.
        normals: one vector a point, as N tensors (P_i, 3) or padded to (N, max P_i, 3); None for no normals.
        features: C values of any dtype a point (colours, for example), as N tensors (P_i, C) or padded to
            (N, max P_i, C); None for no features.
    Raises:
        ValueError: if shapes, dtypes, devices or lengths do not fit.
    """

    def __init__(
        self, points: PartsOrPadded, normals: PartsOrPadded | None = None, features: PartsOrPadded | None = None
    ) -> None:
        self._points, counts = pack_parts("points", points, FLOATS)
        self._rows = Partition(counts, self._points.device)
        self._normals = self._pack("normals", normals, self._points.dtype, 3)
        self._features = self._pack("features", features, None, None)

    @classmethod
    def _of(
        cls, rows: Partition, points: torch.Tensor, normals: torch.Tensor | None, features: torch.Tensor | None
    ) -> Pointclouds:
        """Clouds from packed tensors that are already validated."""
        clouds = cls.__new__(cls)
        clouds._rows, clouds._points, clouds._normals, clouds._features = rows, points, normals, features
        return clouds

    # --- normals ---

    def estimate_normals(
        self, neighborhood_size: int = 50, disambiguate_directions: bool = True, assign_to_self: bool = False
    ) -> torch.Tensor:
        """Estimate normals from the covariance of each point's neighbours; see ``ops.estimate_pointcloud_normals``.

        Args:
            neighborhood_size: the number of neighbours of a point; every cloud must have more points than this.
            disambiguate_directions: point all normals of a neighbourhood to the same side.
            assign_to_self: store the normals in these clouds.
        Returns:
            (N, max P_i, 3) unit vectors, padded with 0.
        Raises:
            ValueError: if a cloud has too few points.
        """
        from tirender.engine.local_frames import local_frames  # imported here because it imports Taichi

        sizes = self.num_points_per_cloud()
        frames = local_frames(self.points_padded(), sizes, neighborhood_size, disambiguate_directions)[1]
        normals = frames[..., 0]
        if assign_to_self:
            self._normals = self._rows.unpad(normals)
        return normals

    # --- other points ---

    def offset_(self, offsets_packed: torch.Tensor) -> Pointclouds:
        """Add offsets to the points of these clouds.

        The old points are replaced, not overwritten, so autograd still works.

        Args:
            offsets_packed: (sum P_i, 3), or (3,) or (1, 3) for all points; differentiable.
        Returns:
            self.
        Raises:
            ValueError: if the shape, dtype or device is wrong.
        """
        check_tensor("offsets_packed", offsets_packed, ("...", 3), like=self._points)
        if offsets_packed.shape not in (self._points.shape, (3,), (1, 3)):
            fail("offsets_packed", f"shape {tuple(self._points.shape)} or (3,)", tuple(offsets_packed.shape))
        self._points = self._points + offsets_packed
        return self

    def offset(self, offsets_packed: torch.Tensor) -> Pointclouds:
        """As ``offset_``, but returns new clouds that share normals and features."""
        return self._map(lambda values: values).offset_(offsets_packed)

    def scale_(self, scale: float | torch.Tensor) -> Pointclouds:
        """Scale the points of these clouds about the origin. Normals are kept.

        Args:
            scale: a number, or an (N,) tensor with one factor a cloud; differentiable.
        Returns:
            self.
        Raises:
            ValueError: if the shape, dtype or device is wrong.
        """
        if isinstance(scale, torch.Tensor) and scale.dim():
            check_tensor("scale", scale, (len(self),), like=self._points)
            scale = scale.index_select(0, self._rows.owner)[:, None]
        self._points = self._points * scale
        return self

    def scale(self, scale: float | torch.Tensor) -> Pointclouds:
        """As ``scale_``, but returns new clouds that share normals and features."""
        return self._map(lambda values: values).scale_(scale)

    def update_padded(
        self,
        new_points_padded: torch.Tensor,
        new_normals_padded: torch.Tensor | None = None,
        new_features_padded: torch.Tensor | None = None,
    ) -> Pointclouds:
        """New clouds of the same sizes with other points; differentiable.

        Args:
            new_points_padded: (N, max P_i, 3) floats; values in the padding are ignored.
            new_normals_padded: (N, max P_i, 3); None keeps the old normals.
            new_features_padded: (N, max P_i, C), with as many channels as the old features; None keeps the old ones.
        Raises:
            ValueError: if a shape, dtype or device is wrong.
        """
        n_channels = "C" if self._features is None else self._features.shape[1]
        new = {
            "points": (new_points_padded, self._points, 3),
            "normals": (new_normals_padded, self._normals, 3),
            "features": (new_features_padded, self._features, n_channels),
        }
        packed = {name: old for name, (_, old, _) in new.items()}
        for name, (padded, _, columns) in new.items():
            if padded is not None:
                dtype = FLOATS if name == "points" else None
                check_tensor(f"new_{name}_padded", padded, (len(self), self._rows.largest, columns), dtype)
                self._check_device(f"new_{name}_padded", padded)
                packed[name] = self._rows.unpad(padded)
        assert packed["points"] is not None
        return self._of(self._rows, packed["points"], packed["normals"], packed["features"])

    # --- copies ---

    def clone(self) -> Pointclouds:
        """A copy with its own tensors; differentiable."""
        return self._map(torch.clone)

    def detach(self) -> Pointclouds:
        """The same clouds without gradients, sharing memory."""
        return self._map(torch.Tensor.detach)

    def to(self, device: torch.device | str, copy: bool = False) -> Pointclouds:
        """These clouds on a device. Returns self if they are there already and ``copy`` is False."""
        moved = self._map(lambda values: values.to(device))
        if moved.device == self.device:
            return self.clone() if copy else self
        moved._rows = Partition(self._rows.counts, moved.device)
        return moved

    def cpu(self) -> Pointclouds:
        """These clouds on the CPU."""
        return self.to("cpu")

    def cuda(self) -> Pointclouds:
        """These clouds on the current CUDA device."""
        return self.to("cuda")

    # --- other batches ---

    def extend(self, N: int) -> Pointclouds:
        """Repeat each cloud N times in a row; gradients are summed in the original.

        Raises:
            ValueError: if N is not a positive integer.
        """
        if not isinstance(N, int) or N < 1:
            fail("N", "a positive integer", N)
        counts = self._rows.counts
        rows = Partition(repeat_counts(counts, N), self.device)
        return self._map(lambda values: repeat_rows(values, counts, N), rows)

    def __getitem__(self, index: int | slice | list[int] | torch.Tensor) -> Pointclouds:
        """A batch of the selected clouds; differentiable.

        Args:
            index: an integer, slice, list of integers, bool tensor (N,) or int64 tensor (n,); negatives count from the
                end.
        Raises:
            IndexError: if an index is out of range.
            TypeError: if the index has another type.
        """
        ids = batch_index(index, len(self), torch.device("cpu")).tolist()
        rows = Partition([self._rows.counts[i] for i in ids], self.device)

        def pick(values: torch.Tensor) -> torch.Tensor:
            parts = self._rows.split(values)
            return concatenate([parts[i] for i in ids], like=values)

        return self._map(pick, rows)

    def split(self, split_sizes: Sequence[int]) -> list[Pointclouds]:
        """Split the batch into consecutive batches of these sizes.

        Raises:
            ValueError: if the sizes are not non-negative integers that sum to N.
        """
        if not all(isinstance(size, int) and size >= 0 for size in split_sizes) or sum(split_sizes) != len(self):
            fail("split_sizes", f"non-negative integers that sum to {len(self)}", split_sizes)
        ends = [sum(split_sizes[: i + 1]) for i in range(len(split_sizes))]
        return [self[end - size : end] for size, end in zip(split_sizes, ends)]

    def subsample(self, max_points: int | Sequence[int]) -> Pointclouds:
        """Draw at most ``max_points`` points of each cloud, without replacement, from torch's generator.

        Args:
            max_points: one number for all clouds, or one a cloud.
        Returns:
            new clouds; a cloud with no more points than its limit is unchanged. Returns self if all are unchanged.
        Raises:
            ValueError: if there is not one number a cloud, or a number is negative.
        """
        limits = [max_points] * len(self) if isinstance(max_points, int) else list(max_points)
        if len(limits) != len(self) or any(limit < 0 for limit in limits):
            fail("max_points", f"a non-negative integer, or {len(self)} of them", max_points)
        counts = [min(limit, count) for limit, count in zip(limits, self._rows.counts)]
        if counts == self._rows.counts:
            return self
        indices = []
        for start, count, limit in zip(self._rows.first.tolist(), self._rows.counts, counts):
            indices.append(start + (torch.randperm(count)[:limit] if limit < count else torch.arange(count)))
        index = torch.cat(indices).to(self.device)
        return self._map(lambda values: values.index_select(0, index), Partition(counts, self.device))

    # --- helpers ---

    def _pack(
        self, name: str, value: PartsOrPadded | None, dtype: torch.dtype | None, n_columns: int | None
    ) -> torch.Tensor | None:
        """Check normals or features against the points, and pack them."""
        if value is None:
            return None
        if isinstance(value, torch.Tensor):
            check_tensor(name, value, (len(self), self._rows.largest, n_columns or "C"), dtype)
            packed = self._rows.unpad(value)
        else:
            packed, counts = pack_parts(name, value, dtype, n_columns)
            if counts != self._rows.counts:
                fail(name, f"as many as points in each cloud, {self._rows.counts}", counts)
        self._check_device(name, packed)
        return packed

    def _check_device(self, name: str, values: torch.Tensor) -> None:
        if values.device != self.device:
            fail(name, f"a tensor on {self.device} as points", values.device)

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor], rows: Partition | None = None) -> Pointclouds:
        """Apply a function to each packed tensor."""
        points = function(self._points)
        normals, features = (None if x is None else function(x) for x in (self._normals, self._features))
        return self._of(rows or self._rows, points, normals, features)


def join_pointclouds_as_batch(pointclouds: Sequence[Pointclouds]) -> Pointclouds:
    """Concatenate several batches of clouds into one.

    Args:
        pointclouds: a list of batches of one dtype on one device. All or none have normals; the same for features.
    Returns:
        the joined batch; differentiable.
    Raises:
        ValueError: if pointclouds is not a list of Pointclouds, or they do not fit each other.
    """
    if isinstance(pointclouds, Pointclouds) or not (
        isinstance(pointclouds, Iterable) and all(isinstance(batch, Pointclouds) for batch in pointclouds)
    ):
        got: Any = "Pointclouds" if isinstance(pointclouds, Pointclouds) else pointclouds
        fail("pointclouds", "a list of Pointclouds", got)
    if not pointclouds:
        return Pointclouds(points=[])
    rows = Partition([n for batch in pointclouds for n in batch._rows.counts], pointclouds[0].device)
    points, normals, features = (
        _join(name, [getattr(batch, f"{name}_packed")() for batch in pointclouds])
        for name in ("points", "normals", "features")
    )
    assert points is not None
    return Pointclouds._of(rows, points, normals, features)


def join_pointclouds_as_scene(pointclouds: Pointclouds | Sequence[Pointclouds]) -> Pointclouds:
    """Join all clouds of a batch, or of several batches, into one cloud.

    Args:
        pointclouds: a batch, or a list of batches as for ``join_pointclouds_as_batch``.
    Returns:
        a batch of one cloud (an empty batch stays empty); differentiable.
    Raises:
        ValueError: as ``join_pointclouds_as_batch``.
    """
    batch = pointclouds if isinstance(pointclouds, Pointclouds) else join_pointclouds_as_batch(pointclouds)
    if len(batch) <= 1:
        return batch
    return batch._map(lambda values: values, Partition([batch._rows.n_rows], batch.device))


def _join(name: str, parts: list[torch.Tensor | None]) -> torch.Tensor | None:
    tensors = [part for part in parts if part is not None]
    if not tensors:
        return None
    if len(tensors) < len(parts):
        fail("pointclouds", f"{name} in all batches or in none", f"{len(tensors)} of {len(parts)} with {name}")
    for i, tensor in enumerate(tensors):
        check_tensor(f"pointclouds[{i}].{name}", tensor, ("P", tensors[0].shape[1]), like=tensors[0])
    return torch.cat(tensors)
