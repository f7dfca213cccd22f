"""Files of each kind that are valid containers with hostile contents: ``variant(kind, whole, rng)``."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fuzz_files import Files
from gltf_files import glb
from hostile_images import patched, picture, textures
from hostile_values import NUMBERS, STRINGS, WORDS, array, dumps, text, tree

from tirender.io.files import encode_png

Whole = tuple[str, Files]
OBJ_WORDS = (
    "v",
    "vt",
    "vn",
    "f",
    "l",
    "p",
    "usemtl",
    "mtllib",
    "g",
    "o",
    "s",
    "vp",
    "curv",
    "\\",
    "#",
    "1/1/1",
    "-1//-1",
)
MTL_WORDS = (
    "newmtl",
    "Kd",
    "Ks",
    "Ke",
    "Ns",
    "d",
    "Tr",
    "map_Kd",
    "map_d",
    "norm",
    "bump",
    "-s",
    "-o",
    "-bm",
    "-clamp",
)
PLY_WORDS = ("ply", "element", "property", "list", "uchar", "int", "double", "vertex", "face", "end_header", "comment")


# --- text, JSON, archives ---


def of_text(*words: str) -> Callable[[Whole, random.Random], Files]:
    def make(whole: Whole, rng: random.Random) -> Files:
        name, files = whole
        if name.endswith(".obj") and rng.random() < 0.4:
            name = next((file for file in files if file.endswith(".mtl")), name)
        if name.endswith(".obj") and rng.random() < 0.15:
            return {**files, **textures(rng)}
        return {**files, name: text(files[name], rng, words)}

    return make


def gltf(whole: Whole, rng: random.Random) -> Files:
    name, files = whole
    data = files[name]
    if name.endswith(".gltf"):
        root = many_nodes(json.loads(data), rng) if rng.random() < 0.05 else tree(json.loads(data), rng)
        return {**files, name: dumps(root)}
    length = struct.unpack_from("<I", data, 12)[0]
    root, binary = json.loads(data[20 : 20 + length]), data[28 + length :]
    if rng.random() < 0.3:  # numbers of its arrays
        numbers = np.frombuffer(binary[: len(binary) // 4 * 4], rng.choice(("<f4", "<u2", "<u4", "u1")))
        return {**files, name: glb(root, array(numbers, rng).tobytes())}
    if rng.random() < 0.1:
        return {**files, name: glb(many_nodes(root, rng), binary)}
    packed = glb(tree(root, rng), binary)
    if rng.random() < 0.2:  # lengths of the container
        packed = patched(packed, rng.choice((4, 8, 12, 16)), rng)
    return {**files, name: packed}


def many_nodes(root: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Many nodes of one mesh, a mesh of many primitives, a deep tree, one node many times, or a cycle."""
    n, kind = rng.choice((10, 2000, 40_000)), rng.randrange(5)
    mesh = next((node["mesh"] for node in root["nodes"] if "mesh" in node), 0)
    if kind == 0:
        root["nodes"] = [{"mesh": mesh}] * n
        root["scenes"] = [{"nodes": list(range(n))}]
    elif kind == 1:
        root["meshes"][mesh]["primitives"] *= n
    elif kind == 2:
        root["nodes"] = [{"mesh": mesh, "children": [i + 1]} for i in range(n)] + [{"mesh": mesh}]
        root["scenes"] = [{"nodes": [0]}]
    elif kind == 3:
        root["scenes"][0]["nodes"] = root["scenes"][0]["nodes"] * n
    else:
        root["nodes"][0]["children"] = [0]
    return root


def transforms(whole: Whole, rng: random.Random) -> Files:
    name, files = whole
    root = json.loads(files[name])
    if rng.random() < 0.05:
        root["frames"] *= rng.choice((100, 4000, 6000))
        return {**files, name: dumps(root)}
    if rng.random() < 0.1:
        return {**files, rng.choice(["a.png", "mask.png"]): picture(rng)}
    extra = {"k1": 0.0, "camera_model": "OPENCV", "fl_x": 5.0, "cx": 2.0, "aabb_scale": 4, "is_fisheye": False}
    return {**files, name: dumps(tree({**root, **{key: extra[key] for key in extra if rng.random() < 0.2}}, rng))}


