"""``tirender fit``: what it writes, resumed too, and one clear line for every mistake."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from gltf_files import GltfBuilder
from gltf_validator import assert_valid
from test_transforms_json import write_folder

from tirender.cli import main
from tirender.commands.fit_folder import locked
from tirender.fit import render_views
from tirender.fit_kinds.targets import load_mesh_target, load_views_and_held_out, load_views_target
from tirender.io import IO, save_ply
from tirender.io.reading import read_mesh_file
from tirender.renderer import TexturesUV, TexturesVertex
from tirender.utils import torus

FEW = ("--steps", "6", "--level", "1", "--every", "3", "--checkpoint", "2")


def fit(*args: object) -> int:
    return main(["fit", *map(str, args)])


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """A coloured ring away from the origin."""
    mesh = torus(0.3, 1.0, 10, 20)
    mesh.textures = TexturesVertex(mesh.verts_padded() / 3 + 0.5)
    path = tmp_path / "ring.ply"
    IO().save_mesh(mesh.scale_verts(2.0).offset_verts(torch.tensor([5.0, 6, 7])), path)
    return path


def check_results(folder: Path, names: set[str]) -> dict:
    """losses.json, once all the files are seen to be there and no figure blank."""
    figures = {"iter_00000.png", "iter_00003.png", "comparison.png", "losses.png"}
    others = {"mesh.obj", "losses.json", "checkpoint.pt", "checkpoint.previous.pt", *names}
    assert {path.name for path in folder.iterdir()} == figures | others
    assert all(np.ptp(plt.imread(folder / name)) > 0.5 for name in figures)
    return json.loads((folder / "losses.json").read_text("utf-8"))


def test_to_a_mesh(tmp_path: Path, ring: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert fit("mesh", ring, "-o", out, *FEW) == 0
    facts = check_results(out, set())
    assert list(facts["losses"]) == ["chamfer", "edge", "normal", "laplacian", "total"]
    assert capsys.readouterr().out.startswith(
        f"{out}: mesh.obj after 6 steps; chamfer {facts['losses']['chamfer']:.6f}"
    )
    assert facts["quality"]["chamfer"] == pytest.approx(facts["losses"]["chamfer"], rel=0.3)
    verts = IO().load_mesh(out / "mesh.obj").verts_packed()
    assert verts.shape == (42, 3)
    assert (verts.mean(0) - torch.tensor([5.0, 6, 7])).abs().max() < 0.3
    assert 1.2 < float((verts - verts.mean(0)).abs().max()) < 2.7  # the ring's is 2.6, the sphere's 2.6 and shrinking


@pytest.mark.parametrize("of_folder", [False, True])
def test_to_silhouettes(tmp_path: Path, ring: Path, of_folder: bool) -> None:
    source, out = ring, tmp_path / "out"
    if of_folder:
        mesh = IO().load_mesh(ring)
        source = tmp_path / "photos"
        shown = mesh.offset_verts(torch.tensor([-5.0, -6, -7])).scale_verts(0.4)
        write_folder(source, render_views(shown, 4, 32), scale=2.5)
    views = () if of_folder else ("--views", 4)
    assert fit("silhouette", source, "-o", out, *views, "--size", 24, *FEW) == 0
    facts = check_results(out, set())
    assert list(facts["losses"]) == ["silhouette", "edge", "normal", "laplacian", "total"]
    assert 0 < facts["quality"]["silhouette_iou"] < 1
    centre = IO().load_mesh(out / "mesh.obj").verts_packed().mean(0)
    expected = torch.tensor([1.0, 2, 3] if of_folder else [5.0, 6, 7])
    assert (centre - expected).abs().max() < 0.7


@pytest.mark.parametrize("texture", ["vertex", "uv"])
def test_to_images(tmp_path: Path, ring: Path, texture: str) -> None:
    out = tmp_path / "out"
    assert fit("images", ring, "-o", out, "--views", 4, "--size", 24, "--texture", texture, *FEW) == 0
    facts = check_results(out, {"mesh.mtl", "mesh.png"})
    assert list(facts["losses"]) == ["rgb", "silhouette", "edge", "normal", "laplacian", "total"]
    assert facts["settings"]["texture"] == texture
    assert facts["quality"]["image_psnr"] > 3
    assert isinstance(IO().load_mesh(out / "mesh.obj").textures, TexturesUV)


def test_to_photos(tmp_path: Path) -> None:
    mesh = torus(0.3, 1.0, 10, 20)
    mesh.textures = TexturesVertex(mesh.verts_padded() / 3 + 0.5)
    write_folder(tmp_path / "photos", render_views(mesh, 4, 32))
    out = tmp_path / "out"
    assert fit("images", tmp_path / "photos", "-o", out, *FEW) == 0
    facts = check_results(out, {"mesh.mtl", "mesh.png", "results.html", "flight.mp4"})
    page = (out / "results.html").read_text("utf-8")
    assert page.count("data:image/jpeg") == 2 * 4
    psnrs = [float(row.split(" dB")[0]) for row in re.findall(r"<td>(\d+\.\d+ dB)", page)]
    mean = -10 * math.log10(sum(10 ** (-x / 10) for x in psnrs) / 4)  # of the squared errors
    assert mean == pytest.approx(facts["quality"]["image_psnr"], abs=0.01)


@pytest.mark.parametrize("texture", ["vertex", "uv"])
def test_exported_it_is_where_the_source_is(
    tmp_path: Path, ring: Path, texture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mesh as GLB, with its colours and the cameras of the views; converting the folder gives the same file."""
    out, glb = tmp_path / "out", tmp_path / "to" / "ring.glb"
    words = ("--size", "24", "--views", "3", "--texture", texture, *FEW)
    assert fit("images", ring, "-o", out, "--export", glb, *words) == 0
    n_textures = ", 1 texture" if texture == "uv" else ""
    assert capsys.readouterr().out.splitlines()[-1] == f"{glb}: 80 faces{n_textures}, 3 cameras"
    assert_valid(glb)
    read, written = read_mesh_file(glb), read_mesh_file(out / "mesh.obj")
    assert np.allclose(read.verts[read.faces], written.verts[written.faces], atol=1e-5)
    assert read.normals is not None
    assert (read.verts_rgba is None) == (texture == "uv")
    middle = read.verts.mean(0)
    for camera in read.cameras:
        towards = middle - camera.matrix[:3, 3]
        assert -camera.matrix[:3, 2] @ towards / np.linalg.norm(towards) > 0.9
    again = tmp_path / "again.glb"
    assert main(["convert", str(out), str(again)]) == 0
    there, back = read_mesh_file(glb), read_mesh_file(again)
    assert np.array_equal(there.verts, back.verts)
    assert np.array_equal(there.faces, back.faces)
    assert len(back.cameras) == 3


