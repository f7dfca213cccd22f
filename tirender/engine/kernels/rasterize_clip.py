"""Triangles in clip space: which one a pixel shows, barycentric coordinates there and how they change; the adjoint.

Olano and Greer, "Triangle Scan Conversion using 2D Homogeneous Coordinates", 1997: nothing is divided by w and nothing
is cut, so a triangle may reach behind the eye. A vertex (x, y, z, w) is seen from the centre p of a pixel as
s = (x - p.x * w, y - p.y * w, w). The edges of a triangle are e0 = s1 x s2, e1 = s2 x s0 and e2 = s0 x s1, and E is
their sum. The barycentric coordinates in space are e.z / E.z; they change with p by (e.xy - e.z / E.z * E.xy) / E.z.

A pixel shows a triangle if z / w is in [-1, 1] there. Here x / w and y / w are -1 at the first column and row of an
image, and 1 at the last.
"""

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.tiles import CUT, GridStruct, loops_were_cut, overlap_box, pixel_box, tile_window
from tirender.engine.kernels.types import (
    FloatArray,
    I32Array,
    ImageSizeStruct,
    IVec3Array,
    IVec4Array,
    Vec4Array,
    Vec4Array2D,
)

FAR = 1e12  # products of three coordinates would overflow beyond: such a triangle is not drawn
STEEPEST = 1e8  # coordinates that change faster, in NDC, are those of triangles seen edge-on: they pass no gradients


@ti.kernel
def clip_boxes(
    size: ImageSizeStruct,
    verts: Vec4Array,  # (V, 4) in clip space
    faces: IVec3Array,  # (T, 3)
    boxes: IVec4Array,  # (T, 4) first and last column, first and last row; empty where the triangle is not drawn
):
    for t in faces:
        f = faces[t]
        v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
        box = ti.math.ivec4(0, -1, 0, -1)
        extent = ti.abs(v0).sum() + ti.abs(v1).sum() + ti.abs(v2).sum()  # a sum keeps NaN
        if extent < FAR and not is_outside(v0, v1, v2):
            box = box_in_front(v0, v1, v2, size)
        boxes[t] = box


@ti.kernel
def select_in_clip_space(
    grid: GridStruct,
    verts: Vec4Array,  # (V, 4) in clip space
    faces: IVec3Array,  # (T, 3)
    boxes: IVec4Array,  # (T, 4) pixels of each triangle
    offsets: I32Array,  # (tiles + 1,) where the members of each tile begin
    members: I32Array,  # triangles
    behind: FloatArray,  # (pixels,) only what has a greater z / w is shown; (0,) for all
    depth: FloatArray,  # (pixels,) z / w of the triangle in front
    nearest: I32Array,  # (pixels,) the triangle in front, else -1; or CUT
):
    ti.loop_config(block_dim=ti.static(task_block()))
    for tile in range(offsets.shape[0] - 1):
        window, base = tile_window(tile, grid)
        for y in range(window[2], window[3] + 1):
            for x in range(window[0], window[1] + 1):
                nearest[base + y * grid.width + x] = -1
        for i in range(offsets[tile], offsets[tile + 1]):
            f = faces[members[i]]
            v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
            z = ti.Vector([v0.z, v1.z, v2.z])
            w = ti.Vector([v0.w, v1.w, v2.w])
            box = overlap_box(boxes[members[i]], window)
            for row in range(box[2], box[3] + 1):
                for column in range(box[0], box[1] + 1):
                    p = pixel_centre(column, row, grid, v0.x)
                    s0, s1, s2 = seen_from(p, v0), seen_from(p, v1), seen_from(p, v2)
                    side = side_of_edge(s0, s1)
                    if side == side_of_edge(s1, s2) and side == side_of_edge(s2, s0):
                        a = ti.Vector([cross(s1, s2), cross(s2, s0), cross(s0, s1)])
                        pixel = base + row * grid.width + column
                        w_sum = a.dot(w)
                        if w_sum * side > 0:  # else the centre lies behind the eye, or the triangle has no area
                            d = a.dot(z) / w_sum
                            hidden = behind.shape[0] > 0
                            if hidden:
                                hidden = d <= behind[pixel]
                            if not hidden and d >= -1 and d <= 1 and (nearest[pixel] < 0 or d < depth[pixel]):
                                nearest[pixel] = members[i]
                                depth[pixel] = d
        if loops_were_cut(grid.tile_h):
            nearest[base + window[2] * grid.width + window[0]] = CUT


