"""Rasterization, texturing and shading of meshes."""

from tirender.renderer.mesh.antialias import antialias
from tirender.renderer.mesh.material import Material, TextureMap
from tirender.renderer.mesh.material_shader import MaterialShader
from tirender.renderer.mesh.physical_shader import PBRShader
from tirender.renderer.mesh.rasterize_meshes import rasterize_meshes
from tirender.renderer.mesh.rasterizer import Fragments, MeshRasterizer, RasterizationSettings
from tirender.renderer.mesh.renderer import MeshRenderer, MeshRendererWithFragments
from tirender.renderer.mesh.shader import (
    HardDepthShader,
    HardFlatShader,
    HardGouraudShader,
    HardNormalShader,
    HardPhongShader,
    HardSilhouetteShader,
    SoftDepthShader,
    SoftGouraudShader,
    SoftPhongShader,
    SoftSilhouetteShader,
    SplatterPhongShader,
    TexturedSoftPhongShader,
)
from tirender.renderer.mesh.shading import flat_shading, gouraud_shading, phong_shading
from tirender.renderer.mesh.textures import (
    Textures,
    TexturesAtlas,
    TexturesBase,
    TexturesMaterial,
    TexturesUV,
    TexturesVertex,
)

__all__ = [
    "Fragments",
    "HardDepthShader",
    "HardFlatShader",
    "HardGouraudShader",
    "HardNormalShader",
    "HardPhongShader",
    "HardSilhouetteShader",
    "Material",
    "MaterialShader",
    "MeshRasterizer",
    "MeshRenderer",
    "MeshRendererWithFragments",
    "PBRShader",
    "RasterizationSettings",
    "SoftDepthShader",
    "SoftGouraudShader",
    "SoftPhongShader",
    "SoftSilhouetteShader",
    "SplatterPhongShader",
    "TextureMap",
    "TexturedSoftPhongShader",
    "Textures",
    "TexturesAtlas",
    "TexturesBase",
    "TexturesMaterial",
    "TexturesUV",
    "TexturesVertex",
    "antialias",
    "flat_shading",
    "gouraud_shading",
    "phong_shading",
    "rasterize_meshes",
]
