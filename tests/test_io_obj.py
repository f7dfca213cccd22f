"""OBJ files: what load_obj returns, round trips, meshes with several materials, the texture atlas."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.io import IO, load_obj, load_objs_as_meshes, save_obj
from tirender.io.obj_io import MeshObjFormat
from tirender.renderer.mesh.textures import TexturesAtlas, TexturesUV, TexturesVertex
from tirender.structures.meshes import Meshes

QUAD = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
RED, GREEN, BLUE, WHITE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)


def write_png(path: Path, rows: list) -> None:
    Image.fromarray((np.array(rows) * 255).astype(np.uint8)).save(path)


def corner_colors(mesh: Meshes) -> torch.Tensor:
    return mesh.textures.faces_verts_textures_packed()


def test_indices_of_all_kinds(tmp_path) -> None:
    text = (
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvn 0 0 1\nvn 0 1 0\nvt 0 0\nvt 0.5 1 0\n"
        "f 1 2 3\nf 1/1 2/2 3/-1\nusemtl a\nf 1//1 2//2 -1//-1\ng x\nf 1/1/1 2/2/2 3/1/1 4/2/2\n"
    )
    path = tmp_path / "m.obj"
    path.write_text(text)
    verts, faces, aux = load_obj(path, load_textures=False)
    assert verts.dtype == torch.float32
    assert faces.verts_idx.tolist() == [[0, 1, 2], [0, 1, 2], [0, 1, 3], [0, 1, 2], [0, 2, 3]]
    assert faces.textures_idx.tolist() == [[-1, -1, -1], [0, 1, 1], [-1, -1, -1], [0, 1, 0], [0, 0, 1]]
    assert faces.normals_idx.tolist() == [[-1, -1, -1], [-1, -1, -1], [0, 1, 1], [0, 1, 0], [0, 0, 1]]
    assert faces.materials_idx.tolist() == [-1, -1, 0, 0, 0]
    assert aux.normals.tolist() == [[0, 0, 1], [0, 1, 0]]
    assert aux.verts_uvs.tolist() == [[0, 0], [0.5, 1]]
    assert (aux.material_colors, aux.texture_images, aux.texture_atlas) == (None, None, None)
    assert all(index.dtype == torch.int64 for index in faces)


def test_tuple_fields_have_pytorch3ds_names_and_order() -> None:
    _, faces, aux = load_obj(io.StringIO(QUAD + "f 1 2 3\n"))
    assert faces._fields == ("verts_idx", "normals_idx", "textures_idx", "materials_idx")
    assert aux._fields == ("normals", "verts_uvs", "material_colors", "texture_images", "texture_atlas")
    assert aux.normals is None
    assert (aux.material_colors, aux.texture_images) == (None, None)


def test_polygons_become_fans() -> None:
    ring = "".join(f"v {x} 0 0\n" for x in range(7))
    _, faces, _ = load_obj(io.StringIO(ring + "f 1 2 3\nf 7 6 5 4 3\nf 1 2 3 4\n"))
    assert faces.verts_idx.tolist() == [[0, 1, 2], [6, 5, 4], [6, 4, 3], [6, 3, 2], [0, 1, 2], [0, 2, 3]]


def test_negative_indices_count_from_their_own_line() -> None:
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 5 0 0\nv 6 0 0\nv 7 0 0\nf -3 -2 -1\n"
    assert load_obj(io.StringIO(text))[1].verts_idx.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "o empty\n"])
def test_empty_file_is_an_empty_mesh(text: str) -> None:
    verts, faces, aux = load_obj(io.StringIO(text))
    assert verts.shape == (0, 3)
    assert faces.verts_idx.shape == (0, 3)
    assert aux.verts_uvs is None


def test_vertices_without_faces() -> None:
    verts, faces, _ = load_obj(io.BytesIO(b"v 1 2 3\n"))
    assert verts.tolist() == [[1, 2, 3]]
    assert faces.materials_idx.shape == (0,)


def test_more_lines_than_a_chunk(tmp_path) -> None:
    """Lines are parsed in chunks; the seams must not show."""
    n = 300_000
    lines = [f"v {i} 0 {i % 7}\nf -1 {max(i, 1)} 1//\n" if i % 2 else f"v {i} 0 {i % 7}\nf 1 -1 2\n" for i in range(n)]
    verts, faces, _ = load_obj(io.StringIO("".join(lines)))
    index = torch.arange(n)
    assert torch.equal(verts, torch.stack([index, 0 * index, index % 7], dim=1).float())
    odd = torch.stack([index, index.clamp(min=1) - 1, 0 * index], dim=1)
    even = torch.stack([0 * index, index, 0 * index + 1], dim=1)
    assert torch.equal(faces.verts_idx, torch.where(index[:, None] % 2 == 1, odd, even))


@pytest.mark.parametrize("make", [str, Path, os.fsencode, io.FileIO, lambda path: io.TextIOWrapper(io.FileIO(path))])
def test_paths_and_streams(tmp_path, make) -> None:
    """A stream of a file finds the materials beside it, as a path does."""
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 0 0\n")
    path = tmp_path / "m.obj"
    path.write_text("mtllib m.mtl\nusemtl a\n" + QUAD + "f 1 2 3\n")
    f = make(str(path))
    try:
        aux = load_obj(f)[2]
    finally:
        if hasattr(f, "close"):
            f.close()
    assert aux.material_colors["a"]["diffuse_color"].tolist() == [1, 0, 0]


class MemoryPathManager:
    """What of iopath's PathManager is used."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def exists(self, path: str) -> bool:
        return path in self.files

    def open(self, path: str, mode: str) -> io.BytesIO:
        if mode == "rb":
            return io.BytesIO(self.files[path])
        stream, files = io.BytesIO(), self.files
        close = stream.close
        stream.close = lambda: (files.__setitem__(path, stream.getvalue()), close())[0]  # type: ignore[method-assign]
        return stream