def test_what_cannot_be_exported_is_told_before_the_fit(
    tmp_path: Path, ring: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (("--export", tmp_path / "a.xyz"), "--export: expected a file that ends in .glb"),
        (("--export", ring), f"--export: expected another file than those that {ring} reads"),
        (("--bake", 64), "--bake: expected --export with it"),
    ):
        assert fit("mesh", ring, "-o", tmp_path / "out", *FEW, *words) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    pytest.importorskip("xatlas")
    for kind, ending in (("splats", "ply"), ("volume", "npz")):
        assert fit(kind, ring, "-o", tmp_path / "out", "--export", tmp_path / f"a.{ending}", "--bake", 64) == 2
        assert "--bake: expected an --export of a surface, got " in capsys.readouterr().err


def test_a_mesh_without_colours_is_grey(tmp_path: Path) -> None:
    IO().save_mesh(torus(0.3, 1.0, 10, 20), tmp_path / "ring.obj")
    assert fit("images", tmp_path / "ring.obj", "-o", tmp_path / "out", "--views", 2, "--size", 16, *FEW) == 0


def test_resumed_it_gives_the_same_mesh(tmp_path: Path, ring: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    args = ("silhouette", ring, "--views", 4, "--size", 24, "--level", 1, "--checkpoint", 2, "--every", 3)
    assert fit(*args, "-o", whole, "--steps", 7) == 0
    assert fit(*args, "-o", parts, "--steps", 4) == 0
    assert fit(*args, "-o", parts, "--steps", 7, "--resume") == 0
    assert (whole / "mesh.obj").read_bytes() == (parts / "mesh.obj").read_bytes()
    assert (whole / "losses.json").read_bytes() == (parts / "losses.json").read_bytes()
    capsys.readouterr()
    assert fit(*args, "-o", parts, "--steps", 2, "--resume") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{parts}: mesh.obj after 7 steps")
    assert printed.err == f"tirender: {parts}: has 7 steps already, none were made\n"
    assert (whole / "mesh.obj").read_bytes() == (parts / "mesh.obj").read_bytes()


def test_resuming_another_fit_is_refused_in_words(
    tmp_path: Path, ring: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("silhouette", ring, "-o", tmp_path / "out", "--views", 4, "--size", 24, *FEW)
    assert fit(*args) == 0
    other = tmp_path / "other.ply"
    IO().save_mesh(torus(0.5, 1.0, 10, 20), other)
    for changed, difference in (
        ((*args, "--seed", 1), "seed 1 instead of 0"),
        ((args[0], other, *args[2:]), f"source {other} instead of {ring}"),
        ((*args, "--views", 5), "views 5 instead of 4"),
        (("images", *args[1:]), "kind images instead of silhouette"),
    ):
        assert fit(*changed, "--resume") == 2
        error = capsys.readouterr().err
        assert "checkpoint.pt: expected the settings that its fit was started with, got " in error
        assert difference in error
        assert "digest" not in error
    assert fit(*args, "--seed", 1, "--steps", 9, "--resume") == 2
    assert capsys.readouterr().err.endswith("got seed 1 instead of 0\n")
    ring.write_bytes(other.read_bytes())
    assert fit(*args, "--resume") == 2
    assert capsys.readouterr().err.endswith("got a source whose content has changed\n")


def test_a_folder_with_anything_in_it_is_left_alone(
    tmp_path: Path, ring: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("mesh", ring, *FEW)
    out = tmp_path / "out"
    assert fit(*args, "-o", out) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert fit(*args, "-o", out, "--seed", 1) == 2
    assert f"{out}: expected a folder without a fit, got one with a fit; --resume continues" in capsys.readouterr().err
    assert fit(*args, "-o", tmp_path) == 2
    assert "expected an empty or new folder, got one with 2 files, such as out; name another" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    monkeypatch.chdir(tmp_path / "out")
    for i, name in enumerate(("fit_mesh", "fit_mesh_2", "fit_mesh_3")):
        assert fit(*args, "--seed", i) == 0
        assert capsys.readouterr().out.startswith(f"{Path('out', name)}: mesh.obj after 6 steps")
    assert fit(*args, "--seed", 2, "--resume") == 0
    assert capsys.readouterr().out.startswith(f"{Path('out', 'fit_mesh_3')}: ")


def test_two_fits_in_one_folder(tmp_path: Path, ring: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(tmp_path / "out"):
        assert fit("mesh", ring, "-o", tmp_path / "out", *FEW) == 2
    assert "got one that another fit is writing to" in capsys.readouterr().err
    assert fit("mesh", ring, "-o", tmp_path / "out", *FEW) == 0


def test_without_a_checkpoint_there_is_nothing_to_resume(
    tmp_path: Path, ring: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("mesh", ring, "-o", tmp_path / "out", *FEW, "--resume") == 0
    assert "no checkpoint to resume from, starting" in capsys.readouterr().err


def test_progress_in_lines_where_there_is_no_terminal(
    tmp_path: Path, ring: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tirender.progress.SECONDS", 0.0)
    monkeypatch.setattr("tirender.progress.SHARE", 0.0)
    assert fit("mesh", ring, "-o", tmp_path / "out", *FEW) == 0
    printed = capsys.readouterr()
    line = rf"fit mesh 3 of 6 \(50 %\); total \d\.\d+, chamfer .*; \d+ s left; {tmp_path}/out"
    assert re.search(line, printed.out)
    assert "it/s" not in printed.err


def test_a_fit_that_stops_leaves_what_it_has(
    tmp_path: Path, ring: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tirender.fit.rendering as module

    calls = []

    def break_at_4(mesh):
        calls.append(mesh)
        return {"edge": mesh.verts_packed().sum() * (float("nan") if len(calls) == 5 else 0)}

    monkeypatch.setattr(module, "shape_losses", break_at_4)
    monkeypatch.setattr(module.SilhouetteConfig, "weights", {})
    out = tmp_path / "out"
    assert fit("silhouette", ring, "-o", out, "--views", 4, "--size", 24, *FEW) == 2
    assert "step 4: the loss edge is nan; stopped, with the parameters of step 3" in capsys.readouterr().err
    facts = check_results(out, set())
    assert facts["steps"] == 4
    assert IO().load_mesh(out / "mesh.obj").verts_packed().isfinite().all()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["mesh", "missing.obj"], "missing.obj: No such file or directory"),
        (["mesh", "point.obj"], "point.obj: expected finite vertices that are not all one point"),
        (["mesh", "cloud.obj"], "cloud.obj: expected at least one face, got none"),
        (["images", "."], "transforms.json: No such file or directory"),
        (["silhouette", "bad.json"], "bad.json: expected JSON"),
    ],
)
def test_sources_that_cannot_be_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("point.obj").write_text("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n")
    Path("cloud.obj").write_text("v 1 1 1\n")
    Path("bad.json").write_text("{")
    assert fit(*args, *FEW) == 2
    error = capsys.readouterr().err
    assert error.startswith("tirender fit: ")
    assert message in error
    assert error.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "tirender fit: expected KIND"),
        (["mesh"], "tirender fit mesh: expected TARGET"),
        (["mesh", "a.obj", "--steps", "0"], "--steps: expected 1 or more steps, got '0'"),
        (["images", "a.obj", "--texture", "atlas"], "--texture: expected vertex, uv, got 'atlas'"),
    ],
)
def test_arguments_that_cannot_be_read(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        fit(*args)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["mesh", "images"])
def test_a_source_that_is_not_there_is_told_by_its_name(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", kind, "photos"]) == 2
    assert capsys.readouterr().err == "tirender fit: photos: No such file or directory\n"


FAR = np.array([4123456.75, -5234567.5, 321.0])


def far_ring(folder: Path, shift: np.ndarray = FAR) -> Path:
    """A ring of radius 2.6 in double precision."""
    mesh = torus(0.3, 1.0, 10, 20).scale_verts(2.0)
    path = folder / "far.ply"
    save_ply(path, mesh.verts_packed().double() + torch.from_numpy(shift), mesh.faces_packed())
    return path


@pytest.mark.parametrize("kind", ["mesh", "silhouette", "images"])
def test_to_a_mesh_far_from_the_origin(tmp_path: Path, kind: str) -> None:
    """Digits of the file's coordinates come back, as those of the same fit near the origin."""
    written = []
    for shift in (FAR, np.zeros(3)):
        out = tmp_path / f"out_{shift[0]:.0f}"
        views = () if kind == "mesh" else ("--views", 4, "--size", 24)
        assert fit(kind, far_ring(tmp_path, shift), "-o", out, *FEW, *views) == 0
        written.append(read_mesh_file(out / "mesh.obj").verts - shift)
    assert np.abs(written[0]).max() < 4
    assert np.abs(written[0] - written[1]).max() < 1e-4
    assert written[0].std() > 0.3


def test_meshes_of_volumes_go_far_away_too(tmp_path: Path) -> None:
    target = load_views_and_held_out({"source": str(far_ring(tmp_path)), "size": 16, "views": 2}, "cpu")
    sphere = torus(0.3, 1.0, 10, 20)
    IO().save_mesh(target.put_back(sphere), tmp_path / "mesh.ply")
    back = (read_mesh_file(tmp_path / "mesh.ply").verts - FAR) / target.scale
    assert np.abs(back - sphere.verts_packed().numpy()).max() < 1e-6


def test_views_of_a_mesh_show_what_render_shows(tmp_path: Path) -> None:
    """Red glows, is half transparent and lit on both sides; a fit of the shape takes the vertices as in the file."""
    builder = GltfBuilder()
    material = builder.add(
        "materials",
        {
            "pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 0.5]},
            "emissiveFactor": [1, 0, 0],
            "alphaMode": "BLEND",
            "doubleSided": True,
        },
    )
    verts = [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, 1, 0]]
    indices = builder.array([0, 1, 2, 4, 5, 3], "u2")
    builder.mesh({"attributes": {"POSITION": builder.array(verts)}, "indices": indices, "material": material})
    (tmp_path / "m.glb").write_bytes(builder.glb())
    target = load_views_target({"source": str(tmp_path / "m.glb"), "size": 32, "views": 2}, "cpu")
    assert target.views.silhouettes.unique().tolist() == [0, 0.5]
    image = target.views.images[0, 16, 16]
    highlight = image[1] - 0.5  # half of the white background shines through
    assert 0 <= float(highlight) < 0.11
    torch.testing.assert_close(image, torch.tensor([1.0, 0.5, 0.5]) + highlight)
    shape = load_mesh_target(str(tmp_path / "m.glb"), "cpu", {})
    assert shape.mesh.verts_packed().shape == (6, 3)
    assert shape.mesh.textures is None
