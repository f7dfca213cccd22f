"""OFF files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tirender.io import IO
from tirender.renderer.mesh.textures import TexturesAtlas, TexturesVertex
from tirender.structures.meshes import Meshes

SQUARE = [[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
FAN = [[0, 1, 2], [0, 2, 3]]


def load(folder: Path, text: str, **options: object) -> Meshes:
    (folder / "m.off").write_bytes(text.encode())
    return IO().load_mesh(folder / "m.off", **options)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n", id="plain"),
        pytest.param("OFF 4 1 4\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3", id="counts beside OFF"),
        pytest.param("4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n", id="no OFF"),
        pytest.param("# a\nOFF # b\n\n4 2\n0 0 0#c\n1 0 0\n \n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\nrest", id="comments"),
        pytest.param("\ufeffOFF\r\n4 1 0\r\n0 0 0\r\n1 0 0\r\n1 1 0\r\n0 1 0\r\n4 0 1 2 3\r\n", id="CRLF and BOM"),
        pytest.param("OFF\r4 1 0\r0 0 0\r1 0 0\r1 1 0\r0 1 0\r4 0 1 2 3\r", id="old Mac"),
        pytest.param("NOFF\n4 1 0\n0 0 0 0 0 1\n1 0 0 0 0 1\n1 1 0 0 0 1\n0 1 0 0 0 1\n4 0 1 2 3\n", id="normals"),
        pytest.param("COFF\n4 1 0\n0 0 0 1 0 0\n1 0 0 1 0 0\n1 1 0 1 0 0\n0 1 0 1 0 0\n4 0 1 2 3\n", id="colours"),
        pytest.param("OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2 255 0 0\n3 0 2 3\n", id="one face coloured"),
    ],
)
def test_layouts(tmp_path, text: str) -> None:
    mesh = load(tmp_path, text)
    assert mesh.verts_packed().tolist() == SQUARE
    assert mesh.faces_packed().tolist() == FAN


def test_colours_and_normals(tmp_path) -> None:
    verts = "0 0 0 {0} {1} {1} {0}\n1 0 0 {1} {0} {1} {0}\n0 1 0 {1} {1} {0} {0}\n"
    body = "3 1 0\n" + verts + "3 0 1 2 0 128 0\n"
    expected = torch.eye(3)
    for one, zero in (("255", "0"), ("1.0", "0.0")):
        with pytest.warns(UserWarning, match="m.off: face colours beside vertex colours"):
            textures = load(tmp_path, "COFF\n" + body.format(one, zero)).textures
        assert isinstance(textures, TexturesVertex)
        assert torch.equal(textures.verts_features_packed(), expected)
    assert load(tmp_path, "COFF\n" + body.format(1, 0), include_textures=False).textures is None
    faces = "OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2 255 51 0\n3 0 1 2 0 0 255 255\n"
    textures = load(tmp_path, faces).textures
    assert isinstance(textures, TexturesAtlas)
    assert torch.allclose(textures.atlas_packed()[:, 0, 0], torch.tensor([[1, 0.2, 0], [0, 0, 1]]))
    mesh = load(tmp_path, "CNOFF\n1 0 0\n1 2 3 0 1 0 0.5 0.25 1 1\n")
    assert mesh.verts_normals_packed().tolist() == [[0, 1, 0]]
    assert mesh.textures.verts_features_packed().tolist() == [[0.5, 0.25, 1]]


@pytest.mark.parametrize("as_uint8", [True, False])
@pytest.mark.parametrize("kind", [None, "vertex", "face"])
def test_round_trip(tmp_path, as_uint8: bool, kind: str | None) -> None:
    verts, faces = torch.randn(20, 3), torch.randint(0, 20, (30, 3))
    colors = {
        None: None,
        "vertex": TexturesVertex([torch.rand(20, 3)]),
        "face": TexturesAtlas([torch.rand(30, 1, 1, 3)]),
    }
    mesh = Meshes([verts], [faces], colors[kind])
    IO().save_mesh(mesh, tmp_path / "m.off", colors_as_uint8=as_uint8)
    loaded = IO().load_mesh(tmp_path / "m.off")
    assert torch.equal(loaded.verts_packed(), verts)
    assert torch.equal(loaded.faces_packed(), faces)
    assert type(loaded.textures) is type(mesh.textures)
    tolerance = 0.502 / 255 if as_uint8 else 0.0
    if kind == "vertex":
        pair = [m.textures.verts_features_packed() for m in (loaded, mesh)]
        assert torch.allclose(*pair, atol=tolerance, rtol=0)
    elif kind == "face":
        pair = [m.textures.atlas_packed() for m in (loaded, mesh)]
        assert torch.allclose(*pair, atol=tolerance, rtol=0)


def test_saved_text(tmp_path) -> None:
    mesh = Meshes([torch.tensor(SQUARE)], [torch.tensor(FAN)])
    IO().save_mesh(mesh, tmp_path / "m.off", decimal_places=1)
    expected = "OFF\n4 2 0\n0.0 0.0 0.0\n1.0 0.0 0.0\n1.0 1.0 0.0\n0.0 1.0 0.0\n3 0 1 2\n3 0 2 3\n"
    assert (tmp_path / "m.off").read_text() == expected
    with pytest.raises(ValueError, match="binary: expected None or False, as OFF is text, got True"):
        IO().save_mesh(mesh, tmp_path / "m.off", binary=True)


def test_empty_mesh(tmp_path) -> None:
    mesh = load(tmp_path, "OFF\n0 0 0\n")
    assert mesh.verts_packed().shape == (0, 3)
    IO().save_mesh(mesh, tmp_path / "again.off")
    assert IO().load_mesh(tmp_path / "again.off").faces_packed().shape == (0, 3)
