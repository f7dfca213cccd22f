"""Geometry of a pixel centre and a projected triangle, and its adjoint.

A triangle's vertices are (x_ndc, y_ndc, z_view). A function that ends in ``_vjp`` is the adjoint (vector-Jacobian
product) of the one before it. All are generic in the float type. The formulas are those of SoftRas (Liu et al. 2019) as
PyTorch3D has them, with two differences: the perspective denominator is clamped relative to its terms, so that no
coordinate exceeds 1000, and no gradient passes where it is clamped.
"""

from typing import NamedTuple

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import struct_of

AREA_EPS = 1e-8  # added to twice the signed area; a triangle with less is not drawn
PERSPECTIVE_BOUND = 1e-3  # the denominator is at least this share of its largest term
CLIP_SUM_MIN = 1e-5  # clipped coordinates are divided by at least this
FAR = 1e15  # triangles that reach farther (areas would overflow), or have a coordinate that is no number, are not drawn
EDGE_EPS = 1e-8  # an edge with a smaller squared length counts as its end point


class Raster(NamedTuple):
    """How pixels meet triangles.

    Attributes:
        height, width: of the image in pixels.
        perspective: barycentric coordinates are those in space, not those in the image.
        clip_bary: barycentric coordinates are moved onto the triangle where the pixel centre lies outside.
        blur: pixels nearer than this to a triangle see it, in NDC units squared.
    """

    height: int
    width: int
    perspective: bool
    clip_bary: bool
    blur: float


RasterStruct = struct_of(Raster)


