"""Values of points added to the voxels around them by trilinear weights, and the adjoint.

Points are in voxel coordinates: voxel (i, j, k) has its centre at (i, j, k). They are sorted into cells, the cubes
between eight neighbouring centres. Cell (i, j, k) ends at centre (i, j, k), so that there is one more along each axis
than there are voxels. Each voxel gathers from the eight cells around it, in a fixed order.
"""

from typing import NamedTuple

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import FloatArray2D, FloatArray3D, I32Array, IVec3Array, Vec3Array, struct_of


class Sizes(NamedTuple):
    """Voxels that all volumes are padded to."""

    depth: int
    height: int
    width: int


@ti.kernel
def points_to_volumes_forward(
    sizes: struct_of(Sizes),
    points: Vec3Array,  # (P,) voxel coordinates x, y, z
    values: FloatArray2D,  # (P, C)
    order: I32Array,  # (P,) the points, cell after cell
    offsets: I32Array,  # (cells + 1,) where each cell's points begin
    grid_sizes: IVec3Array,  # (N,) depth, height and width of each volume
    sums: FloatArray3D,  # (N, C, voxels) zero before
):
    """Sums of values in the voxels of each volume."""
    n_voxels = sizes.depth * sizes.height * sizes.width
    for voxel in range(grid_sizes.shape[0] * n_voxels):
        image, index = voxel // n_voxels, voxel % n_voxels
        z, y, x = index // (sizes.height * sizes.width), index // sizes.width % sizes.height, index % sizes.width
        size = grid_sizes[image]
        if z < size[0] and y < size[1] and x < size[2]:
            for dz, dy in ti.ndrange(2, 2):
                cell = cell_index(sizes, image, z + dz, y + dy, x)
                for m in range(offsets[cell], offsets[cell + 2]):  # this cell and the next along x
                    p = points[order[m]]
                    weight = hat(p.x - x) * hat(p.y - y) * hat(p.z - z)
                    for c in range(sums.shape[1]):
                        sums[image, c, index] = sums[image, c, index] + weight * values[order[m], c]


@ti.kernel
def points_to_volumes_adjoint(
    sizes: struct_of(Sizes),
    points: Vec3Array,  # (P,) voxel coordinates x, y, z
    values: FloatArray2D,  # (P, C)
    order: I32Array,  # (P,) the points, cell after cell, for the cache
    cells: I32Array,  # (P,) the cell of each point, -1 outside
    grid_sizes: IVec3Array,  # (N,) depth, height and width of each volume
    grad_sums: FloatArray3D,  # (N, C, voxels)
    grad_points: Vec3Array,  # (P,)
    grad_values: FloatArray2D,  # (P, C) zero before
):
    """Gradients in the points and in their values."""
    for i in order:
        m = order[i]
        point = points[m]
        grad = cast_like(0, point)
        if cells[m] >= 0:
            image, base = cell_of(sizes, cells[m])
            size = grid_sizes[image]
            fraction = point - base
            for dz, dy, dx in ti.ndrange(2, 2, 2):
                z, y, x = base.z + dz, base.y + dy, base.x + dx
                if 0 <= z < size[0] and 0 <= y < size[1] and 0 <= x < size[2]:
                    index = (z * sizes.height + y) * sizes.width + x
                    corner = ti.Vector([dx, dy, dz])
                    w = ti.Vector([hat(fraction[j] - corner[j]) for j in ti.static(range(3))])
                    dot = cast_like(0, grad.x)
                    for c in range(grad_sums.shape[1]):
                        grad_values[m, c] = grad_values[m, c] + w.x * w.y * w.z * grad_sums[image, c, index]
                        dot += values[m, c] * grad_sums[image, c, index]
                    grad += dot * (2 * corner - 1) * ti.Vector([w.y * w.z, w.x * w.z, w.x * w.y])
        grad_points[m] = grad  # of points outside too: what a kernel only writes is not copied to Vulkan before


@ti.func
def cell_index(sizes: ti.template(), image: ti.i32, z: ti.i32, y: ti.i32, x: ti.i32):
    return ((image * (sizes.depth + 1) + z) * (sizes.height + 1) + y) * (sizes.width + 1) + x


@ti.func
def cell_of(sizes: ti.template(), index: ti.i32):
    """The volume of the cell with an index, and the voxel x, y, z at which the cell begins."""
    rows, layers = index // (sizes.width + 1), index // ((sizes.width + 1) * (sizes.height + 1))
    x, y, z = index % (sizes.width + 1), rows % (sizes.height + 1), layers % (sizes.depth + 1)
    return layers // (sizes.depth + 1), ti.Vector([x - 1, y - 1, z - 1])


@ti.func
def hat(distance):
    """Linear weight of a centre at a distance of less than one voxel."""
    return 1 - ti.abs(distance)
