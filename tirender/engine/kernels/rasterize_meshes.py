"""Selection of the triangles that each pixel keeps. Discrete, so without gradient.

Over the tiles of ``kernels/tiles.py``: ``select_nearest_triangles`` is a plain z-test, ``list_triangles`` lists all
overlaps.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import is_cpu, task_block
from tirender.engine.kernels.tiles import (
    CUT,
    GridStruct,
    ListingStruct,
    Scratch,
    clear_counts,
    group_by_pixel,
    keep_nearest,
    loops_were_cut,
    overlap_box,
    pixel_box,
    record,
    tile_window,
)
from tirender.engine.kernels.triangle import (
    AREA_EPS,
    FAR,
    RasterStruct,
    covers,
    edge_distance,
    edge_function,
    edge_offsets,
    is_turned_out,
    pixel_ndc,
    reach_in_row,
    surface_coords,
)
from tirender.engine.kernels.types import FloatArray, I32Array, I32Array2D, IVec3Array, IVec4Array, Vec3Array


class Binned(NamedTuple):
    """Triangles, and which of them each tile may see.

    Attributes:
        verts: (V, 3) in NDC.
        faces: (T, 3) int32.
        boxes: (T, 4) int32 pixels of each triangle.
        offsets: (tiles + 1,) int32 where the members of each tile begin.
        members: (n,) int32 triangles.
        siblings: (T,) int32, the other part of the same face, -1 where it has one part; (0,) where all have.
    """

    verts: Any
    faces: Any
    boxes: Any
    offsets: Any
    members: Any
    siblings: Any


@ti.kernel
def triangle_boxes(
    verts: Vec3Array,  # (V, 3) in NDC
    faces: IVec3Array,  # (T, 3)
    margin: ti.f32,  # NDC; pixels so near to a triangle see it
    cull_backfaces: ti.i32,
    height: ti.i32,
    width: ti.i32,
    boxes: IVec4Array,  # (T, 4) first and last column, first and last row; empty where the triangle is not drawn
):
    for t in faces:
        f = faces[t]
        v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
        box = ti.math.ivec4(0, -1, 0, -1)
        area = edge_function(v2, v0, v1)
        size = ti.abs(v0).sum() + ti.abs(v1).sum() + ti.abs(v2).sum()  # a sum keeps NaN, which a maximum may drop
        faces_us = area > 0 or cull_backfaces == 0
        # the coordinates are divided by area + AREA_EPS, which must not come near 0 either
        has_area = ti.abs(area) > AREA_EPS and ti.abs(area + AREA_EPS) > AREA_EPS
        if size < FAR and has_area and ti.max(v0.z, v1.z, v2.z) >= 0 and faces_us:
            low, high = ti.min(v0, ti.min(v1, v2)), ti.max(v0, ti.max(v1, v2))
            box = pixel_box(low.xy - margin, high.xy + margin, height, width)
        boxes[t] = box


@ti.kernel
def select_nearest_triangles(
    raster: RasterStruct,
    grid: GridStruct,
    verts: Vec3Array,  # these five as in Binned
    faces: IVec3Array,
    boxes: IVec4Array,
    offsets: I32Array,
    members: I32Array,
    depth: FloatArray,  # (pixels,) of the nearest
    nearest: I32Array,  # (pixels,) the triangle in front of those that cover the pixel, else -1; or CUT
):
    ti.loop_config(block_dim=ti.static(task_block()))
    for tile in range(offsets.shape[0] - 1):
        window, base = tile_window(tile, grid)
        for y in range(window[2], window[3] + 1):
            for x in range(window[0], window[1] + 1):
                nearest[base + y * grid.width + x] = -1
        for i in range(offsets[tile], offsets[tile + 1]):
            t = members[i]
            f = faces[t]
            v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
            box = overlap_box(boxes[t], window)
            for y in range(box[2], box[3] + 1):
                for x in range(box[0], box[1] + 1):
                    p = pixel_ndc(x, y, grid.height, grid.width, v0.x)
                    if covers(p, v0, v1, v2, raster):
                        z = depth_at(p, v0, v1, v2, raster)
                        pixel = base + y * grid.width + x
                        if z >= 0 and (nearest[pixel] < 0 or z < depth[pixel]):
                            nearest[pixel] = t
                            depth[pixel] = z
        if loops_were_cut(grid.tile_h):
            nearest[base + window[2] * grid.width + window[0]] = CUT


@ti.kernel
def list_triangles(
    raster: RasterStruct,
    grid: GridStruct,
    listing: ListingStruct,
    verts: Vec3Array,  # these six as in Binned
    faces: IVec3Array,
    boxes: IVec4Array,
    offsets: I32Array,
    members: I32Array,
    siblings: I32Array,
    scratch_offsets: I32Array,  # (listed tiles + 1,) where the overlaps of each tile begin in scratch memory
    pairs: I32Array2D,  # these six as in Scratch
    pair_depths: FloatArray,
    pixel_members: I32Array,
    member_depths: FloatArray,
    begin: I32Array,
    count: I32Array,
):
    binned = ti.static(Binned(verts, faces, boxes, offsets, members, siblings))
    scratch = ti.static(Scratch(pairs, pair_depths, pixel_members, member_depths, begin, count))
    ti.loop_config(block_dim=ti.static(task_block()))
    for k in range(scratch_offsets.shape[0] - 1):
        tile = listing.first_tile + k
        window, base = tile_window(tile, grid)
        clear_counts(scratch, window, base, grid.width)
        end = scratch_offsets[k]
        for i in range(offsets[tile], offsets[tile + 1]):
            end = record_overlaps(scratch, end, binned, members[i], window, base, raster, listing)
        group_by_pixel(scratch, scratch_offsets[k], end, window, base, grid.width)
        if not listing.by_depth:
            for y in range(window[2], window[3] + 1):
                for x in range(window[0], window[1] + 1):
                    pixel = base + y * grid.width + x
                    if count[pixel] > listing.limit:
                        p = pixel_ndc(x, y, grid.height, grid.width, verts[0].x)
                        for i in range(begin[pixel], begin[pixel] + count[pixel]):
                            f = faces[pixel_members[i]]
                            member_depths[i] = depth_at(p, verts[f[0]], verts[f[1]], verts[f[2]], raster)
        keep_nearest(scratch, listing, window, base, grid.width)
        if loops_were_cut(grid.tile_h):
            count[base + window[2] * grid.width + window[0]] = CUT


@ti.func
def record_overlaps(
    scratch: ti.template(), end: ti.i32, binned: ti.template(), t: ti.i32, window, base: ti.i32, raster, listing
):
    """Record the pixels of a window that see triangle t, from place ``end`` on; returns where they end.

    A face in two parts is seen once: through the part that the pixel lies in, or else is nearer to.
    """
    f = binned.faces[t]
    v0, v1, v2 = binned.verts[f[0]], binned.verts[f[1]], binned.verts[f[2]]
    # what is near a triangle is convex, so that the pixels of a row that see it are all between two ends; unless these
    # are rounded so much that pixels inside may be lost. A GPU, of many threads, has no registers to spare for it
    reach = ti.sqrt(cast_like(raster.blur, v0.x))
    offsets = edge_offsets(v0, v1, v2, reach)
    size = ti.max(ti.abs(v0.xy).max(), ti.abs(v1.xy).max(), ti.abs(v2.xy).max())
    is_convex = False
    if ti.static(is_cpu()):
        is_convex = reach > 1e-6 * size and not is_turned_out(v0, v1, v2, raster)
    # most depths need not be known: of a pixel that keeps all its triangles, in any order
    depth_later = not listing.by_depth and raster.clip_bary and ti.min(v0.z, v1.z, v2.z) >= 0
    box = overlap_box(binned.boxes[t], window)
    sibling = -1
    if binned.siblings.shape[0] > 0:
        sibling = binned.siblings[t]
    place = end
    for y in range(box[2], box[3] + 1):
        first, last = box[0], box[1]
        if ti.static(is_cpu()):
            if is_convex:
                low, high = reach_in_row(
                    pixel_ndc(0, y, raster.height, raster.width, v0.x).y, v0, v1, v2, offsets, reach
                )
                short = ti.min(raster.height, raster.width)
                left, right = (raster.width - 1 - short * high) / 2, (raster.width - 1 - short * low) / 2
                first = ti.cast(ti.ceil(ti.math.clamp(left, box[0], box[1] + 1)), ti.i32)
                last = ti.cast(ti.floor(ti.math.clamp(right, box[0] - 1, box[1])), ti.i32)
        for x in range(first, last + 1):
            p = pixel_ndc(x, y, raster.height, raster.width, v0.x)
            is_seen = is_convex
            if not is_seen:  # not by "or", of which Taichi computes both sides
                is_seen = covers(p, v0, v1, v2, raster)
            if not is_seen and raster.blur > 0:
                is_seen = edge_distance(p, v0, v1, v2) < raster.blur
            if is_seen:
                z = 0 * v0.z
                if not depth_later:
                    z = depth_at(p, v0, v1, v2, raster)
                is_new = z >= 0
                if sibling >= 0 and is_new:
                    is_new = not is_seen_before(binned, sibling, t, x, y, raster)
                if is_new:
                    record(scratch, place, base + y * raster.width + x, t, z)
                    place += 1
    return place


@ti.func
def is_seen_before(binned: ti.template(), s: ti.i32, t: ti.i32, x: ti.i32, y: ti.i32, raster):
    """Whether a pixel sees triangle s, and is nearer to it than to t; of equals, to the one of lower index."""
    f, g, box = binned.faces[t], binned.faces[s], binned.boxes[s]
    v0, v1, v2 = binned.verts[g[0]], binned.verts[g[1]], binned.verts[g[2]]
    p = pixel_ndc(x, y, raster.height, raster.width, v0.x)
    own = distance_from(p, binned.verts[f[0]], binned.verts[f[1]], binned.verts[f[2]], raster)
    other = distance_from(p, v0, v1, v2, raster)
    in_box = box[0] <= x and x <= box[1] and box[2] <= y and y <= box[3]
    is_nearer = other < own or (other == own and s < t)
    return in_box and other < raster.blur and is_nearer and depth_at(p, v0, v1, v2, raster) >= 0


@ti.func
def distance_from(p, v0, v1, v2, raster):
    """Squared distance from p to a triangle, 0 inside."""
    d = edge_distance(p, v0, v1, v2)
    if covers(p, v0, v1, v2, raster):
        d = 0 * d
    return d


@ti.func
def depth_at(p, v0, v1, v2, raster):
    _b, c = surface_coords(p, v0, v1, v2, raster)
    return c[0] * v0.z + c[1] * v1.z + c[2] * v2.z
