"""Taichi kernels. A file holds one stage: its forward kernel and its adjoint side by side.

How to read one:

- **Numbers** of a kernel come in groups: a NamedTuple, ``struct_of`` it as the parameter's type, and the NamedTuple at
  the launch.
- **Arrays** are parameters, with their shapes beside them. Inside a kernel they are grouped in a NamedTuple by
  ``ti.static``, which ``@ti.func``s take as ``ti.template()``. ``types.py`` has their types. On Vulkan, an array that a
  kernel only writes is not copied to the device: where the kernel does not write, what was in it before is lost.
- **Adjoints** are written by hand, since Taichi's autodiff is wrong for tensors (on Vulkan, and in loops of varying
  length). ``x_vjp`` is the vector-Jacobian product of the function ``x`` before it.
- **Sums** of many terms into few owners, as gradients of vertices, use no float atomics on a CPU, so that their bits
  repeat: ``partial_sums.py``. A first column of -1, or an empty array, says that a gradient is not wanted.
- **Functions in conditions** always run: in ``a and f(b)`` and in ``f(b) if a else c``, Taichi runs the body of f
  first. Where f reads an array at a place that a guards, nest two ``if``s.
- **Outputs** have no values before the kernel on Vulkan, unless the kernel also reads them: one that does not must
  write every element.
- ``cast_like(1, x)`` is 1 in the float type of x: kernels serve float32 and, under gradcheck, float64.

The files, from geometry to pictures::

    types, scalars, tasks, partial_sums    what all share: argument types, small functions, threads, sums
    triangle                               a pixel centre and a triangle: inside, barycentric coordinates, edges
    tiles                                  lists of the primitives that overlap each pixel, whatever they are
    rasterize_meshes, rasterize_points     which triangles or points a pixel keeps
    mesh_fragments                         depth, barycentric coordinates and distance of what was kept
    texture, lighting, surface             colour of a texture, Phong reflection, both at a surface point
    footprint, cube, texture_lookup        mip levels; faces of cube maps; textures read at given coordinates
    rasterize_clip, interpolate            triangles in clip space and their attributes, for ``tirender.nvdiffrast``
    mesh_shading, silhouette, compositing  fragments blended to the pixel's colour
    material_shading, physical_shading     the same for faces with materials, without an adjoint
    reflectance                            metallic-roughness reflection of lamps and surroundings, tone mapping
    antialias                              pixels blended across the outlines between them
    volume_march, emission_absorption      samples of volumes and fields composited along rays
    hash_grid, occupancy                   radiance fields: features of points, samples that are not empty
    harmonic_phases                        points at frequencies that double
    wide_lanes, softplus_lanes             long formulas of few numbers on a CPU; the layers of a network
    hilbert, bvh, heap                     search trees
    knn, ball_query, point_mesh            nearest points and triangles
    sample_farthest_points, points_to_volumes
    shape_losses                           edges, normals and Laplacians of meshes
    multiply_add                           what the machine can do, for the benchmark
"""

from tirender.engine.compiler import choose

choose()  # before any file here imports Taichi
