"""Damaged and hostile mesh files: each gives a clear error that names the file and the place, or a correct mesh."""

from __future__ import annotations

import random
import struct
import warnings

import numpy as np
import pytest
import torch
from gltf_files import glb

from tirender.io import IO, load_obj, load_ply

TRIANGLE = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"
PLY_HEADER = (
    "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"
    "element face {}\nproperty list uchar int vertex_indices\nend_header\n"
)
CORNERS = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
FACE = struct.pack("<B3i", 3, 0, 1, 2)


def ply(kind: str, n_verts: object, n_faces: object, body: bytes) -> bytes:
    return PLY_HEADER.format(kind, n_verts, n_faces).encode() + body


ASCII_VERTS = b"0 0 0\n1 0 0\n0 1 0\n"

BROKEN_OBJ = {
    "vertex index past the end": (TRIANGLE + b"f 1 2 4\n", "line 4: expected indices into the file's 3 vertices"),
    "negative index before the start": (TRIANGLE + b"\nf -1 -2 -4\n", "line 5: expected indices into the file's 3"),
    "huge index": (TRIANGLE + b"f 1 2 99999999999999999999\n", "line 4: expected indices of at most 18 digits"),
    "zero index": (TRIANGLE + b"f 0 1 2\n", "line 4: expected indices that are not 0"),
    "zero uv index": (TRIANGLE + b"vt 0 0\nf 1/0 2/1 3/1\n", "line 5: expected indices that are not 0"),
    "uv index past the end": (TRIANGLE + b"vt 0 0\nf 1/1 2/1 3/2\n", "line 5: expected indices into the file's 1"),
    "normal index without normals": (
        TRIANGLE + b"f 1//1 2//1 3//1\n",
        "line 4: expected indices into the file's 0",
    ),
    "two corners": (TRIANGLE + b"f 1 2\n", "line 4: expected at least 3 corners"),
    "no corner": (TRIANGLE + b"f\n", "line 4: expected at least 3 corners"),
    "word in a face": (TRIANGLE + b"# c\nf 1 two 3\n", "line 5: expected corners v, v/vt"),
    "fraction in a face": (TRIANGLE + b"f 1 2.0 3\n", "line 4: expected corners v, v/vt"),
    "minus alone": (TRIANGLE + b"f 1 2 -\n", "line 4: expected corners v, v/vt"),
    "minus inside": (TRIANGLE + b"f 1 2 3-1\n", "line 4: expected corners v, v/vt"),
    "four parts": (TRIANGLE + b"f 1/1/1/1 2 3\n", "line 4: expected at most v/vt/vn"),
    "no vertex in a corner": (TRIANGLE + b"vt 0 0\nf 1/1 /1 3/1\n", "line 5: expected a vertex index in every corner"),
    "uv in one corner only": (TRIANGLE + b"vt 0 0\nf 1/1 2 3\n", "line 5: expected the same parts"),
    "two numbers in a vertex": (b"v 0 0 0\nv 1 2\n", "line 2: expected 3 numbers, got 'v 1 2'"),
    "no number in a vertex": (b"v 0 0 0\nv\n", "line 2: expected 3 numbers"),
    "one number in a uv": (b"v 0 0 0\nvt 0.5\n", "line 2: expected 2 numbers"),
    "two numbers in a normal": (b"v 0 0 0\nvn 0 1\n", "line 2: expected 3 numbers"),
    "word in a vertex": (b"v 0 0 0\r\n\r\nv 1 x 2\r\n", "line 3: expected numbers, got 'x'"),
    "comma": (b"v 0,0 0 0\n", "line 1: expected numbers, got '0,0'"),
    "nan": (b"v 0 0 0\nv nan 0 0\n", "line 2: expected numbers finite in float32"),
    "infinity": (b"v 0 0 0\nvt 0 inf\n", "line 2: expected numbers finite in float32"),
    "more than float32": (b"v 1e39 0 0\n", "line 1: expected numbers finite in float32"),
    "binary": (b"v 0 0 0\n\0\1\2", "expected a text file, got binary data"),
    "another text": (b"<html>\n<body>no mesh</body>\n", "expected an OBJ file, got no OBJ statement"),
    "bad line behind a continued one": (b"v 0 \\\n 0 0\nv 0 0\n", "line 3: expected 3 numbers"),
}
BROKEN_PLY = {
    "empty": (b"", "line 1: expected 'ply'"),
    "another format": (b"OFF\n3 1 0\n", "line 1: expected 'ply'"),
    "no end of header": (b"ply\nformat ascii 1.0\nelement vertex 3\n", "line 4: expected an end_header line"),
    "no format": (b"ply\nelement vertex 0\nend_header\n", "expected a format line"),
    "unknown format": (b"ply\nformat binary_pdp_endian 1.0\nend_header\n", "line 2: expected a format"),
    "unknown type": (
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty quad x\n",
        "line 4: expected a format",
    ),
    "property of nothing": (
        b"ply\nformat ascii 1.0\nproperty float x\nend_header\n",
        "line 3: expected a format",
    ),
    "negative count": (ply("ascii", -3, 1, b""), "line 3: expected a format"),
    "absurd count": (
        ply("binary_little_endian", 10**12, 0, CORNERS),
        "expected data for 1000000000000 rows",
    ),
    "absurd ascii count": (ply("ascii", 10**12, 0, ASCII_VERTS), "expected data for 1000000000000 rows"),
    "absurd face count": (ply("binary_little_endian", 3, 10**14, CORNERS), "expected data for 100000000000000 rows"),
    "truncated verts": (
        ply("binary_little_endian", 3, 0, CORNERS[:-1]),
        "expected data for 3 rows",
    ),
    "truncated faces": (
        ply("binary_little_endian", 3, 2, CORNERS + FACE),
        "element 'face', row 1: expected one of 2",
    ),
    "lying list length": (
        ply("binary_little_endian", 3, 1, CORNERS + b"\xff" + FACE[1:]),
        "element 'face', row 0: expected one of 1 rows",
    ),
    "truncated ascii": (ply("ascii", 3, 2, ASCII_VERTS + b"3 0 1 2\n3 0"), "element 'face', row 1: expected one of 2"),
    "word in ascii": (
        ply("ascii", 3, 1, b"0 0 0\n1 zero 0\n0 1 0\n3 0 1 2\n"),
        "line 11: expected numbers",
    ),
    "nan in ascii": (
        ply("ascii", 3, 1, b"0 0 0\n1 nan 0\n0 1 0\n3 0 1 2\n"),
        "'vertex', row 1: expected x, y, z",
    ),
    "infinity in binary": (
        ply("binary_little_endian", 3, 1, struct.pack("<f", float("inf")) + CORNERS[4:] + FACE),
        "'vertex', row 0: expected x, y, z",
    ),
    "index past the end": (
        ply("ascii", 3, 1, ASCII_VERTS + b"3 0 1 3\n"),
        "'face', row 0: expected indices",
    ),
    "negative index": (
        ply("binary_little_endian", 3, 1, CORNERS + struct.pack("<B3i", 3, 0, -1, 2)),
        "'face', row 0: expected indices of the 3 vertices, got -1",
    ),
    "fraction as index": (ply("ascii", 3, 1, ASCII_VERTS + b"3 0 1 1.5\n"), "'face', row 0: expected indices"),
    "two corners": (ply("ascii", 3, 1, ASCII_VERTS + b"2 0 1\n"), "'face', row 0: expected at least 3 corners"),
    "infinite list": (ply("ascii", 3, 1, ASCII_VERTS + b"inf 0 1\n"), "'face', row 0: expected one of 1 rows"),
    "no positions": (
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n0\n",
        "expected a 'vertex'",
    ),
    "the same property twice": (
        b"ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float x\nend_header\n",
        "expected properties of different names",
    ),
}
BROKEN_OFF = {
    "empty": (b"", "line 1: expected a text file that starts with OFF"),
    "another format": (b"solid stl\n", "line 1: expected a text file that starts with OFF"),
    "binary": (b"OFF BINARY\n\1\2\3", "line 1: expected a text file that starts with OFF"),
    "no counts": (b"OFF\n", "expected the numbers of vertices and faces"),
    "negative counts": (b"OFF\n-1 0 0\n", "line 2: expected the numbers of vertices and faces"),
    "absurd counts": (b"OFF\n999999999999 1 0\n0 0 0\n", "a file with 999999999999 lines too few"),
    "short vertex": (b"OFF\n3 0 0\n0 0 0\n1 0\n0 0 0\n", "line 4: expected 3 numbers, got '1 0'"),
    "word": (b"OFF\n# c\n1 0 0\n\n0 x 0\n", "line 5: expected numbers, got '0 x 0'"),
    "nan": (b"OFF\n1 0 0\nnan 0 0\n", "line 3: expected numbers finite"),
    "index past the end": (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", "line 6: expected indices of the 3 vertices"),
    "two corners": (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n2 0 1\n", "line 6: expected a count of at least 3"),
    "short face": (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 2\n", "line 6: expected a count of at least 3"),
}


def gltf_parts() -> tuple[dict, bytes]:
    binary = CORNERS + struct.pack("<3H", 0, 1, 2) + b"\0\0"
    root = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 6},
        ],
        "buffers": [{"byteLength": 44}],
    }
    return root, binary


