"""The faces of a cube map, in the layout of OpenGL.

Faces are +x, -x, +y, -y, +z, -z. Each has three axes of the cube, orthonormal: s along its columns, t along its rows,
and m out of the face. A direction d meets the face of its greatest component, at d.s / d.m and d.t / d.m in [-1, 1].
"""

import taichi as ti


@ti.func
def cube_face(d):
    """The face that a direction meets, of floats or whole numbers."""
    a = ti.abs(d)
    face = 5 if d.z < 0 else 4
    if a.x >= a.y and a.x >= a.z:
        face = 1 if d.x < 0 else 0
    elif a.y >= a.z:
        face = 3 if d.y < 0 else 2
    return face


@ti.func
def cube_axes(face: ti.i32):
    """The axes s, t and m of a face, whole numbers."""
    sign = 1 - 2 * (face % 2)
    s, t, m = ti.math.ivec3(sign, 0, 0), ti.math.ivec3(0, -1, 0), ti.math.ivec3(0, 0, sign)
    if face < 2:
        s, m = ti.math.ivec3(0, 0, -sign), ti.math.ivec3(sign, 0, 0)
    elif face < 4:
        s, t, m = ti.math.ivec3(1, 0, 0), ti.math.ivec3(0, 0, sign), ti.math.ivec3(0, sign, 0)
    return s, t, m


@ti.func
def cube_texel(face: ti.i32, row: ti.i32, column: ti.i32, size: ti.i32):
    """Index of a texel of a cube of faces (size, size), one beyond its face at the most: it then lies on the next face.

    -1 beyond a corner, where there is none.
    """
    row_outside, column_outside = row < 0 or row >= size, column < 0 or column >= size
    index = (face * size + row) * size + column
    if row_outside and column_outside:
        index = -1
    elif row_outside or column_outside:
        s, t, m = cube_axes(face)
        d = (2 * column + 1 - size) * s + (2 * row + 1 - size) * t + size * m  # the texel's centre, times size
        other = cube_face(d)
        s, t, m = cube_axes(other)
        reach = m.dot(d)
        index = (other * size + (t.dot(d) + reach) * size // (2 * reach)) * size
        index += (s.dot(d) + reach) * size // (2 * reach)
    return index
