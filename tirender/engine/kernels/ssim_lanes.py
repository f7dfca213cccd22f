"""The kernels of ``ssim.py`` for a CPU: a row is cut into vectors of lanes.

A row's window sums over columns are kept in scratch memory, with a vector of 0 before and after them; sums over rows
then take lanes of neighbouring vectors.
"""

import taichi as ti

from tirender.engine.kernels.lanes import LANES, LanesArray, sum_of_lanes, whole_vectors
from tirender.engine.kernels.ssim import RADIUS, Moments, SizesStruct, similarity
from tirender.engine.kernels.types import FloatArray, FloatArray2D


@whole_vectors
def ssim_lanes_forward(
    sizes: SizesStruct,
    weights: FloatArray,  # (RADIUS + 3,) of the window, from its middle; C1, C2
    columns: LanesArray,  # (1,) 0, 1, 2, ...
    x: LanesArray,  # (planes * (height + 2 RADIUS) * vectors,) rows of an image, 0 beyond it
    y: LanesArray,
    scratch: LanesArray,  # (tasks * 5 * (vectors + 2),)
    slopes: LanesArray,  # (3 * planes * (height + 2 RADIUS) * vectors,) derivatives by x, xx and xy; 0 before
    sums: FloatArray2D,  # (planes, height) of the similarities in a row
):
    ti.loop_config(block_dim=1)
    for task in range(scratch.shape[0] // (5 * ((sizes.width + LANES - 1) // LANES + 2))):
        height, width, margin, planes = sizes.height, sizes.width, sizes.margin, sizes.planes
        n = (width + LANES - 1) // LANES
        n_tasks, n_rows = scratch.shape[0] // (5 * (n + 2)), planes * height
        first, zero = task * 5 * (n + 2), columns[0] * 0
        clear_ends(scratch, first, 5, n, zero)
        for i in range(task * n_rows // n_tasks, (task + 1) * n_rows // n_tasks):
            plane, row = i // height, i % height
            at = (plane * (height + 2 * RADIUS) + row + RADIUS) * n
            for v in range(n):
                sum_columns(x, y, at + v, n, weights, scratch, first + 1 + v, n + 2)
            total = zero
            last = ti.select(row >= margin and row < height - margin, width - margin, 0)
            for v in range(n):
                e = [sum_rows(scratch, first + j * (n + 2) + v, weights) for j in ti.static(range(5))]
                value, by_x, by_xx, by_xy = similarity(
                    ti.static(Moments(e[0], e[1], e[2], e[3], e[4])), weights[RADIUS + 1], weights[RADIUS + 2]
                )
                counts = (columns[0] + v * LANES >= margin) & (columns[0] + v * LANES < last)
                total += ti.select(counts, value, zero)
                plane_size = planes * (height + 2 * RADIUS) * n
                slopes[at + v] = ti.select(counts, by_x, zero)
                slopes[plane_size + at + v] = ti.select(counts, by_xx, zero)
                slopes[2 * plane_size + at + v] = ti.select(counts, by_xy, zero)
            sums[plane, row] = sum_of_lanes(total)


@whole_vectors
def ssim_lanes_adjoint(
    sizes: SizesStruct,
    weights: FloatArray,  # these four as for the forward kernel
    columns: LanesArray,
    x: LanesArray,
    y: LanesArray,
    slopes: LanesArray,
    scale: FloatArray,  # (planes,) the gradient in each plane's similarities
    scratch: LanesArray,  # (tasks * 3 * (vectors + 2),)
    grad_x: LanesArray,  # (planes * height * vectors,)
):
    ti.loop_config(block_dim=1)
    for task in range(scratch.shape[0] // (3 * ((sizes.width + LANES - 1) // LANES + 2))):
        height, width, planes = sizes.height, sizes.width, sizes.planes
        n = (width + LANES - 1) // LANES
        n_tasks, n_rows = scratch.shape[0] // (3 * (n + 2)), planes * height
        first, zero = task * 3 * (n + 2), columns[0] * 0
        clear_ends(scratch, first, 3, n, zero)
        for i in range(task * n_rows // n_tasks, (task + 1) * n_rows // n_tasks):
            plane, row = i // height, i % height
            at = (plane * (height + 2 * RADIUS) + row + RADIUS) * n
            for v in range(n):
                for j in ti.static(range(3)):
                    place = j * planes * (height + 2 * RADIUS) * n + at + v
                    total = weights[0] * slopes[place]
                    for k in ti.static(range(1, RADIUS + 1)):
                        total += weights[k] * (slopes[place - k * n] + slopes[place + k * n])
                    scratch[first + j * (n + 2) + 1 + v] = total
            for v in range(n):
                by_x, by_xx, by_xy = [sum_rows(scratch, first + j * (n + 2) + v, weights) for j in ti.static(range(3))]
                grad_x[i * n + v] = (by_x + 2 * x[at + v] * by_xx + y[at + v] * by_xy) * scale[plane]


@ti.func
def clear_ends(scratch: ti.template(), first, maps: ti.template(), n, zero):
    for j in ti.static(range(maps)):
        scratch[first + j * (n + 2)] = zero
        scratch[first + j * (n + 2) + n + 1] = zero


@ti.func
def sum_columns(x: ti.template(), y: ti.template(), at, n, weights: ti.template(), scratch: ti.template(), place, step):
    """Weighted sums over the rows around a vector of pixels, of x, y, xx, yy, xy."""
    a, b = x[at], y[at]
    w = weights[0]
    e_x, e_y, e_xx, e_yy, e_xy = w * a, w * b, w * (a * a), w * (b * b), w * (a * b)
    for k in ti.static(range(1, RADIUS + 1)):
        w = weights[k]
        a, b, c, d = x[at - k * n], y[at - k * n], x[at + k * n], y[at + k * n]
        e_x += w * (a + c)
        e_y += w * (b + d)
        e_xx += w * (a * a + c * c)
        e_yy += w * (b * b + d * d)
        e_xy += w * (a * b + c * d)
    scratch[place], scratch[place + step], scratch[place + 2 * step] = e_x, e_y, e_xx
    scratch[place + 3 * step], scratch[place + 4 * step] = e_yy, e_xy


@ti.func
def sum_rows(scratch: ti.template(), place, weights: ti.template()):
    """Weighted sums over the columns around the vector of pixels at ``place + 1``."""
    left, middle, right = scratch[place], scratch[place + 1], scratch[place + 2]
    total = weights[0] * middle
    for k in ti.static(range(1, RADIUS + 1)):
        total += weights[k] * (shifted(left, middle, LANES - k) + shifted(middle, right, k))
    return total


@ti.func
def shifted(a, b, k: ti.template()):
    """The lanes from k on of two vectors in a row."""
    return ti.Vector([a[k + i] for i in range(LANES - k)] + [b[i] for i in range(k)])
