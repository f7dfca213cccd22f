"""Points drawn as discs: which of them each pixel keeps, depth and distance there, and the adjoint.

A point is (x_ndc, y_ndc, z_view). Selection is discrete, over the tiles of ``kernels/tiles.py``.
"""

import taichi as ti

from tirender.kernels.slabs import PointSlabs, accumulate
from tirender.kernels.tasks import task_block
from tirender.kernels.tiles import (
    Boxes,
    Reals,
    Table,
    clear_counts,
    first_pixel_of,
    group_by_pixel,
    keep_nearest,
    overlap_box,
    pixel_box,
    record,
    tile_window,
)
from tirender.kernels.triangle import FAR, Index, Points, pixel_ndc


@ti.kernel
def point_boxes(points: Points, radius: Reals, height: ti.i32, width: ti.i32, boxes: Boxes):
    """boxes: the pixels that may lie within each point's radius; empty where it is not drawn."""
    for t in points:
        p, r = points[t], radius[t]
        box = ti.math.ivec4(0, -1, 0, -1)
        if ti.abs(p).sum() + r < FAR and p.z >= 0:  # a sum keeps NaN, for which the comparison is false
            box = pixel_box(p.xy - r, p.xy + r, height, width)
        boxes[t] = box


@ti.kernel
def list_points(
    points: Points,
    radius: Reals,
    boxes: Boxes,
    bins: Index,
    binned: Index,
    room: Index,
    first_tile: ti.i32,
    limit: ti.i32,
    height: ti.i32,
    width: ti.i32,
    tile_h: ti.i32,
    tile_w: ti.i32,
    found: Table,
    found_z: Reals,
    chosen: Index,
    chosen_z: Reals,
    start: Index,
    kept: Index,
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
    points: Points, pixels: Index, index: Index, height: ti.i32, width: ti.i32, zbuf: Reals, dists: Reals
):
    for m in index:
        point = points[index[m]]
        p = pixel_ndc(pixels[m] % width, pixels[m] // width % height, height, width, point.x)
        zbuf[m] = point.z
        dists[m] = (p - point.xy).norm_sqr()


@ti.kernel
def point_fragments_adjoint(
    points: Points,
    pixels: Index,
    index: Index,
    height: ti.i32,
    width: ti.i32,
    grad_zbuf: Reals,
    grad_dists: Reals,
    bounds: Index,
    atomic: ti.template(),
    grad_points: PointSlabs,
):
    """bounds: the fragments of each slab; grad_points: (slab, point), zero before."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for s in range(bounds.shape[0] - 1):
        for m in range(bounds[s], bounds[s + 1]):
            point = points[index[m]]
            p = pixel_ndc(pixels[m] % width, pixels[m] // width % height, height, width, point.x)
            g = 2 * grad_dists[m] * (point.xy - p)
            accumulate(grad_points, s, index[m], ti.Vector([g.x, g.y, grad_zbuf[m]]), atomic)
