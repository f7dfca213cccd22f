"""Fused shading of packed mesh fragments, over ``kernels/mesh_shading.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tirender.checks import check_tensor
from tirender.engine import runtime
from tirender.engine.kernels import mesh_shading as kernels
from tirender.engine.kernels.lighting import DIRECTIONAL, N_PARAMS, POINT, UNLIT
from tirender.engine.kernels.mesh_shading import COORDS, PARAMS, SURFACE, TEXELS, VERTS
from tirender.engine.kernels.texture import ATLAS, BORDER, REFLECTION, UV_BILINEAR, UV_NEAREST, VERTEX, ZEROS
from tirender.engine.partial_sums import part_bounds_by_work, part_count
from tirender.engine.rasterize_meshes import RasterMode, Triangles

TEXTURES = {"vertex": VERTEX, "bilinear": UV_BILINEAR, "nearest": UV_NEAREST, "atlas": ATLAS}
PADDINGS = {"zeros": ZEROS, "border": BORDER, "reflection": REFLECTION}
LIGHTS = {"unlit": UNLIT, "directional": DIRECTIONAL, "point": POINT}


@dataclass(frozen=True)
class TextureSource:
    """Where a surface's colour comes from (see ``kernels/texture.py``).

    Args:
        kind: "vertex", "bilinear", "nearest" (a UV map) or "atlas".
        coords: (n, 3) colours for "vertex", else (n, 2) coordinates.
        coord_faces: (T, 3) int32, the rows of coords at each triangle's corners.
        texels: (n, 3) all maps in one row, each with its first row at the top; unused, like the next two, for "vertex".
        layout: (maps, 3) int32, first texel, rows and columns of each map.
        map_index: (T,) int32, the map of each triangle.
        padding: "zeros", "border" or "reflection".
        align_corners: as in ``torch.nn.functional.grid_sample``.
    """

    kind: str
    coords: torch.Tensor
    coord_faces: torch.Tensor
    texels: torch.Tensor | None = None
    layout: torch.Tensor | None = None
    map_index: torch.Tensor | None = None
    padding: str = "border"
    align_corners: bool = True


@dataclass(frozen=True)
class SurfaceSource:
    """Positions and normals that are lit: of the vertices, or one for each face (flat).

    Args:
        positions: (n, 3) world space.
        normals: (n, 3), any length.
        faces: (T, 3) int32 rows at each triangle's corners; flat shading reads the first alone.
        flat: whether position and normal are constant over a face.
    """

    positions: torch.Tensor
    normals: torch.Tensor
    faces: torch.Tensor
    flat: bool = False


@dataclass(frozen=True)
class ShadingMode:
    """How fragments become a pixel: the light's kind, and soft blending or the nearest fragment alone.

    Args:
        light: "unlit", "directional" or "point".
        soft: softmax blend with ``sigma`` (NDC units squared) and ``gamma``; else the first fragment is opaque.
    """

    light: str
    soft: bool
    sigma: float = 1e-4
    gamma: float = 1e-4


@runtime.not_compiled
def shade_mesh(
    triangles: Triangles,
    raster: RasterMode,
    offsets: torch.Tensor,
    index: torch.Tensor,
    surface: SurfaceSource | None,
    texture: TextureSource,
    params: torch.Tensor,
    mode: ShadingMode,
) -> torch.Tensor:
    """Interpolates, textures, lights and blends the fragments of each pixel.

    Args:
        offsets, index: from :func:`select_triangles`, sorted by depth.
        surface: what is lit; None where ``mode.light`` is "unlit".
        params: (N, 21) light, material, camera and blending parameters of each image, in the order that
            ``kernels/lighting.py`` lists.
    Returns:
        (N, H, W, 4) RGBA; differentiable in ``triangles.verts_ndc``, positions, normals, coords, texels and params, the
        selection held fixed. No gradient passes where a colour is sampled with "nearest", or from an atlas, to where.
    """
    check_tensor("params", params, (triangles.n_images, N_PARAMS))
    verts, faces = triangles.verts_ndc, triangles.faces
    nothing = verts.new_zeros(1, 3)
    if surface is None:
        surface = SurfaceSource(nothing, nothing, faces)
    texels, layout, map_index = texture.texels, texture.layout, texture.map_index
    if texels is None or layout is None or map_index is None:
        texels, layout, map_index = nothing, faces[:1], faces[:1, 0]
    arrays = (offsets, index, faces, surface.faces, texture.coord_faces, map_index, layout)
    flags = (
        *(int(raster.perspective_correct), int(raster.clip_barycentric_coords), *raster.image_size),
        *(LIGHTS[mode.light], int(surface.flat), TEXTURES[texture.kind], PADDINGS[texture.padding]),
        *(int(texture.align_corners), int(mode.soft), 1 / mode.sigma, 1 / mode.gamma),
    )
    floats = (verts, surface.positions, surface.normals, texture.coords, texels, params)
    with torch.autocast(verts.device.type, enabled=False):
        keeps = mode.soft and torch.is_grad_enabled() and any(t.requires_grad for t in floats)
        image = _ShadeMesh.apply(*(t.to(verts.dtype) for t in floats), arrays, flags, keeps)
    return image.view(triangles.n_images, *raster.image_size, 4)


class _ShadeMesh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        *floats, arrays, ctx.flags, keeps = args
        floats = [t.detach().contiguous() for t in floats]
        verts = floats[0]
        n_pixels = len(arrays[0]) - 1
        image, blend = verts.new_empty(n_pixels, 4), verts.new_empty(n_pixels, 2)
        n_kept = len(arrays[1]) if keeps else 0
        kept = verts.new_empty(n_kept), verts.new_empty(n_kept), arrays[1].new_empty(n_kept)
        if n_pixels:
            runtime.launch(kernels.mesh_shading_forward, *_inputs(ctx, arrays, floats), image, blend, *kept)
        ctx.save_for_backward(*arrays, *floats, image, blend, *kept)
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image: torch.Tensor) -> Any:
        arrays, floats, results = ctx.saved_tensors[:7], ctx.saved_tensors[7:13], ctx.saved_tensors[13:]
        needs = list(ctx.needs_input_grad[:6])
        needs[1] = needs[2] = needs[1] or needs[2]  # positions and normals go together
        wanted = sum(flag for flag, need in zip((VERTS, SURFACE, 0, COORDS, TEXELS, PARAMS), needs) if need)
        owners = [t if need else t[:0] for t, need in zip(floats, needs)]
        n_parts = part_count(sum(t.numel() for t in owners), len(arrays[1]))
        grads = [t.new_zeros(n_parts, *t.shape) for t in owners]
        if len(arrays[0]) > 1:
            runtime.launch(
                kernels.mesh_shading_adjoint,
                *(*_inputs(ctx, arrays, floats), *results, grad_image.contiguous()),
                *(part_bounds_by_work(arrays[0], n_parts), wanted, runtime.is_parallel_device(), *grads),
            )
        return (*(g.sum(0) if need else None for g, need in zip(grads, needs)), None, None, None)


def _inputs(ctx: Any, arrays: Any, floats: Any) -> tuple[Any, ...]:
    """What both kernels read, in their order."""
    offsets, index, faces, surface_faces, coord_faces, map_index, layout = (t.contiguous() for t in arrays)
    verts, positions, normals, coords, texels, params = floats
    return (
        *(offsets, index, faces, verts, surface_faces, positions, normals),
        *(coord_faces, coords, map_index, layout, texels, params),
        *ctx.flags,
    )
