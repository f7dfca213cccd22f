"""What the fused shading kernel needs, from meshes, textures, lights and cameras; and whether it covers them."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

import torch

from tirender.checks import check_kind, fail
from tirender.engine.kernels.lighting import COLUMNS, UNLIT
from tirender.engine.kernels.texture import LEVELS
from tirender.engine.mesh_rasterization import MeshRasterization
from tirender.engine.mesh_shading import ShadingMode, SurfaceSource, TextureSource, padding_code, shade_mesh
from tirender.renderer.blending import BlendParams, background_tensor
from tirender.renderer.lighting import as_rows
from tirender.renderer.mesh.mipmaps import pack_mipmaps
from tirender.renderer.mesh.texture_maps import pack_maps
from tirender.renderer.mesh.textures import TexturesAtlas, TexturesUV, TexturesVertex
from tirender.renderer.mesh.textures_base import TexturesBase, distinct
from tirender.structures.fragments import Fragments, PackedFragments
from tirender.structures.meshes import Meshes


class SceneProperties(NamedTuple):
    """What a shader shades with, each for one or all images; depths count from ``znear`` to ``zfar`` in soft blends."""

    cameras: Any
    lights: Any
    materials: Any
    blend_params: BlendParams
    znear: Any
    zfar: Any


def check_belong(fragments: Fragments | PackedFragments, meshes: Meshes) -> None:
    """Raise ``ValueError`` where fragments show other images, or faces, than the meshes have."""
    check_kind("meshes", meshes, Meshes)
    rasterization = fragments.rasterization
    if rasterization is not None:
        n_images, n_faces = rasterization.triangles.n_images, rasterization.n_faces
    else:
        n_images, n_faces = len(fragments.pix_to_face), None
    if n_images != len(meshes):
        fail("fragments", f"those of {len(meshes)} meshes", f"{n_images} images")
    if n_faces is not None and n_faces != len(meshes.faces_packed()):
        fail("fragments", f"those of meshes with {len(meshes.faces_packed())} faces", f"those of {n_faces} faces")


def can_fuse(textures: Any, lights: Any, materials: Any) -> bool:
    """Whether the fused kernel shades these: own kinds (a subclass may mean anything), with three channels."""
    colors = (lights.ambient_color, materials.ambient_color, materials.diffuse_color, materials.specular_color)
    if light_kind(lights) is None or any(color.shape[-1] != 3 for color in colors):
        return False
    if type(textures) is TexturesVertex:
        return textures.verts_features_packed().shape[-1] == 3
    if type(textures) is TexturesUV:
        return all(m.shape[-1] == 3 for m in textures.maps_list())
    return type(textures) is TexturesAtlas and textures.atlas_packed().shape[-1] == 3


def shade(
    rasterization: MeshRasterization,
    meshes: Meshes,
    scene: SceneProperties,
    shading: str,
    soft: bool,
    vertex_colors: torch.Tensor | None = None,
) -> torch.Tensor:
    """(N, H, W, 4) image of the meshes.

    Args:
        shading: "phong" (lit at each pixel), "flat" (at each face) or "unlit".
        soft: softmax blend, else the nearest face alone.
        vertex_colors: (V, 3) in place of the meshes' textures.
    """
    light = UNLIT if shading == "unlit" else light_kind(scene.lights)
    assert light is not None
    surface = None if light == UNLIT else _surface(rasterization, meshes, flat=shading == "flat")
    if vertex_colors is None:
        texture = _texture_source(rasterization, meshes)
    else:
        texture = TextureSource("vertex", *rasterization.corner_values(vertex_colors, meshes.topology.faces_int32))
    params = kernel_params(len(meshes), meshes.verts_packed(), scene, lit=shading != "unlit")
    mode = ShadingMode(light, soft, float(scene.blend_params.sigma), float(scene.blend_params.gamma))
    offsets, index = rasterization.selection(by_depth=True)
    return shade_mesh(rasterization.triangles, rasterization.mode, offsets, index, surface, texture, params, mode)


def light_kind(lights: Any) -> int | None:
    """The kernel's kind of a light; None for one that only the torch path knows, such as a subclass."""
    return vars(type(lights)).get("fused_kind")


