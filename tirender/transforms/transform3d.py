"""Batches of 4x4 transforms of 3-D points.

Points are row vectors: x' = [x, 1] @ M. So the translation is the last row, and ``a.compose(b)`` applies a first.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch

from tirender.checks import FLOATS, as_tensor, batch_index, check_choice, check_kind, check_tensor, fail
from tirender.transforms.math import away_from_zero, matmul
from tirender.transforms.rotation_conversions import AXES, rotation_about_axis
from tirender.transforms.se3 import se3_log_map

Number = float | int | torch.Tensor


class Transform3d:
    """N transforms of 3-D points, each a 4x4 matrix for row vectors; N = 1 broadcasts against any batch.

    A composition keeps its factors. Its inverse is the product of their inverses, which is more accurate than the
    inverse of their product. Everything is differentiable. Float32 and float64 operands give float64.

    Args:
        dtype: the dtype of the identity; used only if ``matrix`` is None.
        device: the device of the identity; used only if ``matrix`` is None.
        matrix: (4, 4) or (N, 4, 4) of float32 or float64; None for the identity.
    Raises:
        ValueError: if the matrix has another shape or dtype.
    """

    def __init__(
        self,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        matrix: torch.Tensor | None = None,
    ) -> None:
        if matrix is None:
            matrix = torch.eye(4, dtype=dtype, device=device)
        check_tensor("matrix", matrix, ("...", 4, 4), FLOATS)
        if matrix.dim() > 3:
            fail("matrix", "shape (4, 4) or (N, 4, 4)", tuple(matrix.shape))
        self._factors: tuple[torch.Tensor, ...] = (matrix.reshape(-1, 4, 4),)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore pickled transforms, also those of PyTorch3D."""
        if "_matrix" in state:
            others = (other.get_matrix() for other in state["_transforms"])
            state = {"_factors": (state["_matrix"].reshape(-1, 4, 4), *others)}
        self.__dict__.update(state)

    @property
    def _matrix(self) -> torch.Tensor:
        """(N, 4, 4): PyTorch3D's private name of the first factor; assigned values are heeded."""
        return self._factors[0]

    @_matrix.setter
    def _matrix(self, matrix: torch.Tensor) -> None:
        self._factors = (Transform3d(matrix=matrix)._factors[0], *self._factors[1:])

    @property
    def _transforms(self) -> list[Transform3d]:
        """PyTorch3D's private name of the other factors, in order; an assigned list is heeded."""
        return [Transform3d(matrix=factor) for factor in self._factors[1:]]

    @_transforms.setter
    def _transforms(self, transforms: Iterable[Transform3d]) -> None:
        self._factors = (self._factors[0], *(transform.get_matrix() for transform in transforms))

    @property
    def device(self) -> torch.device:
        """The device of the matrices."""
        return self._factors[0].device

    @property
    def dtype(self) -> torch.dtype:
        """float32 or float64."""
        dtype = self._factors[0].dtype
        for factor in self._factors[1:]:
            dtype = torch.promote_types(dtype, factor.dtype)
        return dtype

    def __len__(self) -> int:
        return len(self.get_matrix())

    def __getitem__(self, index: Any) -> Transform3d:
        """The transforms at an integer, a slice, a list of integers, or a bool or integer tensor.

        Those of a ``Translate``, ``Scale`` or ``Rotate`` (or ``RotateAxisAngle``) are such again.

        Raises:
            IndexError: if an index is out of range or has another type.
        """
        matrix = self.get_matrix()
        picked = copy.copy(self)
        picked._factors = (matrix.index_select(0, batch_index(index, len(matrix), matrix.device)),)
        return picked

    def compose(self, *others: Transform3d) -> Transform3d:
        """The transform that applies this one, then ``others`` in order; batches of N and 1 broadcast.

        Raises:
            ValueError: if one of them is not a ``Transform3d``.
        """
        for other in others:
            check_kind("others", other, Transform3d)
        return _from_factors(sum((other._factors for other in others), self._factors))

    def get_matrix(self) -> torch.Tensor:
        """The composed matrices (N, 4, 4)."""
        product = self._factors[0]
        for factor in self._factors[1:]:
            product = _matmul(product, factor)
        return product

    def get_se3_log(self, eps: float = 1e-4, cos_bound: float = 1e-4) -> torch.Tensor:
        """The logarithms (N, 6) of rigid motions; see :func:`tirender.transforms.se3_log_map`."""
        return se3_log_map(self.get_matrix(), eps, cos_bound)

    def inverse(self, invert_composed: bool = False) -> Transform3d:
        """The inverse transforms.

        Args:
            invert_composed: invert the product as one matrix, not factor by factor.
        Raises:
            RuntimeError: if a matrix is singular.
        """
        if invert_composed:
            return Transform3d(matrix=torch.linalg.inv(self.get_matrix()))
        return _from_factors(self._inverse_factors())

    def stack(self, *others: Transform3d) -> Transform3d:
        """Concatenate the batch of this object and those of ``others``."""
        return Transform3d(matrix=torch.cat([t.get_matrix() for t in (self, *others)]))

    def transform_points(self, points: torch.Tensor, eps: float | None = None) -> torch.Tensor:
        """Transform points, and divide them by the homogeneous coordinate w.

        Args:
            points: (P, 3), or (N or 1, P, 3).
            eps: least |w|. A smaller one is replaced by ``eps`` with the same sign, without a gradient, so that values
                and gradients are finite for points on the camera plane. None: a point with w = 0 gives inf or nan.
        Returns:
            (N, P, 3), or (P, 3) if ``points`` is (P, 3) and N = 1; differentiable.
        Raises:
            ValueError: if the points' shape, dtype or batch size is wrong.
        """
        batch = self._batch_of("points", points)
        matrix = self.get_matrix()
        homogeneous = _matmul(batch, matrix[:, :3]) + matrix[:, 3:]
        w = homogeneous[..., 3:]
        if eps is not None:
            w = away_from_zero(w, eps)
        return _unbatch(homogeneous[..., :3] / w, points)

    def transform_normals(self, normals: torch.Tensor) -> torch.Tensor:
        """Transform normals by the inverse transpose, so that they stay perpendicular to their surfaces.

        Args:
            normals: (P, 3), or (N or 1, P, 3).
        Returns:
            (N, P, 3), or (P, 3) if ``normals`` is (P, 3) and N = 1; not normalized; differentiable.
        Raises:
            ValueError: if the normals' shape, dtype or batch size is wrong.
            RuntimeError: if a matrix is singular.
        """
        batch = self._batch_of("normals", normals)
        inverse = torch.linalg.inv(self.get_matrix()[:, :3, :3])
        return _unbatch(_matmul(batch, inverse.transpose(1, 2)), normals)

    def translate(self, *args: Any, **kwargs: Any) -> Transform3d:
        """This transform followed by ``Translate(...)``."""
        return self.compose(Translate(*args, **self._defaults(kwargs)))

    def scale(self, *args: Any, **kwargs: Any) -> Transform3d:
        """This transform followed by ``Scale(...)``."""
        return self.compose(Scale(*args, **self._defaults(kwargs)))

    def rotate(self, *args: Any, **kwargs: Any) -> Transform3d:
        """This transform followed by ``Rotate(...)``."""
        return self.compose(Rotate(*args, **self._defaults(kwargs)))

    def rotate_axis_angle(self, *args: Any, **kwargs: Any) -> Transform3d:
        """This transform followed by ``RotateAxisAngle(...)``."""
        return self.compose(RotateAxisAngle(*args, **self._defaults(kwargs)))

    def clone(self) -> Transform3d:
        """The same transforms in new tensors."""
        return _from_factors(tuple(factor.clone() for factor in self._factors))

    def to(self, device: torch.device | str, copy: bool = False, dtype: torch.dtype | None = None) -> Transform3d:
        """The transforms on ``device``, in ``dtype`` if given. Returns self if nothing changes, unless ``copy``."""
        moved = tuple(factor.to(device=device, dtype=dtype, copy=copy) for factor in self._factors)
        if all(new is old for new, old in zip(moved, self._factors)):
            return self
        return _from_factors(moved)

    def cpu(self) -> Transform3d:
        """The transforms on the CPU."""
        return self.to("cpu")

    def cuda(self) -> Transform3d:
        """The transforms on the current CUDA device."""
        return self.to("cuda")

    def _inverse_factors(self) -> tuple[torch.Tensor, ...]:
        return tuple(torch.linalg.inv(factor) for factor in reversed(self._factors))

    def _batch_of(self, name: str, points: torch.Tensor) -> torch.Tensor:
        check_tensor(name, points, ("...", "P", 3), FLOATS)
        batch = points[None] if points.dim() == 2 else points
        if batch.dim() != 3:
            fail(name, "shape (P, 3) or (N, P, 3)", tuple(points.shape))
        if len(self) != len(batch) and 1 not in (len(self), len(batch)):
            fail(name, f"a batch of 1 or {len(self)}, the number of transforms", len(batch))
        return batch

    def _defaults(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {"dtype": self.dtype, "device": self.device, **kwargs}


class Translate(Transform3d):
    """Translations: x' = x + (x, y, z).

    Args:
        x: a number or an (N,) tensor; or an (N, 3) tensor of all three, with ``y`` and ``z`` None.
        y, z: numbers or (N,) tensors.
        dtype: None takes the tensors' dtype, or float32 for numbers. (PyTorch3D's default casts to float32.)
        device: None takes the tensors' device, or the CPU.
    Raises:
        ValueError: if the sizes do not broadcast.
    """

    def __init__(
        self,
        x: Number,
        y: Number | None = None,
        z: Number | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        xyz = _xyz("Translate", x, y, z, dtype, device)
        rows = torch.eye(3, 4, dtype=xyz.dtype, device=xyz.device).expand(len(xyz), 3, 4)
        last = torch.cat([xyz, torch.ones_like(xyz[:, :1])], 1)
        super().__init__(matrix=torch.cat([rows, last[:, None]], 1))

    def _inverse_factors(self) -> tuple[torch.Tensor, ...]:
        (matrix,) = self._factors
        return (2 * torch.eye(4, dtype=self.dtype, device=self.device) - matrix,)


class Scale(Transform3d):
    """Scalings along the axes: x' = x * (x, y, z).

    Args:
        x: a number or an (N,) tensor, used for all axes if ``y`` and ``z`` are None; or an (N, 3) tensor.
        y, z: numbers or (N,) tensors.
        dtype: None takes the tensors' dtype, or float32 for numbers. (PyTorch3D's default casts to float32.)
        device: None takes the tensors' device, or the CPU.
    Raises:
        ValueError: if the sizes do not broadcast.
    """

    def __init__(
        self,
        x: Number,
        y: Number | None = None,
        z: Number | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        is_uniform = y is None and z is None and not (isinstance(x, torch.Tensor) and x.dim() == 2)
        xyz = _xyz("Scale", *((x, x, x) if is_uniform else (x, y, z)), dtype, device)
        super().__init__(matrix=torch.diag_embed(torch.cat([xyz, torch.ones_like(xyz[:, :1])], 1)))

    def _inverse_factors(self) -> tuple[torch.Tensor, ...]:
        (matrix,) = self._factors
        return (torch.diag_embed(1 / matrix.diagonal(dim1=1, dim2=2)),)


class Rotate(Transform3d):
    """Rotations: x' = x @ R; the inverse is the transpose.

    Args:
        R: (3, 3) or (N, 3, 3).
        dtype: None takes that of ``R``. (PyTorch3D's default casts to float32.)
        device: None takes that of ``R``.
        orthogonal_tol: ignored; R is not checked, as by default in PyTorch3D.
    Raises:
        ValueError: if R has another shape.
    """

    def __init__(
        self,
        R: torch.Tensor,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        orthogonal_tol: float = 1e-5,
    ) -> None:
        check_tensor("R", R, ("...", 3, 3))
        if R.dim() > 3:
            fail("R", "shape (3, 3) or (N, 3, 3)", tuple(R.shape))
        R = R.reshape(-1, 3, 3).to(dtype=dtype or _float_dtype(R), device=device)
        super().__init__(matrix=_block_matrix(R))

    def _inverse_factors(self) -> tuple[torch.Tensor, ...]:
        (matrix,) = self._factors
        return (matrix.transpose(1, 2),)


class RotateAxisAngle(Rotate):
    """Rotations about a coordinate axis, counter-clockwise seen from the axis's tip.

    Args:
        angle: a number or an (N,) tensor.
        axis: "X", "Y" or "Z", upper or lower case.
        degrees: whether the angle is in degrees rather than radians.
        dtype: None takes that of ``angle``, or float32 for numbers. (PyTorch3D's default casts to float32.)
        device: None takes that of ``angle``, or the CPU.
    Raises:
        ValueError: if the axis or the angle's shape is wrong.
    """

    def __init__(
        self,
        angle: Number,
        axis: str = "X",
        degrees: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        check_choice("axis", axis.upper(), tuple(AXES))
        radians = _coordinate("angle", angle, dtype or _float_dtype(angle), device)
        if degrees:
            radians = radians * (math.pi / 180)
        super().__init__(rotation_about_axis(AXES.index(axis.upper()), radians).transpose(1, 2))


def _from_factors(factors: tuple[torch.Tensor, ...]) -> Transform3d:
    transform = Transform3d(matrix=factors[0])
    transform._factors = factors
    return transform


def _matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b, (N, ., .) each; a batch of 1 broadcasts."""
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        fail("transforms", "batches of one size or of 1", f"{len(a)} and {len(b)}")
    return matmul(a, b)


def _unbatch(result: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return result[0] if points.dim() == 2 and len(result) == 1 else result


def _block_matrix(R: torch.Tensor) -> torch.Tensor:
    """The 4x4 matrices with R in the upper left and (0, 0, 0, 1) in the last row and column."""
    matrix = torch.nn.functional.pad(R, (0, 1, 0, 1))
    return matrix + torch.diag(R.new_tensor([0, 0, 0, 1]))


def _xyz(
    name: str,
    x: Number,
    y: Number | None,
    z: Number | None,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> torch.Tensor:
    """Check three coordinates, or one (N, 3) tensor; return them as (N, 3)."""
    if isinstance(x, torch.Tensor) and x.dim() == 2:
        check_tensor(f"{name} x", x, ("N", 3))
        if y is not None or z is not None:
            fail(f"{name} y, z", "None, as x has all three coordinates", "values")
        return x.to(dtype=dtype or _float_dtype(x), device=device)
    if y is None or z is None:
        fail(f"{name} y, z", "numbers or (N,) tensors", "None")
    dtype = dtype or _float_dtype(x, y, z)
    if device is None:
        device = next((c.device for c in (x, y, z) if isinstance(c, torch.Tensor)), torch.device("cpu"))
    columns = [_coordinate(f"{name} {axis}", c, dtype, device) for axis, c in zip("xyz", (x, y, z))]
    sizes = [len(c) for c in columns]
    if len({size for size in sizes if size != 1}) > 1:
        fail(f"{name} x, y, z", "lengths that are equal or 1", sizes)
    return torch.stack(torch.broadcast_tensors(*columns), 1)


def _coordinate(name: str, value: Number, dtype: torch.dtype, device: torch.device | str | None) -> torch.Tensor:
    """Check a number, or a 0-d or (N,) tensor; return it as (N,)."""
    tensor = as_tensor(name, value).to(dtype=dtype, device=device)
    if tensor.dim() > 1:
        fail(name, "a number or shape (N,)", tuple(tensor.shape))
    return tensor.reshape(-1)


def _float_dtype(*values: Number) -> torch.dtype:
    """float64 if one of the tensors has that dtype, else float32."""
    dtypes = {v.dtype for v in values if isinstance(v, torch.Tensor)}
    if any(dtype.is_complex for dtype in dtypes):
        fail("transform", "real numbers", "complex ones")
    return torch.float64 if torch.float64 in dtypes else torch.float32
