"""Arguments for every kernel, made from the types of its parameters: other shapes and numbers for each."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import taichi as ti
import torch
from taichi.lang.matrix import MatrixType
from taichi.lang.struct import StructType
from taichi.types.ndarray_type import NdarrayType

import tirender.engine.kernels
from tirender.engine.kernels import composite_gaussians, project_gaussians, spherical_harmonics, volume_march

# What kernels are compiled for, by the name of a template parameter, or by its file and name where files differ. These
# are values on a GPU, where all parts share one sum.
TEMPLATES: dict[str, tuple[Any, ...]] = {
    "atomic": (True,),
    "material_shading.bent": (False, True),
    "mesh_shading.mipmaps": (False, True),
    "composite_gaussians.variant": (
        composite_gaussians.Variant(n_channels=3, exact=False),
        composite_gaussians.Variant(n_channels=4, exact=True, absolute=True),
    ),
    "n_dims": (2, 3),
    "n_features": (1, 2, 8),
    "norm": (1, 2),
    "project_gaussians.variant": tuple(
        project_gaussians.Variant(model, covariances, atomic=True)
        for model in range(3)
        for covariances in (False, True)
    ),
    "segments": (False, True),
    "single": (False, True),
    "spherical_harmonics.variant": tuple(  # degree 4 compiles, but its adjoint spills in float64
        spherical_harmonics.Variant(degree, clamped=True, n_first=n, atomic=True)
        for degree in range(4)
        for n in (1, 25)[degree == 0 :]  # of degree 0, both are the same
    ),
    "volume_march.variant": (
        volume_march.Variant(n_vec4=1, thickness=1, lanes=1, rays_wanted=False, atomic=True),
        volume_march.Variant(n_vec4=1, thickness=2, lanes=1, rays_wanted=True, atomic=True),
        volume_march.Variant(n_vec4=4, thickness=1, lanes=1, rays_wanted=True, atomic=True),
    ),
}
TYPES = {ti.i32: torch.int32, ti.i64: torch.int64, ti.f32: torch.float32, ti.f64: torch.float64}


class Case(NamedTuple):
    """One way to compile a kernel.

    Attributes:
        name: of its file and of the kernel.
        kernel: a function decorated with ``ti.kernel``.
        templates: the values of its template parameters, by name.
        floats: the type of its arrays of floats.
    """

    name: str
    kernel: Any
    templates: dict[str, Any]
    floats: torch.dtype

    @property
    def title(self) -> str:
        return " ".join([self.name, str(self.floats)[6:], *(f"{k}={v}" for k, v in self.templates.items())])


def cases() -> list[Case]:
    """Every kernel with each combination of its templates, and in both types of floats if it has arrays of floats."""
    found = []
    for name, kernel in kernels():
        arguments = kernel._primal.arguments
        templates = {a.name: template_values(name, a.name) for a in arguments if isinstance(a.annotation, ti.template)}
        types = (torch.float32, torch.float64) if any(map(_is_float_array, arguments)) else (torch.float32,)
        for values in itertools.product(*templates.values()):
            found += [Case(name, kernel, dict(zip(templates, values)), floats) for floats in types]
    return found


def kernels() -> Iterator[tuple[str, Any]]:
    """Every kernel of ``tirender/engine/kernels/`` but those for a CPU alone, whose files are named after its lanes."""
    for file in pkgutil.iter_modules(tirender.engine.kernels.__path__):
        module = importlib.import_module(f"tirender.engine.kernels.{file.name}")
        for name, kernel in vars(module).items():
            is_own = hasattr(kernel, "_primal") and kernel.__module__ == module.__name__
            if is_own and not file.name.endswith("_lanes"):
                yield f"{file.name}.{name}", kernel


def arguments(case: Case, empty: Callable[[tuple[int, ...], torch.dtype], torch.Tensor]) -> list[Any]:
    """What to launch a case with; ``empty`` makes tensors of a shape and type."""
    number = itertools.count(2)
    made: list[Any] = []
    for argument in case.kernel._primal.arguments:
        kind = argument.annotation
        if isinstance(kind, ti.template):
            made.append(case.templates[argument.name])
        elif isinstance(kind, NdarrayType):
            element = (kind.dtype.n,) if isinstance(kind.dtype, MatrixType) else ()
            shape = (*itertools.islice(number, kind.ndim), *element)
            made.append(empty(shape, case.floats if _is_float_array(argument) else TYPES[_element(kind)]))
        elif isinstance(kind, StructType):
            made.append(tuple(_number(member, next(number)) for member in kind.members.values()))
        else:
            made.append(_number(kind, next(number)))
    return made


def packed(case: Case, args: list[Any]) -> bytes:
    """The arguments as a kernel on a GPU finds them: laid out as C would, and an array as its shape and address."""
    out = b""

    def add(*numbers: tuple[Any, Any], alignment: int) -> None:
        nonlocal out
        out += bytes(-len(out) % alignment)
        for kind, number in numbers:
            data = torch.tensor(number, dtype=TYPES[kind]).numpy().tobytes()
            out += bytes(-len(out) % len(data)) + data

    for argument, arg in zip(case.kernel._primal.arguments, args):
        kind = argument.annotation
        if isinstance(kind, NdarrayType):
            shape = [(ti.i32, n) for n in arg.shape[: kind.ndim]]
            add(*shape, (ti.i64, arg.data_ptr()), alignment=8)
        elif isinstance(kind, StructType):
            add(*zip(kind.members.values(), arg), alignment=4)
        elif not isinstance(kind, ti.template):
            add((kind, arg), alignment=1)
    return out


def template_values(name: str, template: str) -> tuple[Any, ...]:
    """What a template parameter of a kernel may be."""
    for key in (f"{name.split('.')[0]}.{template}", template):
        if key in TEMPLATES:
            return TEMPLATES[key]
    raise KeyError(f"{name}: the template parameter {template!r} is new: add its values to TEMPLATES in {__file__}")


def _element(kind: NdarrayType) -> Any:
    """The type of an array's numbers; None where it is that of the tensor."""
    return kind.dtype.dtype if isinstance(kind.dtype, MatrixType) else kind.dtype


def _is_float_array(argument: Any) -> bool:
    """Whether an array takes both types of floats. Taichi does not look at the type of a vector's numbers."""
    kind = argument.annotation
    return isinstance(kind, NdarrayType) and (
        kind.dtype is None or (isinstance(kind.dtype, MatrixType) and _element(kind) == ti.f32)
    )


def _number(kind: Any, value: int) -> float:
    return value + 0.5 if kind in (ti.f32, ti.f64) else value