def changed(*path: object, to: object) -> bytes:
    """A GLB of one triangle with one JSON value replaced; ``to=None`` removes it."""
    root, binary = gltf_parts()
    owner = root
    for key in path[:-1]:
        owner = owner[key]
    if to is None:
        del owner[path[-1]]
    else:
        owner[path[-1]] = to
    return glb(root, binary)


WHOLE_GLB = glb(*gltf_parts())
BROKEN_GLB = {
    "empty": (b"", "expected glTF JSON"),
    "header only": (WHOLE_GLB[:12], "expected a GLB header"),
    "version 1": (WHOLE_GLB[:4] + b"\1\0\0\0" + WHOLE_GLB[8:], "expected GLB of version 2, got 1"),
    "truncated": (WHOLE_GLB[:-8], "bytes, as its header says"),
    "lying chunk": (WHOLE_GLB[:12] + b"\xff\xff\xff\x7f" + WHOLE_GLB[16:], "chunk 0: expected at most"),
    "no JSON": (WHOLE_GLB[:16] + b"NOSJ" + WHOLE_GLB[20:], "chunk 0: expected JSON"),
    "damaged JSON": (WHOLE_GLB[:20] + b"}" + WHOLE_GLB[21:], "expected glTF JSON, got"),
    "deep JSON": (b"[" * 200_000, "expected glTF JSON, got"),
    "a JSON list": (b"[]", "expected glTF JSON with an object"),
    "no asset": (changed("asset", to=None), "expected asset of type dict"),
    "future version": (changed("asset", "version", to="3.0"), "expected glTF of version 2"),
    "compressed": (
        changed("extensionsRequired", to=["EXT_meshopt_compression"]),
        "expected a file that needs no extension but .* got 'EXT_meshopt_compression' .decompress it first",
    ),
    "count past the view": (changed("accessors", 0, "count", to=4), r"accessors\[0\]: expected a range inside"),
    "absurd count": (changed("accessors", 0, "count", to=10**15), r"accessors\[0\]: expected a range inside"),
    "negative count": (changed("accessors", 0, "count", to=-1), r"accessors\[0\]: expected count of type int"),
    "text as count": (changed("accessors", 0, "count", to="3"), r"accessors\[0\]: expected count of type int"),
    "unknown component": (
        changed("accessors", 0, "componentType", to=5130),
        r"accessors\[0\]: expected VEC3 of",
    ),
    "wrong type": (changed("accessors", 0, "type", to="MAT4"), r"accessors\[0\]: expected VEC3 of"),
    "sparse": (changed("accessors", 0, "sparse", to={}), r"accessors\[0\].sparse: expected count of type int"),
    "huge and empty": (
        changed("accessors", 0, to={"componentType": 5126, "count": 10**9, "type": "VEC3"}),
        r"accessors\[0\]: expected at most 4194304 numbers without a bufferView",
    ),
    "stride that overlaps": (
        changed("bufferViews", 0, "byteStride", to=4),
        r"accessors\[0\]: expected a stride",
    ),
    "view past the buffer": (
        changed("bufferViews", 0, "byteLength", to=99),
        r"bufferViews\[0\]: expected a range",
    ),
    "buffer past the chunk": (changed("buffers", 0, "byteLength", to=999), r"buffers\[0\]: expected 999 bytes"),
    "missing buffer": (
        changed("buffers", 0, "uri", to="no.bin"),
        r"buffers\[0\]: expected a buffer file",
    ),
    "bad base64": (changed("buffers", 0, "uri", to="data:x;base64,&"), r"buffers\[0\]: expected valid base64"),
    "plain data URI": (changed("buffers", 0, "uri", to="data:x,abc"), r"buffers\[0\]: expected a base64 data: URI"),
    "escaping buffer": (changed("buffers", 0, "uri", to="../x.bin"), "expected a path inside"),
    "encoded escape": (changed("buffers", 0, "uri", to="%2e%2e/x.bin"), "expected a path inside"),
    "absolute buffer": (changed("buffers", 0, "uri", to="/etc/passwd"), "expected a path inside"),
    "unknown accessor": (
        changed("meshes", 0, "primitives", 0, "indices", to=7),
        "expected an index into its 2",
    ),
    "unknown mesh": (changed("nodes", 0, "mesh", to=5), "expected an index into its 1 meshes"),
    "unknown node": (changed("scenes", 0, "nodes", to=[9]), "expected an index into its 1 nodes"),
    "unknown material": (changed("meshes", 0, "primitives", 0, "material", to=0), "expected an index into its 0 mat"),
    "cyclic nodes": (changed("nodes", 0, "children", to=[0]), r"nodes\[0\]: expected nodes that form trees"),
    "matrix of 3": (changed("nodes", 0, "matrix", to=[1, 2, 3]), r"nodes\[0\]: expected matrix of 16 finite numbers"),
    "index past the vertices": (
        glb(gltf_parts()[0], CORNERS + struct.pack("<3H", 0, 1, 3) + b"\0\0"),
        r"meshes\[0\].primitives\[0\]: expected indices of its 3 vertices, got 3",
    ),
    "nan": (glb(gltf_parts()[0], b"\xff\xff\xff\xff" + gltf_parts()[1][4:]), "POSITION 0: expected POSITION finite"),
    "two indices": (changed("accessors", 1, "count", to=2), "expected a multiple of 3 indices, got 2"),
    "lines only": (changed("meshes", 0, "primitives", to=[]), "expected a scene with triangles"),
}
BROKEN = [
    pytest.param(suffix, data, message, id=f"{suffix}: {name}")
    for suffix, cases in (("obj", BROKEN_OBJ), ("ply", BROKEN_PLY), ("off", BROKEN_OFF), ("glb", BROKEN_GLB))
    for name, (data, message) in cases.items()
]


