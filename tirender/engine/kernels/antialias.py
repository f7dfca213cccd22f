"""Analytic anti-aliasing of a picture whose pixels each show one triangle, and its adjoint.

Laine, Hellsten, Karras, Seol, Lehtinen, Aila, "Modular Primitives for High-Performance Differentiable Rendering", 2020.
Two neighbouring pixels that show different triangles are looked at as a pair. Where an outline of the nearer triangle
crosses the line between their centres, the pixel that holds the crossing takes on the other's colour, in the share of
its width that lies beyond the crossing. So a picture changes smoothly as an outline moves, and the outline's vertices
have gradients. An edge is an outline if no face lies beyond it, or one that lies on the same side of it in the image. A
pair along a row looks at edges that are steeper than 45 degrees, one along a column at the others.

The paper looks at the edges of the nearer triangle alone. Faces seen from the side are often narrower than a pixel, and
their outline is then missed. Here the line is followed from triangle to triangle until it meets an outline. Most pairs
show triangles that share an edge which is no outline: nothing lies between these, and nothing is followed.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import round_pixels, task_block
from tirender.engine.kernels.triangle import edge_function, pixel_ndc
from tirender.engine.kernels.types import (
    FloatArray,
    FloatArray2D,
    I32Array,
    ImageSizeStruct,
    IVec3Array,
    Vec2Array2D,
    Vec3Array,
)


class Picture(NamedTuple):
    """What the pixels show.

    Attributes:
        triangles: (pixels,) int32, -1 for none.
        depths: (pixels,).
        faces: (T, 3) int32.
        partners: (T, 3) int32, for the edge opposite each corner ``3 * t + corner`` of the same edge in the triangle
            beyond it; -1 for none.
        verts: (V, 3) in NDC.
    """

    triangles: Any
    depths: Any
    faces: Any
    partners: Any
    verts: Any


MAX_TRIANGLES = 16  # that are looked at on the way from a pixel to the next one
ROWS = 8  # that a round of the forward pass does on a CPU
BLOCK = 8  # pixels of a row that are passed over together where nothing crosses
NOWHERE = -1  # a crossing that is none


@ti.kernel
def antialias_forward(
    size: ImageSizeStruct,
    triangles: I32Array,  # these five as in Picture
    depths: FloatArray,
    faces: IVec3Array,
    partners: IVec3Array,
    verts: Vec3Array,
    colors: FloatArray2D,  # (pixels, C)
    image: FloatArray2D,  # (pixels, C), as colors before
):
    picture = ti.static(Picture(triangles, depths, faces, partners, verts))
    n_pixels = triangles.shape[0]
    n = round_pixels(ROWS * size.width)
    ti.loop_config(block_dim=ti.static(task_block()))
    for i in range((n_pixels + n - 1) // n):
        start, end = i * n, ti.min((i + 1) * n, n_pixels)
        for block in range((end - start + BLOCK - 1) // BLOCK):
            begin, stop = pixels_of(triangles, size, start + block * BLOCK, end)
            for pixel in range(begin, stop):
                for side in range(4):
                    first, second = pair_at(size, pixel, side)
                    if side < 2 or first < start:  # this round has no other pixel that looks at the pair
                        crossing, _, _, _ = crossing_between(picture, size, first, side % 2)
                        changed, other, share = blended(first, second, crossing)
                        if start <= changed < end:
                            for c in range(colors.shape[1]):
                                taken = share * (colors[other, c] - colors[changed, c])
                                image[changed, c] = image[changed, c] + taken


@ti.kernel
def antialias_adjoint(
    size: ImageSizeStruct,
    triangles: I32Array,  # these five as in Picture
    depths: FloatArray,
    faces: IVec3Array,
    partners: IVec3Array,
    verts: Vec3Array,
    colors: FloatArray2D,  # (pixels, C)
    grad_image: FloatArray2D,  # (pixels, C)
    bounds: I32Array,  # (parts + 1,) the pixels of each part
    atomic: ti.template(),
    grad_colors: FloatArray2D,  # (pixels, C), as grad_image before
    grad_xy: Vec2Array2D,  # (part, V, 2), zero before; empty where not wanted
):
    picture = ti.static(Picture(triangles, depths, faces, partners, verts))
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        start, end = bounds[part], bounds[part + 1]
        for block in range((end - start + BLOCK - 1) // BLOCK):
            begin, stop = pixels_of(triangles, size, start + block * BLOCK, end)
            for pixel in range(begin, stop):
                for side in range(4):
                    first, second = pair_at(size, pixel, side)
                    if side < 2 or first < start:
                        crossing, i, j, slope = crossing_between(picture, size, first, side % 2)
                        changed, other, share = blended(first, second, crossing)
                        g = 0 * crossing
                        for c in range(colors.shape[1] if changed >= 0 else 0):
                            grad = grad_image[changed, c]
                            g += grad * (colors[first, c] - colors[second, c])
                            if start <= changed < end:
                                grad_colors[changed, c] = grad_colors[changed, c] - share * grad
                            if start <= other < end:
                                grad_colors[other, c] = grad_colors[other, c] + share * grad
                        if changed >= 0 and side < 2 and grad_xy.shape[1] > 0:
                            gi, gj = crossing_vjp(slope, side, g)
                            accumulate(grad_xy, part, i, gi, atomic)
                            accumulate(grad_xy, part, j, gj, atomic)


@ti.func
def pixels_of(triangles: ti.template(), size, begin: ti.i32, end: ti.i32):
    """The first of a block's pixels to look at, and the end of these, at most ``end``; none where nothing crosses."""
    stop = ti.min(begin + BLOCK, end)
    if is_alike(triangles, size, begin, stop):
        stop = begin
    return begin, stop


