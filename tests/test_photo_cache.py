"""Photos that took long to make ready are there for later runs, until their files change."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_capture_matrix import colmap_folder

from tirender.captures import load_capture, photo_cache, photos, shots
from tirender.io.files import decode_bytes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Any photo is slow."""
    monkeypatch.setenv("TIRENDER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(photos, "SLOW", -1.0)
    return tmp_path / "cache" / "photos"


def ready(folder: Path, downscale: float = 1.0) -> list[torch.Tensor]:
    capture = load_capture(folder, downscale=downscale)
    capture.photos.prepare("photos")
    return [capture.photos[i] for i in range(len(capture))]


def test_they_are_made_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    folder = colmap_folder(tmp_path / "scene")
    first = ready(folder)
    assert len([*cache.iterdir()]) == 1
    ready(folder, 2.0)
    assert len([*cache.iterdir()]) == 2
    with monkeypatch.context() as patch:
        patch.setattr(shots, "_made", lambda *args: pytest.fail("made again"))
        again = ready(folder)
        with pytest.raises(BaseException, match="made again"):
            ready(folder, 3.0)
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    again[0].zero_()  # a copy of the pages, not the file
    assert torch.equal(ready(folder)[0], first[0])


def test_a_changed_photo_is_made_again(tmp_path: Path, cache: Path):
    folder = colmap_folder(tmp_path / "scene")
    first = ready(folder)
    path = folder / "images" / "0.png"
    (folder / "images" / "1.png").replace(path)
    (folder / "images" / "1.png").write_bytes(path.read_bytes())
    assert not torch.equal(ready(folder)[0], first[0])
    os.utime(path, ns=(0, 0))
    ready(folder)
    assert len([*cache.iterdir()]) == 3


def test_what_is_damaged_or_does_not_fit(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    folder = colmap_folder(tmp_path / "scene")
    first = ready(folder)
    (file,) = cache.iterdir()
    n_bytes = file.stat().st_size
    file.write_bytes(b"short")
    assert torch.equal(ready(folder)[0], first[0])
    assert file.stat().st_size == n_bytes
    monkeypatch.setattr(photo_cache, "MOST_BYTES", n_bytes + n_bytes // 4)
    os.utime(file, (0, 0))
    ready(folder, 2.0)  # a quarter of the size
    assert file.exists()
    ready(folder, 1.9)
    assert {path.stat().st_size < n_bytes for path in cache.iterdir()} == {True}  # the oldest had to go
    before = {*cache.iterdir()}
    monkeypatch.setattr(photo_cache, "MOST_BYTES", 10)
    ready(folder, 3.0)
    assert {*cache.iterdir()} == before


def test_nowhere_to_keep_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = colmap_folder(tmp_path / "scene")
    monkeypatch.setenv("TIRENDER_CACHE", "off")
    ready(folder)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TIRENDER_CACHE", str(tmp_path / "file"))
    ready(folder)
    assert (tmp_path / "file").read_text() == ""
    assert not (tmp_path / "cache").exists()
    monkeypatch.delenv("TIRENDER_CACHE")
    assert photo_cache.cache_folder() == Path.home() / ".cache" / "tirender" / "photos"


def test_images_decoded_in_threads_leave_the_filters_of_warnings(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    data, before = (tmp_path / "a.png").read_bytes(), list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: decode_bytes(data, f"{i}"), range(500)))
    assert list(warnings.filters) == before
