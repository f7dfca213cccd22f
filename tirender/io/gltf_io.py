"""glTF 2.0 scenes (.glb and .gltf) as one mesh."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tirender.checks import fail
from tirender.io.files import read_source
from tirender.io.gltf_parser import GltfFile
from tirender.io.pluggable_formats import MeshFormatInterpreter, has_suffix
from tirender.io.text import finite_float32
from tirender.io.texturing import image_textures

if TYPE_CHECKING:
    from tirender.structures.meshes import Meshes

MAX_VERTS = 1 << 25
"""The largest number of vertices of a scene, all instances of its meshes counted; of faces twice as many."""

_TRIANGLES, _TRIANGLE_STRIP, _TRIANGLE_FAN = 4, 5, 6
_CLAMP_TO_EDGE = 33071


@dataclass(frozen=True)
class _Part:
    """One instance of a primitive, in world space.

    Attributes:
        verts: (V, 3) float32.
        faces: (F, 3) int64.
        normals: (V, 3) float32 or None.
        uvs: (V, 2) float32, v pointing up, or None.
        rgb: (V, 3) float32 linear vertex colours or None.
        material: index, or -1.
    """

    verts: np.ndarray
    faces: np.ndarray
    normals: np.ndarray | None
    uvs: np.ndarray | None
    rgb: np.ndarray | None
    material: int


@dataclass(frozen=True)
class _Look:
    """A material's colour (3,), linear, and its image with the transform (2, 3) of its uvs."""

    color: np.ndarray
    image: int = -1
    tex_coord: int = 0
    uv_transform: np.ndarray | None = None
    repeats: bool = True


class MeshGlbFormat(MeshFormatInterpreter):
    """glTF 2.0 in the ``IO`` registry: paths that end in .glb or .gltf; reading only.

    The scene's triangles become one mesh in world space; skins, morph targets and animations are left at rest, points
    and lines out. Base colour images become ``TexturesUV`` (several maps for several images; a base colour factor
    multiplies its image), or vertex colours ``TexturesVertex`` where there is no image. Colour factors and vertex
    colours are linear in the file and converted to sRGB, as images are. Normals are kept if all parts have them.
    """

    known_suffixes = (".glb", ".gltf")

    def read(
        self, path: Any, include_textures: bool, device: Any, path_manager: Any = None, **kwargs: Any
    ) -> Meshes | None:
        """Read a scene.

        Raises:
            ValueError: naming the file and where: lengths or offsets that do not fit, indices out of range, nodes that
                form no tree, required extensions that are not read, a buffer file that is missing or outside of the
                folder, a scene without triangles, NaN and infinity.
        """
        if not has_suffix(path, self.known_suffixes):
            return None
        from tirender.structures.meshes import Meshes

        gltf = GltfFile(read_source(path, path_manager))
        materials = gltf.get("", gltf.root, "materials", list, [])
        looks = [_look(gltf, i) for i in range(len(materials))] + [_Look(np.ones(3))]
        parts = list(_parts(gltf, looks))
        if not parts:
            fail(gltf.name, "a scene with triangles", "none")
        starts = np.cumsum([0] + [len(part.verts) for part in parts])
        verts = torch.from_numpy(np.concatenate([part.verts for part in parts])).to(device)
        faces = torch.from_numpy(np.concatenate([part.faces + n for part, n in zip(parts, starts)])).to(device)
        normals = [part.normals for part in parts if part.normals is not None]
        verts_normals = [torch.from_numpy(np.concatenate(normals)).to(device)] if len(normals) == len(parts) else None
        textures = _textures(gltf, parts, looks, faces) if include_textures else None
        return Meshes([verts], [faces], textures, verts_normals=verts_normals)

    def save(
        self, data: Meshes, path: Any, path_manager: Any = None, binary: bool | None = None, **kwargs: Any
    ) -> bool:
        """Return False: glTF is not written."""
        return False