@pytest.mark.parametrize(("suffix", "data", "message"), BROKEN)
def test_broken_file_is_a_clear_error(tmp_path, suffix: str, data: bytes, message: str) -> None:
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        IO().load_mesh(path)
    assert str(caught.value).startswith(str(path))


def test_whole_glb_is_a_triangle(tmp_path) -> None:
    """The GLB that the cases above damage is sound."""
    (tmp_path / "whole.glb").write_bytes(WHOLE_GLB)
    mesh = IO().load_mesh(tmp_path / "whole.glb")
    assert mesh.verts_packed().tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert mesh.faces_packed().tolist() == [[0, 1, 2]]


SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SQUARE + "f 1 2 3 4", id="no newline at the end"),
        pytest.param(SQUARE + "f 1 2 3 4 # 5 6\n", id="comment behind a face"),
        pytest.param(SQUARE.replace("1 1 0", "1 1 0#x") + "#f 1 1 1\n  # f\nf 1 2 3 4\n", id="comments in odd places"),
        pytest.param((SQUARE + "f 1 2 3 4\n").replace("\n", "\r\n"), id="CRLF"),
        pytest.param((SQUARE + "f 1 2 3 4\n").replace("\n", "\r"), id="old Mac"),
        pytest.param("\ufeff" + SQUARE + "f 1 2 3 4\n", id="byte-order mark"),
        pytest.param(SQUARE + "f 1 2 \\\n3 \\\n 4\n", id="continued line"),
        pytest.param(SQUARE + "f 1 2 \\\r\n3 4\r\n", id="continued line, CRLF"),
        pytest.param("# a comment \\\n" + SQUARE + "f 1 2 3 4\n", id="comment that ends in a backslash"),
        pytest.param(SQUARE + "f 1 2 3 4 \\", id="continued at the end of the file"),
        pytest.param(SQUARE + "f -4 -3 -2 -1\n", id="negative indices"),
        pytest.param("v 9 9 9\n" + SQUARE + "f -4 -3 3+1 -1\n".replace("3+1", "4"), id="both kinds of index"),
        pytest.param("  " + SQUARE.replace("\n", "  \n\t ") + "f\t1 \t2 3 4 \n", id="blanks and tabs"),
        pytest.param(SQUARE.replace(" 0\n", " 0 1.0\n") + "f 1 2 3 4\n", id="w coordinate"),
        pytest.param(SQUARE.replace(" 0\n", " 0 0.5 0.5 1\n") + "f 1 2 3 4\n", id="vertex colours"),
        pytest.param(SQUARE.replace("v 1 0 0", "v 1 0 0 1") + "f 1 2 3 4\n", id="w in one line only"),
        pytest.param("g\ng a b\no\ns off\n" + SQUARE + "g c\ng d\nf 1 2 3 4\ng\n", id="empty groups"),
        pytest.param("f 1 2 3 4\n" + SQUARE, id="face before its vertices"),
        pytest.param(SQUARE + "l 1 2\np 1\nvp 0.5\ncstype bezier\nf 1 2 3 4\nend\n", id="other elements"),
        pytest.param(SQUARE + "f 01 002 3 4\n", id="leading zeros"),
        pytest.param(SQUARE + "f 1/ 2/ 3/ 4/\n", id="empty parts"),
        pytest.param(SQUARE + "f 1// 2// 3// 4//\n", id="two empty parts"),
        pytest.param(SQUARE.replace("1", "+1.0e0").replace("v 0", "v -.0") + "f 1 2 3 4\n", id="odd numbers"),
    ],
)
def test_odd_obj_is_the_right_square(tmp_path, text: str) -> None:
    path = tmp_path / "odd.obj"
    path.write_bytes(text.encode())
    verts, faces, _ = load_obj(path)
    corners = verts[faces.verts_idx]
    assert corners.tolist() == [[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 0]]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