def test_path_manager(tmp_path) -> None:
    manager = MemoryPathManager({})
    image = torch.rand(4, 4, 3).mul(255).round() / 255
    verts, faces, uvs = torch.rand(3, 3), torch.tensor([[0, 1, 2]]), torch.rand(3, 2)
    path = "store://bucket/mesh.obj"
    save_obj(path, verts, faces, path_manager=manager, verts_uvs=uvs, faces_uvs=faces, texture_map=image)
    assert set(manager.files) == {f"store://bucket/mesh.{suffix}" for suffix in ("obj", "mtl", "png")}
    loaded = load_objs_as_meshes([path], path_manager=manager)
    assert torch.equal(loaded.verts_packed(), verts)
    assert torch.allclose(loaded.textures.maps_padded()[0], image, atol=1e-6)


# --- saving ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_uvs", [False, True])
@pytest.mark.parametrize("with_normals", [False, True])
def test_round_trip_is_exact(tmp_path, dtype: torch.dtype, with_uvs: bool, with_normals: bool) -> None:
    verts = torch.randn(50, 3, dtype=dtype) * torch.logspace(-20, 20, 50, dtype=dtype)[:, None]
    faces, faces_uvs, faces_normals = torch.randint(0, 50, (3, 80, 3)).unbind(0)
    extra: dict = {}
    if with_uvs:
        image = torch.randint(0, 256, (5, 7, 3)) / 255.0
        extra |= {"verts_uvs": torch.rand(50, 2, dtype=dtype), "faces_uvs": faces_uvs, "texture_map": image}
    if with_normals:
        extra |= {"normals": torch.randn(50, 3, dtype=dtype), "faces_normals_idx": faces_normals}
    path = tmp_path / "my mesh.obj"
    save_obj(path, verts, faces, **extra)
    loaded, idx, aux = load_obj(path)
    assert torch.equal(loaded, verts.float())
    assert torch.equal(idx.verts_idx, faces)
    if with_uvs:
        assert torch.equal(aux.verts_uvs, extra["verts_uvs"].float())
        assert torch.equal(idx.textures_idx, faces_uvs)
        assert torch.allclose(aux.texture_images["mesh"], image, atol=1e-6)
    if with_normals:
        assert torch.equal(aux.normals, extra["normals"].float())
        assert torch.equal(idx.normals_idx, faces_normals)
    assert sorted(os.listdir(tmp_path)) == sorted(["my mesh.obj"] + ["my mesh.mtl", "my mesh.png"] * with_uvs)