def zipped(members: dict[str, bytes], rng: random.Random) -> bytes:
    """An archive, sometimes compressed, with names twice or elsewhere, or with another size than it says."""
    stream = io.BytesIO()
    method = rng.choice([zipfile.ZIP_STORED] * 5 + [zipfile.ZIP_DEFLATED] * 4 + [zipfile.ZIP_LZMA])
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(
                name if rng.random() > 0.02 else rng.choice(["../" + name, "/" + name, name.upper()])
            )
            info.compress_type = method
            archive.writestr(info, data)
    data = stream.getvalue()
    if rng.random() < 0.05:  # the sizes in the table of contents
        start = data.find(b"PK\x01\x02")
        return patched(data, start + rng.choice((20, 24, 42)), rng)
    return data


def npz(whole: Whole, rng: random.Random) -> Files:
    name, files = whole
    with np.load(io.BytesIO(files[name])) as archive:
        arrays = {key: archive[key] for key in archive.files}
    members = {}
    if "densities" in arrays:
        arrays |= {key: value for key, value in placements(rng).items() if rng.random() < 0.5}
    chosen = rng.choice(list(arrays))
    for key, value in arrays.items():
        if key == chosen and rng.random() < 0.5:
            value = (
                array(value.astype(rng.choice(("<f8", "<f4", "<f2", ">f4", "u1", "<i8", "<u8", "?", "<c8"))), rng)
                if rng.random() < 0.5
                else array(value, rng)
            )
            members[f"{key}.npy"] = npy(value)
        elif key == chosen:
            members[f"{key}.npy"] = npy(value, rng)
        else:
            members[f"{key}.npy"] = npy(value)
    if rng.random() < 0.05:  # little, of much
        members[f"{chosen}.npy"] = npy(
            np.zeros(
                (rng.choice((1 << 18, 1 << 22, 1 << 25)), 3)
                if "verts" in arrays
                else (64, 64, rng.choice((64, 1024, 8192))),
                rng.choice(("u1", "<f4")),
            )
        )
    if rng.random() < 0.05:
        del members[rng.choice(list(members))]
    return {**files, name: zipped(members, rng)}


def placements(rng: random.Random) -> dict[str, np.ndarray]:
    numbers = [x for x in NUMBERS if abs(x) < 1e300]
    return {
        "voxel_size": np.array(
            [rng.choice(numbers) for _ in range(3)] if rng.random() < 0.5 else rng.choice(numbers), "<f8"
        ),
        "volume_translation": np.array([rng.choice([0.0, rng.choice(numbers)]) for _ in range(3)], "<f8"),
    }


def npy(value: np.ndarray, rng: random.Random | None = None) -> bytes:
    """A .npy file; with ``rng`` its header says something else."""
    described = {
        "descr": repr(value.dtype.str if value.dtype.kind != "b" else "|b1"),
        "fortran_order": "False",
        "shape": repr(value.shape),
    }
    if rng:
        key = rng.choice(list(described))
        shape = list(value.shape)
        if shape:
            shape[rng.randrange(len(shape))] = rng.choice([0, -1, 1, 2**31, 2**63, 10**30, True, 1.5, None, "x"])
        described[key] = {
            "shape": rng.choice(
                [
                    repr(tuple(shape)),
                    repr(value.shape[::-1]),
                    "()",
                    "None",
                    "(0,)",
                    "(1,)*9",
                    "((3,),)",
                    "(True, True)",
                    "(" * 90 + ")" * 90,
                    f"({'1' * 5000},)",
                    f"({', '.join('1' * 70)})",
                    f"({value.size}L,)",
                ]
            ),
            "descr": rng.choice(
                [
                    "'O'",
                    "'|V8'",
                    "'<U9999999'",
                    "'<M8[s]'",
                    "[('a', '<f4')]",
                    "'<f16'",
                    "'x'",
                    "None",
                    "('<f4', (3,))",
                    "'" + "<f4," * 99 + "<f4'",
                    "[[]]",
                    "'<i8'",
                ]
            ),
            "fortran_order": rng.choice(["True", "1", "None", "'x'", "[]"]),
        }[key]
    header = "{" + ", ".join(f"'{key}': {item}" for key, item in described.items()) + "}"
    version = rng.choice((1, 2, 3)) if rng else 1
    encoded = (header + " " * (-(len(header) + 11) % 64) + "\n").encode()
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H" if version == 1 else "<I", len(encoded))
        + encoded
        + value.tobytes()
    )