@ti.func
def is_alike(triangles: ti.template(), size, start: ti.i32, end: ti.i32):
    """Whether a block of pixels and those around it show one triangle or nothing; False for a block cut short."""
    differ = 1
    if end - start == BLOCK:
        last = triangles.shape[0] - 1
        up, down = ti.max(start - size.width, 0), ti.min(start + size.width, last + 1 - BLOCK)
        t = triangles[start]
        differ = (triangles[ti.max(start - 1, 0)] ^ t) | (triangles[ti.min(end, last)] ^ t)
        for k in ti.static(range(BLOCK)):
            differ |= (triangles[start + k] ^ t) | (triangles[up + k] ^ t) | (triangles[down + k] ^ t)
    return differ == 0


@ti.func
def pair_at(size, pixel: ti.i32, side: ti.i32):
    """A pixel and the one to its right (0) or below (1), or the one to its left (2) or above (3) and the pixel."""
    step = size.width if side % 2 == 1 else 1
    first = pixel if side < 2 else pixel - step
    return first, first + step


@ti.func
def crossing_between(picture: ti.template(), size, first: ti.i32, axis: ti.i32):
    """What :func:`crossing_of` says of a pixel and the next one along a row (0) or column (1)."""
    second = first + (size.width if axis == 1 else 1)
    zero = cast_like(0, picture.depths[0])
    crossing, i, j = cast_like(NOWHERE, zero), 0, 0
    slope = ti.Vector([zero, zero, zero, zero])
    if first >= 0 and second < picture.triangles.shape[0]:
        t0, t1 = picture.triangles[first], picture.triangles[second]
        if t0 != t1 and is_pair(size, first, axis) and may_have_outline(picture, t0, t1):
            crossing, i, j, slope = crossing_of(picture, size, first, axis)
    return crossing, i, j, slope


@ti.func
def blended(first: ti.i32, second: ti.i32, crossing):
    """The pixel of a pair that changes, -1 for none; the other one; the share of that one's colour that it takes."""
    share = 0.5 - crossing
    changed, other = first, second
    if share < 0:
        changed, other, share = second, first, -share
    if crossing < 0:
        changed = -1
    return changed, other, share


@ti.func
def is_pair(size, first: ti.i32, axis: ti.i32):
    """Whether the next pixel along a row (0) or column (1) is in the same row, or in the same picture."""
    place, end = first % size.width, size.width
    if axis == 1:
        place, end = first // size.width % size.height, size.height
    return place + 1 < end