@ti.kernel
def rasterize_clip_forward(
    size: ImageSizeStruct,
    verts: Vec4Array,  # (V, 4) in clip space
    faces: IVec3Array,  # (T, 3)
    ids: I32Array,  # (T,) what is written for each triangle, less 1
    nearest: I32Array,  # (pixels,)
    depth: FloatArray,  # (pixels,)
    rast: Vec4Array,  # (pixels, 4) the coordinates of the first two vertices, z / w, and the id plus 1; else 0
    rast_db: Vec4Array,  # (pixels, 4) how the coordinates change with x and y, in pixels; (0, 4) where not wanted
):
    for pixel in nearest:
        t = nearest[pixel]
        out, changes = 0 * rast[pixel], 0 * rast[pixel]
        if t >= 0:
            f = faces[t]
            v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
            p = pixel_centre(pixel % size.width, pixel // size.width % size.height, size, v0.x)
            e0, e1, e_sum, is_flat = edges(seen_from(p, v0), seen_from(p, v1), seen_from(p, v2))
            u = ti.math.clamp(e0.z / e_sum.z, 0 * p.x, 0 * p.x + 1)
            v = ti.math.clamp(e1.z / e_sum.z, 0 * p.x, 1 - u)
            out = ti.Vector([u, v, depth[pixel], cast_like(ids[t] + 1, u)])
            if not is_flat:
                du = (e0.xy - u * e_sum.xy) / e_sum.z * pixel_step(size, u)
                dv = (e1.xy - v * e_sum.xy) / e_sum.z * pixel_step(size, u)
                changes = ti.Vector([du.x, du.y, dv.x, dv.y])
        rast[pixel] = out
        if rast_db.shape[0] > 0:
            rast_db[pixel] = changes


@ti.kernel
def rasterize_clip_adjoint(
    size: ImageSizeStruct,
    verts: Vec4Array,  # these three as for the forward kernel
    faces: IVec3Array,
    nearest: I32Array,
    grad_rast: Vec4Array,  # (pixels, 4) of which the first two count
    grad_rast_db: Vec4Array,  # (pixels, 4); (0, 4) for zero
    bounds: I32Array,  # (parts + 1,) the pixels of each part
    atomic: ti.template(),
    grad_verts: Vec4Array2D,  # (part, V, 4), zero before
):
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        for pixel in range(bounds[part], bounds[part + 1]):
            t = nearest[pixel]
            if t >= 0:
                f = faces[t]
                v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
                p = pixel_centre(pixel % size.width, pixel // size.width % size.height, size, v0.x)
                s0, s1, s2 = seen_from(p, v0), seen_from(p, v1), seen_from(p, v2)
                e0, e1, e_sum, is_flat = edges(s0, s1, s2)
                g_uv = grad_rast[pixel].xy
                g_db = 0 * grad_rast[pixel]
                if grad_rast_db.shape[0] > 0:
                    g_db = grad_rast_db[pixel]
                if not is_flat and not ((g_uv == 0).all() and (g_db == 0).all()):
                    u, v = e0.z / e_sum.z, e1.z / e_sum.z
                    ku, kv = g_db.xy * pixel_step(size, u), g_db.zw * pixel_step(size, u)
                    gu = (g_uv.x - ku.dot(e_sum.xy) / e_sum.z) / e_sum.z
                    gv = (g_uv.y - kv.dot(e_sum.xy) / e_sum.z) / e_sum.z
                    g_sum = -(u * ku + v * kv) / e_sum.z
                    du, dv = (e0.xy - u * e_sum.xy) / e_sum.z, (e1.xy - v * e_sum.xy) / e_sum.z
                    g2 = ti.Vector([g_sum.x, g_sum.y, -(gu * u + gv * v) - (ku.dot(du) + kv.dot(dv)) / e_sum.z])
                    g0 = g2 + ti.Vector([ku.x / e_sum.z, ku.y / e_sum.z, gu])
                    g1 = g2 + ti.Vector([kv.x / e_sum.z, kv.y / e_sum.z, gv])
                    grad_s0 = g1.cross(s2) + s1.cross(g2)
                    grad_s1 = g2.cross(s0) + s2.cross(g0)
                    grad_s2 = g0.cross(s1) + s0.cross(g1)
                    accumulate(grad_verts, part, f[0], seen_from_vjp(p, grad_s0), atomic)
                    accumulate(grad_verts, part, f[1], seen_from_vjp(p, grad_s1), atomic)
                    accumulate(grad_verts, part, f[2], seen_from_vjp(p, grad_s2), atomic)


@ti.func
def pixel_centre(column: ti.i32, row: ti.i32, size, like):
    """NDC of a pixel's centre; ``like`` gives the float type."""
    x, y = cast_like(2 * column + 1 - size.width, like), cast_like(2 * row + 1 - size.height, like)
    return ti.Vector([x / size.width, y / size.height])


@ti.func
def pixel_step(size, like):
    """The size of a pixel in NDC."""
    two = cast_like(2, like)
    return ti.Vector([two / size.width, two / size.height])


@ti.func
def seen_from(p, v):
    """A vertex (x, y, z, w) from the centre of a pixel."""
    return ti.Vector([v.x - p.x * v.w, v.y - p.y * v.w, v.w])


@ti.func
def seen_from_vjp(p, g):
    """Gradient of ``g . seen_from(p, v)`` in v."""
    return ti.Vector([g.x, g.y, 0 * g.x, g.z - p.x * g.x - p.y * g.y])


@ti.func
def cross(a, b):
    """The third component of the edge from a to b."""
    return a.x * b.y - a.y * b.x


@ti.func
def edges(s0, s1, s2):
    """The edges opposite the first two vertices, the sum of all, and whether the triangle is seen edge-on."""
    e0, e1 = s1.cross(s2), s2.cross(s0)
    e_sum = e0 + e1 + s0.cross(s1)
    reach = ti.max(ti.abs(e0).max(), ti.abs(e1).max(), ti.abs(e_sum).max())
    return e0, e1, e_sum, ti.abs(e_sum.z) * STEEPEST <= reach


@ti.func
def side_of_edge(a, b):
    """The side of edge ab, 1 or -1, on which the pixel's centre lies, if it is moved a little in x and even less back
    in y.

    Two products are compared, not subtracted: whatever the compiler fuses or reorders, the neighbour across the edge,
    which has its ends the other way round, finds the opposite side.
    """
    left, right = a.x * b.y, a.y * b.x
    if left == right:
        left, right = a.y * b.z, a.z * b.y
        if left == right:
            left, right = a.x * b.z, a.z * b.x
    return 1 if left > right else -1


@ti.func
def is_outside(v0, v1, v2):
    """Whether all vertices lie beyond one of the six planes of the view volume."""
    outside = ti.min(v0.x - v0.w, v1.x - v1.w, v2.x - v2.w) > 0 or ti.max(v0.x + v0.w, v1.x + v1.w, v2.x + v2.w) < 0
    outside |= ti.min(v0.y - v0.w, v1.y - v1.w, v2.y - v2.w) > 0 or ti.max(v0.y + v0.w, v1.y + v1.w, v2.y + v2.w) < 0
    outside |= ti.min(v0.z - v0.w, v1.z - v1.w, v2.z - v2.w) > 0 or ti.max(v0.z + v0.w, v1.z + v1.w, v2.z + v2.w) < 0
    return outside


@ti.func
def box_in_front(v0, v1, v2, size):
    """The pixels whose centres a triangle may cover where it lies in front of a plane: z / w = -1, or 1 if all of it
    does; all pixels where it even so reaches the eye."""
    sign = cast_like(1, v0.x)
    if ti.min(v0.z + v0.w, v1.z + v1.w, v2.z + v2.w) >= 0:
        sign = -sign
    low, high, least_w = 0 * v0.xy + FAR, 0 * v0.xy - FAR, 0 * v0.x + FAR
    low, high, least_w = grown_by_edge(low, high, least_w, v0, v1, sign)
    low, high, least_w = grown_by_edge(low, high, least_w, v1, v2, sign)
    low, high, least_w = grown_by_edge(low, high, least_w, v2, v0, sign)
    box = ti.math.ivec4(0, size.width - 1, 0, size.height - 1)
    if least_w > 0:  # pixel_box has x to the left and y up from the last row, and 1 on the shorter side
        short = cast_like(ti.min(size.height, size.width), v0.x)
        aspect = ti.Vector([size.width / short, size.height / short])
        box = pixel_box(-high * aspect, -low * aspect, size.height, size.width)
    return box


@ti.func
def grown_by_edge(low, high, least_w, a, b, sign):
    """:func:`grown` by what an edge has in front of the plane, its end left out."""
    da, db = a.w + sign * a.z, b.w + sign * b.z
    if da >= 0:
        low, high, least_w = grown(low, high, least_w, a)
    if (da > 0 and db < 0) or (da < 0 and db > 0):
        low, high, least_w = grown(low, high, least_w, a + da / (da - db) * (b - a))
    return low, high, least_w


@ti.func
def grown(low, high, least_w, v):
    """Corners around a vertex too, and the least w; corners stay where w is not positive, or much too small."""
    out_low, out_high = low, high
    if v.w * FAR > ti.abs(v).max():
        q = v.xy / v.w
        out_low, out_high = ti.min(low, q), ti.max(high, q)
        least_w = ti.min(least_w, v.w)
    else:
        least_w = 0 * least_w
    return out_low, out_high, least_w
