"""Structural similarity of images (Wang et al. 2004), in a Gaussian window of 11 x 11 pixels, and the adjoint.

With the window's weights, x and y have means m, n, and E[xx], E[yy], E[xy]. Where p = 2 m n + C1, q = 2 cov + C2,
r = m^2 + n^2 + C1 and s = var x + var y + C2, the similarity is p q / (r s). It depends on x through m, E[xx] and
E[xy]; the forward kernels keep its derivatives by these three. The adjoint spreads them with the same window:
grad x = W[a] + 2 x W[b] + y W[c].

The window is a product: columns are summed first, then rows. Beyond the image, everything is 0. These kernels are for a
GPU, where a thread is a pixel; ``ssim_lanes.py`` has those for a CPU.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import FloatArray, FloatArray2D, struct_of

RADIUS = 5
WINDOW = 2 * RADIUS + 1


class Sizes(NamedTuple):
    """Planes are single channels of images."""

    planes: int
    height: int
    width: int
    margin: int  # pixels at the border whose similarity does not count


class Moments(NamedTuple):
    """Weighted means in a window."""

    x: Any
    y: Any
    xx: Any
    yy: Any
    xy: Any


SizesStruct = struct_of(Sizes)


@ti.kernel
def ssim_columns(
    sizes: SizesStruct,
    weights: FloatArray,  # (RADIUS + 3,) of the window, from its middle; C1, C2
    x: FloatArray,  # (planes * height * width,)
    y: FloatArray,
    moments: FloatArray2D,  # (planes * height * width, 5) sums over columns, of x, y, xx, yy, xy
):
    """Weighted sums over the rows around a pixel."""
    for i in x:
        width, height = sizes.width, sizes.height
        row = i // width % height
        total = ti.Vector([cast_like(0, x[i]) for _ in ti.static(range(5))])
        for k in ti.static(range(-RADIUS, RADIUS + 1)):
            if row + k >= 0 and row + k < height:
                a, b = x[i + k * width], y[i + k * width]
                total += weights[abs(k)] * ti.Vector([a, b, a * a, b * b, a * b])
        for j in ti.static(range(5)):
            moments[i, j] = total[j]


@ti.kernel
def ssim_forward(
    sizes: SizesStruct,
    weights: FloatArray,
    moments: FloatArray2D,  # as from ssim_columns
    slopes: FloatArray2D,  # (planes * height * width, 3) derivatives by x, xx and xy
    values: FloatArray,  # (planes * height * width,) the similarities, 0 where they do not count
):
    for i in values:
        width, height, margin = sizes.width, sizes.height, sizes.margin
        column, row = i % width, i // width % height
        e = sum_over_rows(moments, i, column, width, weights, 5)
        value, by_x, by_xx, by_xy = similarity(
            ti.static(Moments(e[0], e[1], e[2], e[3], e[4])), weights[RADIUS + 1], weights[RADIUS + 2]
        )
        counts = ti.min(column, width - 1 - column, row, height - 1 - row) >= margin
        values[i] = value if counts else 0 * value
        for j in ti.static(range(3)):
            slopes[i, j] = ti.Vector([by_x, by_xx, by_xy])[j] if counts else 0 * value


@ti.kernel
def ssim_slope_columns(sizes: SizesStruct, weights: FloatArray, slopes: FloatArray2D, sums: FloatArray2D):
    """Weighted sums over the rows around a pixel, of the derivatives."""
    for i in range(slopes.shape[0]):
        width, height = sizes.width, sizes.height
        row = i // width % height
        for j in ti.static(range(3)):
            total = 0 * weights[0]
            for k in ti.static(range(-RADIUS, RADIUS + 1)):
                if row + k >= 0 and row + k < height:
                    total += weights[abs(k)] * slopes[i + k * width, j]
            sums[i, j] = total


@ti.kernel
def ssim_adjoint(
    sizes: SizesStruct,
    weights: FloatArray,
    x: FloatArray,  # (planes * height * width,)
    y: FloatArray,
    sums: FloatArray2D,  # as from ssim_slope_columns
    scale: FloatArray,  # (planes,) the gradient in each plane's similarities
    grad_x: FloatArray,  # (planes * height * width,)
):
    for i in grad_x:
        width, height = sizes.width, sizes.height
        g = sum_over_rows(sums, i, i % width, width, weights, 3)
        grad_x[i] = (g[0] + 2 * x[i] * g[1] + y[i] * g[2]) * scale[i // (width * height)]


@ti.func
def sum_over_rows(sums: ti.template(), i, column, width, weights: ti.template(), n: ti.template()):
    """Weighted sums over the columns around a pixel."""
    total = ti.Vector([0 * weights[0] for _ in ti.static(range(n))])
    for k in ti.static(range(-RADIUS, RADIUS + 1)):
        if column + k >= 0 and column + k < width:
            for j in ti.static(range(n)):
                total[j] += weights[abs(k)] * sums[i + k, j]
    return total


@ti.func
def similarity(e: ti.template(), c1, c2):
    """The similarity and its derivatives by x, xx and xy, for the means ``e`` in a window."""
    xy, squares = e.x * e.y, e.x * e.x + e.y * e.y
    p, r = 2 * xy + c1, squares + c1
    q, s = 2 * (e.xy - xy) + c2, e.xx + e.yy - squares + c2
    inverse = 1 / (r * s)
    value = p * q * inverse
    by_xx, by_xy = 0 - value / s, 2 * p * inverse
    by_x = 2 * e.y * (q - p) * inverse + 2 * e.x * (value / s - value / r)
    return value, by_x, by_xx, by_xy
