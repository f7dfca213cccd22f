"""The nearest triangles of points, the nearest points of triangles, and the adjoint of their squared distances.

A segment is a triangle of which only the first two corners count. The nearest place on a triangle is a weighted mean of
its corners; as it is nearest, a change of the weights changes no distance, so that the adjoint treats them as constant.
"""

from typing import NamedTuple

import taichi as ti

from tirender.engine.kernels.bvh import (
    FAN,
    NO_INDEX,
    Forest,
    Search,
    cloud_of,
    cloud_range,
    first_bit,
    gap,
    leaf_range,
    likely_leaf,
    measure,
    next_leaf,
    root_cursor,
)
from tirender.engine.kernels.knn import LEAF, LEAF_BITS
from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.scalars import cast_like, comes_before
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, Vec3Array, Vec3Array2D, struct_of

TRIANGLE_LEAF_BITS = 2
THINNEST = 1e-10  # cross product squared, in edges to the fourth power, of a triangle that has an inside


class PointMeshSettings(NamedTuple):
    """Numbers of a search."""

    chunk: int  # queries in a row that are one task
    min_area: float  # of a triangle with less, only the outline counts


@ti.kernel
def nearest_triangles(
    settings: struct_of(PointMeshSettings),
    segments: ti.template(),  # whether only the first two corners count
    points: FloatArray2D,  # (3, n + padding) sorted, in C clouds
    point_order: I32Array,  # (n,) indices of the points
    point_first: I32Array,  # (C + 1,) where each cloud of points begins
    corners: Vec3Array,  # (3 T,) of the sorted triangles
    order: I32Array,  # (T,) of the triangles' forest, as the next three
    first: I32Array,  # (C + 1,)
    boxes: FloatArray,  # (groups * 48,)
    lowest: I32Array,  # (groups * 8,)
    dists: FloatArray,  # (n,) squared, by the point's index
    index: I32Array,  # (n,) by the point's index
):
    """The nearest triangle of each point, in the cloud of the same number; see :func:`store` where there is none."""
    forest = ti.static(Forest(order, first, boxes, lowest))
    n_points = point_first[point_first.shape[0] - 1]
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range((n_points + settings.chunk - 1) // settings.chunk):
        cloud = cloud_of(point_first, task * settings.chunk)
        guess = -1
        for i in range(task * settings.chunk, ti.min((task + 1) * settings.chunk, n_points)):
            while i >= point_first[cloud + 1]:
                cloud += 1
                guess = -1
            begin, n = cloud_range(first, cloud)
            d, nearest = cast_like(ti.math.inf, points[0, i]), NO_INDEX
            if n > 0:
                d, nearest, guess = nearest_triangle(settings, segments, points, i, corners, forest, cloud, guess)
            store(dists, index, point_order[i], begin, n, d, nearest)


@ti.kernel
def nearest_points_of_triangles(
    settings: struct_of(PointMeshSettings),
    segments: ti.template(),  # whether only the first two corners count
    corners: Vec3Array,  # (3 T,) of the sorted triangles, in C clouds
    triangle_order: I32Array,  # (T,) indices of the triangles
    triangle_first: I32Array,  # (C + 1,) where each cloud of triangles begins
    points: FloatArray2D,  # (3, n + padding) sorted
    order: I32Array,  # (n,) of the points' forest, as the next three
    first: I32Array,  # (C + 1,)
    boxes: FloatArray,  # (groups * 48,)
    lowest: I32Array,  # (groups * 8,)
    dists: FloatArray,  # (T,) squared, by the triangle's index
    index: I32Array,  # (T,) by the triangle's index
):
    """The nearest point of each triangle, in the cloud of the same number; see :func:`store` where there is none."""
    forest = ti.static(Forest(order, first, boxes, lowest))
    n_triangles = triangle_first[triangle_first.shape[0] - 1]
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range((n_triangles + settings.chunk - 1) // settings.chunk):
        cloud = cloud_of(triangle_first, task * settings.chunk)
        guess = -1
        for i in range(task * settings.chunk, ti.min((task + 1) * settings.chunk, n_triangles)):
            while i >= triangle_first[cloud + 1]:
                cloud += 1
                guess = -1
            begin, n = cloud_range(first, cloud)
            d, nearest = cast_like(ti.math.inf, points[0, 0]), NO_INDEX
            if n > 0:
                d, nearest, guess = nearest_point(settings, segments, corners, i, points, forest, cloud, guess)
            store(dists, index, triangle_order[i], begin, n, d, nearest)


@ti.kernel
def point_triangle_adjoint(
    min_area: ti.f32,  # of a triangle with less, only the outline counts
    segments: ti.template(),  # whether only the first two corners count
    atomic: ti.template(),  # whether all parts share one sum
    points: Vec3Array,  # (P,)
    corners: Vec3Array,  # (3 T,)
    point_index: I32Array,  # (n,) the point of each pair; -1 here or in the next: no pair
    triangle_index: I32Array,  # (n,) the triangle of each pair
    grad_dists: FloatArray,  # (n,)
    bounds: I32Array,  # (parts + 1,) the pairs of each part
    grad_points: Vec3Array2D,  # (parts, P) zero before
    grad_corners: Vec3Array2D,  # (parts, 3 T) zero before
):
    """Gradients of squared distances in the points and in the corners of the triangles."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        for m in range(bounds[part], bounds[part + 1]):
            i, j = point_index[m], 3 * triangle_index[m]
            if i >= 0 and j >= 0 and not grad_dists[m] == 0:  # NaN passes
                a, b, c = corners[j] - points[i], corners[j + 1] - points[i], corners[j + 2] - points[i]
                w = nearest_weights(a, b, c, min_area, segments)
                g = 2 * grad_dists[m] * (w[0] * a + w[1] * b + w[2] * c)
                accumulate(grad_points, part, i, -g, atomic)
                for k in ti.static(range(3)):
                    accumulate(grad_corners, part, j + k, w[k] * g, atomic)


@ti.func
def nearest_triangle(
    settings: ti.template(),
    segments: ti.template(),
    points: ti.template(),
    i,
    corners: ti.template(),
    forest: ti.template(),
    cloud,
    guess,
):
    """Squared distance and index of the triangle of a cloud nearest to point i, and its leaf.

    The search begins with the leaf ``guess``, or with a likely one where that is -1. The index is NO_INDEX where all
    distances are NaN.
    """
    search = ti.static(Search(TRIANGLE_LEAF_BITS))
    p = ti.Vector([points[0, i], points[1, i], points[2, i]])
    bound, bound_index = cast_like(ti.math.inf, p[0]), NO_INDEX
    if guess < 0:
        guess = likely_leaf(forest, cloud, search, p)
    cursor = root_cursor(forest, cloud, search, guess, guess + 1)
    while next_leaf(cursor, forest, search, p, p, bound, bound_index):
        start, count = leaf_range(cursor, search)
        for j in range(start, start + count):
            v0, v1, v2 = corners[3 * j], corners[3 * j + 1], corners[3 * j + 2]
            d = triangle_offset(p, v0, v1, v2, settings.min_area, segments).norm_sqr()
            if comes_before(d, forest.order[j] - cursor.begin, bound, bound_index):
                bound, bound_index = d, forest.order[j] - cursor.begin
                guess = cursor.leaf
    return bound, bound_index, guess


@ti.func
def nearest_point(
    settings: ti.template(),
    segments: ti.template(),
    corners: ti.template(),
    i,
    points: ti.template(),
    forest: ti.template(),
    cloud,
    guess,
):
    """The same for the point nearest to triangle i."""
    search = ti.static(Search(LEAF_BITS))
    v0, v1, v2 = corners[3 * i], corners[3 * i + 1], corners[3 * i + 2]
    if ti.static(segments):
        v2 = v1
    low, high = ti.min(v0, ti.min(v1, v2)), ti.max(v0, ti.max(v1, v2))
    bound, bound_index = cast_like(ti.math.inf, v0[0]), NO_INDEX
    if guess < 0:
        guess = likely_leaf(forest, cloud, search, (low + high) / 2)
    cursor = root_cursor(forest, cloud, search, guess, guess + 1)
    while next_leaf(cursor, forest, search, low, high, bound, bound_index):
        start, count = leaf_range(cursor, search)
        near = 0
        is_first = bound_index == NO_INDEX
        if is_first or not is_leaf_far(forest.boxes, cursor, v0, v1, v2, settings.min_area, segments, bound):
            near = leaf_points_near_box(points, start, count, low, high, bound)
        while near != 0:
            j = start + first_bit(near)
            near &= near - 1
            p = ti.Vector([points[0, j], points[1, j], points[2, j]])
            d = triangle_offset(p, v0, v1, v2, settings.min_area, segments).norm_sqr()
            if comes_before(d, forest.order[j] - cursor.begin, bound, bound_index):
                bound, bound_index = d, forest.order[j] - cursor.begin
                guess = cursor.leaf
    return bound, bound_index, guess


@ti.func
def store(dists: ti.template(), index: ti.template(), row, begin, n, d, nearest):
    """Store a query's result: index -1 where there is none, with distance 0 in an empty cloud and NaN in another."""
    index[row] = -1
    dists[row] = cast_like(ti.math.nan if n > 0 else 0.0, d)
    if nearest != NO_INDEX:
        index[row] = begin + nearest
        dists[row] = d


@ti.func
def leaf_points_near_box(points: ti.template(), start, count, low, high, bound):
    """Bits of the ``count`` points from ``start`` on that are no further than ``bound`` from a box."""
    within = 0
    for m in ti.static(range(LEAF)):
        x, y, z = points[0, start + m], points[1, start + m], points[2, start + m]
        d = measure(gap(low[0] - x, x - high[0]), gap(low[1] - y, y - high[1]), gap(low[2] - z, z - high[2]), 2)
        within |= ti.select(d <= bound, 1 << m, 0)
    return within & ((1 << count) - 1)


@ti.func
def is_leaf_far(boxes: ti.template(), cursor, v0, v1, v2, min_area, segments: ti.template(), bound):
    """Whether a ball around the leaf is further from the triangle than ``bound``.

    For a large triangle this is sharper than the test of its box.
    """
    box = (cursor.base + cursor.group) * (6 * FAN) + (cursor.leaf & (FAN - 1))
    low = ti.Vector([boxes[box], boxes[box + FAN], boxes[box + 2 * FAN]])
    high = ti.Vector([boxes[box + 3 * FAN], boxes[box + 4 * FAN], boxes[box + 5 * FAN]])
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
    """Barycentric coordinates of the place nearest to the origin on triangle abc, or on segment ab.

    Where the triangle's area is below ``min_area``, only its outline counts.
    """
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
