"""Fused shading of packed mesh fragments, over ``kernels/mesh_shading.py``."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch

from tirender.checks import check_tensor
from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import mesh_shading as kernels
from tirender.engine.kernels.lanes import LANES
from tirender.engine.kernels.lighting import N_PARAMS
from tirender.engine.kernels.mesh_shading_lanes import ROWS, mesh_shading_lanes_adjoint, mesh_shading_lanes_forward
from tirender.engine.kernels.surface import Owners, Shading
from tirender.engine.kernels.texture import (
    ATLAS,
    BORDER,
    N_PADDINGS,
    REFLECTION,
    REPEAT,
    UV_BILINEAR,
    UV_NEAREST,
    UV_TRILINEAR,
    VERTEX,
    ZEROS,
    Sampling,
)
from tirender.engine.partial_sums import part_bounds_by_work, part_count
from tirender.engine.rasterize_meshes import RasterMode, Triangles

TEXTURES = {
    "vertex": VERTEX,
    "bilinear": UV_BILINEAR,
    "nearest": UV_NEAREST,
    "trilinear": UV_TRILINEAR,
    "atlas": ATLAS,
}
TASKS = 64  # on a CPU
PADDINGS = {"zeros": ZEROS, "border": BORDER, "reflection": REFLECTION, "repeat": REPEAT}


@dataclass(frozen=True)
class TextureSource:
    """Where a surface's colour comes from (see ``kernels/texture.py``).

    Args:
        kind: "vertex", "bilinear", "nearest", "trilinear" (a UV map) or "atlas".
        coords: (n, 3) colours for "vertex", else (n, 2) coordinates.
        coord_faces: (T, 3) int32, the rows of coords at each triangle's corners.
        texels: (n, 3) all maps in one row, each with its first row at the top; unused, like the next two, for "vertex".
        layout: (maps, 4) int32, first texel, rows, columns and code of each map: :func:`padding_code`, and LEVELS times
            the number of smaller levels that follow.
        map_index: (T,) int32, the map of each triangle.
        align_corners: as in ``torch.nn.functional.grid_sample``.
    """

    kind: str
    coords: torch.Tensor
    coord_faces: torch.Tensor
    texels: torch.Tensor | None = None
    layout: torch.Tensor | None = None
    map_index: torch.Tensor | None = None
    align_corners: bool = True


def padding_code(u: str, v: str) -> int:
    """How kernels know what lies beyond a map along u and v: "zeros", "border", "reflection" or "repeat"."""
    return PADDINGS[u] + N_PADDINGS * PADDINGS[v]


@dataclass(frozen=True)
class SurfaceSource:
    """Positions and normals that are lit.

    Args:
        positions: (V, 3) world space, a row for each of ``triangles.verts_ndc``; (T, 3) where flat.
        normals: (n, 3), any length; (T, 3) where flat.
        normal_faces: (T, 3) int32 rows of normals at each triangle's corners; unused where flat.
        flat: whether each triangle has one position and one normal.
    """

    positions: torch.Tensor
    normals: torch.Tensor
    normal_faces: torch.Tensor
    flat: bool = False


@dataclass(frozen=True)
class ShadingMode:
    """How fragments become a pixel: the light's kind, and soft blending or the nearest fragment alone.

    Args:
        light: a kind in ``kernels/lighting.py``.
        soft: softmax blend with ``sigma`` (NDC units squared) and ``gamma``; else the first fragment is opaque.
    """

    light: int
    soft: bool
    sigma: float = 1e-4
    gamma: float = 1e-4


@runtime.not_compiled
def shade_mesh(
    triangles: Triangles,
    raster_mode: RasterMode,
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
        surface: what is lit; None where ``mode.light`` is UNLIT.
        params: (N, N_PARAMS) light, material, camera and blending parameters of each image, in the order that
            ``kernels/lighting.py`` lists.
    Returns:
        (N, H, W, 4) RGBA; differentiable in ``triangles.verts_ndc``, positions, normals, coords, texels and params, the
        selection and the levels of maps held fixed. No gradient passes where a colour is sampled with "nearest", or
        from an atlas, to where.
    """
    check_tensor("params", params, (triangles.n_images, N_PARAMS))
    verts, faces = triangles.verts_ndc, triangles.faces
    nothing = verts.new_zeros(1, 3)
    if surface is None:
        surface = SurfaceSource(nothing, nothing, faces)
    texels, layout, map_index = texture.texels, texture.layout, texture.map_index
    if texels is None or layout is None or map_index is None:
        texels, layout, map_index = nothing, faces.new_zeros(1, 4), faces[:1, 0]
    inputs = kernels.ShadingInputs(
        offsets=offsets,
        triangles=index,
        faces=faces,
        verts=verts,
        positions=surface.positions,
        normal_faces=surface.normal_faces,
        normals=surface.normals,
        texture_faces=texture.coord_faces,
        coords=texture.coords,
        map_index=map_index,
        layout=layout,
        texels=texels,
        params=params,
    )
    inputs = kernels.ShadingInputs(*(t.to(verts.dtype) if t.is_floating_point() else t for t in inputs))
    numbers = (
        raster_mode.raster,
        Shading(
            light=mode.light,
            flat=surface.flat,
            soft=mode.soft,
            inv_sigma=1 / mode.sigma,
            inv_gamma=1 / mode.gamma,
        ),
        Sampling(TEXTURES[texture.kind], texture.align_corners),
        TEXTURES[texture.kind] == UV_TRILINEAR,
    )
    with torch.autocast(verts.device.type, enabled=False):
        keep = mode.soft and torch.is_grad_enabled() and any(t.requires_grad for t in inputs)
        image = _ShadeMesh.apply(numbers, keep, *inputs)
    return image.view(triangles.n_images, *raster_mode.image_size, 4)


