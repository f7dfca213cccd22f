"""The mip level that suits a pixel, by the ellipse that it covers in a texture, and its gradients.

Half of log2 of the squared length of the ellipse's longer axis in texels (Heckbert, "Fundamentals of texture mapping
and image warping", 1989).
"""

import taichi as ti

from tirender.engine.kernels.scalars import cast_like

LEAST, MOST = 1e-30, 1e30  # footprints, in texels, below which the level is the first, and above which it is the last
BEYOND = 2**30  # more levels than there can be


@ti.func
def footprint_level(s, t):
    """The level of a pixel whose texels change by ``s``, of x and y of the pixel, along columns and ``t`` along rows.

    Negative where texels are larger than the pixel. Also returned are its gradients in s and in t. Changes that are no
    numbers have the first level.
    """
    zero = cast_like(0, s.x)
    level, by_s, by_t = zero - BEYOND, ti.Vector([zero, zero]), ti.Vector([zero, zero])
    reach = ti.abs(s).sum() + ti.abs(t).sum()  # a sum keeps NaN
    if reach > LEAST and reach < MOST:
        # the greater eigenvalue of the matrix ((a, c), (c, b)), whose roots are the axes of the ellipse
        p, q = s / reach, t / reach
        a, b, c = p.norm_sqr(), q.norm_sqr(), p.dot(q)
        half = (a - b) / 2
        root = ti.sqrt(half * half + c * c)
        axis = (a + b) / 2 + root
        log_2 = ti.log(cast_like(2, axis))
        level = (ti.log(axis) / 2 + ti.log(reach)) / log_2
        cos, sin = zero, zero
        if root > 0:
            cos, sin = half / root, c / root
        scale = 1 / (2 * log_2 * axis * reach)
        by_s = scale * ((1 + cos) * p + sin * q)
        by_t = scale * ((1 - cos) * q + sin * p)
    elif reach >= MOST:
        level = -level
    return level, by_s, by_t
