"""Records of materials as glTF's."""

from __future__ import annotations

from typing import Any

import numpy as np

from tirender.io.colors import decode_srgb
from tirender.io.gltf_document import GltfDocument
from tirender.io.image_files import image_file, source_of
from tirender.io.mesh_pieces import Layout, layout_of
from tirender.renderer.mesh.material import Material, TextureMap, roughness_of_exponent

_WRAPS = {"repeat": 10497, "mirror": 33648, "clamp": 33071}
_NEAREST, _LINEAR, _MIPMAPS = 9728, 9729, 9987


class MaterialWriter:
    """Adds materials to a document; each image and material is stored once.

    Args:
        document: where to.
        name: of the file, for messages.
    """

    def __init__(self, document: GltfDocument, name: str) -> None:
        self.document, self.name = document, name
        self._files: dict[int, int] = {}
        self._kept: list[Any] = []  # so that ids stay theirs

    def add(self, material: Material, layouts: tuple[Layout, ...]) -> int:
        """Add a material, and return its index.

        Args:
            material: what to add. Sides that its file says nothing of are both shown, as they are here; a roughness
                that it does not name follows from Phong's exponent where it has highlights, and is 1 elsewhere.
            layouts: what TEXCOORD_0, TEXCOORD_1 ... are.
        """
        pbr: dict[str, Any] = {}
        alpha = min(max(material.base_color[3], 0.0), 1.0)
        factor = [*decode_srgb(np.array(material.base_color[:3])).clip(0.0, 1.0).tolist(), alpha]
        if factor != [1.0] * 4:
            pbr["baseColorFactor"] = factor
        self._put(pbr, "baseColorTexture", material.base_map, layouts)
        rough_map = material.metallic_roughness_map
        metallic = material.metallic if material.metallic is not None else float(rough_map is not None)
        pbr["metallicFactor"] = min(max(metallic, 0.0), 1.0)
        pbr["roughnessFactor"] = min(max(roughness_of(material), 0.0), 1.0)
        self._put(pbr, "metallicRoughnessTexture", rough_map, layouts)
        item: dict[str, Any] = {"pbrMetallicRoughness": pbr}
        if material.name:
            item["name"] = material.name
        self._put(item, "normalTexture", material.normal_map, layouts, scale=material.normal_scale)
        strength = min(max(material.occlusion_strength, 0.0), 1.0)
        self._put(item, "occlusionTexture", material.occlusion_map, layouts, strength=strength)
        self._put(item, "emissiveTexture", material.emission_map, layouts)
        self._shine(item, material)
        if material.alpha_mode != "opaque":
            item["alphaMode"] = material.alpha_mode.upper()
        if material.alpha_mode == "mask" and material.alpha_cutoff != 0.5:
            item["alphaCutoff"] = max(material.alpha_cutoff, 0.0)
        if material.double_sided is not False:
            item["doubleSided"] = True
        if material.unlit:
            self.document.use("KHR_materials_unlit")
            item.setdefault("extensions", {})["KHR_materials_unlit"] = {}
        return self.document.add("materials", item)

    def _shine(self, item: dict[str, Any], material: Material) -> None:
        """Put the emission; what is above 1 into an extension."""
        emission = decode_srgb(np.array(material.emission, dtype=np.float64).clip(0.0))
        top = float(emission.max())
        if top <= 0.0:
            return
        item["emissiveFactor"] = (emission / max(top, 1.0)).tolist()
        if top > 1.0:
            self.document.use("KHR_materials_emissive_strength")
            item["extensions"] = {"KHR_materials_emissive_strength": {"emissiveStrength": top}}

    def _put(
        self, owner: dict[str, Any], key: str, found: TextureMap | None, layouts: tuple[Layout, ...], **more: float
    ) -> None:
        """Put a map, if there is one."""
        if found is None:
            return
        read = source_of(found)
        if id(read) not in self._files:
            self._kept.append(read)
            self._files[id(read)] = self.document.image(*image_file(found, self.name))
        filters = (_NEAREST, _NEAREST) if found.nearest else (_LINEAR, _MIPMAPS)
        sampler = dict(zip(("magFilter", "minFilter"), filters))
        sampler |= {"wrapS": _WRAPS[found.wrap[0]], "wrapT": _WRAPS[found.wrap[1]]}
        texture = {"source": self._files[id(read)], "sampler": self.document.add("samplers", sampler)}
        place = layouts.index(layout_of(found))
        owner[key] = {"index": self.document.add("textures", texture)} | ({"texCoord": place} if place else {})
        owner[key] |= {name: value for name, value in more.items() if value != 1.0}


def roughness_of(material: Material) -> float:
    """A roughness between 0 and 1: that of Phong's exponent where the material names highlights and no roughness."""
    if material.roughness is not None:
        return material.roughness
    is_shiny = material.specular is not None and max(material.specular) > 0.0
    if not is_shiny or material.shininess is None or material.metallic_roughness_map is not None:
        return 1.0
    return roughness_of_exponent(material.shininess)