class _ShadeMesh(FirstOrder):
    @staticmethod
    def forward(ctx: Any, numbers: Any, keep: bool, *args: torch.Tensor) -> torch.Tensor:
        inputs = kernels.ShadingInputs(*(t.detach().contiguous() for t in args))
        verts = inputs.verts
        n_pixels, n_fragments = len(inputs.offsets) - 1, len(inputs.triangles) if keep else 0
        image = verts.new_empty(n_pixels, 4)
        kept = kernels.Kept(
            pixels=verts.new_empty(n_pixels if keep else 0, 5),
            weights=verts.new_empty(n_fragments, 2),
            edges=inputs.triangles.new_empty(n_fragments),
        )
        if n_pixels and _has_lanes(numbers):
            exact = verts.dtype == torch.float64
            runtime.launch(mesh_shading_lanes_forward, *numbers[:2], exact, *_for_lanes(inputs), TASKS, image, *kept)
        elif n_pixels:
            runtime.launch(kernels.mesh_shading_forward, *numbers, *inputs, image, *kept)
        ctx.numbers = numbers
        ctx.save_for_backward(*inputs, *kept)
        return image

    @staticmethod
    def backward(ctx: Any, grad_image: torch.Tensor) -> Any:
        n_inputs = len(kernels.ShadingInputs._fields)
        inputs, kept = kernels.ShadingInputs(*ctx.saved_tensors[:n_inputs]), ctx.saved_tensors[n_inputs:]
        needs = dict(zip(kernels.ShadingInputs._fields, ctx.needs_input_grad[2:]))
        needs["positions"] = needs["normals"] = needs["positions"] or needs["normals"]  # they go together
        wanted = {name: getattr(inputs, name) for name in Owners._fields if needs[name]}
        columns = [tensor.numel() for tensor in wanted.values()]
        first = dict(zip(wanted, itertools.accumulate(columns, initial=0)))
        owners = Owners(*(first.get(name, -1) for name in Owners._fields))
        n_parts = part_count(sum(columns), len(inputs.triangles))
        grads = inputs.verts.new_zeros(n_parts, sum(columns))
        if len(inputs.offsets) > 1:
            bounds, atomic = part_bounds_by_work(inputs.offsets, n_parts), runtime.is_parallel_device()
            given = (*kept, grad_image.contiguous(), bounds)
            if _has_lanes(ctx.numbers) and owners.params < 0:
                scratch = grads.new_empty(n_parts * ROWS, LANES)
                lanes = (*_for_lanes(inputs), *given, scratch, scratch.view(-1))
                runtime.launch(mesh_shading_lanes_adjoint, *ctx.numbers[:2], owners, *lanes, grads)
            else:
                runtime.launch(kernels.mesh_shading_adjoint, *ctx.numbers, owners, *inputs, *given, atomic, grads)
        sums = {name: part.view_as(wanted[name]) for name, part in zip(wanted, grads.sum(0).split(columns))}
        return (None, None, *(sums.get(name) for name in kernels.ShadingInputs._fields))


def _has_lanes(numbers: Any) -> bool:
    """Whether the kernels of ``kernels/mesh_shading_lanes.py`` shade this: on a CPU, soft, coloured at vertices."""
    _raster, shading, sampling, _mipmaps = numbers
    return shading.soft and not shading.flat and sampling.kind == VERTEX and not runtime.is_parallel_device()


def _for_lanes(inputs: kernels.ShadingInputs) -> tuple[torch.Tensor, ...]:
    """What these kernels take of the inputs."""
    return tuple(t for name, t in inputs._asdict().items() if name not in ("map_index", "layout", "texels"))
