"""What a rasterizer finds, packed: which primitive touches which pixel, and where in the primitive that pixel lies."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from tirender.engine.mesh_rasterization import MeshRasterization
    from tirender.engine.rasterize_points import PointRasterization

Values = tuple[torch.Tensor, ...]
Self = TypeVar("Self", bound="Packed")


def pixels_of(offsets: torch.Tensor, n_entries: int) -> torch.Tensor:
    """(M,) int32: the pixel of each of M packed entries, where those of each pixel begin at offsets (pixels + 1,)."""
    pixels = torch.arange(len(offsets) - 1, dtype=torch.int32, device=offsets.device)
    return pixels.repeat_interleave(offsets.diff().long(), output_size=n_entries)


class Packed:
    """One entry for each kept (pixel, primitive) pair: pixel after pixel, by depth within a pixel, no empty slots.

    Memory follows what is really covered. Attributes have the names of the dense class with a leading shape (M,); they
    are computed when first asked for, and all but the index are differentiable in the primitives.

    Args:
        n_images: N.
        image_size: (H, W) in pixels.
        select: called once, returns offsets (N * H * W + 1,) int32, the first entry of each pixel in row-major order
            and the total, and the primitive of each entry (M,).
        evaluate: called once, returns the values of each entry.
    """

    def __init__(
        self,
        n_images: int,
        image_size: tuple[int, int],
        select: Callable[[], tuple[torch.Tensor, torch.Tensor]],
        evaluate: Callable[[], Values],
    ):
        self.n_images = n_images
        self.image_size = image_size
        self._select = select
        self._evaluate = evaluate
        self._with_grad = torch.is_grad_enabled()  # as at the rasterizer's call, whenever values are first asked for

    def __len__(self) -> int:
        return len(self._selection[1])

    @cached_property
    def _selection(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._select()

    @cached_property
    def _values(self) -> Values:
        with torch.set_grad_enabled(self._with_grad):
            return self._evaluate()

    @property
    def offsets(self) -> torch.Tensor:
        """(N * H * W + 1,) int32, where the entries of each pixel begin."""
        return self._selection[0]

    @cached_property
    def pixel_index(self) -> torch.Tensor:
        """(M,) int64, the pixel of each entry, counted in row-major order through all images."""
        return pixels_of(self.offsets, len(self)).long()

    @cached_property
    def image_index(self) -> torch.Tensor:
        """(M,) int64, the image of each entry."""
        return self.pixel_index // (self.image_size[0] * self.image_size[1])

    def detach(self: Self) -> Self:
        """The same fragments, cut from the graph."""
        values = tuple(v.detach() for v in self._values)
        return type(self)(self.n_images, self.image_size, lambda: self._selection, lambda: values)


class PackedFragments(Packed):
    """Fragments of meshes, one entry for each kept (pixel, face) pair; see :class:`Packed`.

    Attributes:
        rasterization: what they were rasterized from, for the fused shaders; None for fragments made by hand.
    """

    rasterization: MeshRasterization | None = None

    @classmethod
    def of(cls, rasterization: MeshRasterization) -> PackedFragments:
        """The fragments of a rasterization, in terms of its faces."""
        n_images, image_size = rasterization.triangles.n_images, rasterization.mode.image_size
        packed = cls(n_images, image_size, rasterization.select_faces, rasterization.evaluate)
        packed.rasterization = rasterization
        return packed

    def bary_slopes(self) -> torch.Tensor | None:
        """(M, 3, 2): how ``bary_coords`` change to the next pixel to the right and below; None if made by hand."""
        return None if self.rasterization is None else self.rasterization.bary_slopes()

    @property
    def pix_to_face(self) -> torch.Tensor:
        """(M,) int64, indices into the batch's packed faces."""
        return self._selection[1]

    @property
    def zbuf(self) -> torch.Tensor:
        """(M,) depth in view space."""
        return self._values[0]

    @property
    def bary_coords(self) -> torch.Tensor:
        """(M, 3) barycentric coordinates in the face."""
        return self._values[1]

    @property
    def dists(self) -> torch.Tensor:
        """(M,) squared distance to the face's outline in NDC units squared, negative inside."""
        return self._values[2]


class PackedPointFragments(Packed):
    """Fragments of point clouds, one entry for each kept (pixel, point) pair; see :class:`Packed`."""

    @classmethod
    def of(cls, rasterization: PointRasterization) -> PackedPointFragments:
        """The fragments of a rasterization."""
        return cls(rasterization.n_images, rasterization.image_size, rasterization.select, rasterization.evaluate)

    @property
    def idx(self) -> torch.Tensor:
        """(M,) int32, indices into the batch's packed points."""
        return self._selection[1]

    @property
    def zbuf(self) -> torch.Tensor:
        """(M,) depth in view space."""
        return self._values[0]

    @property
    def dists(self) -> torch.Tensor:
        """(M,) squared distance to the point in NDC units squared."""
        return self._values[1]