def test_saved_text(tmp_path) -> None:
    stream = io.StringIO()
    verts, faces = torch.tensor([[0.01, 0.2, 0.303], [0, 0, 0], [1, 1, 1]]), torch.tensor([[0, 2, 1]])
    save_obj(stream, verts, faces, decimal_places=2)
    assert stream.getvalue() == "v 0.01 0.20 0.30\nv 0.00 0.00 0.00\nv 1.00 1.00 1.00\nf 1 3 2\n"
    stream = io.StringIO()
    save_obj(stream, verts, faces, decimal_places=0, normals=verts, faces_normals_idx=faces)
    assert stream.getvalue().endswith("vn 1 1 1\nf 1//1 3//3 2//2\n")


def test_empty_and_gradient_tensors_are_saved(tmp_path) -> None:
    path = tmp_path / "empty.obj"
    save_obj(path, torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    assert path.read_bytes() == b""
    save_obj(path, torch.tensor([]), torch.tensor([]))
    assert load_obj(path)[0].shape == (0, 3)
    save_obj(path, torch.ones(3, 3, requires_grad=True), torch.tensor([[0, 1, 2]], dtype=torch.int32))
    assert load_obj(path)[0].tolist() == [[1, 1, 1]] * 3
    strided = torch.rand(3, 6)[:, ::2]
    save_obj(path, strided, torch.tensor([[0, 1, 2]]))
    assert torch.equal(load_obj(path)[0], strided)


V, F = torch.zeros(3, 3), torch.tensor([[0, 1, 2]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 2), F), r"verts: expected shape \(N, 3\), got \(3, 2\)"),
        ((V.int(), F), "verts: expected float32 or float64, got torch.int32"),
        ((V, F.float()), "faces: expected int32 or int64, got torch.float32"),
        ((V, torch.zeros(1, 4, dtype=torch.int64)), r"faces: expected shape \(F, 3\)"),
        ((V, F + 1), "faces: expected indices from 0 to 2, got 3"),
        ((V, F - 1), "faces: expected indices from 0 to 2, got -1"),
        ((V, F, -1), "decimal_places: expected None or at least 0, got -1"),
        ((V, F, {"verts_uvs": V}), r"verts_uvs: expected shape \(N, 2\)"),
        ((V, F, {"verts_uvs": V[:1, :2], "faces_uvs": F}), "faces_uvs: expected indices from 0 to 0, or -1, got 2"),
        ((V, F, {"verts_uvs": V[:, :2], "faces_uvs": F.repeat(2, 1)}), r"faces_uvs: expected shape \(1, 3\)"),
        ((V, F, {"normals": V[:1], "faces_normals_idx": F}), "faces_normals_idx: expected indices from 0 to 0"),
        ((V, F, {"texture_map": V}), r"texture_map: expected shape \(H, W, 3\)"),
    ],
)
def test_bad_arguments_of_save_obj(tmp_path, arguments: tuple, message: str) -> None:
    keywords = arguments[-1] if isinstance(arguments[-1], dict) else {}
    path = tmp_path / "x.obj"
    with pytest.raises(ValueError, match=message):
        save_obj(path, *(a for a in arguments if not isinstance(a, dict)), **keywords)
    assert not path.exists()


def test_texture_map_needs_a_path() -> None:
    with pytest.raises(ValueError, match="f: expected a path"):
        save_obj(io.StringIO(), V, F, verts_uvs=V[:, :2], faces_uvs=F, texture_map=torch.zeros(2, 2, 3))


# --- materials in meshes ---


