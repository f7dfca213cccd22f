"""Texture maps for meshes without texture coordinates: unwrapped by xatlas, coloured texel by texel, seams filled."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tirender.checks import check_integer, fail
from tirender.ops.interp_face_attrs import interpolate_face_attributes
from tirender.renderer import TexturesMaterial, TexturesUV
from tirender.renderer.mesh.material import MAPS, Material, TextureMap
from tirender.renderer.mesh.rasterize_meshes import rasterize_meshes
from tirender.structures import Meshes
from tirender.structures.fragments import Fragments

MAX_SIDE = 16384
PADDING = 4  # texels between charts
NUMBERS = ("metallic", "roughness", "emission", "specular", "shininess", "double_sided", "unlit")
FACTORS = {"emission_map": ("emission",), "metallic_roughness_map": ("metallic", "roughness")}  # nothing without it

Colors = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Texels:
    """The places on a surface that the texels of a map show.

    Attributes:
        points, normals: (M, 3), in the mesh's space; normals are of length 1.
        fragments: (1, H, W, 1), the faces and barycentric coordinates of all texels.
    """

    points: torch.Tensor
    normals: torch.Tensor
    fragments: Fragments


def bake(mesh: Meshes, size: int, colors_at: Callable[[Texels], Colors] | None = None) -> TexturesUV:
    """Bake the colours of a surface into a texture map.

    Each texel has the colour at its centre. Texels beside a chart continue its colours, so that neither interpolation
    nor mipmaps show seams.

    Args:
        mesh: one mesh with faces; its textures, if any, are not changed.
        size: side of the map in texels.
        colors_at: returns the RGB (M, 3) of places, and where it knows them (M,) bool; None for the mesh's own
            textures.
    Returns:
        ``TexturesUV`` for the mesh, with charts of their own.
    Raises:
        ValueError: not one mesh with faces, a size out of range, or a mesh without textures and no ``colors_at``.
        ImportError: xatlas is not installed.
    """
    if len(mesh) != 1 or mesh.isempty():
        fail("mesh", "one mesh with faces", f"{len(mesh)} of {len(mesh.faces_packed())} faces")
    if check_integer("size", size, 16) > MAX_SIDE:
        fail("size", f"at most {MAX_SIDE} texels", size)
    if colors_at is None and mesh.textures is None:
        fail("mesh", "textures, or colors_at", "neither")
    verts_uvs, faces_uvs = unwrap(mesh, size)
    with torch.no_grad():
        texels, covered = _texels(mesh, verts_uvs, faces_uvs, size)
        if colors_at is None:
            sampled = mesh.sample_textures(texels.fragments).reshape(-1, 3)
            colors, known = sampled[covered], torch.ones(len(texels.points), dtype=torch.bool, device=mesh.device)
        else:
            colors, known = colors_at(texels)
        image = colors.new_zeros(size * size, 3)
        where = covered.nonzero()[:, 0][known]
        image[where] = colors[known].clamp(0, 1)
        mask = torch.zeros(size * size, device=mesh.device)
        mask[where] = 1.0
        image = filled(image.view(size, size, 3), mask.view(size, size))
    return TexturesUV([image], [faces_uvs], [verts_uvs], align_corners=False)


def bake_material(mesh: Meshes, size: int, name: str) -> TexturesMaterial:
    """Bake the base colours of materials into one map of one material.

    The other numbers stay where all faces agree on them. Those that differ, maps of anything else, and transparency are
    left out, with a warning.

    Args:
        mesh: one mesh with ``TexturesMaterial``, which are not changed.
        size: see :func:`bake`, which also tells what is raised.
        name: of the file that it is from, for the warning.
    """
    baked, textures = bake(mesh, size), mesh.textures
    everything = [*textures.materials, Material()]
    used = [everything[i] for i in textures.packed().faces_material.unique().tolist()]
    lost = [field for field in MAPS if field != "base_map" and any(getattr(m, field) is not None for m in used)]
    numbers = [field for field in NUMBERS if not any(field in FACTORS.get(name, ()) for name in lost)]
    kept = {field: getattr(used[0], field) for field in numbers if len({getattr(m, field) for m in used}) == 1}
    lost += [field for field in numbers if field not in kept]
    lost += ["transparency"] * any(m.alpha_mode != "opaque" for m in used)
    if lost:
        words = ", ".join(field.replace("_", " ") for field in lost)
        warnings.warn(f"{name}: {words}: only base colours are baked, left out", stacklevel=3)
    image, faces = TextureMap(baked.maps_list()[0], wrap=("clamp", "clamp")), baked.faces_uvs_list()[0]
    material = Material(base_map=image, **kept)
    return TexturesMaterial([material], [torch.zeros_like(faces[:, 0])], baked.verts_uvs_list(), [faces[:, None]])


def unwrap(mesh: Meshes, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a surface into charts, and lay them into a square, by xatlas.

    Args:
        mesh: one mesh with faces.
        size: side of the map that it is for, in texels.
    Returns:
        verts_uvs (T, 2) in [0, 1], and faces_uvs (F, 3).
    Raises:
        ImportError: xatlas is not installed.
    """
    check_xatlas()
    import xatlas

    verts = mesh.verts_packed().detach().cpu().double()
    low, high = verts.amin(0), verts.amax(0)
    verts = (verts - low) / (high - low).max().clamp(min=1e-30)  # its thresholds are lengths
    atlas = xatlas.Atlas()
    atlas.add_mesh(
        np.ascontiguousarray(verts.numpy(), np.float32),
        np.ascontiguousarray(mesh.faces_packed().cpu().numpy(), np.uint32),
    )
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding, packing.bilinear = size, PADDING, True
    atlas.generate(pack_options=packing)
    _, faces, uvs = atlas[0]
    as_uvs = torch.from_numpy(np.asarray(uvs, dtype=np.float32).copy()).to(mesh.device)
    return as_uvs, torch.from_numpy(np.asarray(faces).astype(np.int64)).to(mesh.device)


