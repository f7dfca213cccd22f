"""What a rasterizer finds: which primitive touches which pixel, and where in the primitive that pixel lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeVar

import torch

from tirender.checks import check_tensor

Values = tuple[torch.Tensor, ...]
Self = TypeVar("Self", bound="_Packed")
DenseSelf = TypeVar("DenseSelf", bound="_Dense")


class _Packed:
    """One entry for each kept (pixel, primitive) pair: pixel after pixel, by depth within a pixel, no empty slots.

    Memory follows what is really covered. Attributes have the names of the dense class with a leading shape (M,); they
    are computed when first asked for, and all but the index are differentiable in the primitives.

    Args:
        n_images: N.
        image_size: (H, W) in pixels.
        select: called once, returns offsets (N * H * W + 1,) int32, the first entry of each pixel in row-major order
            and the total, and the primitive of each entry (M,).
        evaluate: called once, returns the values of each entry.
        source: what it was rasterized from, for the fused shaders.
    """

    def __init__(
        self,
        n_images: int,
        image_size: tuple[int, int],
        select: Callable[[], tuple[torch.Tensor, torch.Tensor]],
        evaluate: Callable[[], Values],
        source: Any = None,
    ):
        self.n_images = n_images
        self.image_size = image_size
        self.source = source
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
        counts = (self.offsets[1:] - self.offsets[:-1]).long()
        pixels = torch.arange(len(counts), device=counts.device)
        return torch.repeat_interleave(pixels, counts, output_size=len(self))

    @cached_property
    def image_index(self) -> torch.Tensor:
        """(M,) int64, the image of each entry."""
        return self.pixel_index // (self.image_size[0] * self.image_size[1])

    def detach(self: Self) -> Self:
        """The same fragments, cut from the graph."""
        values = tuple(v.detach() for v in self._values)
        return type(self)(self.n_images, self.image_size, lambda: self._selection, lambda: values)


class PackedFragments(_Packed):
    """Fragments of meshes, one entry for each kept (pixel, face) pair; see :class:`_Packed`."""

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


class PackedPointFragments(_Packed):
    """Fragments of point clouds, one entry for each kept (pixel, point) pair; see :class:`_Packed`."""

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


class _Slots:
    """A dense tensor of fragments: built when first read; once assigned, the fragments are made by hand."""

    def __init__(self, doc: str):
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, fragments: Any, owner: type | None = None) -> torch.Tensor:
        return self if fragments is None else fragments._get(self.name)  # type: ignore[return-value]

    def __set__(self, fragments: Any, value: torch.Tensor) -> None:
        fragments._set(self.name, value)


class _Dense:
    """N images with K slots a pixel, empty slots -1: made by hand from tensors, or a view of packed fragments."""

    packed: Any

    def __init__(self, **tensors: torch.Tensor | None):
        self.packed = None
        self._dense = tensors
        self._slots: int | None = None

    @classmethod
    def from_packed(cls: type[DenseSelf], packed: Any, slots: int | None) -> DenseSelf:
        """The dense view of packed fragments, built when asked for; None makes room for the fullest pixel."""
        self = cls.__new__(cls)
        self.packed, self._dense, self._slots = packed, {}, slots
        return self

    def _get(self, name: str) -> torch.Tensor | None:
        if name not in self._dense:
            with torch.set_grad_enabled(self.packed._with_grad):
                self._dense[name] = self._spread(getattr(self.packed, name))
        return self._dense[name]

    def _set(self, name: str, value: torch.Tensor) -> None:
        for field, slots in vars(type(self)).items():
            if isinstance(slots, _Slots):
                self._get(field)
        self.packed = None
        self._dense[name] = value

    def _spread(self, values: torch.Tensor) -> torch.Tensor:
        """Packed (M, ...) to dense (N, H, W, K, ...), -1 where empty."""
        packed = self.packed
        if self._slots is None:
            counts = packed.offsets[1:] - packed.offsets[:-1]
            self._slots = max(int(counts.max()) if len(counts) else 0, 1)
        pixel = packed.pixel_index
        rank = torch.arange(len(packed), device=pixel.device) - packed.offsets.long().index_select(0, pixel)
        shape = (packed.n_images, *packed.image_size, self._slots, *values.shape[1:])
        dense = values.new_full((shape[0] * shape[1] * shape[2] * shape[3], *values.shape[1:]), -1)
        return dense.index_copy(0, pixel * self._slots + rank, values).view(shape)


class Fragments(_Dense):
    """Dense rasterization output of N images with K slots a pixel, empty slots -1.

    Made by hand from dense tensors, or by a rasterizer, which then fills ``packed`` and builds the dense tensors only
    when they are asked for.

    Args:
        pix_to_face: (N, H, W, K) int64, index into the batch's packed faces; -1 where empty.
        zbuf: (N, H, W, K) depth in view space.
        bary_coords: (N, H, W, K, 3) barycentric coordinates.
        dists: (N, H, W, K) squared distance to the face's outline in NDC, negative inside; None where unused.
    Raises:
        ValueError: where the shapes do not fit each other.
    """

    packed: PackedFragments | None

    def __init__(
        self,
        pix_to_face: torch.Tensor,
        zbuf: torch.Tensor,
        bary_coords: torch.Tensor,
        dists: torch.Tensor | None = None,
    ):
        check_tensor("pix_to_face", pix_to_face, ("N", "H", "W", "K"), (torch.int64, torch.int32))
        shape = tuple(pix_to_face.shape)
        check_tensor("zbuf", zbuf, shape)
        check_tensor("bary_coords", bary_coords, (*shape, 3))
        if dists is not None:
            check_tensor("dists", dists, shape)
        super().__init__(pix_to_face=pix_to_face, zbuf=zbuf, bary_coords=bary_coords, dists=dists)

    pix_to_face = _Slots("(N, H, W, K) int64.")
    zbuf = _Slots("(N, H, W, K).")
    bary_coords = _Slots("(N, H, W, K, 3).")
    dists = _Slots("(N, H, W, K).")

    def detach(self) -> Fragments:
        """The same fragments, cut from the graph."""
        dists = None if self.dists is None else self.dists.detach()
        return Fragments(self.pix_to_face, self.zbuf.detach(), self.bary_coords.detach(), dists)


class PointFragments(_Dense):
    """Dense rasterization output of N point clouds with K slots a pixel, empty slots -1.

    Made by hand from dense tensors, or by a rasterizer, which then fills ``packed`` and builds the dense tensors only
    when they are asked for. Unpacks as ``idx, zbuf, dists = fragments``.

    Args:
        idx: (N, H, W, K) int32 or int64, index into the batch's packed points; -1 where empty.
        zbuf: (N, H, W, K) depth in view space.
        dists: (N, H, W, K) squared distance to the point in NDC units squared.
    Raises:
        ValueError: where the shapes do not fit each other.
    """

    packed: PackedPointFragments | None

    def __init__(self, idx: torch.Tensor, zbuf: torch.Tensor, dists: torch.Tensor):
        check_tensor("idx", idx, ("N", "H", "W", "K"), (torch.int32, torch.int64))
        check_tensor("zbuf", zbuf, tuple(idx.shape))
        check_tensor("dists", dists, tuple(idx.shape))
        super().__init__(idx=idx, zbuf=zbuf, dists=dists)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter((self.idx, self.zbuf, self.dists))

    idx = _Slots("(N, H, W, K) int32 from the rasterizer.")
    zbuf = _Slots("(N, H, W, K).")
    dists = _Slots("(N, H, W, K).")

    def detach(self) -> PointFragments:
        """The same fragments, cut from the graph."""
        return PointFragments(*(v.detach() for v in self))
