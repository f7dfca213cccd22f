"""Whole files of the richer kinds, for the fuzzing of their readers."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from importlib.util import find_spec
from typing import Any

import numpy as np
from gltf_files import GltfBuilder

Files = dict[str, bytes]

OUTLINE = [(0, 0), (4, 0), (4, 4), (3, 1), (1, 1), (0, 4)]  # concave


def mesh_files(image: bytes, image_with_alpha: bytes) -> dict[str, tuple[str, Files]]:
    """Of each kind, the name of the file to load, and all files that belong to it."""
    made = {
        "obj polygons": ("m.obj", _obj(image, image_with_alpha)),
        "ply wedges": ("m.ply", {"m.ply": _ply_wedges(), "t.png": image}),
        "ply strips": ("m.ply", {"m.ply": _ply_strips()}),
        "off prefixes": ("m.off", {"m.off": _off()}),
        "stl binary": ("m.stl", {"m.stl": _stl_binary()}),
        "stl text": ("m.stl", {"m.stl": _stl_text()}),
        "glb core": ("m.glb", {"m.glb": _gltf(image_with_alpha).glb()}),
    }
    builder = _gltf(image_with_alpha)
    root = {**builder.root, "buffers": [{"byteLength": len(builder.binary), "uri": "m.bin"}]}
    made["gltf core"] = ("m.gltf", {"m.gltf": json.dumps(root).encode(), "m.bin": builder.binary})
    if not all(find_spec(name) for name in ("collada", "DracoPy", "trimesh")):
        return made
    made["glb draco"] = ("m.glb", {"m.glb": _draco()})
    made["3mf"] = ("m.3mf", {"m.3mf": _three_mf()})
    made["dae"] = ("m.dae", {"m.dae": _dae().encode()})
    return made


def _obj(image: bytes, image_with_alpha: bytes) -> Files:
    mtl = (
        "newmtl a\nKd 1 0 0\nKs 0.5 0.5 0.5\nKe 0 1 0\nNs 10\nd 0.5\nTr 0.5\nillum 2\nPm 0.5\nPr 0.5\n"
        "map_Kd -s 2 2 1 -o 0.5 0 0 -clamp on -bm 1 -mm 0 1 t.png\nmap_d -imfchan m d.png\nnorm -bm 2 t.png\n"
        "newmtl b\nKd 0 1 0\nmap_Ke t.png\n"
    )
    verts = "".join(f"v {x} {y} 0 {x / 4} {y / 4} 1\n" for x, y in OUTLINE)
    faces = "usemtl a\nf 1/1/1 2/1/1 3/2/1 4/2/1 5/1/1 6/1/1\nusemtl b\nf -1//-1 -2//-1 -3//-1\nl 1 2\np 1\n"
    text = f"mtllib m.mtl\n{verts}vt 0 0\nvt 1.5 -0.5\nvn 0 0 1\n{faces}"
    return {"m.obj": text.encode(), "m.mtl": mtl.encode(), "t.png": image, "d.png": image_with_alpha}


def _ply_wedges() -> bytes:
    head = "ply\nformat ascii 1.0\ncomment TextureFile t.png\nelement vertex 6\n"
    head += "property double x\nproperty double y\nproperty double z\nproperty float nx\nproperty float ny\n"
    head += "property float nz\nproperty float f_dc_0\nproperty float f_dc_1\nproperty float f_dc_2\nelement face 2\n"
    head += "property list uchar int vertex_indices\nproperty list uchar float texcoord\nproperty int texnumber\n"
    head += "end_header\n"
    rows = [f"{x} {y} 0 0 0 1 0.5 -0.5 1" for x, y in OUTLINE]
    faces = ["6 0 1 2 3 4 5 12 0 0 1 0 1 1 0 1 0 0 1 1 0", "3 0 1 2 6 0 0 1 0 1 1 0"]
    return (head + "\n".join(rows + faces) + "\n").encode()


def _ply_strips() -> bytes:
    head = b"ply\nformat binary_little_endian 1.0\nelement vertex 6\n"
    head += b"property float x\nproperty float y\nproperty float z\n"
    head += b"property ushort r\nproperty ushort g\nproperty ushort b\nproperty ushort a\n"
    head += b"element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    rows = b"".join(struct.pack("<3f4H", x, y, 0, 65535, 0, 100, 65535) for x, y in OUTLINE)
    return head + rows + struct.pack("<i8i", 8, 0, 1, 2, 3, -1, 3, 4, 5)


def _off() -> bytes:
    rows = [f"{2 * x} {2 * y} 0 2 0 0 1 0.5 0.25 1 0.5 0 1" for x, y in OUTLINE]
    return ("STCN4nOFF\n3\n6 2 0\n" + "\n".join(rows) + "\n6 0 1 2 3 4 5 255 0 0\n3 0 1 2 7\n").encode()


def _stl_binary() -> bytes:
    data = b"solid COLOR=\x10\x20\x30\xff".ljust(80, b" ") + struct.pack("<I", 4)
    for i in range(4):
        data += struct.pack("<12fH", 0, 0, 1, *OUTLINE[i], 0, *OUTLINE[i + 1], 0, *OUTLINE[i + 2], 1, 1 << 15 | i)
    return data


def _stl_text() -> bytes:
    facets = ""
    for i in range(4):
        corners = "".join(f"vertex {x} {y} 0\n" for x, y in OUTLINE[i : i + 3])
        facets += f"facet normal 0 0 1\nouter loop\n{corners}endloop\nendfacet\n"
    return f"solid made by hand\n{facets}endsolid\n".encode()


def _gltf(image: bytes) -> GltfBuilder:
    """Skin, morph targets, instances, sparse and quantized accessors, all maps, cameras."""
    builder = GltfBuilder()
    texture = builder.image(image)
    builder.root["samplers"] = [{"wrapS": 33071, "wrapT": 33648, "magFilter": 9728}]
    builder.root["textures"][texture]["sampler"] = 0
    moved = {"KHR_texture_transform": {"offset": [0.5, 0], "rotation": 1, "scale": [2, 2], "texCoord": 1}}
    info = {"index": texture, "extensions": moved}
    pbr = {"baseColorFactor": [1, 0.5, 0, 1], "baseColorTexture": info, "metallicRoughnessTexture": info}
    older = {"diffuseFactor": [1, 1, 1, 1], "diffuseTexture": info, "glossinessFactor": 0.5}
    look = {
        "pbrMetallicRoughness": pbr,
        "normalTexture": {**info, "scale": 2},
        "occlusionTexture": {**info, "strength": 0.5},
        "emissiveTexture": info,
        "emissiveFactor": [0, 1, 0],
        "alphaMode": "MASK",
        "alphaCutoff": 0.25,
        "doubleSided": True,
    }
    first = builder.add("materials", look)
    second = builder.add("materials", {"extensions": {"KHR_materials_pbrSpecularGlossiness": older}})
    positions = builder.array([[x, y, 0] for x, y in OUTLINE])
    indices = builder.view(np.array([0, 3], "<u2").tobytes())
    builder.root["accessors"][positions]["sparse"] = {
        "count": 2,
        "indices": {"bufferView": indices, "componentType": 5123},
        "values": {"bufferView": builder.view(np.ones((2, 3), "<f4").tobytes())},
    }
    attributes: dict[str, Any] = {
        "POSITION": positions,
        "NORMAL": builder.array([[0, 0, 1]] * 6),
        "TEXCOORD_0": builder.array(OUTLINE, "u2", normalized=True),
        "TEXCOORD_1": builder.array(OUTLINE),
        "COLOR_0": builder.array([[1, 0.5, 0, 0.5]] * 6),
        "JOINTS_0": builder.array([[0, 1, 0, 0]] * 6, "u1"),
        "WEIGHTS_0": builder.array([[0.5, 0.5, 0, 0]] * 6),
    }
    corners = builder.array([0, 1, 2, 3, 4, 5], "u2")
    targets = [{"POSITION": builder.array([[0, 0, 1]] * 6), "NORMAL": builder.array([[0, 1, 0]] * 6)}]
    primitives = [
        {"attributes": attributes, "indices": corners, "material": first, "targets": targets},
        {"attributes": attributes, "indices": corners, "material": second, "mode": 5},
    ]
    mesh = builder.mesh(*primitives, weights=[0.5], skin=0)
    joints = [builder.add("nodes", {"translation": [0, 0, 1]}), builder.add("nodes", {"rotation": [0, 0, 1, 0]})]
    builder.root["nodes"][joints[0]]["children"] = [joints[1]]
    inverse = builder.array(np.tile(np.eye(4).reshape(16), (2, 1)))
    builder.root["skins"] = [{"joints": joints, "inverseBindMatrices": inverse}]
    builder.root["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1, "znear": 0.1}}]
    instanced = {"TRANSLATION": builder.array([[0, 0, 0], [9, 0, 0]]), "SCALE": builder.array([[1, 1, 1], [-1, 1, 1]])}
    node = {"mesh": mesh, "camera": 0, "extensions": {"EXT_mesh_gpu_instancing": {"attributes": instanced}}}
    builder.root["scenes"][0]["nodes"] += [joints[0], builder.add("nodes", node)]
    return builder


def _draco() -> bytes:
    import DracoPy

    builder = GltfBuilder()
    verts, faces = np.array([[x, y, 0] for x, y in OUTLINE], np.float32), np.array([[0, 1, 2], [3, 4, 5]], np.uint32)
    data = DracoPy.encode(verts, faces)
    extension = {"bufferView": builder.view(data), "attributes": {"POSITION": 0}}
    position = builder.add("accessors", {"componentType": 5126, "count": 6, "type": "VEC3"})
    primitive = {"attributes": {"POSITION": position}, "extensions": {"KHR_draco_mesh_compression": extension}}
    builder.mesh(primitive)
    return builder.glb()


def _three_mf() -> bytes:
    verts = "".join(f'<vertex x="{x}" y="{y}" z="0"/>' for x, y in OUTLINE)
    mesh = f'<mesh><vertices>{verts}</vertices><triangles><triangle v1="0" v2="1" v3="2"/></triangles></mesh>'
    model = (
        '<model unit="millimeter" xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"><resources>'
        f'<object id="1" type="model">{mesh}</object></resources><build><item objectid="1"/></build></model>'
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("3D/3dmodel.model", model)
    return stream.getvalue()


def _dae() -> str:
    values = " ".join(f"{x} {y} 0" for x, y in OUTLINE)
    params = "".join(f'<param name="{axis}" type="float"/>' for axis in "XYZ")
    accessor = f'<technique_common><accessor source="#a" count="6" stride="3">{params}</accessor></technique_common>'
    return (
        '<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">'
        '<asset><up_axis>Z_UP</up_axis></asset><library_geometries><geometry id="g"><mesh>'
        f'<source id="p"><float_array id="a" count="18">{values}</float_array>{accessor}</source>'
        '<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>'
        '<triangles count="2"><input semantic="VERTEX" source="#v" offset="0"/><p>0 1 2 3 4 5</p></triangles>'
        '</mesh></geometry></library_geometries><library_visual_scenes><visual_scene id="s"><node>'
        '<instance_geometry url="#g"/></node></visual_scene></library_visual_scenes>'
        '<scene><instance_visual_scene url="#s"/></scene></COLLADA>'
    )
