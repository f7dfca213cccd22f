"""Points drawn as discs: which of them each pixel keeps, depth and distance there, and the adjoint.

A point is (x_ndc, y_ndc, z_view). Selection is discrete, over the tiles of ``kernels/tiles.py``.
"""

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.tasks import round_pixels, task_block
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
from tirender.engine.kernels.triangle import FAR, pixel_ndc
from tirender.engine.kernels.types import FloatArray, I32Array, I32Array2D, IVec4Array, Vec3Array, Vec3Array2D


@ti.kernel
def point_boxes(
    points: Vec3Array,  # (P, 3) in NDC
    radius: FloatArray,  # (P,) NDC
    height: ti.i32,
    width: ti.i32,
    boxes: IVec4Array,  # (P, 4) the pixels that may lie within each point's radius; empty where it is not drawn
):
    for t in points:
        p, r = points[t], radius[t]
        box = ti.math.ivec4(0, -1, 0, -1)
        if ti.abs(p).sum() + r < FAR and p.z >= 0:  # a sum keeps NaN, for which the comparison is false
            box = pixel_box(p.xy - r, p.xy + r, height, width)
        boxes[t] = box


@ti.kernel
def list_points(
    grid: GridStruct,
    listing: ListingStruct,
    points: Vec3Array,  # (P, 3) in NDC
    radius: FloatArray,  # (P,) NDC
    boxes: IVec4Array,  # (P, 4) pixels of each point
    offsets: I32Array,  # (tiles + 1,) where the members of each tile begin
    members: I32Array,  # (n,) points
    scratch_offsets: I32Array,  # (listed tiles + 1,) where the overlaps of each tile begin in scratch memory
    pairs: I32Array2D,  # these six as in Scratch
    pair_depths: FloatArray,
    pixel_members: I32Array,
    member_depths: FloatArray,
    begin: I32Array,
    count: I32Array,
):
    scratch = ti.static(Scratch(pairs, pair_depths, pixel_members, member_depths, begin, count))
    ti.loop_config(block_dim=ti.static(task_block()))
    for k in range(scratch_offsets.shape[0] - 1):
        tile = listing.first_tile + k
        window, base = tile_window(tile, grid)
        clear_counts(scratch, window, base, grid.width)
        end = scratch_offsets[k]
        for i in range(offsets[tile], offsets[tile + 1]):
            t = members[i]
            point = points[t]
            radius_sqr = radius[t] * radius[t]
            box = overlap_box(boxes[t], window)
            for y in range(box[2], box[3] + 1):
                for x in range(box[0], box[1] + 1):
                    d = pixel_ndc(x, y, grid.height, grid.width, point.x) - point.xy
                    if d.norm_sqr() < radius_sqr:
                        record(scratch, end, base + y * grid.width + x, t, point.z)
                        end += 1
        group_by_pixel(scratch, scratch_offsets[k], end, window, base, grid.width)
        keep_nearest(scratch, listing, window, base, grid.width)
        if loops_were_cut(grid.tile_h):
            count[base + window[2] * grid.width + window[0]] = CUT


@ti.kernel
def point_fragments_forward(
    points: Vec3Array,  # (P, 3) in NDC
    offsets: I32Array,  # (pixels + 1,) where the fragments of each pixel begin
    index: I32Array,  # (M,) the point of each fragment
    height: ti.i32,
    width: ti.i32,
    zbuf: FloatArray,  # (M,)
    dists: FloatArray,  # (M,) squared
):
    run = round_pixels(width)
    ti.loop_config(block_dim=ti.static(task_block()))
    for i in range((offsets.shape[0] - 1) // run):
        for pixel in range(i * run, (i + 1) * run):
            begin, end = offsets[pixel], offsets[pixel + 1]
            if begin < end:
                p = pixel_ndc(pixel % width, pixel // width % height, height, width, points[0].x)
                for m in range(begin, end):
                    point = points[index[m]]
                    zbuf[m] = point.z
                    dists[m] = (p - point.xy).norm_sqr()


@ti.kernel
def point_fragments_adjoint(
    points: Vec3Array,  # these three as for the forward kernel
    offsets: I32Array,
    index: I32Array,
    height: ti.i32,
    width: ti.i32,
    grad_zbuf: FloatArray,
    grad_dists: FloatArray,
    bounds: I32Array,  # (parts + 1,) the pixels of each part
    atomic: ti.template(),
    grad_points: Vec3Array2D,  # (part, P, 3), zero before
):
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        for pixel in range(bounds[part], bounds[part + 1]):
            begin, end = offsets[pixel], offsets[pixel + 1]
            if begin < end:
                p = pixel_ndc(pixel % width, pixel // width % height, height, width, points[0].x)
                for m in range(begin, end):
                    g = 2 * grad_dists[m] * (points[index[m]].xy - p)
                    accumulate(grad_points, part, index[m], ti.Vector([g.x, g.y, grad_zbuf[m]]), atomic)
