"""A short way into kernels that Taichi has compiled.

Taichi 1.7 looks at each argument of each launch anew, in Python, which takes 20 to 40 microseconds: for a kernel of 30
arguments as long as the kernel itself takes on a small scene. What depends on the types of the arguments alone is found
out once here; after that a launch hands over addresses, shapes and numbers.
"""

from __future__ import annotations

from typing import Any

# what an argument is; an array has the number of its last dimensions that make up one element: 0, or 1 for vectors
TEMPLATE, INTEGER, REAL = -3, -2, -1


class Launcher:
    """Launches a kernel on contiguous tensors without ``requires_grad``, on numbers, and on values for templates.

    Args:
        kernel: a function decorated with ``ti.kernel``.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._kinds = [_kind(argument.annotation) for argument in kernel._primal.arguments]
        self._known: dict[tuple[Any, ...], Any] = {}  # types of arguments: what Taichi knows the compiled kernel by

    def __call__(self, *args: Any) -> None:
        primal = self._kernel._primal
        types = tuple(
            [
                (arg.dtype, arg.dim(), arg.shape[arg.dim() - kind :])
                if kind >= 0
                else arg
                if kind == TEMPLATE
                else None
                for arg, kind in zip(args, self._kinds)
            ]
        )
        compiled = primal.compiled_kernels.get(self._known.get(types))  # all are dropped by ti.reset
        if compiled is None or len(args) != len(self._kinds):
            self._kernel(*args)  # Taichi's own way checks the types, and compiles
            self._known[types] = primal.ensure_compiled(*args)
            return
        context = compiled.make_launch_context()
        index = 0
        for arg, kind in zip(args, self._kinds):
            if kind >= 0:
                if not arg.is_contiguous():
                    raise ValueError(f"argument {index}: expected a contiguous tensor, got strides {arg.stride()}")
                shape = arg.shape[: arg.dim() - kind]
                context.set_arg_external_array_with_shape((index,), arg.data_ptr(), arg.nbytes, shape, 0)
            elif kind == INTEGER:
                context.set_arg_int((index,), int(arg))
            elif kind == REAL:
                context.set_arg_float((index,), float(arg))
            else:
                continue  # compiled in
            index += 1
        program = primal.runtime.prog
        program.launch_kernel(program.compile_kernel(program.config(), program.get_device_caps(), compiled), context)


def _kind(annotation: Any) -> int:
    import taichi as ti
    from taichi.lang.matrix import MatrixType
    from taichi.types.ndarray_type import NdarrayType

    if isinstance(annotation, ti.template):
        return TEMPLATE
    if isinstance(annotation, NdarrayType):
        return annotation.dtype.ndim if isinstance(annotation.dtype, MatrixType) else 0
    return REAL if annotation in (ti.f32, ti.f64) else INTEGER
