"""Animations: as many frames as were given, at their rate, in each format; nothing half-written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.vis import save_animation

KINDS = (".gif", ".png", ".webp", ".mp4")


def ramp(n: int = 4, *, height: int = 16, width: int = 24) -> torch.Tensor:
    """Frames (n, H, W, 3) from dark to light, with a red stripe at the left."""
    frames = torch.linspace(0.2, 0.8, n)[:, None, None, None].repeat(1, height, width, 3)
    frames[:, :, :8] = torch.tensor([0.8, 0.1, 0.1])
    return frames


def read(path: Path) -> tuple[np.ndarray, float]:
    """The frames (n, H, W, 3) of a file, and how many there are a second."""
    if path.suffix == ".mp4":
        ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed").get_ffmpeg_exe()
        told = subprocess.run([ffmpeg, "-i", path], capture_output=True, text=True, check=False).stderr
        (width, height, fps) = re.findall(r"Video: h264.* (\d+)x(\d+)[ ,].*?([\d.]+) fps", told)[0]
        decoding = [ffmpeg, "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
        raw = subprocess.run(decoding, capture_output=True, check=True).stdout
        return np.frombuffer(raw, np.uint8).reshape(-1, int(height), int(width), 3), float(fps)
    with Image.open(path) as image:
        frames, duration = [], 0
        for i in range(image.n_frames):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
            duration += image.info["duration"]
        return np.stack(frames), 1000 * len(frames) / duration


@pytest.fixture(params=KINDS)
def path(request, tmp_path):
    if request.param == ".mp4":
        pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    return tmp_path / f"film{request.param}"


def test_frames_come_back(path):
    frames = ramp()
    save_animation(frames, path, fps=10)
    again, fps = read(path)
    assert fps == pytest.approx(10)
    assert again.shape == (4, 16, 24, 3)
    assert (
        np.abs(again - 255 * frames.numpy())[:, :, [0, 1, 2, 3, 15, 20, 23]].max() < 12
    )  # compressed, not at the edge
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_generator_will_do(path):
    save_animation((frame for frame in ramp(5)), path)
    assert len(read(path)[0]) == 5


@pytest.mark.parametrize("frames", [ramp()[..., 0], ramp()[..., :1].numpy(), (255 * ramp()[..., :1]).byte()])
def test_grey_and_bytes(tmp_path, frames):
    save_animation(frames, tmp_path / "film.png")
    np.testing.assert_allclose(read(tmp_path / "film.png")[0], (255 * ramp()[..., :1].numpy()).repeat(3, -1), atol=1)


def test_values_are_clipped_and_one_frame_is_enough(tmp_path):
    save_animation([np.array([[-1.0, 0.5], [2.0, np.nan]])], tmp_path / "film.png")
    with Image.open(tmp_path / "film.png") as image:
        assert np.asarray(image)[..., 0].tolist() == [[0, 128], [255, 0]]


def test_odd_sides_of_a_video_are_filled_up(tmp_path):
    pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    save_animation(ramp(3, height=15, width=23), tmp_path / "film.mp4")
    assert read(tmp_path / "film.mp4")[0].shape == (3, 16, 24, 3)


def test_a_failure_leaves_the_old_file(path):
    def frames():
        yield from ramp(2)
        raise KeyboardInterrupt

    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        save_animation(frames(), path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("frames", "name", "fps", "message"),
    [
        (ramp(), "film.avi", 10, "path's ending: expected '.gif' or .*, got '.avi'"),
        ([], "film.gif", 10, "frames: expected at least one, got none"),
        (ramp(), "film.gif", 0, "fps: expected a number above 0, at most 1000, got 0"),
        (torch.zeros(2, 4, 4, 2), "film.gif", 10, r"frames\[0\]: expected shape \(H, W, 3\), .*, got \(4, 4, 2\)"),
        (torch.zeros(2, 0, 4, 3), "film.gif", 10, r"frames\[0\]: expected shape"),
        ([torch.zeros(4, 4), torch.zeros(4, 5)], "film.gif", 10, r"frames\[1\]: .*\(4, 4\), .*, got \(4, 5\)"),
        (torch.zeros(2, 4, 4, dtype=torch.int64), "film.gif", 10, r"frames\[0\]: expected floats or uint8, got int64"),
    ],
)
def test_bad_input(tmp_path, frames, name, fps, message):
    with pytest.raises(ValueError, match=message):
        save_animation(frames, tmp_path / name, fps)
    assert not list(tmp_path.iterdir())


def test_a_missing_encoder_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r"MP4 needs imageio-ffmpeg: pip install 'tirender\[video\]'"):
        save_animation(ramp(), tmp_path / "film.mp4")