def _surface(rasterization: MeshRasterization, meshes: Meshes, flat: bool) -> SurfaceSource:
    faces = meshes.topology.faces_int32
    if flat:
        centroids = meshes.verts_packed().index_select(0, faces.flatten()).view(-1, 3, 3).mean(1)
        positions = rasterization.face_values(centroids)
        return SurfaceSource(positions, rasterization.face_values(meshes.faces_normals_packed()), faces, flat=True)
    positions, _ = rasterization.corner_values(meshes.verts_packed(), faces)
    return SurfaceSource(positions, *rasterization.corner_values(*meshes.corner_normals_packed()))


def _texture_source(rasterization: MeshRasterization, meshes: Meshes) -> TextureSource:
    textures: TexturesBase = meshes.textures
    faces = meshes.topology.faces_int32
    if not len(meshes):  # no maps, and no channels to tell
        return TextureSource("vertex", *rasterization.corner_values(meshes.verts_packed(), faces))
    if isinstance(textures, TexturesVertex):
        return TextureSource("vertex", *rasterization.corner_values(textures.verts_features_packed(), faces))
    if isinstance(textures, TexturesAtlas):
        table, row_of_face = textures.distinct_atlas()
        size = table.shape[1]
        first = torch.arange(len(table), dtype=torch.int32, device=table.device) * size * size
        layout = torch.stack([first, *[torch.full_like(first, size)] * 2, torch.zeros_like(first)], 1)
        unit = table.new_tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        corners = torch.arange(3, dtype=torch.int32, device=table.device).expand(len(faces), 3)
        coords, coord_faces = rasterization.corner_values(unit, corners)
        map_index = rasterization.face_values(row_of_face.int())
        return TextureSource("atlas", coords, coord_faces, table.reshape(-1, 3), layout, map_index)
    assert isinstance(textures, TexturesUV)
    maps, map_of_face = textures.distinct_maps()
    if textures.sampling_mode == "trilinear":
        packed, first_level, n_smaller = pack_mipmaps(maps)
        map_of_face, codes = first_level.index_select(0, map_of_face), LEVELS * n_smaller[:, None]
    else:
        packed = pack_maps(maps)
        codes = torch.zeros_like(packed.first_texel)[:, None]
    codes = codes + padding_code(*textures.padding)
    layout = torch.cat([packed.first_texel[:, None], packed.size, codes], 1).int()
    tables, which = distinct(textures.uv_tables())
    first_row = [*accumulate(map(len, tables), initial=0)]
    corners = torch.cat([f.clamp(min=0) + first_row[w] for f, w in zip(textures.faces_uvs_list(), which)])
    coords, coord_faces = rasterization.corner_values(torch.cat(tables), corners)
    return TextureSource(
        kind=textures.sampling_mode,
        coords=coords,
        coord_faces=coord_faces,
        texels=packed.texels,
        layout=layout,
        map_index=rasterization.face_values(map_of_face.int()),
        align_corners=textures.align_corners,
    )


def kernel_params(n: int, like: torch.Tensor, scene: SceneProperties, lit: bool) -> torch.Tensor:
    """(n, N_PARAMS) rows of the ``COLUMNS`` of ``engine/kernels/lighting.py``; what is not given is 0."""
    zeros = like.new_zeros(1, 3)
    given = {
        "ambient": zeros + 1,
        "znear": scene.znear,
        "zfar": scene.zfar,
        "background": background_tensor(scene.blend_params, zeros)[None],
    }
    if lit:
        light, materials = scene.lights.fused_row(), scene.materials
        given["ambient"] = as_rows(materials.ambient_color) * light.ambient
        if light.diffuse is not None:
            given["diffuse"] = as_rows(materials.diffuse_color) * light.diffuse
            given["camera"] = scene.cameras.get_camera_center()
        if light.specular is not None:
            given["specular"] = as_rows(materials.specular_color) * light.specular
            given["shininess"] = materials.shininess
        if light.vector is not None:
            given["light"] = light.vector
    assert given.keys() <= COLUMNS.keys()
    columns = [torch.as_tensor(given.get(name, zeros[:, :width])).to(like) for name, width in COLUMNS.items()]
    columns = [c.reshape(-1, 1) if c.dim() < 2 else c for c in columns]
    assert [c.shape[1] for c in columns] == [*COLUMNS.values()]
    return torch.cat([c.expand(n, -1) for c in columns], 1)
