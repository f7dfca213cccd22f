"""Losses that keep meshes regular, all in one pass: edge lengths, normals, the uniform Laplacian; and the adjoint.

Sums over edges and over pairs of faces run over vertices and faces and their neighbours, so that they count each twice.
Whoever owns a gradient gathers it, in a fixed order.
"""

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, IVec3Array, Vec2Array, Vec3Array

EPS = 1e-8  # a cross product (twice the face's area) shorter than this gives no direction


@ti.kernel
def shape_losses_forward(
    target_length: FloatArray,  # (1,) of edges
    faces: IVec3Array,  # these nine as in engine.neighbourhood
    vertex_neighbours: I32Array,
    vertex_begins: I32Array,
    vertex_corners: I32Array,
    corner_begins: I32Array,
    face_neighbours: I32Array,
    face_begins: I32Array,
    pair_weights: FloatArray,
    vertex_weights: FloatArray2D,
    verts: Vec3Array,
    directions: Vec3Array,  # (F,) unit normals
    of_vertices: Vec2Array,  # (V,) the terms of edge lengths and Laplacians
    of_faces: FloatArray,  # (F,) the weighted cosines, halved
    laplacians: Vec3Array,  # (V,) as unit vectors, times the vertex's weight
):
    for t in faces:
        cross = cross_product(verts, faces[t])
        directions[t] = cross / ti.max(cross.norm(), EPS)
    for t in faces:
        total = neighbour_normals(directions, face_neighbours, face_begins, pair_weights, t)
        of_faces[t] = directions[t].dot(total) / 2
    for i in verts:
        v = verts[i]
        begin, end = vertex_begins[i], vertex_begins[i + 1]
        total, squares = 0 * v, 0 * v.x
        for n in range(begin, end):
            other = verts[vertex_neighbours[n]]
            total += other
            excess = (other - v).norm() - target_length[0]
            squares += excess * excess
        laplacian = total / ti.max(end - begin, 1) - v
        length = laplacian.norm()
        of_vertices[i] = ti.Vector([vertex_weights[i, 1] * squares / 2, vertex_weights[i, 0] * length])
        laplacians[i] = vertex_weights[i, 0] * laplacian / (length if length > 0 else cast_like(1, length))


@ti.kernel
def shape_losses_adjoint(
    target_length: FloatArray,  # (1,) of edges
    faces: IVec3Array,  # these nine as in engine.neighbourhood
    vertex_neighbours: I32Array,
    vertex_begins: I32Array,
    vertex_corners: I32Array,
    corner_begins: I32Array,
    face_neighbours: I32Array,
    face_begins: I32Array,
    pair_weights: FloatArray,
    vertex_weights: FloatArray2D,
    verts: Vec3Array,
    directions: Vec3Array,
    laplacians: Vec3Array,
    grads: FloatArray,  # (3,) of the sums of the edges' terms, of the cosines and of the Laplacians' terms
    grad_sides: FloatArray2D,  # (F, 6) scratch: of the edges from corner 0 to corners 1 and 2
    grad_verts: Vec3Array,  # (V,)
):
    for t in faces:
        f, d = faces[t], directions[t]
        total = neighbour_normals(directions, face_neighbours, face_begins, pair_weights, t)
        length = cross_product(verts, f).norm()
        g = 0 * d
        if length > EPS:
            g = grads[1] * (total - d * d.dot(total)) / length
        side1, side2 = verts[f[1]] - verts[f[0]], verts[f[2]] - verts[f[0]]
        g1, g2 = side2.cross(g), g.cross(side1)
        for c in ti.static(range(3)):
            grad_sides[t, c], grad_sides[t, 3 + c] = g1[c], g2[c]
    for i in verts:
        v = verts[i]
        out = -grads[2] * laplacians[i]
        for n in range(vertex_begins[i], vertex_begins[i + 1]):
            j = vertex_neighbours[n]
            to_other = verts[j] - v
            length = to_other.norm()
            if length > 0:
                out -= 2 * grads[0] * vertex_weights[i, 1] * (length - target_length[0]) / length * to_other
            out += grads[2] / (vertex_begins[j + 1] - vertex_begins[j]) * laplacians[j]
        for n in range(corner_begins[i], corner_begins[i + 1]):
            t, corner = vertex_corners[n] // 3, vertex_corners[n] % 3
            for c in ti.static(range(3)):
                if corner == 0:
                    out[c] -= grad_sides[t, c] + grad_sides[t, 3 + c]
                else:
                    out[c] += grad_sides[t, 3 * (corner - 1) + c]
        grad_verts[i] = out


@ti.func
def cross_product(verts: ti.template(), f):
    return (verts[f[1]] - verts[f[0]]).cross(verts[f[2]] - verts[f[0]])


@ti.func
def neighbour_normals(
    directions: ti.template(), neighbours: ti.template(), begins: ti.template(), weights: ti.template(), t: ti.i32
):
    """The weighted sum of the normals of a face's neighbours."""
    total = 0 * directions[t]
    for n in range(begins[t], begins[t + 1]):
        total += weights[n] * directions[neighbours[n]]
    return total
