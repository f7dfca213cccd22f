"""The read-only methods of ``Pointclouds``: lists, padded and packed tensors, index maps and bounds."""

from __future__ import annotations

import torch

from tirender.checks import check_tensor, fail
from tirender.structures.packing import Partition, Ragged, bounding_boxes
from tirender.structures.private_names import PrivateNamesOfClouds


class CloudViews(PrivateNamesOfClouds):
    """The read-only half of ``Pointclouds``: the layouts of its tensors, computed on demand."""

    _rows: Partition
    _points: Ragged
    _normals: Ragged | None
    _features: Ragged | None

    # --- the batch as a whole ---

    def __len__(self) -> int:
        """The number of clouds, N."""
        return self._rows.n_items

    @property
    def device(self) -> torch.device:
        """The device of the points."""
        return self._points.like.device

    @property
    def valid(self) -> torch.Tensor:
        """(N,) bool: whether each cloud has points."""
        return self._rows.sizes > 0

    @property
    def equisized(self) -> bool:
        """Whether all clouds have equally many points."""
        return self._rows.is_even

    def isempty(self) -> bool:
        """Whether no cloud has points."""
        return not self._rows.n_rows

    # --- points, normals and features; all differentiable ---

    def points_list(self) -> list[torch.Tensor]:
        """N tensors (P_i, 3): those that were given as a list, else views."""
        return self._points.list()

    def points_packed(self) -> torch.Tensor:
        """(sum P_i, 3), in storage of their own."""
        return self._points.packed()

    def points_padded(self) -> torch.Tensor:
        """(N, max P_i, 3): the tensor that was given padded, else a copy padded with 0."""
        return self._points.padded()

    def normals_list(self) -> list[torch.Tensor] | None:
        """N tensors (P_i, 3), or None."""
        return None if self._normals is None else self._normals.list()

    def normals_packed(self) -> torch.Tensor | None:
        """(sum P_i, 3), or None."""
        return None if self._normals is None else self._normals.packed()

    def normals_padded(self) -> torch.Tensor | None:
        """(N, max P_i, 3), padded with 0, or None."""
        return None if self._normals is None else self._normals.padded()

    def features_list(self) -> list[torch.Tensor] | None:
        """N tensors (P_i, C), or None."""
        return None if self._features is None else self._features.list()

    def features_packed(self) -> torch.Tensor | None:
        """(sum P_i, C), or None."""
        return None if self._features is None else self._features.packed()

    def features_padded(self) -> torch.Tensor | None:
        """(N, max P_i, C), padded with 0, or None."""
        return None if self._features is None else self._features.padded()

    def get_cloud(self, index: int) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Points (P_i, 3), normals (P_i, 3) or None and features (P_i, C) or None of one cloud.

        Raises:
            ValueError: if index is not an integer from 0 to N - 1.
        """
        if not isinstance(index, int) or not 0 <= index < len(self):
            fail("index", f"an integer from 0 to {len(self) - 1}", index)
        points, normals, features = (
            None if values is None else values.list()[index] for values in (self._points, self._normals, self._features)
        )
        assert points is not None
        return points, normals, features

    # --- index maps ---

    def num_points_per_cloud(self) -> torch.Tensor:
        """(N,) int64: the numbers of points P_i."""
        return self._rows.sizes

    def packed_to_cloud_idx(self) -> torch.Tensor:
        """(sum P_i,) int64: the cloud of each packed point."""
        return self._rows.owner

    def cloud_to_packed_first_idx(self) -> torch.Tensor:
        """(N,) int64: each cloud's first packed point."""
        return self._rows.first

    def padded_to_packed_idx(self) -> torch.Tensor:
        """(sum P_i,) int64: ``points_padded().reshape(-1, 3)[idx]`` is ``points_packed()``."""
        return self._rows.padded_to_packed

    # --- bounds ---

    def get_bounding_boxes(self) -> torch.Tensor:
        """(N, 3, 2): the least and greatest x, y and z of each cloud; (inf, -inf) for a cloud without points.

        Differentiable; if several points are equally extreme, one of them gets the gradient.
        """
        return bounding_boxes(self._rows, self.points_packed())

    def inside_box(self, box: torch.Tensor) -> torch.Tensor:
        """Which points lie in a box or on its boundary.

        Args:
            box: (2, 3), the least and the greatest corner, or (N, 2, 3), one box a cloud.
        Returns:
            (sum P_i,) bool; False for a point with a NaN coordinate.
        Raises:
            ValueError: if the shape is wrong, or a least coordinate exceeds the greatest.
        """
        check_tensor("box", box, ("...", 2, 3))
        if box.dim() > 3 or (box.dim() == 3 and len(box) not in (1, len(self))):
            fail("box", f"shape (2, 3) or ({len(self)}, 2, 3)", tuple(box.shape))
        box = box.reshape(-1, 2, 3)
        if bool((box[:, 0] > box[:, 1]).any()):
            fail("box", "least coordinates no greater than the greatest", box.tolist())
        least, greatest = (box if len(box) == 1 else box.index_select(0, self._rows.owner)).unbind(1)
        points = self.points_packed()
        return ((points >= least) & (points <= greatest)).all(dim=1)
