"""Attributes of vertices at the pixels of a picture, how they change from pixel to pixel, and the adjoint.

The picture is that of ``rasterize_clip.py``: (u, v, z / w, id + 1) for each pixel, 0 for none. With the attributes A0,
A1 and A2 of a triangle's vertices, a pixel has A2 + u * (A0 - A2) + v * (A1 - A2).
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate_at
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray2D, FloatArray3D, I32Array, IVec3Array, Vec4Array, struct_of


class Batch(NamedTuple):
    """How pixels find their attributes.

    Attributes:
        image_pixels: pixels of an image.
        image_rows: rows of attributes of an image; 0 where all images share them.
    """

    image_pixels: int
    image_rows: int


class Surface(NamedTuple):
    """What the pixels show, and what is interpolated.

    Attributes:
        rast: (pixels, 4).
        rast_db: (pixels, 4) changes of u with x and y, then of v; (0, 4) where no changes are wanted.
        faces: (T, 3) int32 rows of attributes, within an image.
        attributes: (rows, A).
        chosen: (D,) int32 the attributes whose changes are wanted.
    """

    rast: Any
    rast_db: Any
    faces: Any
    attributes: Any
    chosen: Any


BatchStruct = struct_of(Batch)


@ti.kernel
def interpolate_forward(
    batch: BatchStruct,
    rast: Vec4Array,  # these five as in Surface
    rast_db: Vec4Array,
    faces: IVec3Array,
    attributes: FloatArray2D,
    chosen: I32Array,
    out: FloatArray2D,  # (pixels, A)
    changes: FloatArray2D,  # (pixels, 2 * D) of each chosen attribute with x and y
):
    surface = ti.static(Surface(rast, rast_db, faces, attributes, chosen))
    for pixel in rast:
        rows = rows_of(surface, batch, pixel)
        for c in range(attributes.shape[1]):
            value = cast_like(0, rast[pixel][0])
            if rows[0] >= 0:
                along_u, along_v = slopes(attributes, rows, c)
                value = attributes[rows[2], c] + rast[pixel][0] * along_u + rast[pixel][1] * along_v
            out[pixel, c] = value
        for i in range(chosen.shape[0]):
            with_x, with_y = cast_like(0, rast[pixel][0]), cast_like(0, rast[pixel][0])
            if rows[0] >= 0:
                along_u, along_v = slopes(attributes, rows, chosen[i])
                with_x = rast_db[pixel][0] * along_u + rast_db[pixel][2] * along_v
                with_y = rast_db[pixel][1] * along_u + rast_db[pixel][3] * along_v
            changes[pixel, 2 * i] = with_x
            changes[pixel, 2 * i + 1] = with_y


@ti.kernel
def interpolate_adjoint(
    batch: BatchStruct,
    rast: Vec4Array,  # these five as in Surface
    rast_db: Vec4Array,
    faces: IVec3Array,
    attributes: FloatArray2D,
    chosen: I32Array,
    grad_out: FloatArray2D,  # (pixels, A)
    grad_changes: FloatArray2D,  # (pixels, 2 * D)
    bounds: I32Array,  # (parts + 1,) the pixels of each part
    atomic: ti.template(),
    grad_rast: Vec4Array,  # (pixels, 4)
    grad_rast_db: Vec4Array,  # (pixels, 4); (0, 4) where there are no changes
    grad_attributes: FloatArray3D,  # (part, rows, A), zero before; (part, 0, A) where not wanted
):
    surface = ti.static(Surface(rast, rast_db, faces, attributes, chosen))
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        for pixel in range(bounds[part], bounds[part + 1]):
            rows = rows_of(surface, batch, pixel)
            zero = cast_like(0, rast[pixel][0])
            g_rast = ti.Vector([zero, zero, zero, zero])
            g_db = ti.Vector([zero, zero, zero, zero])
            if rows[0] >= 0:
                u, v = rast[pixel][0], rast[pixel][1]
                for c in range(attributes.shape[1]):
                    g = grad_out[pixel, c]
                    along_u, along_v = slopes(attributes, rows, c)
                    g_rast += ti.Vector([g * along_u, g * along_v, zero, zero])
                    if grad_attributes.shape[1] > 0:
                        accumulate_at(grad_attributes, part, rows[0], c, u * g, atomic)
                        accumulate_at(grad_attributes, part, rows[1], c, v * g, atomic)
                        accumulate_at(grad_attributes, part, rows[2], c, (1 - u - v) * g, atomic)
                for i in range(chosen.shape[0]):
                    gx, gy = grad_changes[pixel, 2 * i], grad_changes[pixel, 2 * i + 1]
                    along_u, along_v = slopes(attributes, rows, chosen[i])
                    g_db += ti.Vector([gx * along_u, gy * along_u, gx * along_v, gy * along_v])
                    if grad_attributes.shape[1] > 0:
                        hu = rast_db[pixel][0] * gx + rast_db[pixel][1] * gy
                        hv = rast_db[pixel][2] * gx + rast_db[pixel][3] * gy
                        accumulate_at(grad_attributes, part, rows[0], chosen[i], hu, atomic)
                        accumulate_at(grad_attributes, part, rows[1], chosen[i], hv, atomic)
                        accumulate_at(grad_attributes, part, rows[2], chosen[i], -hu - hv, atomic)
            grad_rast[pixel] = g_rast
            if chosen.shape[0] > 0:
                grad_rast_db[pixel] = g_db


@ti.func
def rows_of(surface: ti.template(), batch, pixel: ti.i32):
    """The rows of attributes at the corners of a pixel's triangle; -1 where it has none."""
    rows = ti.math.ivec3(-1)
    id_plus_1 = surface.rast[pixel][3]
    if id_plus_1 >= 1 and id_plus_1 <= surface.faces.shape[0]:
        rows = surface.faces[ti.cast(id_plus_1, ti.i32) - 1] + pixel // batch.image_pixels * batch.image_rows
    return rows


@ti.func
def slopes(attributes: ti.template(), rows, c: ti.i32):
    """How attribute c changes with u and with v."""
    last = attributes[rows[2], c]
    return attributes[rows[0], c] - last, attributes[rows[1], c] - last
