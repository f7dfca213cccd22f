"""The shader of meshes with ``TexturesMaterial``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from tirender.checks import fail
from tirender.engine.kernels.lighting import CAMERA
from tirender.engine.kernels.material_shading import N_NUMBERS, Lighting, MaterialInputs
from tirender.engine.material_shading import draw_materials
from tirender.engine.mesh_rasterization import MeshRasterization
from tirender.renderer.blending import background_tensor
from tirender.renderer.mesh.fused_shading import SceneProperties, check_belong, kernel_params, light_kind
from tirender.renderer.mesh.material_shading import (
    MaterialShading,
    eyes_of,
    normal_map_turns,
    shade_materials,
    tangents_of,
)
from tirender.renderer.mesh.material_table import MapTable, wants_grad
from tirender.renderer.mesh.shader import ShaderBase
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.structures.fragments import Fragments, PackedFragments, as_fragments
from tirender.structures.meshes import Meshes


class MaterialShader(ShaderBase):
    """Faces with materials: base colours and maps, vertex colours, transparency, normal maps, occlusion, emission.

    The lights are those of the Phong shaders. Colours are multiplied, lit and blended as they are stored, in sRGB.
    Transparent faces are blended by depth, so that the rasterizer must keep all faces of a pixel
    (``faces_per_pixel=None``) where ``textures.needs_all_fragments``. Other textures are the base colour of a
    plain material.

    Args:
        flat: light each face by its own normal.
        gouraud: shade the corners of faces and interpolate; such pictures are drawn in torch.
        mipmaps: pixels that are larger than texels show means of them; see ``TexturesUV``.
        kwargs: as for the other shaders; ``materials`` is not read.
    """

    def __init__(self, flat: bool = False, gouraud: bool = False, mipmaps: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flat, self.gouraud, self.mipmaps = flat, gouraud, mipmaps

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> torch.Tensor:
        """(N, H, W, 4) RGBA images, differentiable in vertices, vertex colours, lights and cameras.

        Args:
            fragments: of N images, from the rasterizer.
            meshes: the N meshes they show, with textures.
            kwargs: ``cameras``, ``lights``, ``blend_params`` for this call.
        Raises:
            ValueError: without cameras or textures, or for fragments made by hand or detached.
        """
        scene, fragments = self._scene(meshes, kwargs), as_fragments(fragments)
        packed = packed_fragments(fragments, meshes)
        rasterization = fragments.rasterization
        is_whole = rasterization is not None and rasterization.clipping is None
        if is_whole and not self.gouraud and _is_drawn_by_kernel(meshes, scene):
            assert rasterization is not None
            params = kernel_params(len(meshes), meshes.verts_packed(), scene, lit=True)
            params[:, CAMERA : CAMERA + 3] = eyes_of(scene.cameras)
            inputs = material_inputs(rasterization, meshes, meshes.textures.maps(self.mipmaps), params)
            kind = light_kind(scene.lights)
            assert kind is not None
            lighting = Lighting(kind, self.flat, inputs.uv_rows.shape[1] // 3, self.mipmaps)
            tangents = tangents_for(meshes, inputs)
            return self._finish(draw_materials(rasterization.mode, lighting, inputs, tangents), fragments)
        background = background_tensor(scene.blend_params, meshes.verts_packed())
        mode = MaterialShading(self.flat, self.gouraud, self.mipmaps)
        images = shade_materials(packed, meshes, scene.lights, scene.cameras, background, mode)
        return self._finish(images, fragments)


def _is_drawn_by_kernel(meshes: Meshes, scene: SceneProperties) -> bool:
    """Whether nothing is asked for that only the torch path has: gradients, lights of other kinds."""
    if type(meshes.textures) is not TexturesMaterial:
        return False
    if light_kind(scene.lights) is None or scene.lights.ambient_color.shape[-1] != 3:
        return False
    of_scene = (value for part in (scene.lights, scene.cameras) for value in part._attributes().values())
    return not picture_wants_grad(meshes, [scene.blend_params.background_color, *of_scene])


def packed_fragments(fragments: Fragments, meshes: Meshes) -> PackedFragments:
    """The fragments of meshes with textures.

    Raises:
        ValueError: without textures, or for fragments of other meshes, made by hand or detached.
    """
    check_belong(fragments, meshes)
    if meshes.textures is None:
        fail("meshes.textures", "textures", None)
    if fragments.packed is None:
        fail("fragments", "those of a rasterizer", "fragments made by hand, or detached")
    return fragments.packed


def picture_wants_grad(meshes: Meshes, others: Iterable[Any]) -> bool:
    """Whether meshes with ``TexturesMaterial``, or other things that a picture is made of, want a gradient."""
    if not torch.is_grad_enabled():
        return False
    normals, _ = meshes.corner_normals_packed()
    leaves = [meshes.verts_packed(), normals, meshes.textures.packed().colors, *others]
    return wants_grad(meshes.textures.materials) or any(isinstance(t, torch.Tensor) and t.requires_grad for t in leaves)


def material_inputs(
    rasterization: MeshRasterization, meshes: Meshes, table: MapTable, params: torch.Tensor, linear: bool = False
) -> MaterialInputs:
    """What kernels that draw materials read.

    Args:
        rasterization, meshes: of N images; the meshes have ``TexturesMaterial``.
        table: of their materials.
        params: (N, N_PARAMS), lights and cameras.
        linear: whether vertex colours are to be linear, as the table then is.
    """
    offsets, triangles = rasterization.selection(by_depth=True)
    packed = meshes.textures.packed()
    normals, normal_faces = meshes.corner_normals_packed()
    return MaterialInputs(
        offsets=offsets,
        triangles=triangles,
        faces=meshes.topology.faces_int32,
        verts=rasterization.triangles.verts_ndc,
        positions=meshes.verts_packed(),
        normal_faces=normal_faces,
        normals=normals,
        uvs=packed.uvs,
        uv_rows=packed.faces_uvs.flatten(1),
        colors=packed.linear_colors() if linear else packed.colors,
        color_faces=packed.faces_colors,
        material=packed.faces_material,
        numbers=numbers_of(table),
        maps=torch.cat([table.map_of, table.uv_set], 1),
        layout=table.layout,
        texels=table.maps.texels,
        params=params,
    )


def tangents_for(meshes: Meshes, inputs: MaterialInputs) -> torch.Tensor | None:
    """The tangents (T + 1, 4) that kernels read; None where no material has a normal map."""
    textures: TexturesMaterial = meshes.textures
    if all(material.normal_map is None for material in textures.materials):
        return None
    return tangents_of(meshes, inputs.uvs, textures.packed().faces_uvs)


def numbers_of(table: MapTable) -> torch.Tensor:
    """(M + 1, N_NUMBERS): the numbers of materials, as kernels read them."""
    parts = [
        table.base_color,
        table.plain_color,
        table.emission,
        table.phong,
        table.settings[:, [0, 1, 3]],
        table.flags,
        table.metallic_roughness,
        table.settings[:, 2:3],
        normal_map_turns(table).flatten(1),
        table.transform.flatten(1),
    ]
    numbers = torch.cat([part.to(table.base_color) for part in parts], 1)
    assert numbers.shape[1] == N_NUMBERS
    return numbers
