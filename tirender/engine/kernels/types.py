"""The types of kernels' arguments: arrays, and groups of numbers.

An array of floats is f32, or f64 under gradcheck; the last axis of torch's tensor holds the vector.
"""

from typing import Any, NamedTuple, get_type_hints

import taichi as ti

FloatArray = ti.types.ndarray(ndim=1)
FloatArray2D = ti.types.ndarray(ndim=2)
FloatArray3D = ti.types.ndarray(ndim=3)
F32Array = ti.types.ndarray(dtype=ti.f32, ndim=1)  # never f64
F32Array2D = ti.types.ndarray(dtype=ti.f32, ndim=2)
Vec2Array = ti.types.ndarray(dtype=ti.math.vec2, ndim=1)  # torch (n, 2)
Vec2Array2D = ti.types.ndarray(dtype=ti.math.vec2, ndim=2)  # torch (n, m, 2)
Vec3Array = ti.types.ndarray(dtype=ti.math.vec3, ndim=1)  # torch (n, 3)
Vec3Array2D = ti.types.ndarray(dtype=ti.math.vec3, ndim=2)  # torch (n, m, 3)
Vec4Array = ti.types.ndarray(dtype=ti.math.vec4, ndim=1)  # torch (n, 4)
Vec4Array2D = ti.types.ndarray(dtype=ti.math.vec4, ndim=2)  # torch (n, m, 4)

I32Array = ti.types.ndarray(dtype=ti.i32, ndim=1)
I32Array2D = ti.types.ndarray(dtype=ti.i32, ndim=2)
I32Array3D = ti.types.ndarray(dtype=ti.i32, ndim=3)
I64Array = ti.types.ndarray(dtype=ti.i64, ndim=1)
I64Array2D = ti.types.ndarray(dtype=ti.i64, ndim=2)
IVec3Array = ti.types.ndarray(dtype=ti.math.ivec3, ndim=1)  # torch (n, 3) int32
IVec4Array = ti.types.ndarray(dtype=ti.math.ivec4, ndim=1)  # torch (n, 4) int32


def struct_of(numbers: type) -> Any:
    """The struct that a kernel takes for a NamedTuple of int, bool and float: a launch passes the tuple as it is."""
    return ti.types.struct(
        **{name: ti.f32 if kind is float else ti.i32 for name, kind in get_type_hints(numbers).items()}
    )


class ImageSize(NamedTuple):
    """The size of an image in pixels."""

    height: int
    width: int


ImageSizeStruct = struct_of(ImageSize)