def test_utf_16(tmp_path, encoding: str) -> None:
    """With a byte-order mark."""
    mark = "" if encoding == "utf-16" else "\ufeff"
    (tmp_path / "m.obj").write_bytes((mark + SQUARE + "f 1 2 3 4\n").encode(encoding))
    assert load_obj(tmp_path / "m.obj")[1].verts_idx.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_errors_far_into_a_file_name_their_line(tmp_path) -> None:
    """Beyond the first chunk of lines that are parsed together."""
    n = 300_000
    path = tmp_path / "far.obj"
    path.write_bytes(b"v 0 0 0\n" * n + b"f 1 2 3\n" * n + b"f 1 2\n")
    with pytest.raises(ValueError, match=f"line {2 * n + 1}: expected at least 3 corners"):
        load_obj(path)
    path.write_bytes(b"v 0 0 0\n" * n + b"v 0 0 nan\n")
    with pytest.raises(ValueError, match=f"line {n + 1}: expected numbers finite"):
        load_obj(path)


SEEDS = {
    "obj": (
        SQUARE + "vt 0 0\nvn 0 0 1\nmtllib a.mtl\nusemtl m\nf 1/1/1 2/1/1 3/1/-1 4/-1/1\nf 1//1 2//1 -1//1\n"
    ).encode(),
    "ply": ply("binary_big_endian", 1, 1, struct.pack(">3fB3i", 1, 2, 3, 3, 0, 0, 0)),
    "a.ply": ply("ascii", 3, 2, ASCII_VERTS + b"3 0 1 2\n4 0 1 2 0\n"),
    "off": b"COFF\n3 1 0\n0 0 0 1 0 0 1\n1 0 0 1 0 0 1\n0 1 0 1 0 0 1\n3 0 1 2 255 0 0\n",
    "glb": WHOLE_GLB,
}