def test_map_orientation(tmp_path) -> None:
    """uv (0, 0) is the lower left of the image: the last row of the map."""
    write_png(tmp_path / "t.png", [[RED, GREEN], [BLUE, WHITE]])
    (tmp_path / "m.mtl").write_text("newmtl a\nmap_Kd t.png\n")
    (tmp_path / "m.obj").write_text("mtllib m.mtl\nusemtl a\n" + QUAD + "f 1/1 2/2 3/3\nf 1/1 3/3 4/4\n")
    mesh = load_objs_as_meshes([tmp_path / "m.obj"])
    assert torch.equal(mesh.textures.maps_padded()[0], torch.tensor([[RED, GREEN], [BLUE, WHITE]]))
    assert torch.allclose(corner_colors(mesh), torch.tensor([[BLUE, WHITE, GREEN], [BLUE, GREEN, RED]]))


OF_NO_MATERIAL = pytest.mark.filterwarnings("ignore:.*no MTL file has its materials 'gone'")


@pytest.fixture
def two_images(tmp_path) -> Path:
    """Four faces: an image, another of another size, a plain colour, and no texture coordinates."""
    write_png(tmp_path / "left.png", [[RED, GREEN], [BLUE, WHITE]])
    write_png(tmp_path / "right.png", [[GREEN, GREEN, RED], [WHITE, WHITE, WHITE], [RED, BLUE, BLUE], [BLUE, RED, RED]])
    (tmp_path / "m.mtl").write_text(
        "newmtl left\nKd 1 1 0\nmap_Kd left.png\nnewmtl right\nmap_Kd right.png\nnewmtl plain\nKd 0.25 0.5 0.75\n"
    )
    faces = "usemtl right\nf 1/1 2/2 3/3\nusemtl plain\nf 1/1 2/2 3/3\nusemtl left\nf 1/1 2/2 3/3\nf 1 2 3\n"
    (tmp_path / "m.obj").write_text("mtllib m.mtl\n" + QUAD + faces + "usemtl gone\nf 1/1 2/2 3/3\n")
    return tmp_path / "m.obj"


EXPECTED = [[BLUE, RED, RED], [(0.25, 0.5, 0.75)] * 3, [BLUE, WHITE, GREEN], [(1.0, 1.0, 0.0)] * 3, [WHITE] * 3]


@OF_NO_MATERIAL
def test_several_images_and_colours_in_one_mesh(two_images) -> None:
    mesh = load_objs_as_meshes([two_images])
    assert torch.allclose(corner_colors(mesh), torch.tensor(EXPECTED), atol=1e-6)
    aux = load_obj(two_images)[2]
    assert list(aux.texture_images) == ["right", "left"]
    assert [tuple(image.shape) for image in aux.texture_images.values()] == [(4, 3, 3), (2, 2, 3)]


@OF_NO_MATERIAL
def test_several_images_survive_saving(two_images, tmp_path) -> None:
    mesh = load_objs_as_meshes([two_images])
    IO().save_mesh(mesh, tmp_path / "again.obj")
    again = load_objs_as_meshes([tmp_path / "again.obj"])
    assert torch.allclose(corner_colors(again), corner_colors(mesh), atol=1 / 255)


@OF_NO_MATERIAL
def test_several_images_in_an_atlas(two_images) -> None:
    mesh = load_objs_as_meshes([two_images], create_texture_atlas=True, texture_atlas_size=64)
    assert isinstance(mesh.textures, TexturesAtlas)
    atlas = mesh.textures.atlas_packed()
    assert atlas.shape == (5, 64, 64, 3)
    # The texels nearest to the three corners: barycentric (0, 0, 1), (1, 0, 0) and (0, 1, 0).
    corners = torch.stack([atlas[:, 0, 63], atlas[:, 63, 0], atlas[:, 0, 0]], dim=1)
    assert torch.allclose(corners, torch.tensor(EXPECTED), atol=0.06)


