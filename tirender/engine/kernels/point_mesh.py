"""The nearest triangles of points, the nearest points of triangles, and the adjoint of their squared distances.

A segment is a triangle of which only the first two corners count. The nearest place on a triangle is a weighted mean of
its corners; as it is nearest, a change of the weights changes no distance, so that the adjoint treats them as constant.
"""

import taichi as ti

from tirender.engine.kernels.bvh import (
    FAN,
    NO_INDEX,
    cloud_of,
    first_bit,
    gap,
    likely_leaf,
    measure,
    next_leaf,
    root_cursor,
)
from tirender.engine.kernels.knn import LEAF, LEAF_BITS
from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.scalars import cast_like, comes_before
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, Vec3Array, Vec3Array2D

TRIANGLE_LEAF_BITS = 2
THINNEST = 1e-10  # cross product squared, in edges to the fourth power, of a triangle that has an inside


@ti.kernel
def nearest_triangles(
    points: FloatArray2D,
    rows: I32Array,
    point_first: I32Array,
    triangles: Vec3Array,
    order: I32Array,
    first: I32Array,
    boxes: FloatArray,
    lowest: I32Array,
    chunk: ti.i32,
    min_area: ti.f32,
    segments: ti.template(),
    dists: FloatArray,
    index: I32Array,
):
    """points: (3, n) sorted, each with its row of the results; triangles: the corners of the sorted ones, three each;
    order: their indices; index: the nearest triangle of the same cloud, or -1 where there is none, and its squared
    distance (0 where it is NaN)."""
    n_points = point_first[point_first.shape[0] - 1]
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range((n_points + chunk - 1) // chunk):
        cloud = cloud_of(point_first, task * chunk)
        guess = -1
        for i in range(task * chunk, ti.min((task + 1) * chunk, n_points)):
            while i >= point_first[cloud + 1]:
                cloud += 1
                guess = -1
            begin = first[cloud]
            n = first[cloud + 1] - begin
            p = ti.Vector([points[0, i], points[1, i], points[2, i]])
            bound, bound_index = cast_like(ti.math.inf, p[0]), NO_INDEX
            if n > 0:
                if guess < 0:
                    guess = likely_leaf(boxes, n, begin, cloud, TRIANGLE_LEAF_BITS, p, 2)
                first_leaf = guess
                leaf = first_leaf
                cursor = root_cursor(begin, n, cloud, TRIANGLE_LEAF_BITS)
                while leaf >= 0:
                    at = begin + (leaf << TRIANGLE_LEAF_BITS)
                    for j in range(at, ti.min(at + (1 << TRIANGLE_LEAF_BITS), begin + n)):
                        d = triangle_offset(
                            p, triangles[3 * j], triangles[3 * j + 1], triangles[3 * j + 2], min_area, segments
                        ).norm_sqr()
                        if comes_before(d, order[j] - begin, bound, bound_index):
                            bound, bound_index = d, order[j] - begin
                            guess = leaf
                    leaf = first_leaf
                    while leaf == first_leaf:
                        next_leaf(cursor, boxes, lowest, n, TRIANGLE_LEAF_BITS, p, p, 2, False, bound, bound_index)
                        leaf = cursor.leaf
            store(dists, index, rows[i], begin, n, bound, bound_index)


@ti.kernel
def nearest_points_of_triangles(
    triangles: Vec3Array,
    rows: I32Array,
    triangle_first: I32Array,
    points: FloatArray2D,
    order: I32Array,
    first: I32Array,
    boxes: FloatArray,
    lowest: I32Array,
    chunk: ti.i32,
    min_area: ti.f32,
    segments: ti.template(),
    dists: FloatArray,
    index: I32Array,
):
    """The same for the nearest point of each sorted triangle."""
    n_triangles = triangle_first[triangle_first.shape[0] - 1]
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range((n_triangles + chunk - 1) // chunk):
        cloud = cloud_of(triangle_first, task * chunk)
        guess = -1
        for i in range(task * chunk, ti.min((task + 1) * chunk, n_triangles)):
            while i >= triangle_first[cloud + 1]:
                cloud += 1
                guess = -1
            begin = first[cloud]
            n = first[cloud + 1] - begin
            v0, v1, v2 = triangles[3 * i], triangles[3 * i + 1], triangles[3 * i + 2]
            if ti.static(segments):
                v2 = v1
            low, high = ti.min(v0, ti.min(v1, v2)), ti.max(v0, ti.max(v1, v2))
            bound, bound_index = cast_like(ti.math.inf, v0[0]), NO_INDEX
            if n > 0:
                if guess < 0:
                    guess = likely_leaf(boxes, n, begin, cloud, LEAF_BITS, (low + high) / 2, 2)
                first_leaf = guess
                leaf = first_leaf
                cursor = root_cursor(begin, n, cloud, LEAF_BITS)
                while leaf >= 0:
                    at = begin + (leaf << LEAF_BITS)
                    near = leaf_points_near_box(points, at, ti.min(begin + n - at, LEAF), low, high, bound)
                    while near != 0:
                        j = at + first_bit(near)
                        near &= near - 1
                        p = ti.Vector([points[0, j], points[1, j], points[2, j]])
                        d = triangle_offset(p, v0, v1, v2, min_area, segments).norm_sqr()
                        if comes_before(d, order[j] - begin, bound, bound_index):
                            bound, bound_index = d, order[j] - begin
                            guess = leaf
                    leaf = first_leaf
                    searching = True
                    while searching:
                        next_leaf(cursor, boxes, lowest, n, LEAF_BITS, low, high, 2, False, bound, bound_index)
                        leaf = cursor.leaf
                        searching = leaf == first_leaf or (
                            leaf >= 0 and is_leaf_far(boxes, cursor, v0, v1, v2, min_area, segments, bound)
                        )
            store(dists, index, rows[i], begin, n, bound, bound_index)


@ti.kernel
def point_triangle_adjoint(
    points: Vec3Array,
    triangles: Vec3Array,
    point_index: I32Array,
    triangle_index: I32Array,
    min_area: ti.f32,
    segments: ti.template(),
    grad_dists: FloatArray,
    bounds: I32Array,
    atomic: ti.template(),
    grad_points: Vec3Array2D,
    grad_triangles: Vec3Array2D,
):
    """For pairs of points and triangles (either -1: no pair); bounds: the pairs of each part; gradients: (part, point)
    and (part, corner), zero before."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for s in range(bounds.shape[0] - 1):
        for m in range(bounds[s], bounds[s + 1]):
            i, j = point_index[m], 3 * triangle_index[m]
            if i >= 0 and j >= 0 and not grad_dists[m] == 0:  # NaN passes
                a, b, c = triangles[j] - points[i], triangles[j + 1] - points[i], triangles[j + 2] - points[i]
                w = nearest_weights(a, b, c, min_area, segments)
                g = 2 * grad_dists[m] * (w[0] * a + w[1] * b + w[2] * c)
                accumulate(grad_points, s, i, -g, atomic)
                for k in ti.static(range(3)):
                    accumulate(grad_triangles, s, j + k, w[k] * g, atomic)


@ti.func
def store(dists: ti.template(), index: ti.template(), row, begin, n, bound, bound_index):
    """Where nothing was found: index -1 and distance 0, or NaN if there was something to find."""
    index[row] = -1
    dists[row] = cast_like(ti.math.nan if n > 0 else 0.0, bound)
    if bound_index != NO_INDEX:
        index[row] = begin + bound_index
        dists[row] = bound


@ti.func
def leaf_points_near_box(points: ti.template(), at, count, low, high, bound):
    """Bits of the ``count`` points from ``at`` on that are no further than ``bound`` from a box."""
    within = 0
    for m in ti.static(range(LEAF)):
        x, y, z = points[0, at + m], points[1, at + m], points[2, at + m]
        d = measure(gap(low[0] - x, x - high[0]), gap(low[1] - y, y - high[1]), gap(low[2] - z, z - high[2]), 2)
        within |= ti.select(d <= bound, 1 << m, 0)
    return within & ((1 << count) - 1)


@ti.func
def is_leaf_far(boxes: ti.template(), cursor, v0, v1, v2, min_area, segments: ti.template(), bound):
    """Whether a ball around the leaf is further from the triangle than ``bound``: tells more than the triangle's box
    where the triangle is large."""
    at = (cursor.base + cursor.group) * (6 * FAN) + (cursor.leaf & (FAN - 1))
    low = ti.Vector([boxes[at], boxes[at + FAN], boxes[at + 2 * FAN]])
    high = ti.Vector([boxes[at + 3 * FAN], boxes[at + 4 * FAN], boxes[at + 5 * FAN]])
    centre = (low + high) / 2
    reach = (ti.sqrt(bound) + (high - centre).norm()) * (1 + cast_like(1e-5, bound))
    return triangle_offset(centre, v0, v1, v2, min_area, segments).norm_sqr() > reach * reach


@ti.func
def triangle_offset(p, v0, v1, v2, min_area, segments: ti.template()):
    """The vector from p to the nearest place on a triangle."""
    a, b, c = v0 - p, v1 - p, v2 - p
    w = nearest_weights(a, b, c, min_area, segments)
    return w[0] * a + w[1] * b + w[2] * c


@ti.func
def nearest_weights(a, b, c, min_area, segments: ti.template()):
    """Barycentric coordinates of the place nearest to the origin on triangle abc: of its outline only where its area is
    below ``min_area``, or on segment ab."""
    t = nearest_on_edge(a, b)
    w = ti.Vector([1 - t, t, 0 * t])
    if ti.static(not segments):
        normal = (b - a).cross(c - a)
        size_sqr = normal.norm_sqr()
        longest = ti.max((b - a).norm_sqr(), ti.max((c - b).norm_sqr(), (a - c).norm_sqr()))
        inside = False
        if size_sqr >= 4 * min_area * min_area and size_sqr > cast_like(THINNEST, t) * longest * longest:
            u1 = normal.dot((c - a).cross(a)) / size_sqr
            u2 = normal.dot(a.cross(b - a)) / size_sqr
            u0 = 1 - u1 - u2
            inside = u0 >= 0 and u1 >= 0 and u2 >= 0
            if inside:
                w = ti.Vector([u0, u1, u2])
        if not inside:
            d = (w[0] * a + w[1] * b).norm_sqr()
            t = nearest_on_edge(b, c)
            d12 = ((1 - t) * b + t * c).norm_sqr()
            if d12 < d:
                d = d12
                w = ti.Vector([0 * t, 1 - t, t])
            t = nearest_on_edge(c, a)
            if ((1 - t) * c + t * a).norm_sqr() < d:
                w = ti.Vector([t, 0 * t, 1 - t])
    return w


@ti.func
def nearest_on_edge(a, b):
    """Place in [0, 1] of the point of segment ab nearest to the origin."""
    ab = b - a
    length_sqr = ab.norm_sqr()
    t = 0 * length_sqr
    if length_sqr > 0:
        t = ti.math.clamp(-ab.dot(a) / length_sqr, t, t + 1)
    return t
