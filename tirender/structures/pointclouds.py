"""Batches of point clouds of different sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from tirender.checks import as_floats, batch_index, check_tensor, fail
from tirender.structures.cloud_views import CloudViews
from tirender.structures.packing import (
    Partition,
    PartsOrPadded,
    Ragged,
    check_ragged,
    per_item,
    repeat_counts,
    repeat_rows,
    split_slices,
    stored,
)


class Pointclouds(CloudViews):
    """A batch of N point clouds with normals and features, available as lists, padded tensors and packed tensors.

    *List*: one tensor a cloud. *Packed*: all clouds concatenated. *Padded*: (N, largest, ...), padded with 0. Lists and
    padded tensors are handed back as they were given; packed ones, and padded ones made from a list, have their own
    storage. All are differentiable. Index tensors are shared between clouds: copy one before you write into it.

    Args:
        points: N tensors (P_i, 3) of one device, or one (N, P, 3) tensor; any unit of length. float32 and float64 are
            kept; half floats and integers become float32; mixed parts become float64.
        normals: one vector a point, as N tensors (P_i, 3) or padded to (N, max P_i, 3); None for no normals.
        features: C values of any dtype a point (colours, for example), as N tensors (P_i, C) or padded to
            (N, max P_i, C); None for no features. In a list of normals or features, None stands for an empty tensor.
    Raises:
        ValueError: if shapes, dtypes, devices or lengths do not fit.
    """

    def __init__(
        self, points: PartsOrPadded, normals: PartsOrPadded | None = None, features: PartsOrPadded | None = None
    ) -> None:
        self._points = check_ragged("points", points, as_floats)
        self._rows = self._points.rows
        self._normals = self._match("normals", normals, 3)
        self._features = self._match("features", features, None)
        if self._normals is not None:
            self._normals = self._normals.map(lambda tensor: tensor.to(self._points.like.dtype))

    @classmethod
    def _of(cls, points: Ragged, normals: Ragged | None, features: Ragged | None) -> Pointclouds:
        """Clouds from parts that are already validated."""
        clouds = cls.__new__(cls)
        clouds._rows, clouds._points, clouds._normals, clouds._features = points.rows, points, normals, features
        return clouds

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore pickled clouds, also those of PyTorch3D."""
        if "_rows" in state:
            self.__dict__.update(state)
        else:
            self.__init__(*(stored(state, name) for name in ("points", "normals", "features")))  # type: ignore[misc]

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
            self._normals = Ragged(self._rows, [self._rows.unpad(normals)])
        return normals

    # --- other points ---

    def offset_(self, offsets_packed: torch.Tensor) -> Pointclouds:
        """Add offsets to the points of these clouds.

        The old points are replaced, not overwritten, so autograd still works.

        Args:
            offsets_packed: (sum P_i, 3), or (3,) or (1, 3) for all points; differentiable. Offsets of float64 make
                float32 points float64.
        Returns:
            self.
        Raises:
            ValueError: if the shape, dtype or device is wrong.
        """
        points, offsets = self.points_packed(), as_floats("offsets_packed", offsets_packed)
        if offsets.shape not in (points.shape, (3,), (1, 3)):
            fail("offsets_packed", f"shape {tuple(points.shape)} or (3,)", tuple(offsets.shape))
        self._check_device("offsets_packed", offsets)
        self._points = Ragged(self._rows, [points + offsets])
        return self

    def offset(self, offsets_packed: torch.Tensor) -> Pointclouds:
        """As ``offset_``, but returns new clouds that share normals and features."""
        return self._of(self._points, self._normals, self._features).offset_(offsets_packed)

    def scale_(self, scale: float | torch.Tensor) -> Pointclouds:
        """Scale the points of these clouds about the origin. Normals are kept.

        Args:
            scale: a number, or a tensor of any real dtype: (N,) or (N, 1) has one factor a cloud, (N, 3) one an axis;
                differentiable. Row i belongs to cloud i; further rows are ignored, as in PyTorch3D.
        Returns:
            self.
        Raises:
            ValueError: if the shape, dtype or device is wrong.
        """
        self._points = Ragged(self._rows, [self.points_packed() * per_item("scale", scale, self._points)])
        return self

    def scale(self, scale: float | torch.Tensor) -> Pointclouds:
        """As ``scale_``, but returns new clouds that share normals and features."""
        return self._of(self._points, self._normals, self._features).scale_(scale)

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
        channels = "C" if self._features is None else self._features.like.shape[-1]
        points = self._updated("new_points_padded", new_points_padded, 3)
        normals, features = self._normals, self._features
        if new_normals_padded is not None:
            normals = self._updated("new_normals_padded", new_normals_padded, 3)
        if new_features_padded is not None:
            features = self._updated("new_features_padded", new_features_padded, channels)
        return self._of(points.map(lambda tensor: as_floats("new_points_padded", tensor)), normals, features)

    # --- copies ---

    def clone(self) -> Pointclouds:
        """A copy with its own tensors; differentiable."""
        return self._map(lambda rows: rows.map(torch.clone))

    def detach(self) -> Pointclouds:
        """The same clouds without gradients, sharing memory."""
        return self._map(lambda rows: rows.map(torch.Tensor.detach))

    def to(self, device: torch.device | str, copy: bool = False) -> Pointclouds:
        """These clouds on a device. Returns self if they are there already and ``copy`` is False."""
        moved = self._map(lambda rows: rows.map(lambda tensor: tensor.to(device)))
        if moved.device == self.device:
            return self.clone() if copy else self
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
        return self._map(lambda values: Ragged(rows, [repeat_rows(values.packed(), counts, N)]))

    def __getitem__(self, index: int | slice | list[int] | torch.Tensor) -> Pointclouds:
        """A batch of the selected clouds; differentiable.

        Args:
            index: an integer, slice, list of integers, bool tensor (N,) or integer tensor (n,); negatives count from
                the end.
        Raises:
            IndexError: if an index is out of range or has another type.
        """
        ids = batch_index(index, len(self), torch.device("cpu")).tolist()
        return self._map(lambda rows: Ragged.of_parts([rows.list()[i] for i in ids], rows.packed()))

    def split(self, split_sizes: Sequence[int]) -> list[Pointclouds]:
        """Split the batch into consecutive batches of these sizes; what is left over is in none.

        Raises:
            ValueError: if the sizes are not non-negative integers that sum to at most N.
        """
        return [self[part] for part in split_slices(split_sizes, len(self))]

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
        rows = Partition(counts, self.device)
        return self._map(lambda values: Ragged(rows, [values.packed().index_select(0, index)]))

    # --- helpers ---

    def _match(self, name: str, value: PartsOrPadded | None, n_columns: int | None) -> Ragged | None:
        """Check normals or features against the points."""
        if value is None or (isinstance(value, list | tuple) and not value and not len(self)):
            return None
        if isinstance(value, torch.Tensor):
            check_tensor(name, value, (len(self), self._rows.largest, n_columns or "C"))
            rows = Ragged(self._rows, [value], "padded")
            given = rows if self._rows.is_even else Ragged(self._rows, [self._rows.unpad(value)])
        else:
            if isinstance(value, list | tuple):
                value = [self._points.like.new_zeros(0) if part is None else part for part in value]
            given = check_ragged(name, value, None, n_columns)
            if given.rows.counts != self._rows.counts:
                fail(name, f"as many as points in each cloud, {self._rows.counts}", given.rows.counts)
        self._check_device(name, given.like)
        return given

    def _updated(self, name: str, padded: torch.Tensor, columns: int | str) -> Ragged:
        """New values of these clouds, from a padded tensor."""
        check_tensor(name, padded, (len(self), self._rows.largest, columns))
        self._check_device(name, padded)
        return (
            Ragged(self._rows, [padded], "padded")
            if self._rows.is_even
            else Ragged(self._rows, [self._rows.unpad(padded)])
        )

    def _check_device(self, name: str, values: torch.Tensor) -> None:
        if values.device != self.device:
            fail(name, f"a tensor on {self.device} as points", values.device)

    def _map(self, function: Callable[[Ragged], Ragged]) -> Pointclouds:
        """Apply a function to points, normals and features."""
        normals, features = (None if rows is None else function(rows) for rows in (self._normals, self._features))
        return self._of(function(self._points), normals, features)


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
    points = _join("points", [batch._points for batch in pointclouds])
    assert points is not None
    normals, features = (
        _join(name, [getattr(batch, f"_{name}") for batch in pointclouds]) for name in ("normals", "features")
    )
    return Pointclouds._of(points, normals, features)


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
    rows = Partition([batch._rows.n_rows], batch.device)
    return batch._map(lambda values: Ragged(rows, [values.packed()]))


def _join(name: str, parts: list[Ragged | None]) -> Ragged | None:
    given = [part for part in parts if part is not None]
    if not given:
        return None
    if len(given) < len(parts):
        fail("pointclouds", f"{name} in all batches or in none", f"{len(given)} of {len(parts)} with {name}")
    like = given[0].like
    for i, part in enumerate(given):
        check_tensor(f"pointclouds[{i}].{name}", part.like, ("...", like.shape[-1]), like=like)
    return Ragged.of_parts([rows for part in given for rows in part.list()], given[0].packed()[:0])
