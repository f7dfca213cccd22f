"""Finding data: TIRENDER_DATA, then the assets, then a checked download (from a server on this machine)."""

from __future__ import annotations

import functools
import hashlib
import http.server
import logging
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tirender import datasets


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("TIRENDER_DATA", raising=False)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The folder of a server on the loopback interface that stands in for PyTorch3D's; downloads go to tmp_path."""
    pooch = pytest.importorskip("pooch")
    folder = tmp_path / "server"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(datasets, "BASE_URL", f"http://127.0.0.1:{httpd.server_port}/")
        monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
        yield folder
        httpd.shutdown()
        thread.join()


def write(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def write_bridge(folder: Path, **arrays: np.ndarray) -> None:
    path = folder / datasets.BRIDGE
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def test_harbour_ships_with_the_package():
    assert datasets.harbour().name == "harbour.npz"
    assert "harbour/harbour.npz" in datasets.names()


def test_creature_ships_with_the_package():
    path = datasets.creature()
    assert path.name == "creature.obj"
    assert (path.parent / "creature.mtl").is_file()
    assert (path.parent / "creature_texture.png").is_file()


def test_short_names_unless_there_is_such_a_file(tmp_path, monkeypatch):
    assert datasets.path_of("harbour") == datasets.harbour()
    assert datasets.path_of(Path("creature")) == datasets.creature()
    assert datasets.path_of("./some/cow.obj") == Path("some/cow.obj")
    monkeypatch.chdir(tmp_path)
    Path("harbour").mkdir()
    assert datasets.path_of("harbour") == Path("harbour")


def test_names_lists_assets_and_downloads():
    assert {"creature/creature.obj", "creature/creature_texture.png", *datasets.DOWNLOADS} <= set(datasets.names())


@pytest.mark.parametrize("name", ["cow", "", "../pyproject.toml", "make_creature.py"])
def test_unknown_name_lists_what_exists(name):
    with pytest.raises(ValueError, match=r"name: expected 'PittsburghBridge/pointcloud.npz' or .*'teapot/teapot.obj'"):
        datasets.find(name)


@pytest.mark.parametrize("layout", ["dolphin/dolphin.obj", "dolphin.obj"])
def test_data_folder_in_both_layouts(tmp_path, monkeypatch, layout):
    write(tmp_path, layout, b"mine")
    monkeypatch.setenv("TIRENDER_DATA", str(tmp_path))
    assert datasets.dolphin() == tmp_path / layout


def test_data_folder_comes_before_assets(tmp_path, monkeypatch):
    write(tmp_path, "creature.obj", b"mine")
    monkeypatch.setenv("TIRENDER_DATA", str(tmp_path))
    assert datasets.creature() == tmp_path / "creature.obj"


def test_assets_are_found_beside_a_data_folder_without_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TIRENDER_DATA", str(tmp_path))
    assert datasets.creature().is_file()


def test_data_folder_must_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("TIRENDER_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="TIRENDER_DATA: expected a folder, got .*nowhere"):
        datasets.teapot()


def test_without_pooch_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'tirender\[data\]', or download .*teapot.obj.*TIRENDER_DATA"):
        datasets.teapot()


def test_download_fetches_the_whole_folder_announces_itself_and_is_kept(server, monkeypatch, caplog):
    parts = {n: write(server, n, n.encode()) for n in datasets.DOWNLOADS if n.startswith("cow_mesh/")}
    assert len(parts) == 3
    monkeypatch.setattr(datasets, "DOWNLOADS", parts)
    logger = pytest.importorskip("pooch").get_logger()
    assert any(type(handler) is logging.StreamHandler for handler in logger.handlers)  # to stderr
    logger.addHandler(caplog.handler)
    try:
        path = datasets.cow()
    finally:
        logger.removeHandler(caplog.handler)
    assert "cow_mesh/cow.obj" in caplog.text
    assert sorted(p.name for p in path.parent.iterdir()) == ["cow.mtl", "cow.obj", "cow_texture.png"]
    assert path.read_bytes() == b"cow_mesh/cow.obj"

    for name in parts:  # the second time nothing is asked of the server
        (server / name).unlink()
    assert datasets.cow() == path


def test_download_with_another_hash_is_refused_and_not_kept(server, tmp_path):
    write(server, "teapot/teapot.obj", b"something else")
    with pytest.raises(ValueError, match="hash"):
        datasets.teapot()
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_download_that_fails_says_what_to_do(server):
    with pytest.raises(FileNotFoundError, match=r"dolphin.obj: the download failed \(404.*TIRENDER_DATA"):
        datasets.dolphin()


def test_bridge_is_checked_by_its_content(server):
    write_bridge(server, verts=np.zeros((5, 3)), rgb=np.zeros((5, 4)))
    with np.load(datasets.bridge()) as data:
        assert data["rgb"].shape == (5, 4)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"verts": np.zeros((5, 3)), "rgb": np.zeros((4, 4))}, r"expected arrays verts \(P, 3\) and rgb \(P, 4\), got"),
        ({"points": np.zeros((5, 3))}, r"expected arrays verts \(P, 3\) and rgb \(P, 4\), got"),
        ({"verts": np.array([{}]), "rgb": np.zeros((1, 4))}, "expected an NPZ without pickles"),
    ],
)
def test_bridge_with_other_content_is_refused_and_not_kept(server, tmp_path, arrays, message):
    write_bridge(server, **arrays)
    with pytest.raises(ValueError, match=message):
        datasets.bridge()
    assert not (tmp_path / "cache" / datasets.BRIDGE).exists()


def test_bridge_that_is_no_archive_is_refused(server):
    write(server, datasets.BRIDGE, b"<html>")
    with pytest.raises(ValueError, match="expected an NPZ without pickles"):
        datasets.bridge()
