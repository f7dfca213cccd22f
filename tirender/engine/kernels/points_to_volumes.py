"""Points spread over the voxels around them by trilinear weights, and the adjoint.

Points are in voxel coordinates (voxel (i, j, k) has its centre at (i, j, k)) and sorted into cells, the cubes between
eight neighbouring centres; cell (i, j, k) ends at centre (i, j, k), so that there is one more along each axis than
there are voxels. Each voxel gathers from the eight cells around it, in a fixed order.
"""

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import FloatArray2D, FloatArray3D, I32Array, IVec3Array, Vec3Array


@ti.func
def cell_index(image: ti.i32, z: ti.i32, y: ti.i32, x: ti.i32, depth: ti.i32, height: ti.i32, width: ti.i32):
    return ((image * (depth + 1) + z) * (height + 1) + y) * (width + 1) + x


@ti.func
def hat(distance):
    return 1 - ti.abs(distance)


@ti.kernel
def points_to_volumes_forward(
    points: Vec3Array,
    values: FloatArray2D,
    order: I32Array,
    offsets: I32Array,
    sizes: IVec3Array,
    depth: ti.i32,
    height: ti.i32,
    width: ti.i32,
    sums: FloatArray3D,
):
    """order: the points of each cell, which begin at ``offsets``; sizes: (D, H, W) a volume; sums: zero before."""
    n_voxels = depth * height * width
    for voxel in range(sizes.shape[0] * n_voxels):
        image, index = voxel // n_voxels, voxel % n_voxels
        z, y, x = index // (height * width), index // width % height, index % width
        size = sizes[image]
        if z < size[0] and y < size[1] and x < size[2]:
            for dz, dy in ti.ndrange(2, 2):
                cell = cell_index(image, z + dz, y + dy, x, depth, height, width)
                for m in range(offsets[cell], offsets[cell + 2]):  # this cell and the next along x
                    p = points[order[m]]
                    weight = hat(p.x - x) * hat(p.y - y) * hat(p.z - z)
                    for c in range(sums.shape[1]):
                        sums[image, c, index] = sums[image, c, index] + weight * values[order[m], c]


@ti.kernel
def points_to_volumes_adjoint(
    points: Vec3Array,
    values: FloatArray2D,
    order: I32Array,
    cells: I32Array,
    sizes: IVec3Array,
    depth: ti.i32,
    height: ti.i32,
    width: ti.i32,
    grad_sums: FloatArray3D,
    grad_points: Vec3Array,
    grad_values: FloatArray2D,
):
    """cells: of each point, -1 for one outside; points come in cell order for the cache; grad_values: zero before."""
    for i in order:
        m = order[i]
        cell = cells[m]
        point = points[m]
        grad = cast_like(0, point)
        if cell >= 0:
            image = cell // ((depth + 1) * (height + 1) * (width + 1))
            base = ti.Vector(
                [
                    cell % (width + 1) - 1,
                    cell // (width + 1) % (height + 1) - 1,
                    cell // ((width + 1) * (height + 1)) % (depth + 1) - 1,
                ]
            )
            size = sizes[image]
            fraction = point - base
            for dz, dy, dx in ti.ndrange(2, 2, 2):
                z, y, x = base.z + dz, base.y + dy, base.x + dx
                if 0 <= z < size[0] and 0 <= y < size[1] and 0 <= x < size[2]:
                    index = (z * height + y) * width + x
                    corner = ti.Vector([dx, dy, dz])
                    w = ti.Vector([hat(fraction[j] - corner[j]) for j in ti.static(range(3))])
                    dot = cast_like(0, grad.x)
                    for c in range(grad_sums.shape[1]):
                        grad_values[m, c] = grad_values[m, c] + w.x * w.y * w.z * grad_sums[image, c, index]
                        dot += values[m, c] * grad_sums[image, c, index]
                    grad += dot * (2 * corner - 1) * ti.Vector([w.y * w.z, w.x * w.z, w.x * w.y])
        grad_points[m] = grad  # of points outside too: what a kernel only writes is not copied to Vulkan before