@ti.func
def may_have_outline(picture: ti.template(), t0: ti.i32, t1: ti.i32):
    """Whether an outline may lie between pixels that show two triangles: not if they share an edge that is none."""
    differ = t0 != t1
    if differ and t0 >= 0 and t1 >= 0:
        partners = picture.partners[t0]
        for corner in ti.static(range(3)):
            if partners[corner] // 3 == t1:
                f = picture.faces[t0]
                differ = is_outline(picture, f[corner], f[(corner + 1) % 3], f[(corner + 2) % 3], partners[corner])
    return differ


@ti.func
def crossing_of(picture: ti.template(), size, first: ti.i32, axis: ti.i32):
    """Where an outline crosses the line from a pixel's centre to the next one's along a row (0) or column (1).

    Returns the place in [0, 1], or NOWHERE; the vertices at the ends of the edge; and what :func:`crossing_vjp` needs.
    """
    second = first + (size.width if axis == 1 else 1)
    t0, t1 = picture.triangles[first], picture.triangles[second]
    from_first = t1 < 0 or (t0 >= 0 and picture.depths[first] <= picture.depths[second])
    t, goal = t0, t1
    if not from_first:
        t, goal = t1, t0
    zero = cast_like(0, picture.depths[first])
    p = pixel_ndc(first % size.width, first // size.width % size.height, size.height, size.width, zero)
    to_pixels = cast_like(ti.min(size.height, size.width), zero) / 2
    crossing, i, j = cast_like(NOWHERE, zero), 0, 0
    slope = ti.Vector([zero, zero, zero, zero])
    entered, n_left = -1, MAX_TRIANGLES
    while n_left > 0:
        f, beyond = picture.faces[t], picture.partners[t]
        partner, third, a, b, way, is_steep = -1, 0, 0, 0, -1 + zero, False
        for corner in ti.static(range(3)):
            if corner != entered:
                va = (p - picture.verts[f[(corner + 1) % 3]].xy) * to_pixels
                vb = (p - picture.verts[f[(corner + 2) % 3]].xy) * to_pixels
                if axis == 1:
                    va, vb = va.yx, vb.yx
                ua, ub, sa, sb = va.x, vb.x, va.y, vb.y
                if (sa > 0) != (sb > 0):
                    r = sa / (sa - sb)
                    u = ua + r * (ub - ua)
                    if (u if from_first else 1 - u) >= way:
                        way = u if from_first else 1 - u
                        partner, third, a, b = beyond[corner], f[corner], f[(corner + 1) % 3], f[(corner + 2) % 3]
                        is_steep = ti.abs(sb - sa) >= ti.abs(ub - ua)
                        k = (ub - ua) / ((sa - sb) * (sa - sb))
                        slope = -to_pixels * ti.Vector([1 - r, -sb * k, r, sa * k])  # of u in ndc along and across
        n_left -= 1
        if a == b or way > 1:
            n_left = 0
        elif is_outline(picture, third, a, b, partner):
            n_left = 0
            if is_steep and way >= 0:
                crossing, i, j = (way if from_first else 1 - way), a, b
        else:
            t, entered = partner // 3, partner % 3
            if t == goal:
                n_left = 0
    return crossing, i, j, slope


@ti.func
def crossing_vjp(slope, axis: ti.i32, g):
    """Gradients of ``g * crossing`` in the xy of the ends of the edge."""
    gi, gj = g * slope.xy, g * slope.zw
    if axis == 1:
        gi, gj = gi.yx, gj.yx
    return gi, gj


@ti.func
def is_outline(picture: ti.template(), third: ti.i32, a: ti.i32, b: ti.i32, partner: ti.i32):
    """Whether the triangles beside edge ab, one with a third vertex, lie on one side of it in the image."""
    outline = partner < 0
    if not outline:
        f = picture.faces[partner // 3]
        corner = partner % 3
        beyond = f[0] if corner == 0 else (f[1] if corner == 1 else f[2])
        va, vb = picture.verts[a], picture.verts[b]
        outline = edge_function(picture.verts[third], va, vb) * edge_function(picture.verts[beyond], va, vb) > 0
    return outline
