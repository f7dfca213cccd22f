"""Selection of the triangles that each pixel keeps. Discrete, so without gradient.

The image is cut into tiles (on a CPU a tile is a band of whole rows). ``count_bins`` and ``fill_bins`` list the
triangles of each tile in ascending order: a counting sort whose chunks of triangles each own a column of the counts, so
that the order never depends on the threads. Then each tile is the work of one thread. ``select_nearest`` is a plain
z-test; ``list_fragments`` finds all overlaps of a tile, groups them by pixel and sorts them by depth, and
``compact_fragments`` writes the kept ones out.
"""

import taichi as ti

from tirender.kernels.triangle import (
    AREA_EPS,
    FAR,
    Index,
    Points,
    Triples,
    edge,
    edge_bounds,
    edges,
    is_inside,
    may_touch,
    outline_distance,
    pixel_ndc,
    surface_coords,
)

Boxes = ti.types.ndarray(dtype=ti.math.ivec4, ndim=1)
Reals = ti.types.ndarray(ndim=1)
Table = ti.types.ndarray(dtype=ti.i32, ndim=2)
Tables = ti.types.ndarray(dtype=ti.i32, ndim=3)

INSERTION_SORT_MAX = 24


@ti.kernel
def count_bins(
    verts: Points,
    faces: Triples,
    image: Index,
    margin: ti.f32,
    cull_backfaces: ti.i32,
    height: ti.i32,
    width: ti.i32,
    tile_h: ti.i32,
    tile_w: ti.i32,
    boxes: Boxes,
    counts: Tables,
):
    """boxes: first and last column and row of each triangle, empty where it is not drawn; counts: (2, tile, chunk)
    triangles, and pixels of their boxes."""
    n_chunks = counts.shape[2]
    tiles_x = (width + tile_w - 1) // tile_w
    tiles_y = (height + tile_h - 1) // tile_h
    chunk_len = (faces.shape[0] + n_chunks - 1) // n_chunks
    for chunk in range(n_chunks):
        for t in range(chunk * chunk_len, ti.min((chunk + 1) * chunk_len, faces.shape[0])):
            f = faces[t]
            box = pixel_box(verts[f[0]], verts[f[1]], verts[f[2]], margin, cull_backfaces, height, width)
            boxes[t] = box
            if box[0] <= box[1] and box[2] <= box[3]:
                for ty in range(box[2] // tile_h, box[3] // tile_h + 1):
                    rows = ti.min(box[3], (ty + 1) * tile_h - 1) - ti.max(box[2], ty * tile_h) + 1
                    for tx in range(box[0] // tile_w, box[1] // tile_w + 1):
                        columns = ti.min(box[1], (tx + 1) * tile_w - 1) - ti.max(box[0], tx * tile_w) + 1
                        tile = (image[t] * tiles_y + ty) * tiles_x + tx
                        # not +=, which would be atomic: the chunk owns its column
                        counts[0, tile, chunk] = counts[0, tile, chunk] + 1
                        counts[1, tile, chunk] = counts[1, tile, chunk] + rows * columns


@ti.kernel
def fill_bins(
    boxes: Boxes,
    image: Index,
    height: ti.i32,
    width: ti.i32,
    tile_h: ti.i32,
    tile_w: ti.i32,
    cursor: Table,
    binned: Index,
):
    """binned: the triangles of each tile; cursor: (tile, chunk) where they begin, moved to where they end."""
    n_chunks = cursor.shape[1]
    tiles_x = (width + tile_w - 1) // tile_w
    tiles_y = (height + tile_h - 1) // tile_h
    chunk_len = (boxes.shape[0] + n_chunks - 1) // n_chunks
    for chunk in range(n_chunks):
        for t in range(chunk * chunk_len, ti.min((chunk + 1) * chunk_len, boxes.shape[0])):
            box = boxes[t]
            if box[0] <= box[1] and box[2] <= box[3]:
                for ty in range(box[2] // tile_h, box[3] // tile_h + 1):
                    for tx in range(box[0] // tile_w, box[1] // tile_w + 1):
                        tile = (image[t] * tiles_y + ty) * tiles_x + tx
                        at = cursor[tile, chunk]
                        binned[at] = t
                        cursor[tile, chunk] = at + 1


@ti.kernel
def select_nearest(
    verts: Points,
    faces: Triples,
    boxes: Boxes,
    bins: Index,
    binned: Index,
    perspective: ti.i32,
    clip: ti.i32,
    height: ti.i32,
    width: ti.i32,
    tile_h: ti.i32,
    tile_w: ti.i32,
    depth: Reals,
    nearest: Index,
):
    """nearest: the triangle in front at each pixel centre strictly inside one, else -1."""
    tiles_x = (width + tile_w - 1) // tile_w
    tiles_y = (height + tile_h - 1) // tile_h
    for tile in range(bins.shape[0] - 1):
        window = tile_window(tile, tiles_x, tiles_y, tile_h, tile_w, height, width)
        base = tile // (tiles_x * tiles_y) * height * width
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
def list_fragments(
    verts: Points,
    faces: Triples,
    boxes: Boxes,
    bins: Index,
    binned: Index,
    room: Index,
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
    found: Table,
    found_z: Reals,
    chosen: Index,
    chosen_z: Reals,
    start: Index,
    kept: Index,
):
    """Lists the fragments of some tiles in scratch memory (room: where that of each tile begins).

    found: (pixel, triangle) in the order met; chosen: the triangles grouped by pixel; start, kept: for each pixel of
    all images its first place in chosen and how many of the nearest it keeps.
    """
    tiles_x = (width + tile_w - 1) // tile_w
    tiles_y = (height + tile_h - 1) // tile_h
    for k in range(room.shape[0] - 1):
        tile = first_tile + k
        window = tile_window(tile, tiles_x, tiles_y, tile_h, tile_w, height, width)
        base = tile // (tiles_x * tiles_y) * height * width
        for y in range(window[2], window[3] + 1):
            for x in range(window[0], window[1] + 1):
                kept[base + y * width + x] = 0

        end = room[k]
        for i in range(bins[tile], bins[tile + 1]):
            t = binned[i]
            f = faces[t]
            v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
            orientation, bounds = edge_bounds(v0, v1, v2, ti.sqrt(blur), perspective)
            box = overlap_box(boxes[t], window)
            for y in range(box[2], box[3] + 1):
                for x in range(box[0], box[1] + 1):
                    p = pixel_ndc(x, y, height, width, v0.x)
                    if may_touch(edges(p, v0, v1, v2), orientation, bounds):
                        b, c = surface_coords(p, v0, v1, v2, perspective, clip)
                        if is_inside(b) or outline_distance(p, v0, v1, v2) < blur:
                            z = c[0] * v0.z + c[1] * v1.z + c[2] * v2.z
                            if z >= 0:
                                pixel = base + y * width + x
                                found[end, 0] = pixel
                                found[end, 1] = t
                                found_z[end] = z
                                end += 1
                                kept[pixel] = kept[pixel] + 1

        at = room[k]
        for y in range(window[2], window[3] + 1):
            for x in range(window[0], window[1] + 1):
                pixel = base + y * width + x
                start[pixel] = at
                at += kept[pixel]
        for i in range(room[k], end):  # start moves to the end of each pixel's group ...
            pixel = found[i, 0]
            at = start[pixel]
            chosen[at] = found[i, 1]
            chosen_z[at] = found_z[i]
            start[pixel] = at + 1
        for y in range(window[2], window[3] + 1):
            for x in range(window[0], window[1] + 1):
                pixel = base + y * width + x
                n = kept[pixel]
                begin = start[pixel] - n  # ... and back
                start[pixel] = begin
                if by_depth or n > limit:
                    sort_by_depth(chosen, chosen_z, begin, n)
                kept[pixel] = ti.min(n, limit)


@ti.kernel
def compact_fragments(chosen: Index, start: Index, offsets: Index, first_pixel: ti.i32, block: ti.i32, packed: Index):
    """packed: the kept triangles of the pixels from first_pixel on; offsets: theirs, from 0."""
    n_pixels = offsets.shape[0] - 1
    for i in range((n_pixels + block - 1) // block):
        for pixel in range(i * block, ti.min((i + 1) * block, n_pixels)):
            begin = offsets[pixel]
            for k in range(offsets[pixel + 1] - begin):
                packed[begin + k] = chosen[start[first_pixel + pixel] + k]


@ti.func
def pixel_box(v0, v1, v2, margin, cull_backfaces, height, width):
    """First and last column and row whose centres may lie within margin of the triangle; empty if it is not drawn."""
    box = ti.math.ivec4(0, -1, 0, -1)
    area = edge(v2, v0, v1)
    size = ti.abs(v0).sum() + ti.abs(v1).sum() + ti.abs(v2).sum()  # a sum keeps NaN, which a maximum may drop
    if size < FAR and ti.abs(area) > AREA_EPS and ti.max(v0.z, v1.z, v2.z) >= 0 and (area > 0 or cull_backfaces == 0):
        short = ti.min(height, width)
        # x_ndc = (width - 2 column - 1) / short, clamped before the cast to int
        low_x = width - short * (ti.max(v0.x, v1.x, v2.x) + margin)
        high_x = width - short * (ti.min(v0.x, v1.x, v2.x) - margin)
        low_y = height - short * (ti.max(v0.y, v1.y, v2.y) + margin)
        high_y = height - short * (ti.min(v0.y, v1.y, v2.y) - margin)
        slack = short * 1e-5 * (ti.abs(v0.x) + ti.abs(v0.y) + 1)
        if low_x - slack <= 2 * width and high_x + slack >= 0 and low_y - slack <= 2 * height and high_y + slack >= 0:
            box = ti.math.ivec4(
                ti.cast(ti.ceil((ti.max(low_x - slack, 0) - 1) / 2), ti.i32),
                ti.cast(ti.floor((ti.min(high_x + slack, 2 * width) - 1) / 2), ti.i32),
                ti.cast(ti.ceil((ti.max(low_y - slack, 0) - 1) / 2), ti.i32),
                ti.cast(ti.floor((ti.min(high_y + slack, 2 * height) - 1) / 2), ti.i32),
            )
            box = ti.math.ivec4(
                ti.max(box[0], 0), ti.min(box[1], width - 1), ti.max(box[2], 0), ti.min(box[3], height - 1)
            )
    return box


@ti.func
def tile_window(tile, tiles_x, tiles_y, tile_h, tile_w, height, width):
    x = tile % tiles_x * tile_w
    y = tile // tiles_x % tiles_y * tile_h
    return ti.math.ivec4(x, ti.min(x + tile_w, width) - 1, y, ti.min(y + tile_h, height) - 1)


@ti.func
def overlap_box(a, b):
    return ti.math.ivec4(ti.max(a[0], b[0]), ti.min(a[1], b[1]), ti.max(a[2], b[2]), ti.min(a[3], b[3]))


@ti.func
def sort_by_depth(index: ti.template(), z: ti.template(), begin: ti.i32, n: ti.i32):
    """Sorts n entries by (z, index): insertion where few, else a heap, so that deep pixels cost n log n."""
    if n <= INSERTION_SORT_MAX:
        for i in range(begin + 1, begin + n):
            zi, ti_ = z[i], index[i]
            j = i - 1
            while j >= begin and comes_before(zi, ti_, z[j], index[j]):
                z[j + 1], index[j + 1] = z[j], index[j]
                j -= 1
            z[j + 1], index[j + 1] = zi, ti_
    else:
        for i in range(n // 2):
            sift_down(index, z, begin, n // 2 - 1 - i, n)
        for i in range(n - 1):
            last = begin + n - 1 - i
            zl, tl = z[last], index[last]
            z[last], index[last] = z[begin], index[begin]
            z[begin], index[begin] = zl, tl
            sift_down(index, z, begin, 0, n - 1 - i)


@ti.func
def sift_down(index: ti.template(), z: ti.template(), begin: ti.i32, root: ti.i32, n: ti.i32):
    zr, tr = z[begin + root], index[begin + root]
    hole = root
    child = 2 * hole + 1
    while child < n:
        if child + 1 < n and comes_before(
            z[begin + child], index[begin + child], z[begin + child + 1], index[begin + child + 1]
        ):
            child += 1
        if comes_before(zr, tr, z[begin + child], index[begin + child]):
            z[begin + hole], index[begin + hole] = z[begin + child], index[begin + child]
            hole = child
            child = 2 * hole + 1
        else:
            child = n
    z[begin + hole], index[begin + hole] = zr, tr


@ti.func
def comes_before(z, t, other_z, other_t):
    return z < other_z or (z == other_z and t < other_t)
