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
    Vec2Array,
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
    crossings: Vec2Array,  # (pixels,) where an outline crosses, on the way to the right and down; NOWHERE for none
    image: FloatArray2D,  # (pixels, C), as colors before
):
    picture = ti.static(Picture(triangles, depths, faces, partners, verts))
    n = round_pixels(size.width)
    ti.loop_config(block_dim=ti.static(task_block()))
    for i in range(triangles.shape[0] // n):
        row = i * n // size.width
        for pixel in range(i * n, (i + 1) * n):
            nowhere = cast_like(NOWHERE, depths[pixel])
            found = ti.Vector([nowhere, nowhere])
            for axis in ti.static(range(2)):
                step = size.width if axis == 1 else 1
                is_last = (row + 1) % size.height == 0 if axis == 1 else pixel + 1 == (row + 1) * size.width
                if not is_last and may_have_outline(picture, triangles[pixel], triangles[pixel + step]):
                    crossing = crossing_of(picture, size, pixel, axis)[0]
                    if axis == 1:
                        found.y = crossing
                    else:
                        found.x = crossing
            crossings[pixel] = found
    for i in range(triangles.shape[0] // n):
        for pixel in range(i * n, (i + 1) * n):
            own, left, above = crossings[pixel], ti.max(pixel - 1, 0), ti.max(pixel - size.width, 0)
            if ti.max(own.x, own.y, crossings[left].x, crossings[above].y) >= 0:
                for side in range(4):
                    other, crossing = crossing_beside(crossings, size, pixel, side)
                    share = own_share(crossing, side)
                    if crossing >= 0 and share > 0:
                        for c in range(colors.shape[1]):
                            image[pixel, c] = image[pixel, c] + share * (colors[other, c] - colors[pixel, c])


@ti.kernel
def antialias_adjoint(
    size: ImageSizeStruct,
    triangles: I32Array,  # these five as in Picture
    depths: FloatArray,
    faces: IVec3Array,
    partners: IVec3Array,
    verts: Vec3Array,
    colors: FloatArray2D,  # (pixels, C)
    crossings: Vec2Array,  # (pixels,) as in the forward pass
    grad_image: FloatArray2D,  # (pixels, C)
    bounds: I32Array,  # (parts + 1,) the pixels of each part
    atomic: ti.template(),
    grad_colors: FloatArray2D,  # (pixels, C), as grad_image before
    grad_xy: Vec2Array2D,  # (part, V, 2), zero before; empty where not wanted
):
    picture = ti.static(Picture(triangles, depths, faces, partners, verts))
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        for pixel in range(bounds[part], bounds[part + 1]):
            for side in range(4):
                other, crossing = crossing_beside(crossings, size, pixel, side)
                if crossing >= 0:
                    share, g = own_share(crossing, side), 0 * crossing
                    for c in range(colors.shape[1]):
                        # of the pixel that changes; this one takes from the other, or gives to it
                        grad = grad_image[pixel, c] if share > 0 else grad_image[other, c]
                        grad_colors[pixel, c] = grad_colors[pixel, c] - share * grad
                        g += grad * (colors[pixel, c] - colors[other, c])
                    if side < 2 and grad_xy.shape[1] > 0:
                        _, i, j, slope = crossing_of(picture, size, pixel, side)
                        gi, gj = crossing_vjp(slope, side, g)
                        accumulate(grad_xy, part, i, gi, atomic)
                        accumulate(grad_xy, part, j, gj, atomic)


@ti.func
def crossing_beside(crossings: ti.template(), size, pixel: ti.i32, side):
    """The pixel to the right (0), below (1), to the left (2) or above (3), and the crossing between both."""
    step = size.width if side % 2 == 1 else 1
    other = pixel + step if side < 2 else pixel - step
    crossing = cast_like(NOWHERE, crossings[pixel].x)
    if other >= 0:
        pair = crossings[pixel if side < 2 else other]
        crossing = pair.x if side % 2 == 0 else pair.y
    return other, crossing


@ti.func
def own_share(crossing, side):
    """The share of the neighbour's colour that a pixel takes on; negative where it gives of its own."""
    return 0.5 - crossing if side < 2 else crossing - 0.5


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
