"""Points drawn as discs: which of them each pixel keeps, depth and distance there, and the adjoint.

A point is (x_ndc, y_ndc, z_view). Selection is discrete, over the tiles of ``kernels/tiles.py``.
"""

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate
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
from tirender.engine.kernels.triangle import FAR, pixel_ndc
from tirender.engine.kernels.types import FloatArray, I32Array, I32Array2D, IVec4Array, Vec3Array, Vec3Array2D


@ti.kernel
def point_boxes(points: Vec3Array, radius: FloatArray, height: ti.i32, width: ti.i32, boxes: IVec4Array):
    """boxes: the pixels that may lie within each point's radius; empty where it is not drawn."""
    for t in points:
        p, r = points[t], radius[t]
        box = ti.math.ivec4(0, -1, 0, -1)
        if ti.abs(p).sum() + r < FAR and p.z >= 0:  # a sum keeps NaN, for which the comparison is false
            box = pixel_box(p.xy - r, p.xy + r, height, width)
        boxes[t] = box


@ti.kernel
def list_points(
    points: Vec3Array,
    radius: FloatArray,
    boxes: IVec4Array,
    bins: I32Array,
    binned: I32Array,
    room: I32Array,
    first_tile: ti.i32,
    limit: ti.i32,
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
    """Lists the points of some tiles in scratch memory; room: where that of each tile begins."""
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
            point = points[t]
            radius_sqr = radius[t] * radius[t]
            box = overlap_box(boxes[t], window)
            for y in range(box[2], box[3] + 1):
                for x in range(box[0], box[1] + 1):
                    d = pixel_ndc(x, y, height, width, point.x) - point.xy
                    if d.norm_sqr() < radius_sqr:
                        record(found, found_z, kept, end, base + y * width + x, t, point.z)
                        end += 1
        group_by_pixel(found, found_z, room[k], end, base, window, width, chosen, chosen_z, start, kept)
        keep_nearest(base, window, width, limit, 1, chosen, chosen_z, start, kept)


@ti.kernel
def point_fragments_forward(
    points: Vec3Array,
    pixels: I32Array,
    index: I32Array,
    height: ti.i32,
    width: ti.i32,
    zbuf: FloatArray,
    dists: FloatArray,
):
    for m in index:
        point = points[index[m]]
        p = pixel_ndc(pixels[m] % width, pixels[m] // width % height, height, width, point.x)
        zbuf[m] = point.z
        dists[m] = (p - point.xy).norm_sqr()


@ti.kernel
def point_fragments_adjoint(
    points: Vec3Array,
    pixels: I32Array,
    index: I32Array,
    height: ti.i32,
    width: ti.i32,
    grad_zbuf: FloatArray,
    grad_dists: FloatArray,
    bounds: I32Array,
    atomic: ti.template(),
    grad_points: Vec3Array2D,
):
    """bounds: the fragments of each part; grad_points: (part, point), zero before."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for s in range(bounds.shape[0] - 1):
        for m in range(bounds[s], bounds[s + 1]):
            point = points[index[m]]
            p = pixel_ndc(pixels[m] % width, pixels[m] // width % height, height, width, point.x)
            g = 2 * grad_dists[m] * (point.xy - p)
            accumulate(grad_points, s, index[m], ti.Vector([g.x, g.y, grad_zbuf[m]]), atomic)
