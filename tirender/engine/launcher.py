"""A short way into kernels that Taichi has compiled.

Taichi 1.7 looks at each argument of each launch anew, in Python, which takes 20 to 40 microseconds: for a kernel of 30
arguments as long as the kernel itself takes on a small scene. What depends on the types of the arguments alone is found
out once here; after that a launch hands over addresses, shapes and numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tirender.engine import compiler
from tirender.engine.device_arrays import DeviceArray
from tirender.engine.device_copies import DeviceCopies

# what an argument is; an array has the number of its last dimensions that make up one element: 0, or 1 for vectors
STRUCT, TEMPLATE, INTEGER, REAL = -4, -3, -2, -1
ALIGNMENT = 64  # of arrays whose vectors are compiled whole; torch's own
NUMBERS = {INTEGER: (int, np.integer), REAL: (int, float, np.integer, np.floating)}


class Launcher:
    """Launches a kernel on contiguous tensors without ``requires_grad``, arrays on the device, numbers, tuples of them,
    and template values.

    Args:
        kernel: a function decorated with ``ti.kernel``, of arrays, 32 and 64 bit numbers, structs of these (passed as
            tuples), and templates.
        copies: what of the tensors is on the device already; None where kernels reach tensors in place.
    Raises:
        TypeError: at a launch with arguments of other kinds or types.
    """

    def __init__(self, kernel: Any, copies: DeviceCopies | None = None) -> None:
        self._copies = copies
        self._kernel = kernel._primal
        from tirender.engine.kernels.tasks import is_cpu  # imports Taichi

        self._whole_vectors = getattr(kernel, "whole_vectors", False) and is_cpu()  # see kernels/lanes.py
        self._names = [argument.name for argument in self._kernel.arguments]
        self._kinds = [_kind(a.name, a.annotation) for a in self._kernel.arguments]
        self._members = {a.name: _members(a) for a, kind in zip(self._kernel.arguments, self._kinds) if kind == STRUCT}
        self._known: dict[tuple[Any, ...], Any] = {}  # types of arguments: what Taichi knows the compiled kernel by

    def __call__(self, *args: Any) -> None:
        if len(args) != len(self._kinds):
            raise TypeError(f"{self._kernel.func.__name__}: expected {len(self._kinds)} arguments, got {len(args)}")
        with self._vectors():
            self._launch(args)

    def _launch(self, args: tuple[Any, ...]) -> None:
        types = tuple(map(_type_of, args, self._kinds))
        compiled = self._kernel.compiled_kernels.get(self._known.get(types))
        if compiled is None:  # never launched so, or before ti.reset
            tensors = (arg.like() if isinstance(arg, DeviceArray) else arg for arg in args)
            self._known[types] = self._kernel.ensure_compiled(*tensors)
            compiled = self._kernel.compiled_kernels[self._known[types]]
        context = compiled.make_launch_context()
        index = 0
        for name, arg, kind in zip(self._names, args, self._kinds):
            if kind == TEMPLATE:
                continue  # compiled in
            if kind >= 0:
                self._set_array(context, index, name, arg, kind)
            elif kind == STRUCT:
                members = self._members[name]
                if not isinstance(arg, tuple) or len(arg) != len(members):
                    raise TypeError(f"{name}: expected a tuple of {len(members)} numbers, got {arg!r}")
                for i, (number, (member, of_kind)) in enumerate(zip(arg, members)):
                    if not isinstance(number, NUMBERS[of_kind]):
                        raise TypeError(f"{name}.{member}: expected a number, got {type(number).__name__}")
                    if of_kind == INTEGER:
                        context.set_struct_arg_int((index, i), int(number))
                    else:
                        context.set_struct_arg_float((index, i), float(number))
            elif not isinstance(arg, NUMBERS[kind]):
                raise TypeError(f"{name}: expected a number, got {type(arg).__name__}")
            elif kind == INTEGER:
                context.set_arg_int((index,), int(arg))
            else:
                context.set_arg_float((index,), float(arg))
            index += 1
        try:
            compiler.launch(self._kernel.runtime.prog, compiled, context)
        except Exception as error:
            from taichi.lang.exception import handle_exception_from_cpp

            raised = handle_exception_from_cpp(error)
            raise type(raised)(f"{self._kernel.func.__name__}: {raised}") from None

    @contextlib.contextmanager
    def _vectors(self) -> Iterator[None]:
        """Within it Taichi compiles vectors whole or apart, as the kernel wants."""
        if not self._whole_vectors:
            yield
            return
        config = self._kernel.runtime.prog.config()
        before = config.real_matrix_scalarize
        config.real_matrix_scalarize = False
        try:
            yield
        finally:
            config.real_matrix_scalarize = before

    def _set_array(self, context: Any, index: int, name: str, tensor: Any, element_dims: int) -> None:
        if isinstance(tensor, DeviceArray):
            context.set_arg_ndarray((index,), tensor.handle)
            return
        if not tensor.is_contiguous():
            raise ValueError(f"{name}: expected a contiguous tensor, got strides {tensor.stride()}")
        if self._whole_vectors and element_dims and tensor.data_ptr() % ALIGNMENT:
            raise ValueError(f"{name}: expected an address that is a multiple of {ALIGNMENT}, got a view")
        copy = self._copies.find(tensor) if self._copies is not None and element_dims else None
        if copy is not None:
            context.set_arg_ndarray((index,), copy.arr)
        else:
            shape = tensor.shape[: tensor.dim() - element_dims]
            context.set_arg_external_array_with_shape((index,), tensor.data_ptr(), tensor.nbytes, shape, 0)


def _type_of(arg: Any, kind: int) -> Any:
    """What of an argument a compiled kernel depends on."""
    if kind >= 0:
        return arg.dtype, arg.dim(), arg.shape[arg.dim() - kind :]
    return arg if kind == TEMPLATE else None


def _kind(name: str, annotation: Any) -> int:
    import taichi as ti
    from taichi.lang.matrix import MatrixType
    from taichi.lang.struct import StructType
    from taichi.types.ndarray_type import NdarrayType

    if isinstance(annotation, ti.template):
        return TEMPLATE
    if isinstance(annotation, NdarrayType):
        return annotation.dtype.ndim if isinstance(annotation.dtype, MatrixType) else 0
    if isinstance(annotation, StructType):
        return STRUCT
    if annotation in (ti.i32, ti.i64):
        return INTEGER
    if annotation in (ti.f32, ti.f64):
        return REAL
    raise TypeError(f"{name}: expected an array, a 32 or 64 bit number, a struct or a template, got {annotation}")


def _members(argument: Any) -> list[tuple[str, int]]:
    """Name and kind of the numbers of a struct."""
    members = [(name, _kind(f"{argument.name}.{name}", kind)) for name, kind in argument.annotation.members.items()]
    if others := [name for name, kind in members if kind not in NUMBERS]:
        raise TypeError(f"{argument.name}: expected a struct of 32 or 64 bit numbers, got other members {others}")
    return members
