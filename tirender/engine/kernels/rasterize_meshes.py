"""Selection of the triangles that each pixel keeps. Discrete, so without gradient.

Over the tiles of ``kernels/tiles.py``: ``select_nearest`` is a plain z-test, ``list_triangles`` finds all overlaps.
"""

import taichi as ti

from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.tiles import (
    clear_counts,
    first_pixel_of,
    group_by_pixel,
    keep_nearest,
    overlap_box,
    pixel_box,
    record,
    tile_window,
)
from tirender.engine.kernels.triangle import (
    AREA_EPS,
    FAR,
    contains,
    edge,
    edge_bounds,
    edges,
    is_inside,
    may_touch,
    outline_distance,
    pixel_ndc,
    surface_coords,
)
from tirender.engine.kernels.types import FloatArray, I32Array, I32Array2D, IVec3Array, IVec4Array, Vec3Array


@ti.kernel
def triangle_boxes(
    verts: Vec3Array,
    faces: IVec3Array,
    margin: ti.f32,
    cull_backfaces: ti.i32,
    height: ti.i32,
    width: ti.i32,
    boxes: IVec4Array,
):
    """boxes: the pixels that may lie within ``margin`` of each triangle; empty where it is not drawn."""
    for t in faces:
        f = faces[t]
        v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
        box = ti.math.ivec4(0, -1, 0, -1)
        area = edge(v2, v0, v1)
        size = ti.abs(v0).sum() + ti.abs(v1).sum() + ti.abs(v2).sum()  # a sum keeps NaN, which a maximum may drop
        faces_us = area > 0 or cull_backfaces == 0
        # the coordinates are divided by area + AREA_EPS, which must not come near 0 either
        has_area = ti.abs(area) > AREA_EPS and ti.abs(area + AREA_EPS) > AREA_EPS
        if size < FAR and has_area and ti.max(v0.z, v1.z, v2.z) >= 0 and faces_us:
            low, high = ti.min(v0, ti.min(v1, v2)), ti.max(v0, ti.max(v1, v2))
            box = pixel_box(low.xy - margin, high.xy + margin, height, width)
        boxes[t] = box


@ti.kernel
def select_nearest(
    verts: Vec3Array,
    faces: IVec3Array,
    boxes: IVec4Array,
    bins: I32Array,
    binned: I32Array,
    perspective: ti.i32,
    clip: ti.i32,
    height: ti.i32,
    width: ti.i32,
    tile_h: ti.i32,
    tile_w: ti.i32,
    depth: FloatArray,
    nearest: I32Array,
):
    """nearest: the triangle in front at each pixel centre strictly inside one, else -1."""
    tiles_x = (width + tile_w - 1) // tile_w
    tiles_y = (height + tile_h - 1) // tile_h
    ti.loop_config(block_dim=ti.static(task_block()))
    for tile in range(bins.shape[0] - 1):
        window = tile_window(tile, tiles_x, tiles_y, tile_h, tile_w, height, width)
        base = first_pixel_of(tile, tiles_x, tiles_y, height, width)
        for y in range(window[2], window[3] + 1):
            for x in range(window[0], window[1] + 1):
                nearest[base + y * width + x] = -1
        for i in range(bins[tile], bins[tile + 1]):
            t = binned[i]
            f = faces[t]
            v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
            orientation, bounds = edge_bounds(v0, v1, v2, 0, perspective)
            box = overlap_box(boxes[t], window)
            for y in range(box[2], box[3] + 1):
                for x in range(box[0], box[1] + 1):
                    p = pixel_ndc(x, y, height, width, v0.x)
                    if may_touch(edges(p, v0, v1, v2), orientation, bounds):
                        b, c = surface_coords(p, v0, v1, v2, perspective, clip)
                        if is_inside(b):
                            z = c[0] * v0.z + c[1] * v1.z + c[2] * v2.z
                            pixel = base + y * width + x
                            if z >= 0 and (nearest[pixel] < 0 or z < depth[pixel]):
                                nearest[pixel] = t
                                depth[pixel] = z


@ti.kernel
def list_triangles(
    verts: Vec3Array,
    faces: IVec3Array,
    boxes: IVec4Array,
    bins: I32Array,
    binned: I32Array,
    room: I32Array,
    first_tile: ti.i32,
    blur: ti.f32,
    perspective: ti.i32,
    clip: ti.i32,
    limit: ti.i32,
    by_depth: ti.i32,
    height: ti.i32,
    width: ti.i32,
    tile_h: ti.i32,
    tile_w: ti.i32,
    found: I32Array2D,
    found_z: FloatArray,
    chosen: I32Array,
    chosen_z: FloatArray,
    start: I32Array,
    kept: I32Array,
):
    """Lists the fragments of some tiles in scratch memory; room: where that of each tile begins."""
    tiles_x = (width + tile_w - 1) // tile_w
    tiles_y = (height + tile_h - 1) // tile_h
    ti.loop_config(block_dim=ti.static(task_block()))
    for k in range(room.shape[0] - 1):
        tile = first_tile + k
        window = tile_window(tile, tiles_x, tiles_y, tile_h, tile_w, height, width)
        base = first_pixel_of(tile, tiles_x, tiles_y, height, width)
        clear_counts(kept, base, window, width)
        end = room[k]
        for i in range(bins[tile], bins[tile + 1]):
            t = binned[i]
            f = faces[t]
            v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
            orientation, bounds = edge_bounds(v0, v1, v2, ti.sqrt(blur), perspective)
            # most depths need not be known: of a pixel that keeps all its triangles, in any order
            depth_later = by_depth == 0 and clip == 1 and ti.min(v0.z, v1.z, v2.z) >= 0
            box = overlap_box(boxes[t], window)
            for y in range(box[2], box[3] + 1):
                for x in range(box[0], box[1] + 1):
                    p = pixel_ndc(x, y, height, width, v0.x)
                    if may_touch(edges(p, v0, v1, v2), orientation, bounds):
                        if contains(p, v0, v1, v2, perspective) or outline_distance(p, v0, v1, v2) < blur:
                            z = 0 * v0.z
                            if not depth_later:
                                z = depth_at(p, v0, v1, v2, perspective, clip)
                            if z >= 0:
                                record(found, found_z, kept, end, base + y * width + x, t, z)
                                end += 1
        group_by_pixel(found, found_z, room[k], end, base, window, width, chosen, chosen_z, start, kept)
        if by_depth == 0:
            for y in range(window[2], window[3] + 1):
                for x in range(window[0], window[1] + 1):
                    pixel = base + y * width + x
                    if kept[pixel] > limit:
                        p = pixel_ndc(x, y, height, width, verts[0].x)
                        for i in range(start[pixel], start[pixel] + kept[pixel]):
                            f = faces[chosen[i]]
                            chosen_z[i] = depth_at(p, verts[f[0]], verts[f[1]], verts[f[2]], perspective, clip)
        keep_nearest(base, window, width, limit, by_depth, chosen, chosen_z, start, kept)


@ti.func
def depth_at(p, v0, v1, v2, perspective: ti.i32, clip: ti.i32):
    _b, c = surface_coords(p, v0, v1, v2, perspective, clip)
    return c[0] * v0.z + c[1] * v1.z + c[2] * v2.z
