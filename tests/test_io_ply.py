"""PLY files: what plyfile writes is read, what is written plyfile reads, odd layouts, colours and normals."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import plyfile
import pytest
import torch

from tirender.io import IO, load_ply, save_ply
from tirender.renderer.mesh.textures import TexturesUV, TexturesVertex
from tirender.structures.meshes import Meshes

V = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.1]])
F = torch.tensor([[0, 1, 2], [0, 2, 3]])


def described(polygons: list, vert_type: str = "f4", count_type: str = "u1", index_type: str = "i4") -> list:
    """plyfile's elements of a mesh with colours, and other properties between those that are read."""
    columns = [("x", vert_type), ("quality", "i2"), ("y", vert_type), ("z", vert_type), ("red", "u1"), ("green", "u1")]
    verts = np.zeros(4, dtype=[*columns, ("blue", "u1"), ("alpha", "u1")])
    for i, name in enumerate("xyz"):
        verts[name] = V[:, i].numpy()
    verts["red"], verts["quality"] = [255, 0, 51, 0], -7
    faces = np.empty(len(polygons), dtype=[("flag", "u1"), ("vertex_indices", object), ("weight", "f8")])
    faces["flag"], faces["weight"] = 3, 0.25
    faces["vertex_indices"] = [np.array(p, dtype=index_type) for p in polygons]
    types = {"len_types": {"vertex_indices": count_type}, "val_types": {"vertex_indices": index_type}}
    extra = np.array([(1.5,)], dtype=[("value", "f4")])
    return [
        plyfile.PlyElement.describe(extra, "before"),
        plyfile.PlyElement.describe(verts, "vertex"),
        plyfile.PlyElement.describe(faces, "face", **types),
    ]


LAYOUTS = [{"text": True}, {"byte_order": "<"}, {"byte_order": ">"}]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("polygons", [[[0, 1, 2], [0, 2, 3]], [[0, 1, 2, 3]], [[0, 1, 2], [3, 2, 1, 0], [2, 1, 0]]])
@pytest.mark.parametrize(("count_type", "index_type"), [("u1", "i4"), ("u1", "u1"), ("i4", "u4"), ("u2", "i2")])
def test_what_plyfile_writes(tmp_path, layout: dict, polygons: list, count_type: str, index_type: str) -> None:
    path = tmp_path / "m.ply"
    elements = described(polygons, count_type=count_type, index_type=index_type)
    plyfile.PlyData(elements, comments=["a comment"], obj_info=["x"], **layout).write(str(path))
    verts, faces = load_ply(path)
    assert torch.equal(verts, V)
    assert verts.dtype == torch.float32
    expected = [[p[0], p[i], p[i + 1]] for p in polygons for i in range(1, len(p) - 1)]
    assert faces.tolist() == expected
    assert faces.dtype == torch.int64
    mesh = IO().load_mesh(path)
    assert torch.allclose(mesh.textures.verts_features_packed()[:, 0], torch.tensor([1, 0, 0.2, 0]))
    assert IO().load_mesh(path, include_textures=False).textures is None


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_and_blanks(newline: str) -> None:
    text = (
        "ply\nformat ascii 1.0\ncomment  with  blanks\n\nelement vertex 3\nproperty double x\nproperty  float32 y\n"
        "property float z\nelement face 2\nproperty list uint8 int32 vertex_index\nend_header\n"
        "0 0 0\n\n1 0 0 \n\t0 1\n0\n3 0 1 2\n3 2 1 0"
    )
    verts, faces = load_ply(io.BytesIO(text.replace("\n", newline).encode()))
    assert verts.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert faces.tolist() == [[0, 1, 2], [2, 1, 0]]


def test_binary_body_behind_crlf_that_starts_with_a_newline_byte() -> None:
    header = b"ply\r\nformat binary_little_endian 1.0\r\nelement vertex 1\r\nproperty uchar x\r\nproperty uchar y\r\n"
    verts, faces = load_ply(io.BytesIO(header + b"property char z\r\nend_header\r\n\n\x0d\xff"))
    assert verts.tolist() == [[10, 13, -1]]
    assert faces.shape == (0, 3)