def check_xatlas() -> None:
    """Raise ``ImportError`` where xatlas is not installed."""
    try:
        import xatlas  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "texture maps are unwrapped by xatlas; install it with: pip install 'tirender[bake]'"
        ) from error


def filled(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Continue the known texels of an image into all others: the nearest by their means, those further away by coarser.

    Args:
        image: (H, W, 3).
        mask: (H, W), 1 where a texel is known, else 0.
    Returns:
        (H, W, 3).
    """
    colors, weights = (image * mask[..., None]).permute(2, 0, 1)[None], mask[None, None]
    for _ in range(PADDING):
        around = F.avg_pool2d(F.pad(weights, (1, 1, 1, 1)), 3, 1)
        means = F.avg_pool2d(F.pad(colors, (1, 1, 1, 1)), 3, 1) / around.clamp(min=1e-9)
        is_new = (weights == 0) & (around > 0)
        colors = torch.where(is_new, means, colors)
        weights = torch.where(is_new, 1.0, weights)
    return _pulled(colors, weights)[0].permute(1, 2, 0).contiguous()


def _pulled(colors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Known colours (1, 3, H, W), others from images of half the size."""
    if bool((weights > 0).all()) or min(colors.shape[2:]) == 1:
        known = weights > 0
        mean = (colors * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
        return torch.where(known, colors, mean)
    height, width = colors.shape[2:]
    pads = (0, width % 2, 0, height % 2)
    half = F.avg_pool2d(F.pad(weights, pads), 2)
    small = F.avg_pool2d(F.pad(colors, pads), 2) / half.clamp(min=1e-9)
    coarse = _pulled(torch.where(half > 0, small, 0.0), (half > 0).to(weights))
    coarse = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[:, :, :height, :width]
    return torch.where(weights > 0, colors, coarse)


def _texels(mesh: Meshes, verts_uvs: torch.Tensor, faces_uvs: torch.Tensor, size: int) -> tuple[Texels, torch.Tensor]:
    """The places of texels that charts cover, and which these are (size * size,) bool."""
    u, v = verts_uvs.unbind(1)
    flat = torch.stack([1 - 2 * u, 2 * v - 1, torch.ones_like(u)], dim=1)  # NDC, whose x points left
    pix_to_face, zbuf, bary, dists = rasterize_meshes(Meshes([flat], [faces_uvs]), size, faces_per_pixel=1)
    fragments: Any = Fragments(pix_to_face=pix_to_face, zbuf=zbuf, bary_coords=bary, dists=dists)
    covered = pix_to_face.flatten() >= 0
    verts, faces = mesh.verts_packed().detach(), mesh.faces_packed()
    normals, rows = mesh.corner_normals_packed()
    at = [
        interpolate_face_attributes(pix_to_face, bary, values.detach().float()[index]).reshape(-1, 3)[covered]
        for values, index in ((verts, faces), (normals, rows))
    ]
    return Texels(at[0], F.normalize(at[1], dim=1), fragments), covered