@ti.func
def centre_of(pixel: ti.i32, raster, like):
    """NDC of the centre of a pixel, counted in row-major order through all images."""
    return pixel_ndc(pixel % raster.width, pixel // raster.width % raster.height, raster.height, raster.width, like)


@ti.func
def pixel_ndc(column: ti.i32, row: ti.i32, height: ti.i32, width: ti.i32, like):
    """NDC of a pixel centre, +X left and +Y up, [-1, 1] on the short side; ``like`` gives the float type.

    In PyTorch3D's order of roundings, so that ties between coplanar triangles fall the same way.
    """
    short = cast_like(ti.min(height, width), like)
    half_x, half_y = width / short, height / short
    x = (2 * half_x * (width - 1 - column) + half_x) / width - half_x
    y = (2 * half_y * (height - 1 - row) + half_y) / height - half_y
    return ti.Vector([x, y])


@ti.func
def edge_function(p, a, b):
    """Twice the signed area of (p, a, b) in the image plane."""
    return (p.x - a.x) * (b.y - a.y) - (p.y - a.y) * (b.x - a.x)


@ti.func
def edge_function_vjp(p, a, b, g):
    """Gradients of ``g * edge_function(p, a, b)`` in the xy of p, a and b."""
    grad_p = g * ti.Vector([b.y - a.y, a.x - b.x])
    grad_a = g * ti.Vector([p.y - b.y, b.x - p.x])
    grad_b = g * ti.Vector([a.y - p.y, p.x - a.x])
    return grad_p, grad_a, grad_b


@ti.func
def edge_functions(p, v0, v1, v2):
    """The three edge functions at p, opposite v0, v1 and v2."""
    return ti.Vector([edge_function(p, v1, v2), edge_function(p, v2, v0), edge_function(p, v0, v1)])


@ti.func
def affine_coords(p, v0, v1, v2):
    """Barycentric coordinates in the image plane."""
    return edge_functions(p, v0, v1, v2) / (edge_function(v2, v0, v1) + AREA_EPS)


@ti.func
def is_turned_out(v0, v1, v2, raster):
    """Whether a perspective triangle reaches behind the camera, so that its inside lies outside of its edges."""
    return raster.perspective and ti.min(v0.z, v1.z, v2.z) <= 0


@ti.func
def edge_offsets(v0, v1, v2, reach):
    """For each edge the vector of length ``reach`` that leads straight out of the triangle, a row each."""
    out = reach
    if edge_function(v2, v0, v1) < 0:
        out = -reach
    return ti.Matrix.rows([edge_offset(v1, v2, out), edge_offset(v2, v0, out), edge_offset(v0, v1, out)])


@ti.func
def edge_offset(a, b, out):
    ab = b.xy - a.xy
    return out / ti.max(ab.norm(), 1e-30) * ti.Vector([-ab.y, ab.x])


@ti.func
def reach_in_row(y, v0, v1, v2, offsets, reach):
    """The least and greatest x at height y of what is nearer than ``reach`` to a triangle: low > high where none is.

    The outline of it are arcs around the corners and the edges moved out.
    """
    far = cast_like(FAR, y)
    low, high = far, -far
    # chosen, not branched to: a core would guess wrong too often
    for v in ti.static((v0, v1, v2)):
        half_sqr = reach * reach - (y - v.y) * (y - v.y)
        half = ti.select(half_sqr >= 0, ti.sqrt(ti.abs(half_sqr)), -far)
        low, high = ti.min(low, v.x - half), ti.max(high, v.x + half)
    for i, a, b in ti.static(((0, v1, v2), (1, v2, v0), (2, v0, v1))):
        above_a, above_b = y - offsets[i, 1] - a.y, y - offsets[i, 1] - b.y
        x = a.x + offsets[i, 0] + above_a / (above_a - above_b) * (b.x - a.x)
        crosses = (above_a < 0) != (above_b < 0)
        low, high = ti.min(low, ti.select(crosses, x, far)), ti.max(high, ti.select(crosses, x, -far))
    return low, high


@ti.func
def perspective_terms(w, z):
    return ti.Vector([w[0] * z[1] * z[2], z[0] * w[1] * z[2], z[0] * z[1] * w[2]])


@ti.func
def perspective_bound(top):
    """The least denominator; above zero, so that a triangle through the eye stays finite."""
    return ti.max(PERSPECTIVE_BOUND * ti.max(ti.abs(top[0]), ti.max(ti.abs(top[1]), ti.abs(top[2]))), 1e-30)


@ti.func
def perspective_coords(w, z):
    """Barycentric coordinates in space from those in the image."""
    top = perspective_terms(w, z)
    return top / ti.max(top.sum(), perspective_bound(top))


@ti.func
def clip_bary(b):
    """Barycentric coordinates moved onto the triangle: negative ones to 0, the rest renormalised."""
    m = ti.max(b, 0 * b)
    return m / ti.max(m.sum(), CLIP_SUM_MIN)


@ti.func
def surface_coords(p, v0, v1, v2, raster):
    """Coordinates in the triangle before clipping (their signs tell inside from outside) and after."""
    b = affine_coords(p, v0, v1, v2)
    if raster.perspective:
        b = perspective_coords(b, ti.Vector([v0.z, v1.z, v2.z]))
    c = b
    if raster.clip_bary:
        c = clip_bary(b)
    return b, c


@ti.func
def surface_slopes(p, v0, v1, v2, raster):
    """How the coordinates before clipping change from a pixel to the next one to the right, and to the next below."""
    area = edge_function(v2, v0, v1) + AREA_EPS
    pixel = cast_like(2, area) / (ti.min(raster.height, raster.width) * area)
    right = -pixel * ti.Vector([v2.y - v1.y, v0.y - v2.y, v1.y - v0.y])
    down = -pixel * ti.Vector([v1.x - v2.x, v2.x - v0.x, v0.x - v1.x])
    if raster.perspective:
        z = ti.Vector([v0.z, v1.z, v2.z])
        top = perspective_terms(affine_coords(p, v0, v1, v2), z)
        total = ti.max(top.sum(), perspective_bound(top))
        right, down = perspective_terms(right, z), perspective_terms(down, z)
        right, down = (right - top * (right.sum() / total)) / total, (down - top * (down.sum() / total)) / total
    return right, down


@ti.func
def surface_coords_vjp(p, v0, v1, v2, raster, grad_c, grad_z):
    """Gradients in v0, v1, v2 of ``grad_c . c + grad_z * (c . z)``, c the coordinates after clipping."""
    z = ti.Vector([v0.z, v1.z, v2.z])
    area = edge_function(v2, v0, v1) + AREA_EPS
    w = edge_functions(p, v0, v1, v2) / area
    b = w
    if raster.perspective:
        b = perspective_coords(w, z)
    g = grad_c + grad_z * z
    c = b
    if raster.clip_bary:
        m = ti.max(b, 0 * b)
        total = m.sum()
        c = m / ti.max(total, CLIP_SUM_MIN)
        if total > CLIP_SUM_MIN:
            g = (g - g.dot(c)) / total
        else:
            g = g / CLIP_SUM_MIN
        for i in ti.static(range(3)):
            if b[i] <= 0:
                g[i] *= 0
    gz = grad_z * c
    if raster.perspective:
        top = perspective_terms(w, z)
        total = top.sum()
        if total > perspective_bound(top):
            g = (g - g.dot(b)) / total
            gz += ti.Vector(
                [
                    g[1] * w[1] * z[2] + g[2] * w[2] * z[1],
                    g[0] * w[0] * z[2] + g[2] * w[2] * z[0],
                    g[0] * w[0] * z[1] + g[1] * w[1] * z[0],
                ]
            )
            g = perspective_terms(g, z)
        else:
            g *= 0
    g_area = -g.dot(w) / area
    g /= area
    p12, g1, g2 = edge_function_vjp(p, v1, v2, g[0])
    p20, h2, h0 = edge_function_vjp(p, v2, v0, g[1])
    p01, k0, k1 = edge_function_vjp(p, v0, v1, g[2])
    a2, a0, a1 = edge_function_vjp(v2, v0, v1, g_area)
    g0 = h0 + k0 + a0
    g1 += k1 + a1
    g2 += h2 + a2
    return (
        ti.Vector([g0.x, g0.y, gz[0]]),
        ti.Vector([g1.x, g1.y, gz[1]]),
        ti.Vector([g2.x, g2.y, gz[2]]),
    )


@ti.func
def nearest_on_edge(p, a, b):
    """Place in [0, 1] of the point of edge ab nearest to p, and the vector from p to it."""
    ab = b.xy - a.xy
    length_sqr = ab.norm_sqr()
    zero, one = cast_like(0, p.x), cast_like(1, p.x)
    # chosen, not branched to, and without ti.min and ti.max, which take four instructions each
    t = ab.dot(p - a.xy) / length_sqr
    t = ti.select(t > 0, ti.select(t < 1, t, one), zero)
    t = ti.select(length_sqr > EDGE_EPS, t, one)
    return t, a.xy + t * ab - p


@ti.func
def nearest_on_edge_vjp(p, a, b, g):
    """Gradients in the xy of a and b of g times the squared distance from p to edge ab."""
    t, to_edge = nearest_on_edge(p, a, b)
    return 2 * g * (1 - t) * to_edge, 2 * g * t * to_edge


@ti.func
def nearest_edge(p, v0, v1, v2):
    """The corner opposite the edge nearest to p, the first of equals; and the squared distance."""
    t01, d01 = nearest_on_edge(p, v0, v1)
    t02, d02 = nearest_on_edge(p, v0, v2)
    t12, d12 = nearest_on_edge(p, v1, v2)
    s01, s02, s12 = d01.norm_sqr(), d02.norm_sqr(), d12.norm_sqr()
    corner, d = ti.select(s02 < s01, 1, 2), ti.select(s02 < s01, s02, s01)
    return ti.select(s12 < d, 0, corner), ti.select(s12 < d, s12, d)


@ti.func
def edge_distance(p, v0, v1, v2):
    """Squared distance from p to the nearest edge."""
    _corner, d = nearest_edge(p, v0, v1, v2)
    return d


@ti.func
def edge_distance_vjp(p, v0, v1, v2, g):
    """Gradients of ``g * edge_distance`` in the xy of v0, v1 and v2, through the nearest edge."""
    corner, _d = nearest_edge(p, v0, v1, v2)
    g0, g1, g2 = 0 * p, 0 * p, 0 * p
    if corner == 2:
        g0, g1 = nearest_on_edge_vjp(p, v0, v1, g)
    elif corner == 1:
        g0, g2 = nearest_on_edge_vjp(p, v0, v2, g)
    else:
        g1, g2 = nearest_on_edge_vjp(p, v1, v2, g)
    return g0, g1, g2


# What an adjoint keeps of a fragment's nearest edge is one number: the opposite corner, plus 3 if the pixel is inside.


@ti.func
def encode_edge(corner: ti.i32, inside: ti.i32):
    return corner + (3 if inside else 0)


@ti.func
def edge_ends(f, edge: ti.i32):
    """The vertices of face f at the ends of an encoded edge, and the sign of the distance."""
    corner = edge % 3
    return f[1] if corner == 0 else f[0], f[1] if corner == 2 else f[2], -1 if edge >= 3 else 1


@ti.func
def encoded_edge_vjp(p, f, edge: ti.i32, verts: ti.template(), g):
    """The vertices of face f at the ends of an encoded edge; and the gradients, in their xy, of g times the signed
    squared distance (negative inside) from p."""
    i, j, sign = edge_ends(f, edge)
    gi, gj = nearest_on_edge_vjp(p, verts[i], verts[j], sign * g)
    return i, j, gi, gj


@ti.func
def is_inside(b):
    return b[0] > 0 and b[1] > 0 and b[2] > 0


@ti.func
def contains(p, v0, v1, v2, raster):
    """Whether all coordinates of p are positive; in front of the eye the edge functions tell, without a division."""
    e = edge_functions(p, v0, v1, v2)
    area = edge_function(v2, v0, v1) + AREA_EPS
    if is_turned_out(v0, v1, v2, raster):
        e = perspective_coords(e / area, ti.Vector([v0.z, v1.z, v2.z])) * area
    return (e if area > 0 else -e).min() > 0


@ti.func
def covers(p, v0, v1, v2, raster):
    """Whether the pixel with centre p belongs to the triangle: it lies on the same side of all edges.

    A pixel belongs to exactly one of the triangles that share an edge, or a vertex, and tile the image around it. Where
    a perspective triangle reaches behind the camera, its inside lies outside of the edges, and :func:`contains` tells.
    """
    a, b, c = v0.xy - p, v1.xy - p, v2.xy - p
    side = side_of_edge(a, b)
    inside = side == side_of_edge(b, c) and side == side_of_edge(c, a)
    if is_turned_out(v0, v1, v2, raster):
        inside = contains(p, v0, v1, v2, raster)
    return inside


@ti.func
def side_of_edge(a, b):
    """The side of edge ab, 1 or -1, on which the origin lies, if it is moved a little to the right in the image and
    even less down (the top-left rule; in NDC right is -x and down is -y).

    Two products are compared, not subtracted: whatever the compiler fuses or reorders, the neighbour across the edge,
    which has its ends the other way round, finds the opposite side.
    """
    left, right = a.x * b.y, a.y * b.x
    positive = left > right
    if left == right:
        positive = b.y > a.y or (b.y == a.y and a.x > b.x)
    return 1 if positive else -1


@ti.func
def fragment(p, v0, v1, v2, raster):
    """Depth, barycentric coordinates and signed squared edge distance (negative inside) of pixel centre p."""
    b, c = surface_coords(p, v0, v1, v2, raster)
    d = edge_distance(p, v0, v1, v2)
    if is_inside(b):
        d = -d
    return c[0] * v0.z + c[1] * v1.z + c[2] * v2.z, c, d


@ti.func
def fragment_vjp(p, v0, v1, v2, raster, grad_z, grad_c, grad_d):
    """Gradients of :func:`fragment` in v0, v1, v2."""
    b, c = surface_coords(p, v0, v1, v2, raster)
    g0, g1, g2 = 0 * v0, 0 * v0, 0 * v0
    if not (grad_z == 0 and (grad_c == 0).all()):  # they are where something else hides the fragment; NaN is not 0
        g0, g1, g2 = surface_coords_vjp(p, v0, v1, v2, raster, grad_c, grad_z)
    h0, h1, h2 = edge_distance_vjp(p, v0, v1, v2, -grad_d if is_inside(b) else grad_d)
    g0.xy += h0
    g1.xy += h1
    g2.xy += h2
    return g0, g1, g2