@OF_NO_MATERIAL
def test_meshes_with_one_and_several_maps_in_one_batch(two_images, tmp_path) -> None:
    (tmp_path / "one.obj").write_text("mtllib m.mtl\nusemtl left\n" + QUAD + "f 1/1 2/2 3/3\n")
    (tmp_path / "none.obj").write_text(QUAD + "f 1 2 3\n")
    mesh = load_objs_as_meshes([tmp_path / "one.obj", two_images, tmp_path / "none.obj"])
    expected = torch.tensor([[BLUE, WHITE, GREEN], *EXPECTED, [WHITE] * 3])
    assert torch.allclose(corner_colors(mesh), expected, atol=1e-6)


def test_vertex_colours(tmp_path) -> None:
    (tmp_path / "c.obj").write_text("v 0 0 0 1 0 0\nv 1 0 0 0 0.5 0\nv 0 1 0 0 0 0.25\nf 1 2 3\n")
    (tmp_path / "b.obj").write_text("v 0 0 0 255 0 0\nv 1 0 0 0 51 0\nv 0 1 0 0 0 0\nf 1 2 3\n")
    mesh = load_objs_as_meshes([tmp_path / "c.obj", tmp_path / "b.obj"])
    assert isinstance(mesh.textures, TexturesVertex)
    expected = [[1, 0, 0], [0, 0.5, 0], [0, 0, 0.25], [1, 0, 0], [0, 0.2, 0], [0, 0, 0]]
    assert torch.allclose(mesh.textures.verts_features_packed(), torch.tensor(expected))
    assert load_objs_as_meshes([tmp_path / "c.obj"], load_textures=False).textures is None


@OF_NO_MATERIAL
def test_kinds_of_textures_that_cannot_be_one_batch(two_images, tmp_path) -> None:
    (tmp_path / "c.obj").write_text("v 0 0 0 1 0 0\nv 1 0 0 0 0.5 0\nv 0 1 0 0 0 0.25\nf 1 2 3\n")
    with pytest.raises(ValueError, match="files: expected meshes with textures of one type .* TexturesUV and"):
        load_objs_as_meshes([two_images, tmp_path / "c.obj"])


@pytest.mark.parametrize("files", [[], "mesh.obj", Path("mesh.obj")])
def test_files_must_be_a_list(files) -> None:
    with pytest.raises(ValueError, match="files: expected a list of at least one path or stream"):
        load_objs_as_meshes(files)


def test_faces_in_other_tiles_of_a_repeated_texture(tmp_path) -> None:
    write_png(tmp_path / "t.png", [[RED, GREEN], [BLUE, WHITE]])
    (tmp_path / "m.mtl").write_text("newmtl a\nmap_Kd t.png\n")
    uvs = "vt 3 -2\nvt 4 -2\nvt 4 -1\nvt 0 0\nvt 2 0\nvt 2 2\nvt 0.5 0.5\nvt -0.1 1.1\n"
    verts = "v 0 0 0\nv 1 0 0\nv 1 1 0\n"
    path = tmp_path / "m.obj"
    path.write_text("mtllib m.mtl\nusemtl a\n" + verts + uvs + "f 1/1 2/2 3/3\nf 1/7 2/7 3/8\n")
    expected = torch.tensor([[BLUE, WHITE, GREEN], [(0.5, 0.5, 0.5)] * 2 + [RED]])
    assert torch.allclose(corner_colors(load_objs_as_meshes([path])), expected)  # a little outside: clamped
    clamped = load_objs_as_meshes([path], texture_wrap="clamp")
    assert torch.allclose(corner_colors(clamped)[0], torch.tensor([WHITE] * 3))
    path.write_text("mtllib m.mtl\nusemtl a\n" + verts + uvs + "f 1/4 2/5 3/6\n")
    with pytest.warns(UserWarning, match="1 faces repeat their texture, which only a texture atlas can do"):
        load_objs_as_meshes([path])


# --- the atlas ---