@pytest.mark.parametrize("ascii", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_normals", [True, False])
def test_round_trip_is_exact(tmp_path, ascii: bool, dtype: torch.dtype, with_normals: bool) -> None:
    verts = torch.randn(100, 3, dtype=dtype) * torch.logspace(-20, 20, 100, dtype=dtype)[:, None]
    faces, normals = torch.randint(0, 100, (150, 3)), torch.randn(100, 3)
    path = tmp_path / "m.ply"
    save_ply(path, verts, faces, normals if with_normals else None, ascii=ascii)
    loaded, loaded_faces = load_ply(path)
    assert torch.equal(loaded, verts.float())
    assert torch.equal(loaded_faces, faces)
    by_plyfile = plyfile.PlyData.read(str(path))
    assert by_plyfile["vertex"]["x"].dtype == verts.numpy().dtype
    assert np.array_equal(by_plyfile["vertex"]["y"], verts[:, 1].numpy())
    assert np.array_equal(np.stack(by_plyfile["face"]["vertex_index"]), faces.numpy())
    mesh = IO().load_mesh(path)
    assert mesh.has_verts_normals() == with_normals
    if with_normals:
        assert torch.equal(mesh.verts_normals_packed(), normals)


def test_saved_text() -> None:
    stream = io.BytesIO()
    save_ply(stream, V[:3], F[:1], ascii=True, decimal_places=2)
    header, _, body = stream.getvalue().decode().partition("end_header\n")
    assert header == (
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "element face 1\nproperty list uchar int vertex_index\n"
    )
    assert body == "0.00 0.00 0.00\n1.00 0.00 0.00\n1.00 1.00 0.00\n3 0 1 2\n"


@pytest.mark.parametrize("ascii", [True, False])
def test_points_and_empty_meshes(tmp_path, ascii: bool) -> None:
    path = tmp_path / "p.ply"
    save_ply(path, V, ascii=ascii)
    assert b"face" not in path.read_bytes()
    assert torch.equal(load_ply(path)[0], V)
    save_ply(path, torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64), ascii=ascii)
    verts, faces = load_ply(path)
    assert (verts.shape, faces.shape) == ((0, 3), (0, 3))


@pytest.mark.parametrize("binary", [None, True, False])
@pytest.mark.parametrize("as_uint8", [True, False])
def test_vertex_colours_round_trip(tmp_path, binary: bool | None, as_uint8: bool) -> None:
    colors = torch.rand(4, 3)
    path = tmp_path / "c.ply"
    IO().save_mesh(Meshes([V], [F], TexturesVertex([colors])), path, binary=binary, colors_as_uint8=as_uint8)
    assert (b"format ascii" in path.read_bytes()) == (binary is False)
    loaded = IO().load_mesh(path).textures.verts_features_packed()
    assert torch.allclose(loaded, colors, atol=0.502 / 255 if as_uint8 else 0.0, rtol=0)


@pytest.mark.parametrize("binary", [True, False])
def test_maps_are_saved_beside_the_file(tmp_path, binary: bool) -> None:
    image = torch.randint(0, 256, (4, 5, 3)) / 255.0
    mesh = Meshes([V], [F], TexturesUV([image], [F], [torch.rand(4, 2)]))
    IO().save_mesh(mesh, tmp_path / "c.ply", binary=binary)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["c.ply", "c.png"]
    loaded = IO().load_mesh(tmp_path / "c.ply")
    assert torch.equal(loaded.verts_packed(), V)
    colors = [m.textures.faces_verts_textures_packed() for m in (mesh, loaded)]
    assert torch.allclose(*colors, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((V[:, :2], F), r"verts: expected shape \(N, 3\)"),
        ((V, F.float()), "faces: expected int32 or int64"),
        ((V, F + 2), "faces: expected indices from 0 to 3, got 5"),
        ((V, F, V[:2]), "nx, ny, nz: expected 4 rows, one a vertex, got 2"),
    ],
)
def test_bad_arguments_of_save_ply(tmp_path, arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save_ply(tmp_path / "x.ply", *arguments)
    assert not list(Path(tmp_path).iterdir())


STRIPS = (
    b"ply\nformat binary_big_endian 1.0\nelement vertex 6\nproperty float x\nproperty float y\nproperty float z\n"
    b"element tristrips 2\nproperty list int int vertex_indices\nend_header\n"
    + struct.pack(">18f", *range(18))
    + struct.pack(">i9i", 9, 0, 1, 2, 3, 4, -1, 5, 4, 3)
    + struct.pack(">i8i", 8, 0, 1, 2, 2, 3, 3, 4, 5)
)


def test_triangle_strips() -> None:
    """As OpenGL draws them: of every second triangle two corners are swapped; those with equal corners join strips."""
    first = [[0, 1, 2], [2, 1, 3], [2, 3, 4], [5, 4, 3]]
    second = [[0, 1, 2], [4, 3, 5]]
    faces = load_ply(io.BytesIO(STRIPS))[1].tolist()
    assert [sorted(face) for face in faces] == [sorted(face) for face in first + second]
    for face, expected in zip(faces, first + second):
        assert face in [expected[k:] + expected[:k] for k in range(3)]  # the same way around


def test_triangle_strips_out_of_range() -> None:
    with pytest.raises(ValueError, match="element 'tristrips', row 1: expected -1 or indices of the 6 vertices, got 6"):
        load_ply(io.BytesIO(STRIPS[:-4] + struct.pack(">i", 6)))
