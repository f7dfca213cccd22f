"""The base class of textures: a batch of per-mesh tensors, which is indexed, extended and joined like the meshes."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import torch

from tirender.checks import as_floats, batch_index, check_tensor, fail
from tirender.structures.packing import stored
from tirender.structures.utils import list_to_padded

PerMesh = torch.Tensor | list[torch.Tensor]  # one padded tensor (N, ...), or one tensor a mesh
Index = int | list[int] | slice | torch.Tensor
Cast = Callable[[str, torch.Tensor], torch.Tensor]
Self = TypeVar("Self", bound="TexturesBase")


class TexturesBase(ABC):
    """The textures of a batch of N meshes.

    A field is a padded tensor (N, ...), or a list with one tensor a mesh. Meshes made by ``extend`` share their tensors
    (the list has the same object N times), so that N views of one mesh need one copy of its map.

    ``Meshes`` sets ``_num_faces_per_mesh``, ``_num_verts_per_mesh`` and ``valid`` of its textures. Padded fields do not
    tell these sizes.
    """

    # The attribute name of each field, and the meaning of its rows: "faces" or "verts" of the mesh, or None for others.
    _fields: ClassVar[dict[str, str | None]] = {}

    device: torch.device
    valid: torch.Tensor
    _N: int
    _num_faces_per_mesh: list[int]
    _num_verts_per_mesh: list[int]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore pickled textures, also those of PyTorch3D."""
        if any(name in state for name in self._fields):
            self.__dict__.update(state)
            return
        options = {name: state[name] for name in ("padding_mode", "align_corners", "sampling_mode") if name in state}
        fields = {name[1:]: stored(state, name[1:]) for name in self._fields}
        given = {name: value for name, value in fields.items() if value is not None}
        self.__init__(**given, **options)  # type: ignore[misc]

    def __len__(self) -> int:
        return self._N

    def isempty(self) -> bool:
        """Whether there are no meshes, or only empty ones."""
        return self._N == 0 or not bool(self.valid.any())

    def clone(self: Self) -> Self:
        """A copy with its own tensors; differentiable."""
        return self._apply(torch.clone)

    def detach(self: Self) -> Self:
        """The same textures without gradients, sharing memory."""
        return self._apply(torch.detach)

    def to(self: Self, device: torch.device | str) -> Self:
        """The same textures on ``device``; tensors already there are not copied."""
        moved = self._apply(lambda t: t.to(device))
        moved.device, moved.valid = torch.device(device), self.valid.to(device)
        return moved

    def extend(self: Self, N: int) -> Self:
        """Repeat the textures of each mesh N times in a row, without copying them.

        Raises:
            ValueError: if N is not an integer above 0.
        """
        if not isinstance(N, int) or N <= 0:
            fail("N", "an integer above 0", N)
        return self._select([i for i in range(self._N) for _ in range(N)])

    def __getitem__(self: Self, index: Index) -> Self:
        """The textures of the meshes at an integer, a list of them, a slice, a bool mask (N,) or an integer tensor.

        Raises:
            IndexError: if the index has another type, or is out of range.
        """
        return self._select(batch_index(index, self._N, torch.device("cpu")).tolist())

    def join_batch(self: Self, textures: Sequence[Self]) -> Self:
        """Concatenate these textures and those of ``textures`` to one batch.

        Raises:
            ValueError: if they have different classes.
        """
        together = [self, *textures]
        for other in textures:
            if type(other) is not type(self):
                fail("textures", f"all of type {type(self).__name__}", type(other).__name__)
        fields: dict[str, PerMesh | None] = {
            name: None if getattr(self, name) is None else [t for part in together for t in part._list(name)]
            for name in self._fields
        }
        return self._rebuilt(
            fields,
            [n for part in together for n in part._num_faces_per_mesh],
            [n for part in together for n in part._num_verts_per_mesh],
            torch.cat([part.valid for part in together]),
        )

    @abstractmethod
    def join_scene(self) -> TexturesBase:
        """The textures of the mesh that joins all meshes."""

    @abstractmethod
    def check_shapes(self, batch_size: int, max_num_verts: int, max_num_faces: int) -> bool:
        """Whether the textures fit a batch of meshes with these (padded) sizes."""

    def check_sizes(self, num_verts: Sequence[int], num_faces: Sequence[int]) -> bool:
        """Whether lists have one row for each vertex or face of each mesh; ``check_shapes`` checks only the largest."""
        sizes = {"verts": list(num_verts), "faces": list(num_faces)}
        lists = [(getattr(self, name), rows) for name, rows in self._fields.items() if rows is not None]
        return all([len(t) for t in values] == sizes[rows] for values, rows in lists if isinstance(values, list))

    @abstractmethod
    def submeshes(
        self, vertex_ids_list: list[list[torch.Tensor]], faces_ids_list: list[list[torch.Tensor]]
    ) -> TexturesBase:
        """The textures of submeshes, as one batch: those of mesh 0, then those of mesh 1, and so on.

        Args:
            vertex_ids_list: for each mesh and each of its submeshes, the selected vertices (n,) int64.
            faces_ids_list: likewise, the selected faces.
        """

    @abstractmethod
    def faces_verts_textures_packed(self, **kwargs: Any) -> torch.Tensor:
        """(F, 3, C): the colours at the corners of all faces; differentiable in the textures."""

    @abstractmethod
    def sample_textures(self, fragments: Any, **kwargs: Any) -> torch.Tensor:
        """The colour of each fragment, (N, H, W, K, C) for dense ``Fragments``, (M, C) for ``PackedFragments``."""

    def _start(self, n: int, device: torch.device, n_faces: list[int] | None, n_verts: list[int] | None) -> None:
        """Set the sizes and the device of a batch of n; unknown sizes (None) are 0 until ``Meshes`` sets them."""
        self._N, self.device = n, device
        self.valid = torch.ones(n, dtype=torch.bool, device=device)
        self._num_faces_per_mesh = [0] * n if n_faces is None else n_faces
        self._num_verts_per_mesh = [0] * n if n_verts is None else n_verts

    def _list(self, name: str) -> list[torch.Tensor]:
        """A field as one tensor a mesh, without padding."""
        items, rows = unbatch(getattr(self, name)), self._fields[name]
        if rows is None:
            return items
        sizes = self._num_faces_per_mesh if rows == "faces" else self._num_verts_per_mesh
        return [t if len(t) == n else t[:n] for t, n in zip(items, sizes)]

    def _padded(self, name: str, pad_value: float = 0.0) -> torch.Tensor:
        """A field as one tensor (N, ...)."""
        values = getattr(self, name)
        if isinstance(values, torch.Tensor):
            return values
        if not values:
            return torch.zeros(0, 0, device=self.device)
        return list_to_padded(values, pad_value=pad_value)

    def _select(self: Self, indices: list[int]) -> Self:
        fields: dict[str, PerMesh | None] = {}
        for name in self._fields:
            items = None if getattr(self, name) is None else self._list(name)
            fields[name] = None if items is None else [items[i] for i in indices]
        n_faces, n_verts = ([n[i] for i in indices] for n in (self._num_faces_per_mesh, self._num_verts_per_mesh))
        return self._rebuilt(fields, n_faces, n_verts, self.valid[indices])

    def _apply(self: Self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """Apply a function to each tensor; tensors that several meshes share stay shared."""
        fields: dict[str, PerMesh | None] = {}
        for name in self._fields:
            values = getattr(self, name)
            if isinstance(values, list):
                changed = {id(t): change(t) for t in {id(t): t for t in values}.values()}
                fields[name] = [changed[id(t)] for t in values]
            else:
                fields[name] = None if values is None else change(values)
        return self._rebuilt(fields, list(self._num_faces_per_mesh), list(self._num_verts_per_mesh), self.valid.clone())

    def _like(self, *fields: Any) -> TexturesBase:
        """Textures of this class from other fields, which the constructor checks."""
        return type(self)(*fields)

    def _rebuilt(
        self: Self, fields: dict[str, PerMesh | None], n_faces: list[int], n_verts: list[int], valid: torch.Tensor
    ) -> Self:
        other = copy.copy(self)
        other.__dict__.update(fields)
        other._N, other.valid = len(n_faces), valid
        other._num_faces_per_mesh, other._num_verts_per_mesh = n_faces, n_verts
        return other


def check_per_mesh(name: str, values: Any, *shape: int | str, cast: Cast = as_floats) -> PerMesh:
    """Check a tensor (N, *shape) or a list of tensors (*shape), and return it with ``cast(name, tensor)`` for each."""
    if isinstance(values, torch.Tensor):
        if values.dim() != len(shape) + 1 or not _fits(values.shape[1:], shape):
            fail(name, f"shape (N, {', '.join(map(str, shape))}) or a list", tuple(values.shape))
        return cast(name, values)
    if not isinstance(values, (list, tuple)):
        fail(name, "a tensor or a list of tensors", type(values).__name__)
    cast_values = [cast(f"{name}[{i}]", check_tensor(f"{name}[{i}]", t, shape)) for i, t in enumerate(values)]
    devices = {t.device for t in cast_values}
    if len(devices) > 1:
        fail(name, "tensors on one device", sorted(map(str, devices)))
    return cast_values


def unbatch(values: PerMesh) -> list[torch.Tensor]:
    """A field as one tensor a mesh, with its padding."""
    return list(values.unbind(0)) if isinstance(values, torch.Tensor) else list(values)


def device_of(values: PerMesh) -> torch.device:
    """The device of the tensors; the CPU if there are none."""
    return values[0].device if isinstance(values, torch.Tensor) or values else torch.device("cpu")


def distinct(items: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[int]]:
    """The different objects among ``items``, and the position among these of each item."""
    positions: dict[int, int] = {}
    which = [positions.setdefault(id(t), len(positions)) for t in items]
    return list({id(t): t for t in items}.values()), which


def _fits(sizes: Sequence[int], shape: Sequence[int | str]) -> bool:
    return all(isinstance(want, str) or want == has for want, has in zip(shape, sizes))