def atlas_of(tmp_path, uvs: str, wrap: str | None, size: int = 8) -> torch.Tensor:
    x = np.linspace(0, 1, 33)
    image = np.stack([np.tile(x, (33, 1)), np.tile(x[::-1, None], (1, 33)), np.zeros((33, 33))], axis=-1)
    write_png(tmp_path / "ramp.png", image.tolist())
    (tmp_path / "m.mtl").write_text("newmtl a\nmap_Kd ramp.png\n")
    (tmp_path / "m.obj").write_text(f"mtllib m.mtl\nusemtl a\nv 0 0 0\nv 1 0 0\nv 1 1 0\n{uvs}f 1/1 2/2 3/3\n")
    aux = load_obj(tmp_path / "m.obj", create_texture_atlas=True, texture_atlas_size=size, texture_wrap=wrap)[2]
    return aux.texture_atlas


def texel_uvs(size: int, corners: list) -> np.ndarray:
    """Where TexturesAtlas looks for a texel: its small triangle's centre, found by looking up many points."""
    rng = np.random.default_rng(0)
    bary = rng.dirichlet([1, 1, 1], 200_000)
    cell = np.minimum((bary[:, :2] * size).astype(int), size - 1)
    upper = bary[:, :2].sum(1) * size - cell.sum(1) > 1
    cell[upper] = size - 1 - cell[upper]
    centers = np.zeros((size, size, 2))
    for y in range(size):
        for x in range(size):
            centers[y, x] = bary[(cell == (x, y)).all(1)].mean(0) @ np.array(corners)
    return centers


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_atlas_texels_lie_where_textures_atlas_reads_them(tmp_path, size: int) -> None:
    corners = [[0.1, 0.2], [0.9, 0.3], [0.4, 0.95]]
    atlas = atlas_of(tmp_path, "".join(f"vt {u} {v}\n" for u, v in corners), "repeat", size)
    assert atlas.shape == (1, size, size, 3)
    assert np.abs(atlas[0, ..., :2].numpy() - texel_uvs(size, corners)).max() < 0.012  # 8 bits and 200,000 points


def test_atlas_wrap(tmp_path) -> None:
    corners = [[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]]
    uvs = "".join(f"vt {u} {v}\n" for u, v in corners)
    centers = texel_uvs(8, corners)
    repeated = atlas_of(tmp_path, uvs, "repeat")[0, ..., :2].numpy()
    clamped = atlas_of(tmp_path, uvs, "clamp")[0, ..., :2].numpy()
    difference = np.abs(repeated - centers % 1)
    assert np.minimum(difference, 1 - difference).max() < 0.02
    assert np.abs(clamped - centers.clip(0, 1)).max() < 0.02


def test_atlas_without_a_wrap(tmp_path) -> None:
    """None takes coordinates as they are; beyond the image lies its border."""
    inside = "vt 0.1 0.2\nvt 0.9 0.3\nvt 0.4 0.95\n"
    assert torch.equal(atlas_of(tmp_path, inside, None), atlas_of(tmp_path, inside, "repeat"))
    outside = "vt 0 0\nvt 3 0\nvt 0 3\n"
    assert torch.equal(atlas_of(tmp_path, outside, None), atlas_of(tmp_path, outside, "clamp"))
    mesh = load_objs_as_meshes([tmp_path / "m.obj"], texture_wrap=None)
    assert torch.allclose(corner_colors(mesh)[0, :, :2], torch.tensor([[0.0, 0], [1, 0], [0, 1]]))


