"""Colours that depend on the direction of view: real spherical harmonics to degree 4, and the adjoint.

A colour is sum_k c_k Y_k(d) for the direction d from a camera's centre to a point. Y_k is a constant, given as an
array, times a polynomial with whole coefficients. Order and signs are those of Sloan's "Stupid Spherical Harmonics
Tricks" (2008), as all Gaussian splatting has them.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.gaussian_geometry import inverse_length
from tirender.engine.kernels.partial_sums import Sums, add_row
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import (
    FloatArray,
    FloatArray2D,
    I32Array,
    I32Array3D,
    Vec3Array,
    Vec3Array2D,
)


class Variant(NamedTuple):
    """What kernels are compiled for."""

    degree: int  # 0 to 4
    clamped: bool  # whether colours are max(1/2 + the sum, 0)
    n_first: int  # how many coefficients are in the first of their two arrays; a greater number than there are for all
    atomic: bool = False  # whether all parts share one sum


class Inputs(NamedTuple):
    """Torch's tensors at a launch, Taichi's arrays in a kernel.

    Attributes:
        constants: (25,) of the harmonics.
        points: (N, 3).
        centres: (I, 3) of cameras.
        coefficients: (N, n_first, 3), or (N, K, 3) if that is greater.
        rest: (N, L, 3) those after them.
        drawn: (I, N, 1 or more) int32, the first positive where a colour is wanted.
    """

    constants: Any
    points: Any
    centres: Any
    coefficients: Any
    rest: Any
    drawn: Any


@ti.kernel
def spherical_harmonics_forward(
    variant: ti.template(),
    constants: FloatArray,  # these six as in Inputs
    points: Vec3Array,
    centres: Vec3Array,
    coefficients: Vec3Array2D,
    rest: Vec3Array2D,
    drawn: I32Array3D,
    colors: Vec3Array2D,  # (I, N, 3), 0 where no colour is wanted
):
    inputs = ti.static(Inputs(constants, points, centres, coefficients, rest, drawn))
    for n in points:
        for i in range(centres.shape[0]):
            color = 0 * points[n]
            if drawn[i, n, 0] > 0:
                offset = points[n] - centres[i]
                color = color_of(inputs, n, offset * inverse_length(offset), variant)
                if ti.static(variant.clamped):
                    color = ti.max(color, 0)
            colors[i, n] = color


@ti.func
def color_of(inputs: ti.template(), n, d, variant: ti.template()):
    """The colour before it is clamped."""
    color = 0 * d
    if ti.static(variant.clamped):
        color += ti.Vector([0.5, 0.5, 0.5])
    values = polynomials(d, variant.degree)
    for k in ti.static(range((variant.degree + 1) ** 2)):
        array, column = ti.static(place(k, inputs.coefficients, inputs.rest, variant))
        color += inputs.constants[k] * values[k] * array[n, column]
    return color


@ti.kernel
def spherical_harmonics_adjoint(
    variant: ti.template(),
    constants: FloatArray,  # these six as in Inputs
    points: Vec3Array,
    centres: Vec3Array,
    coefficients: Vec3Array2D,
    rest: Vec3Array2D,
    drawn: I32Array3D,
    grad_colors: Vec3Array2D,  # (I, N, 3)
    bounds: I32Array,  # (parts + 1,) the points of each part
    grad_points: Vec3Array,  # (N, 3)
    grad_coefficients: Vec3Array2D,  # as the coefficients
    grad_rest: Vec3Array2D,  # as the rest
    grad_centres: FloatArray2D,  # (parts, 3 * I) zero before
):
    inputs = ti.static(Inputs(constants, points, centres, coefficients, rest, drawn))
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        for n in range(bounds[part], bounds[part + 1]):
            for k in range(coefficients.shape[1]):
                grad_coefficients[n, k] = 0 * points[n]
            for k in range(rest.shape[1]):
                grad_rest[n, k] = 0 * points[n]
            grad_point = 0 * points[n]
            for i in range(centres.shape[0]):
                if drawn[i, n, 0] > 0:
                    grad = color_adjoint(inputs, n, i, grad_colors[i, n], grad_coefficients, grad_rest, variant)
                    grad_point += grad
                    add_row(ti.static(Sums(grad_centres, part, variant.atomic)), 3 * i, -grad)
            grad_points[n] = grad_point


@ti.func
def color_adjoint(
    inputs: ti.template(),
    n,
    i,
    grad_color,
    grad_coefficients: ti.template(),
    grad_rest: ti.template(),
    variant: ti.template(),
):
    """Add the gradients in the coefficients; return that in the point."""
    offset = inputs.points[n] - inputs.centres[i]
    scale = inverse_length(offset)
    d = offset * scale
    g = grad_color
    if ti.static(variant.clamped):
        g = ti.select(color_of(inputs, n, d, variant) >= 0, grad_color, 0)
    values = polynomials(d, variant.degree)
    weights = 0 * values
    for k in ti.static(range((variant.degree + 1) ** 2)):
        array, column = ti.static(place(k, inputs.coefficients, inputs.rest, variant))
        grads, _ = ti.static(place(k, grad_coefficients, grad_rest, variant))
        grads[n, column] = grads[n, column] + inputs.constants[k] * values[k] * g
        weights[k] = inputs.constants[k] * g.dot(array[n, column])
    grad_d = gradient_of_polynomials(d, weights, variant.degree)
    return (grad_d - grad_d.dot(d) * d) * scale


def place(k: int, first: Any, rest: Any, variant: Variant) -> tuple[Any, int]:
    """Which of two arrays holds coefficient k, and its column there."""
    return (first, k) if k < variant.n_first else (rest, k - variant.n_first)


@ti.func
def polynomials(d, degree: ti.template()):
    """The polynomials of all harmonics to a degree, for a unit vector."""
    x, y, z = d.x, d.y, d.z
    xx, yy, zz = x * x, y * y, z * z
    out = ti.Vector([cast_like(1, x) for _ in ti.static(range((degree + 1) ** 2))])
    if ti.static(degree > 0):
        out[1], out[2], out[3] = y, z, x
    if ti.static(degree > 1):
        out[4], out[5], out[6], out[7], out[8] = x * y, y * z, 3 * zz - 1, x * z, xx - yy
    if ti.static(degree > 2):
        out[9], out[10], out[11], out[12] = y * (3 * xx - yy), x * y * z, y * (5 * zz - 1), z * (5 * zz - 3)
        out[13], out[14], out[15] = x * (5 * zz - 1), z * (xx - yy), x * (xx - 3 * yy)
    if ti.static(degree > 3):
        out[16], out[17], out[18] = x * y * (xx - yy), y * z * (3 * xx - yy), x * y * (7 * zz - 1)
        out[19], out[20] = y * z * (7 * zz - 3), 35 * zz * zz - 30 * zz + 3
        out[21], out[22] = x * z * (7 * zz - 3), (xx - yy) * (7 * zz - 1)
        out[23], out[24] = x * z * (xx - 3 * yy), xx * (xx - 3 * yy) - yy * (3 * xx - yy)
    return out


@ti.func
def gradient_of_polynomials(d, w, degree: ti.template()):
    """The gradient of the polynomials' sum with weights w."""
    x, y, z = d.x, d.y, d.z
    xx, yy, zz = x * x, y * y, z * z
    grad = 0 * d
    if ti.static(degree > 0):
        grad += ti.Vector([w[3], w[1], w[2]])
    if ti.static(degree > 1):
        grad.x += w[4] * y + w[7] * z + 2 * w[8] * x
        grad.y += w[4] * x + w[5] * z - 2 * w[8] * y
        grad.z += w[5] * y + 6 * w[6] * z + w[7] * x
    if ti.static(degree > 2):
        grad.x += 6 * w[9] * x * y + w[10] * y * z + w[13] * (5 * zz - 1) + 2 * w[14] * x * z + 3 * w[15] * (xx - yy)
        grad.y += 3 * w[9] * (xx - yy) + w[10] * x * z + w[11] * (5 * zz - 1) - 2 * w[14] * y * z - 6 * w[15] * x * y
        grad.z += w[10] * x * y + 10 * w[11] * y * z + w[12] * (15 * zz - 3) + 10 * w[13] * x * z + w[14] * (xx - yy)
    if ti.static(degree > 3):
        grad.x += w[16] * y * (3 * xx - yy) + 6 * w[17] * x * y * z + w[18] * y * (7 * zz - 1)
        grad.x += w[21] * z * (7 * zz - 3) + 2 * w[22] * x * (7 * zz - 1) + 3 * w[23] * z * (xx - yy)
        grad.x += 4 * w[24] * x * (xx - 3 * yy)
        grad.y += w[16] * x * (xx - 3 * yy) + 3 * w[17] * z * (xx - yy) + w[18] * x * (7 * zz - 1)
        grad.y += w[19] * z * (7 * zz - 3) - 2 * w[22] * y * (7 * zz - 1) - 6 * w[23] * x * y * z
        grad.y += 4 * w[24] * y * (yy - 3 * xx)
        grad.z += w[17] * y * (3 * xx - yy) + 14 * w[18] * x * y * z + w[19] * y * (21 * zz - 3)
        grad.z += w[20] * z * (140 * zz - 60) + w[21] * x * (21 * zz - 3) + 14 * w[22] * z * (xx - yy)
        grad.z += w[23] * x * (xx - 3 * yy)
    return grad