def _parts(gltf: GltfFile, looks: list[_Look]) -> Iterator[_Part]:
    total = 0
    for mesh_index, matrix in _instances(gltf):
        place, mesh = f"meshes[{mesh_index}]", gltf.item("meshes", mesh_index)
        for i, primitive in enumerate(gltf.get(place, mesh, "primitives", list)):
            if not isinstance(primitive, dict):
                fail(gltf.where(f"{place}.primitives[{i}]"), "an object", repr(primitive)[:80])
            part = _primitive(gltf, f"{place}.primitives[{i}]", primitive, matrix, looks)
            if part is not None:
                total += max(len(part.verts), len(part.faces) // 2)
                if total > MAX_VERTS:
                    fail(gltf.name, f"a scene of at most {MAX_VERTS} vertices and twice as many faces", "more")
                yield part


def _instances(gltf: GltfFile) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the mesh index and the world matrix (4, 4) of each node of the scene that has a mesh."""
    n_nodes = len(gltf.get("", gltf.root, "nodes", list, []))
    if not n_nodes:
        yield from ((i, np.eye(4)) for i in range(len(gltf.get("", gltf.root, "meshes", list, []))))
        return
    if gltf.get("", gltf.root, "scenes", list, []):
        scene = gltf.get("", gltf.root, "scene", int, 0)
        roots = gltf.get(f"scenes[{scene}]", gltf.item("scenes", scene), "nodes", list, [])
    else:
        lists = [gltf.get(f"nodes[{i}]", gltf.item("nodes", i), "children", list, []) for i in range(n_nodes)]
        children = {child for nodes in lists for child in nodes if isinstance(child, int)}
        roots = [i for i in range(n_nodes) if i not in children]
    stack = [(root, np.eye(4)) for root in reversed(roots)]
    seen: set[int] = set()
    while stack:
        index, parent = stack.pop()
        place, node = f"nodes[{index}]", gltf.item("nodes", index)
        if index in seen:
            fail(gltf.where(place), "nodes that form trees", "a node that is reached twice")
        seen.add(index)
        world = parent @ _local_matrix(gltf, place, node)
        if "mesh" in node:
            yield gltf.get(place, node, "mesh", int), world
        stack.extend((child, world) for child in reversed(gltf.get(place, node, "children", list, [])))


def _local_matrix(gltf: GltfFile, place: str, node: dict) -> np.ndarray:
    if "matrix" in node:
        return gltf.floats(place, node, "matrix", [0.0] * 16).reshape(4, 4).T
    x, y, z, w = gltf.floats(place, node, "rotation", [0.0, 0.0, 0.0, 1.0])
    norm = x * x + y * y + z * z + w * w
    s = 2.0 / norm if norm > 0.0 else 0.0
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
    ]
    matrix[:3, :3] *= gltf.floats(place, node, "scale", [1.0, 1.0, 1.0])
    matrix[:3, 3] = gltf.floats(place, node, "translation", [0.0, 0.0, 0.0])
    return matrix


def _primitive(gltf: GltfFile, place: str, primitive: dict, matrix: np.ndarray, looks: list[_Look]) -> _Part | None:
    mode = gltf.get(place, primitive, "mode", int, _TRIANGLES)
    if mode not in (_TRIANGLES, _TRIANGLE_STRIP, _TRIANGLE_FAN):
        warnings.warn(f"{gltf.where(place)}: points or lines, left out", stacklevel=2)
        return None
    attributes = gltf.get(place, primitive, "attributes", dict)
    positions = gltf.accessor(gltf.get(place, attributes, "POSITION", int), ("VEC3",)).astype(np.float64)
    n_verts = len(positions)

    def attribute(key: str, *types: str) -> np.ndarray | None:
        if key not in attributes:
            return None
        values = gltf.accessor(gltf.get(place, attributes, key, int), types, n_verts)
        return finite_float32(values, key, lambda row: gltf.where(f"{place}, {key} {row}"))

    corners: np.ndarray = np.arange(n_verts)
    if "indices" in primitive:
        corners = gltf.accessor(gltf.get(place, primitive, "indices", int), ("SCALAR",))[:, 0]
        if corners.dtype.kind != "u" and len(corners):
            fail(gltf.where(place), "indices of an unsigned integer type", corners.dtype)
        if len(corners) and corners.max() >= n_verts:
            fail(gltf.where(place), f"indices of its {n_verts} vertices", corners.max())
    faces = _triangles(gltf, place, corners.astype(np.int64), mode)

    world = positions @ matrix[:3, :3].T + matrix[:3, 3]
    verts = finite_float32(world, "POSITION", lambda row: gltf.where(f"{place}, POSITION {row}"))
    mirrored = np.linalg.det(matrix[:3, :3]) < 0
    normals = attribute("NORMAL", "VEC3")
    if normals is not None:
        a, b, c = matrix[:3, :3]
        cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])
        turned = normals @ cofactors.T * (-1.0 if mirrored else 1.0)
        length = np.linalg.norm(turned, axis=1, keepdims=True)
        normals = (turned / np.where(length > 0, length, 1.0)).astype(np.float32)
    material = gltf.get(place, primitive, "material", int, -1)
    if material >= len(looks) - 1:
        fail(gltf.where(place), f"an index into its {len(looks) - 1} materials", material)
    look = looks[material]
    uvs = attribute(f"TEXCOORD_{look.tex_coord}", "VEC2") if look.image >= 0 else None
    if uvs is not None:
        if look.uv_transform is not None:
            uvs = (uvs @ look.uv_transform[:, :2].T + look.uv_transform[:, 2]).astype(np.float32)
        uvs = np.stack([uvs[:, 0], 1.0 - uvs[:, 1]], axis=1)
    rgb = attribute("COLOR_0", "VEC3", "VEC4")
    return _Part(
        verts, faces[:, ::-1].copy() if mirrored else faces, normals, uvs, None if rgb is None else rgb[:, :3], material
    )


def _triangles(gltf: GltfFile, place: str, corners: np.ndarray, mode: int) -> np.ndarray:
    if mode == _TRIANGLES:
        if len(corners) % 3:
            fail(gltf.where(place), "a multiple of 3 indices", len(corners))
        return corners.reshape(-1, 3)
    i = np.arange(max(len(corners) - 2, 0))
    if mode == _TRIANGLE_FAN:
        return corners[np.stack([i + 1, i + 2, np.zeros_like(i)], axis=1)]
    return corners[np.stack([i, i + 1 + i % 2, i + 2 - i % 2], axis=1)]


def _look(gltf: GltfFile, index: int) -> _Look:
    place, material = f"materials[{index}]", gltf.item("materials", index)
    pbr = gltf.get(place, material, "pbrMetallicRoughness", dict, {})
    color = gltf.floats(place, pbr, "baseColorFactor", [1.0, 1.0, 1.0, 1.0])[:3].clip(0.0, 1.0)
    if "baseColorTexture" not in pbr:
        return _Look(color)
    info = gltf.get(place, pbr, "baseColorTexture", dict)
    texture_index = gltf.get(place, info, "index", int)
    texture = gltf.item("textures", texture_index)
    webp = gltf.get(place, gltf.get(place, texture, "extensions", dict, {}), "EXT_texture_webp", dict, {})
    image = gltf.get(f"textures[{texture_index}]", webp or texture, "source", int, -1)
    sampler = gltf.item("samplers", texture["sampler"]) if "sampler" in texture else {}
    repeats = sampler.get("wrapS") != _CLAMP_TO_EDGE or sampler.get("wrapT") != _CLAMP_TO_EDGE
    tex_coord = gltf.get(place, info, "texCoord", int, 0)
    extension = gltf.get(place, gltf.get(place, info, "extensions", dict, {}), "KHR_texture_transform", dict, {})
    if not extension:
        return _Look(color, image, tex_coord, None, repeats)
    x, y = gltf.floats(place, extension, "offset", [0.0, 0.0])
    scale_x, scale_y = gltf.floats(place, extension, "scale", [1.0, 1.0])
    angle = gltf.floats(place, {"rotation": [extension.get("rotation", 0.0)]}, "rotation", [0.0])[0]
    c, s = np.cos(angle), np.sin(angle)
    transform = np.array([[c * scale_x, s * scale_y, x], [-s * scale_x, c * scale_y, y]])
    return _Look(color, image, gltf.get(place, extension, "texCoord", int, tex_coord), transform, repeats)


def _textures(gltf: GltfFile, parts: list[_Part], looks: list[_Look], faces: torch.Tensor) -> Any:
    from tirender.renderer.mesh.textures import TexturesVertex

    device = faces.device
    images: list[torch.Tensor] = []
    image_of: dict[int, int] = {}
    for material in sorted({part.material for part in parts}):
        look = looks[material]
        image = gltf.image(look.image) if look.image >= 0 else None
        if image is not None:
            image_of[material] = len(images)
            images.append(image.to(device) * _srgb(look.color, device))
    if not images and all(part.rgb is not None for part in parts):
        linear = [part.rgb * looks[part.material].color for part in parts if part.rgb is not None]
        return TexturesVertex(verts_features=[_srgb(np.concatenate(linear), device)])
    if not images and all(part.material < 0 for part in parts):
        return None
    n_faces = torch.tensor([len(part.faces) for part in parts], device=device)

    def per_face(values: list[Any]) -> torch.Tensor:
        return torch.repeat_interleave(torch.tensor(values, device=device), n_faces, dim=0)

    uvs = [np.zeros((len(part.verts), 2), np.float32) if part.uvs is None else part.uvs for part in parts]
    has_uvs = per_face([part.uvs is not None for part in parts])
    colors = _srgb(np.stack([looks[part.material].color for part in parts]), device)
    return image_textures(
        gltf.name,
        torch.from_numpy(np.concatenate(uvs)).to(device),
        torch.where(has_uvs[:, None], faces, -1),
        per_face([image_of.get(part.material, -1) for part in parts]),
        images,
        torch.repeat_interleave(colors, n_faces, dim=0),
        per_face([looks[part.material].repeats for part in parts]),
    )


def _srgb(linear: np.ndarray, device: Any) -> torch.Tensor:
    """Encode linear colours as sRGB (IEC 61966-2-1)."""
    linear = linear.clip(0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055)
    return torch.from_numpy(encoded.astype(np.float32)).to(device)