def xml(whole: Whole, rng: random.Random) -> Files:
    """Attributes, texts and elements of 3MF and COLLADA."""
    name, files = whole
    data = files[name]
    member = ""
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (member,) = archive.namelist()
            data = archive.read(member)
    changed = data.decode()
    for _ in range(rng.choice((1, 1, 2, 4))):
        kind = rng.randrange(6)
        if kind < 3:
            parts = changed.split('"')
            parts[rng.randrange(len(parts) // 2) * 2 + 1] = xml_safe(rng.choice([*WORDS, *STRINGS, "#a", "1", "2"]))
            changed = '"'.join(parts)
        elif kind == 3 and "<triangles>" in changed:  # build items and components of one object
            item = rng.choice(['<item objectid="1"/>', '<item objectid="1" transform="1e38 0 0 0 1 0 0 0 1 0 0 0"/>'])
            changed = changed.replace("<build>", "<build>" + item * rng.choice((2, 300, 5000)))
        elif kind == 4:
            changed = changed.replace("<?xml", "", 1)
            hostile = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
            changed = hostile + changed.replace(">0<", f">{rng.choice(('&b;', '&c;', '&a;'))}<", 1)
        else:
            start = changed.find("<", rng.randrange(len(changed)))
            end = changed.find(">", start) + 1
            if 0 <= start < end:
                changed = changed[:end] + changed[start:end] * rng.choice((0, 1, 3, 2000)) + changed[end:]
    return {**files, name: zipped({member: changed.encode()}, rng) if member else changed.encode()}


def xml_safe(value: str) -> str:
    value = "".join(c if c.isprintable() else "?" for c in value)
    return value.replace("&", "").replace("<", "").replace('"', "")


# --- binary ---


def ply_binary(whole: Whole, rng: random.Random) -> Files:
    """The header as text, or the numbers behind it."""
    name, files = whole
    head, end, body = files[name].partition(b"end_header\n")
    if rng.random() < 0.4:
        return {**files, name: text(head, rng, PLY_WORDS) + end + body}
    kind = rng.choice(("<f4", "<i4", "u1", "<f8"))
    size = np.dtype(kind).itemsize
    offset = rng.randrange(size)
    count = (len(body) - offset) // size
    if count < 1:
        return {**files, name: head + end}
    numbers = array(np.frombuffer(body, kind, count, offset), rng).tobytes()
    return {**files, name: head + end + body[:offset] + numbers + body[offset + len(numbers) :]}


def stl_binary(whole: Whole, rng: random.Random) -> Files:
    name, files = whole
    data = files[name]
    rows = np.frombuffer(data, np.dtype([("corners", "<f4", 12), ("attribute", "<u2")]), offset=84)
    count = rng.choice([len(rows)] * 4 + [0, 1, 2**31, 2**32 - 1, len(rows) + 1])
    return {
        **files,
        name: data[:80] + struct.pack("<I", count) + array(rows, rng).tobytes() * rng.choice((1, 1, 1, 2000)),
    }


def gaussians(whole: Whole, rng: random.Random) -> Files:
    name, files = whole
    if name.endswith(".ply"):
        return ply_binary(whole, rng)
    rows = np.frombuffer(files[name], np.dtype([("p", "<f4", 6), ("c", "u1", 8)]))
    return {**files, name: array(rows, rng).tobytes() * rng.choice((1, 1, 2, 20_000)) + b"x" * (rng.random() < 0.05)}


def colmap(whole: Whole, rng: random.Random) -> Files:
    """One of the three files; sometimes a photo."""
    _, files = whole
    if rng.random() < 0.1:
        return {**files, "images/0.png": picture(rng)}
    name = rng.choice([file for file in files if file.startswith("sparse")])
    data = files[name]
    if name.endswith(".txt"):
        return {**files, name: text(data, rng, ("PINHOLE", "OPENCV", "0.png", "1.png", "#"))}
    size = rng.choice((4, 8, 8, 1))
    at = rng.choice((0, 8, rng.randrange(max(len(data) - size, 1)) // size * size))
    kind = {1: "B", 4: "i", 8: "d"}[size]
    value: Any = rng.choice([x for x in NUMBERS if abs(x) < 1e300 or x != x])
    if kind == "d" and rng.random() < 0.4:
        new = struct.pack("<Q", rng.choice([0, 1, 2, 2**31, 2**63, 2**64 - 1, len(data)]))
    elif kind == "d":
        new = struct.pack("<d", value)
    elif kind == "i":
        new = struct.pack("<i", rng.choice([0, -1, 1, 2, 4, 5, 7, 11, 99, 2**31 - 1, -(2**31)]))
    else:
        new = bytes([rng.randrange(256)])
    return {**files, name: data[:at] + new + data[at + size :]}


def colmap_files(binary: bool) -> Files:
    """A reconstruction of two photos."""
    photos = {f"images/{i}.png": encode_png(torch.rand(40, 60, 3)) for i in range(2)}
    pose = (1.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3)
    if not binary:
        cameras = "# a comment\n1 SIMPLE_RADIAL 60 40 50 31 19.5 0.05\n2 PINHOLE 60 40 50 55 30 20\n"
        images = "".join(f"{i} {' '.join(map(str, pose))} {i} {i - 1}.png\n1 2 7\n" for i in (1, 2))
        points = "1 0.1 0.2 3.0 255 0 10 0.5 1 0 2 0\n2 -1 0.5 2 0 128 255 0.5\n"
        named = {"cameras.txt": cameras.encode(), "images.txt": images.encode(), "points3D.txt": points.encode()}
    else:
        lenses = [
            struct.pack("<iiQQ4d", 1, 2, 60, 40, 50, 31, 19.5, 0.05),
            struct.pack("<iiQQ4d", 2, 1, 60, 40, 50, 55, 30, 20),
        ]
        seen = [
            struct.pack("<i7di", i, *pose, i) + f"{i - 1}.png\0".encode() + struct.pack("<Qddq", 1, 1.0, 2.0, 7)
            for i in (1, 2)
        ]
        places = [struct.pack("<Q3d3BdQ2i", i, 0.1, 0.2, 3.0, 255, 0, 10, 0.5, 1, 1, 0) for i in (1, 2)]
        lists = {"cameras.bin": lenses, "images.bin": seen, "points3D.bin": places}
        named = {name: struct.pack("<Q", 2) + b"".join(items) for name, items in lists.items()}
    return {**photos, **{f"sparse/0/{name}": data for name, data in named.items()}}


def image(whole: Whole, rng: random.Random) -> Files:
    return {**whole[1], **textures(rng)}


VARIANTS: dict[str, Callable[[Whole, random.Random], Files]] = {
    "obj": of_text(*OBJ_WORDS, *MTL_WORDS),
    "obj polygons": of_text(*OBJ_WORDS, *MTL_WORDS),
    "images": image,
    "ply False": of_text(*PLY_WORDS),
    "ply wedges": of_text(*PLY_WORDS),
    "cloud False": of_text(*PLY_WORDS),
    "ply True": ply_binary,
    "ply strips": ply_binary,
    "cloud True": ply_binary,
    "off": of_text("OFF", "COFF", "4nOFF", "STCN4nOFF", "#"),
    "off prefixes": of_text("OFF", "COFF", "4nOFF", "STCN4nOFF", "#"),
    "stl text": of_text("solid", "facet", "outer loop", "vertex", "endloop", "endfacet", "endsolid"),
    "stl binary": stl_binary,
    "glb": gltf,
    "gltf": gltf,
    "glb core": gltf,
    "gltf core": gltf,
    "glb draco": gltf,
    "3mf": xml,
    "dae": xml,
    "npz cloud": npz,
    "npz volume": npz,
    "transforms": transforms,
    "colmap binary": colmap,
    "colmap text": colmap,
    "gaussians ply": gaussians,
    "gaussians splat": gaussians,
}
