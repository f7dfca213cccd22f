"""The output of a rasterizer: which primitive touches which pixel, at which depth and where within the primitive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch

from tirender.checks import fail
from tirender.engine.packed_fragments import PackedFragments, PackedPointFragments

if TYPE_CHECKING:
    from tirender.engine.mesh_rasterization import MeshRasterization

__all__ = ["Fragments", "PackedFragments", "PackedPointFragments", "PointFragments"]

DenseSelf = TypeVar("DenseSelf", bound="_Dense")


class _Slots:
    """A dense tensor of fragments, built when first read. Assigning one drops the packed fragments."""

    def __init__(self, doc: str):
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, fragments: Any, owner: type | None = None) -> torch.Tensor:
        return self if fragments is None else fragments._get(self.name)  # type: ignore[return-value]

    def __set__(self, fragments: Any, value: Any) -> None:
        fragments._set(self.name, value)


class _Dense:
    """N images with K slots a pixel, empty slots -1: given as dense tensors, or a view of packed fragments.

    What is given is checked by what reads it; the rest may be anything, such as None.
    """

    def __init__(self, **tensors: Any):
        self._packed: Any = None
        self._dense = tensors
        self._slots: int | None = None
        self._versions: dict[str, int] = {}

    @property
    def packed(self) -> Any:
        """What the dense tensors are a view of; None once one of them was assigned or written into, or made by hand."""
        if any(_version(self._dense[name]) != version for name, version in self._versions.items()):
            self._drop_packed()
        return self._packed

    @classmethod
    def from_packed(cls: type[DenseSelf], packed: Any, slots: int | None) -> DenseSelf:
        """The dense view of packed fragments, with ``slots`` a pixel; None takes as many as the fullest pixel needs."""
        self = cls.__new__(cls)
        self._packed, self._dense, self._slots, self._versions = packed, {}, slots, {}
        return self

    def __getstate__(self) -> dict[str, Any]:
        """The dense tensors by name, as PyTorch3D pickles them."""
        return {name: getattr(self, name) for name, slots in vars(type(self)).items() if isinstance(slots, _Slots)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _get(self, name: str) -> torch.Tensor | None:
        if name not in self._dense:
            with torch.set_grad_enabled(self._packed._with_grad):
                self._dense[name] = self._scatter(getattr(self._packed, name))
            self._versions[name] = _version(self._dense[name])
        return self._dense[name]

    def _set(self, name: str, value: torch.Tensor) -> None:
        self._drop_packed()
        self._dense[name] = value

    def _drop_packed(self) -> None:
        for field, slots in vars(type(self)).items():
            if isinstance(slots, _Slots):
                self._get(field)
        self._packed, self._versions = None, {}

    def _scatter(self, values: torch.Tensor) -> torch.Tensor:
        """Packed (M, ...) to dense (N, H, W, K, ...), -1 where empty."""
        packed = self._packed
        if self._slots is None:
            counts = packed.offsets[1:] - packed.offsets[:-1]
            self._slots = max(int(counts.max()) if len(counts) else 0, 1)
        pixel = packed.pixel_index
        rank = torch.arange(len(packed), device=pixel.device) - packed.offsets.long().index_select(0, pixel)
        shape = (packed.n_images, *packed.image_size, self._slots, *values.shape[1:])
        dense = values.new_full((shape[0] * shape[1] * shape[2] * shape[3], *values.shape[1:]), -1)
        return dense.index_copy(0, pixel * self._slots + rank, values).view(shape)


def _version(tensor: torch.Tensor) -> int:
    """How often a tensor was written into; torch does not count this in inference mode."""
    return 0 if tensor.is_inference() else tensor._version


@dataclass(init=False, repr=False, eq=False)
class Fragments(_Dense):
    """Dense rasterization output of N images with K slots a pixel, empty slots -1.

    A rasterizer fills ``packed`` and builds the dense tensors when they are first read. Fragments made by hand from
    dense tensors have ``packed`` None; what is not read may be None. Differentiable in all but ``pix_to_face``. This is
    a dataclass: ``dataclasses.replace(fragments, zbuf=...)`` makes fragments by hand.

    Args:
        pix_to_face: (N, H, W, K) int64, index into the batch's packed faces; -1 where empty.
        zbuf: (N, H, W, K) depth in view space.
        bary_coords: (N, H, W, K, 3) barycentric coordinates.
        dists: (N, H, W, K) squared distance to the face's nearest edge in NDC units squared, negative inside the face.
    """

    pix_to_face: torch.Tensor = _Slots("(N, H, W, K) int64.")  # type: ignore[assignment]
    zbuf: torch.Tensor = _Slots("(N, H, W, K).")  # type: ignore[assignment]
    bary_coords: torch.Tensor = _Slots("(N, H, W, K, 3).")  # type: ignore[assignment]
    dists: torch.Tensor = _Slots("(N, H, W, K).")  # type: ignore[assignment]

    def __init__(
        self,
        pix_to_face: torch.Tensor,
        zbuf: torch.Tensor | None,
        bary_coords: torch.Tensor | None,
        dists: torch.Tensor | None = None,
    ):
        super().__init__(pix_to_face=pix_to_face, zbuf=zbuf, bary_coords=bary_coords, dists=dists)

    @property
    def rasterization(self) -> MeshRasterization | None:
        """The meshes and settings that the fragments were rasterized from; None for fragments made by hand."""
        return None if self.packed is None else self.packed.rasterization

    def is_covered(self) -> torch.Tensor:
        """(N, H, W) bool: whether a pixel has a face."""
        if self.rasterization is None:
            return (self.pix_to_face >= 0).any(-1)
        offsets, _ = self.rasterization.selection(by_depth=False)
        return (offsets.diff() > 0).view(self.packed.n_images, *self.packed.image_size)

    def bary_slopes(self) -> torch.Tensor | None:
        """(N, H, W, K, 3, 2): how ``bary_coords`` change to the next pixel to the right and below; -1 where empty.

        Not differentiable. None for fragments made by hand.
        """
        return None if self.rasterization is None else self._scatter(self.rasterization.bary_slopes())

    def detach(self) -> Fragments:
        """The same fragments, cut from the graph."""
        return Fragments(self.pix_to_face, *map(_detach, (self.zbuf, self.bary_coords, self.dists)))


def as_fragments(fragments: Any) -> Fragments:
    """These fragments; those of a caller's own class, such as a longer named tuple, as fragments made by hand.

    Raises:
        ValueError: if a tensor of fragments is not there.
    """
    if isinstance(fragments, Fragments):
        return fragments
    names = [name for name, slots in vars(Fragments).items() if isinstance(slots, _Slots)]
    missing = [name for name in names if not hasattr(fragments, name)]
    if missing:
        fail("fragments", f"fragments with {', '.join(missing)}", type(fragments).__name__)
    return Fragments(*(getattr(fragments, name) for name in names))


class PointFragments(_Dense, Sequence[torch.Tensor]):
    """Dense rasterization output of N point clouds with K slots a pixel, empty slots -1.

    A rasterizer fills ``packed`` and builds the dense tensors when they are first read. Fragments made by hand from
    dense tensors have ``packed`` None; what is not read may be None. Behaves as the named tuple ``(idx, zbuf, dists)``.
    Differentiable in ``zbuf`` and ``dists``.

    Args:
        idx: (N, H, W, K) int32 or int64, index into the batch's packed points; -1 where empty.
        zbuf: (N, H, W, K) depth in view space.
        dists: (N, H, W, K) squared distance to the point in NDC units squared.
    """

    _fields: ClassVar[tuple[str, ...]] = ("idx", "zbuf", "dists")

    idx = _Slots("(N, H, W, K) int32 from the rasterizer.")
    zbuf = _Slots("(N, H, W, K).")
    dists = _Slots("(N, H, W, K).")

    def __init__(self, idx: torch.Tensor, zbuf: torch.Tensor | None, dists: torch.Tensor | None):
        super().__init__(idx=idx, zbuf=zbuf, dists=dists)

    def __len__(self) -> int:
        return len(self._fields)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self._asdict().values())[index]

    def _asdict(self) -> dict[str, torch.Tensor]:
        """The tensors by name."""
        return {name: getattr(self, name) for name in self._fields}

    def _replace(self, **changes: torch.Tensor) -> PointFragments:
        """Fragments made by hand, with other tensors in place of some of these."""
        return PointFragments(**{**self._asdict(), **changes})

    def detach(self) -> PointFragments:
        """The same fragments, cut from the graph."""
        return PointFragments(*map(_detach, self))


def _detach(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value