def test_atlas_without_materials_is_white_and_colours_need_no_uvs(tmp_path) -> None:
    plain = load_obj(io.StringIO(QUAD + "f 1 2 3\n"), create_texture_atlas=True, texture_atlas_size=2)[2].texture_atlas
    assert torch.equal(plain, torch.ones(1, 2, 2, 3))
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 0 0\nnewmtl b\nNs 3\n")
    (tmp_path / "m.obj").write_text("mtllib m.mtl\nv 0 0 0\nf 1 1 1\nusemtl b\nf 1 1 1\nusemtl a\nf 1 1 1\n")
    atlas = load_obj(tmp_path / "m.obj", create_texture_atlas=True, texture_atlas_size=1)[2].texture_atlas
    assert atlas[:, 0, 0].tolist() == [[1, 1, 1], [1, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texture_wrap": "mirror"}, "texture_wrap: expected 'repeat' or 'clamp', got 'mirror'"),
        ({"create_texture_atlas": True, "texture_atlas_size": 0}, "texture_atlas_size: expected at least 1, got 0"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_obj(io.StringIO(QUAD), **options)


# --- the registry, and the tutorials' cow ---


@OF_NO_MATERIAL
def test_obj_in_the_registry(two_images, tmp_path) -> None:
    mesh = IO().load_mesh(str(two_images), create_texture_atlas=True, texture_atlas_size=3)
    assert mesh.textures.atlas_packed().shape == (5, 3, 3, 3)
    with pytest.warns(UserWarning, match="textures without interpolation: no part of OBJ files, left out"):
        IO().save_mesh(mesh, tmp_path / "a.obj")
    IO().save_mesh(mesh, tmp_path / "a.obj", include_textures=False)
    assert IO().load_mesh(tmp_path / "a.obj", include_textures=False).textures is None
    assert not MeshObjFormat().save(mesh, tmp_path / "a.ply")


def test_saved_normals_are_those_that_were_given(tmp_path) -> None:
    normals = torch.nn.functional.normalize(torch.randn(3, 3), dim=1)
    IO().save_mesh(Meshes([torch.rand(3, 3)], [F], verts_normals=[normals]), tmp_path / "n.obj")
    _, faces, aux = load_obj(tmp_path / "n.obj")
    assert torch.equal(aux.normals, normals)
    assert torch.equal(faces.normals_idx, F)


def test_one_mesh_a_file(tmp_path) -> None:
    batch = Meshes([V, V], [F, F])
    for suffix in ("obj", "ply", "off"):
        with pytest.raises(ValueError, match=f"data: expected one mesh, as m.{suffix} holds one, got a batch of 2"):
            IO().save_mesh(batch, tmp_path / f"m.{suffix}")


@pytest.mark.skipif("TIRENDER_DATA" not in os.environ, reason="TIRENDER_DATA is not set: no cow")
def test_cow() -> None:
    path = Path(os.environ["TIRENDER_DATA"]) / "cow_mesh" / "cow.obj"
    verts, faces, aux = load_obj(path)
    assert verts.shape == (2930, 3)
    assert faces.verts_idx.shape == (5856, 3)
    assert aux.verts_uvs.shape == (3225, 2)
    assert aux.texture_images["material_1"].shape == (1024, 1024, 3)
    mesh = load_objs_as_meshes([str(path)], device="cpu")
    assert isinstance(mesh.textures, TexturesUV)
    assert mesh.textures.maps_padded().shape == (1, 1024, 1024, 3)
    assert torch.equal(mesh.textures.faces_uvs_padded()[0], faces.textures_idx)
    assert torch.equal(mesh.textures.verts_uvs_padded()[0], aux.verts_uvs)


def test_faces_without_coordinates_or_normals_are_saved(tmp_path) -> None:
    """-1 leaves a face's part out; what is read back and saved again is the same."""
    verts, table = torch.rand(4, 3), torch.rand(4, 3)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [1, 2, 3], [3, 2, 1]])
    uvs, normals = faces.clone(), faces.clone()
    uvs[0], uvs[3, 1], normals[1], normals[3] = -1, -1, -1, -1
    save_obj(
        tmp_path / "m.obj",
        verts,
        faces,
        verts_uvs=table[:, :2],
        faces_uvs=uvs,
        normals=table,
        faces_normals_idx=normals,
    )
    lines = [line for line in (tmp_path / "m.obj").read_text().splitlines() if line.startswith("f")]
    assert lines == ["f 1//1 2//2 3//3", "f 1/1 3/3 4/4", "f 2/2/2 3/3/3 4/4/4", "f 4 3 2"]
    _, idx, _ = load_obj(tmp_path / "m.obj")
    uvs[3] = -1
    assert torch.equal(idx.textures_idx, uvs)
    assert torch.equal(idx.normals_idx, normals)
