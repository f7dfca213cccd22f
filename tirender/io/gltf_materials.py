"""Materials of glTF files as records."""

from __future__ import annotations

import warnings

import numpy as np

from tirender.checks import fail
from tirender.io.colors import encode_srgb
from tirender.io.gltf_parser import GltfFile
from tirender.renderer.mesh.material import Material, TextureMap

_WRAPS = {33071: "clamp", 33648: "mirror", 10497: "repeat"}
_NEAREST = 9728
_SHARES = ("metallicFactor", "roughnessFactor")
_ALPHA_MODES = {"OPAQUE": "opaque", "MASK": "mask", "BLEND": "blend"}
_IMAGE_EXTENSIONS = ("EXT_texture_webp", "MSFT_texture_dds")


def read_material(gltf: GltfFile, index: int) -> Material:
    """Return a material of the file.

    Its factors, which are linear there, are encoded as sRGB, as its images are. Of KHR_materials_pbrSpecularGlossiness
    the diffuse part and the glossiness factor are read.

    Raises:
        ValueError: naming the file and where: fields of a wrong type, indices out of range.
    """
    place, material = f"materials[{index}]", gltf.item("materials", index)
    pbr = gltf.get(place, material, "pbrMetallicRoughness", dict, {})
    color_key, map_key = "baseColorFactor", "baseColorTexture"
    metallic, roughness = (_share(gltf, f"{place}.pbrMetallicRoughness", pbr, key) for key in _SHARES)
    older = gltf.extension(place, material, "KHR_materials_pbrSpecularGlossiness")
    if older is not None:
        pbr, color_key, map_key = older, "diffuseFactor", "diffuseTexture"
        metallic, roughness = 0.0, 1.0 - _share(gltf, place, older, "glossinessFactor")
    factor = _cut(gltf, f"{place}.{color_key}", gltf.floats(place, pbr, color_key, [1.0, 1.0, 1.0, 1.0]))
    red, green, blue = encode_srgb(factor[:3]).tolist()
    mode = gltf.get(place, material, "alphaMode", str, "OPAQUE")
    if mode not in _ALPHA_MODES:
        fail(gltf.where(place), f"alphaMode {' or '.join(_ALPHA_MODES)}", repr(mode)[:80])
    stronger = gltf.extension(place, material, "KHR_materials_emissive_strength") or {}
    strength = gltf.number(place, stronger, "emissiveStrength", 1.0)
    emission = encode_srgb(gltf.floats(place, material, "emissiveFactor", [0.0, 0.0, 0.0]) * strength).tolist()
    normal = gltf.get(place, material, "normalTexture", dict, {})
    occlusion = gltf.get(place, material, "occlusionTexture", dict, {})
    return Material(
        gltf.get(place, material, "name", str, ""),
        (red, green, blue, float(factor[3])),
        _texture(gltf, place, pbr, map_key),
        alpha_mode=_ALPHA_MODES[mode],
        alpha_cutoff=gltf.number(place, material, "alphaCutoff", 0.5),
        emission=(emission[0], emission[1], emission[2]),
        emission_map=_texture(gltf, place, material, "emissiveTexture"),
        normal_map=_texture(gltf, place, material, "normalTexture"),
        normal_scale=gltf.number(place, normal, "scale", 1.0),
        occlusion_map=_texture(gltf, place, material, "occlusionTexture"),
        occlusion_strength=gltf.number(place, occlusion, "strength", 1.0),
        metallic=metallic,
        roughness=roughness,
        metallic_roughness_map=_texture(gltf, place, pbr, "metallicRoughnessTexture"),
        double_sided=gltf.get(place, material, "doubleSided", bool, False),
        unlit=gltf.extension(place, material, "KHR_materials_unlit") is not None,
    )


def _share(gltf: GltfFile, place: str, owner: dict, key: str) -> float:
    """Return ``owner[key]``, 1 where it is missing, cut to [0, 1]."""
    return float(_cut(gltf, f"{place}.{key}", np.array(gltf.number(place, owner, key, 1.0))))


def _cut(gltf: GltfFile, place: str, values: np.ndarray) -> np.ndarray:
    cut = values.clip(0.0, 1.0)
    if (cut != values).any():
        warnings.warn(f"{gltf.where(place)}: {values.tolist()} is cut to [0, 1]", stacklevel=3)
    return cut


def _texture(gltf: GltfFile, place: str, owner: dict, key: str) -> TextureMap | None:
    """Return the map that ``owner[key]`` refers to; None where there is none, or its image is missing."""
    if key not in owner:
        return None
    place, info = f"{place}.{key}", gltf.get(place, owner, key, dict)
    index = gltf.get(place, info, "index", int)
    texture = gltf.item("textures", index)
    image = _image(gltf, f"textures[{index}]", texture)
    found = None if image is None else gltf.image(image)
    if found is None:
        return None
    sampler = gltf.item("samplers", texture["sampler"]) if "sampler" in texture else {}
    wrap_u, wrap_v = (_WRAPS.get(gltf.get(place, sampler, wrap, int, 10497), "repeat") for wrap in ("wrapS", "wrapT"))
    uv_set = gltf.get(place, info, "texCoord", int, 0)
    moved = gltf.extension(place, info, "KHR_texture_transform")
    transform = None
    if moved is not None:
        uv_set = gltf.get(place, moved, "texCoord", int, uv_set)
        transform = _transform(gltf, place, moved)
    nearest = gltf.get(place, sampler, "magFilter", int, 0) == _NEAREST
    return TextureMap(found.decode, uv_set, (wrap_u, wrap_v), transform, nearest, found.stored)


def _image(gltf: GltfFile, place: str, texture: dict) -> int | None:
    for name in _IMAGE_EXTENSIONS:
        extension = gltf.extension(place, texture, name)
        if extension is not None and "source" in extension:
            return gltf.get(place, extension, "source", int)
    if "source" in texture:
        return gltf.get(place, texture, "source", int)
    warnings.warn(f"{gltf.where(place)}: a texture without an image that can be read, ignored", stacklevel=4)
    return None


def _transform(gltf: GltfFile, place: str, extension: dict) -> np.ndarray:
    """Return the (2, 3) transform of texture coordinates whose v points up; in the file it points down."""
    x, y = gltf.floats(place, extension, "offset", [0.0, 0.0])
    scale_x, scale_y = gltf.floats(place, extension, "scale", [1.0, 1.0])
    angle = gltf.number(place, extension, "rotation", 0.0)
    c, s = np.cos(angle), np.sin(angle)
    down = np.array([[c * scale_x, s * scale_y, x], [-s * scale_x, c * scale_y, y], [0.0, 0.0, 1.0]])
    flip = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 1.0], [0.0, 0.0, 1.0]])
    return (flip @ down @ flip)[:2]