def mutate(data: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(damaged) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(damaged):
            damaged[at] = rng.randrange(256)
        elif kind == 1:
            del damaged[at : at + rng.randint(1, 6)]
        elif kind == 2:
            damaged[at:at] = bytes(rng.choice(b'0123456789-/.#\\ \n\r"ef{}[],') for _ in range(rng.randint(1, 5)))
        elif kind == 3:
            damaged[at:at] = damaged[at : at + rng.randint(1, 40)]
        elif at < len(damaged):
            damaged[at] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def check_mutations(folder, n: int) -> int:
    """Load ``n`` damaged files of each kind; return how many were meshes. Any error but ValueError is a failure."""
    rng = random.Random(0)
    loaded = 0
    for suffix, seed in SEEDS.items():
        path = folder / f"m.{suffix}"
        for _ in range(n):
            path.write_bytes(mutate(seed, rng))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    mesh = IO().load_mesh(path)
            except ValueError:
                continue
            loaded += 1
            verts, faces = mesh.verts_packed(), mesh.faces_packed()
            assert torch.isfinite(verts).all()
            assert not len(faces) or (faces.min() >= 0 and faces.max() < len(verts))
    return loaded


def test_random_damage_is_an_error_or_a_valid_mesh(tmp_path) -> None:
    assert check_mutations(tmp_path, 150) > 0


@pytest.mark.long
def test_much_random_damage_is_an_error_or_a_valid_mesh(tmp_path) -> None:
    assert check_mutations(tmp_path, 20_000) > 0


def test_absurd_ply_counts_allocate_nothing(tmp_path) -> None:
    """A list property's own length is bounded too."""
    header = (
        b"ply\nformat binary_little_endian 1.0\nelement face 1\nproperty list uint double vertex_indices\nend_header\n"
    )
    (tmp_path / "x.ply").write_bytes(header + np.uint32(0xFFFFFFFF).tobytes() + b"\0" * 64)
    with pytest.raises(ValueError, match="element 'face', row 0: expected one of 1 rows, got a list of 4294967295"):
        load_ply(tmp_path / "x.ply")
