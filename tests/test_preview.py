"""Fits that are watched: what is drawn when, the keys, a page, a video; and a window on a display of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import preview_worker
import pytest
import torch
from PIL import Image
from torch import nn
from web_client import ask
from xvfb import Program, display

from tirender import datasets
from tirender.cli import main
from tirender.fit import Checkpoint, FitConfig, FitRun, Preview, fit, load_checkpoint
from tirender.vis.dashboard import dashboard
from tirender.vis.display import Event
from tirender.vis.drawing import draw_curves, overlay, text_panel, to_picture
from tirender.vis.recorder import PICTURES_MAX, Recorder
from tirender.vis.window import NoWindow

SIZE = (360, 480)


class Screen:
    """A display that does not show, and whose user presses keys: ``keys(n)`` those before the n-th look, from 0."""

    def __init__(self, keys: Callable[[int], str] = lambda n: "", seconds: float = 0.0) -> None:
        self.keys, self.seconds = keys, seconds
        self.is_open, self.size, self.shown, self.n_looks = True, SIZE, [], 0

    def show(self, picture: np.ndarray) -> None:
        assert self.is_open
        time.sleep(self.seconds)
        self.shown.append(picture)

    def events(self) -> list[Event]:
        key = self.keys(self.n_looks)
        self.n_looks += 1
        return [Event(kind, key) for kind in ("press", "release")] if key else []

    def close(self) -> None:
        self.is_open = False


class Square(nn.Module):
    """A parameter that should be 1."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(1))


def fit_square(
    steps: int, *callbacks: object, seconds: float = 0.0, images: Callable[[], dict[str, torch.Tensor]] | None = None
) -> FitRun:
    module = Square()

    def losses(step: int) -> dict[str, torch.Tensor]:
        time.sleep(seconds)
        return {"square": (module.x - 1 + 0.01 * torch.randn(1)).square().sum()}

    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    config = FitConfig(steps, progress=False)
    return fit(losses, module, optimizer, config, callbacks=callbacks, images=images)  # type: ignore[arg-type]


def test_a_fit_is_the_same_with_and_without() -> None:
    def images() -> dict[str, torch.Tensor]:
        return {"noise": torch.rand(8, 8)}

    preview = Preview(Screen(), budget=1.0)
    watched, alone = fit_square(30, preview, seconds=0.01, images=images), fit_square(30)
    assert watched.history == alone.history
    assert len(preview.display.shown) > 2
    assert not preview.display.is_open


def test_the_images_of_the_fit_are_shown_or_ones_own() -> None:
    red, blue = torch.tensor([1.0, 0, 0]).expand(1, 8, 8, 3), torch.tensor([0, 0, 1.0]).expand(8, 8, 3)
    for own, color in ((None, [255, 0, 0]), (lambda: {"prediction": blue}, [0, 0, 255])):
        preview = Preview(Screen(), own)
        fit_square(2, preview, images=lambda: {"prediction": red})
        first, last = preview.display.shown[0], preview.display.shown[-1]
        assert (last == color).all(-1).mean() > 0.07
        assert (first != last).any()  # the step


def test_drawing_takes_its_share_of_the_time_at_most() -> None:
    cost = 0.02
    preview = Preview(Screen(seconds=cost), budget=0.1)
    start = time.perf_counter()
    fit_square(300, preview, seconds=0.005)
    elapsed = time.perf_counter() - start
    n_shown = len(preview.display.shown) - 3  # but for the first, the second and the last, which are always shown
    assert 1 <= n_shown <= 0.1 * elapsed / cost + 1


def test_pause_step_and_go_on() -> None:
    seen: list[tuple[int, bool]] = []

    def images() -> dict[str, torch.Tensor]:
        seen.append((len(preview.history.get("square", [])), preview.paused))
        return {}

    keys = {3: "space", 8: "n", 12: "n", 16: "space"}
    preview = Preview(Screen(lambda n: keys.get(n, "")), images)
    run = fit_square(30, preview)
    assert run.step == 30
    paused = [step for step, is_paused in seen if is_paused]
    assert len(paused) == 3
    assert paused == list(range(paused[0], paused[0] + 3))
    assert seen[-1] == (30, False)


def test_stopping_saves(tmp_path: Path) -> None:
    preview = Preview(Screen(lambda n: "s" if n == 7 else ""))
    run = fit_square(1000, Checkpoint(tmp_path / "checkpoint.pt", n=100), preview)
    assert 5 <= run.step <= 9
    assert run.stopped
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state is not None
    assert state["step"] == run.step
    resumed = fit_square(20, Checkpoint(tmp_path / "checkpoint.pt", n=100))
    assert resumed.history == fit_square(20).history


@pytest.mark.parametrize("key", ["q", "escape"])
def test_closing_does_not_stop(key: str) -> None:
    preview = Preview(Screen(lambda n: {2: "space", 4: key}.get(n, "")))
    run = fit_square(20, preview)
    assert run.step == 20
    assert not run.stopped
    assert not preview.display.is_open


def test_a_loop_of_ones_own(tmp_path: Path) -> None:
    calls = []

    def images() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"prediction": np.zeros((4, 4), np.uint8)}

    with Preview(Screen(lambda n: "s" if n == 5 else ""), steps=100) as preview:
        for step in range(100):
            loss = torch.tensor(1.0 / (step + 1), requires_grad=True)
            if not preview.update(step, {"loss": loss, "number": step}, images):
                break
    assert step == 5
    assert preview.history["loss"][0] == 1.0
    assert len(preview.history["number"]) <= 6
    assert 1 <= len(calls) <= 3
    assert not preview.display.is_open


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (2, 4, 4, 3), (0, 4)])
def test_bad_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images\['target'\]: expected shape \(H, W\)"):
        Preview(Screen()).update(0, {}, {"target": torch.zeros(shape)})


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="on: expected 'window' or 'web' or 'video', got 'screen'"):
        Preview("screen")
    with pytest.raises(ValueError, match="budget: expected"):
        Preview(Screen(), budget=0)


def test_no_display(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(NoWindow, match=r"expected a display, got none \(DISPLAY is not set\); --preview web and"):
        Preview()
    command = ["fit", "mesh", str(datasets.creature()), "--steps", "1", "-o", str(tmp_path)]
    assert main([*command, "--preview"]) == 2
    assert "--preview video" in capsys.readouterr().err


def test_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fit_square(3, Preview("video", path=tmp_path, size=SIZE), images=lambda: {"prediction": torch.rand(8, 8)})
    with Image.open(tmp_path / "preview.gif") as video:
        assert video.size == SIZE[::-1]
        assert video.n_frames >= 2


def test_long_videos_keep_few_pictures(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "video.gif", (8, 8))
    for i in range(4 * PICTURES_MAX):
        recorder.show(np.full((8, 8, 3), i * 255 // (4 * PICTURES_MAX), np.uint8))
    recorder.close()
    with Image.open(tmp_path / "video.gif") as video:
        assert PICTURES_MAX / 2 <= video.n_frames <= PICTURES_MAX
        video.seek(video.n_frames // 2)
        assert np.asarray(video.convert("L")).mean() == pytest.approx(128, abs=10)


def test_a_video_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["fit", "silhouette", str(datasets.creature()), "--steps", "4", "--level", "1", "--size", "24"]
    assert main([*command, "--views", "2", "-o", str(tmp_path), "--preview", "video"]) == 0, capsys.readouterr().err
    assert (tmp_path / "mesh.obj").is_file()
    assert [path.name for path in tmp_path.glob("preview.*")] in (["preview.mp4"], ["preview.gif"])


def test_a_fit_on_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    preview = Preview("web")
    address = preview.display.address
    assert address in capsys.readouterr().err
    fit_square(2, preview)
    with pytest.raises(ConnectionRefusedError):
        ask(address)


def test_dashboards() -> None:
    nothing = dashboard({}, {}, "title", 0, size=SIZE)
    assert nothing.shape == (*SIZE, 3)
    images = {"a": torch.rand(3, 5), "b": np.zeros((200, 10, 4), np.uint8), "c": torch.full((1, 1, 1), 9.0)}
    full = dashboard(images, {"loss": [1.0, 0.5]}, "title", 3, 4, "facts", "footer", SIZE)
    assert (full == 255).all(-1).sum() > 100  # c, clipped
    assert dashboard(images, {"loss": [1.0]}, "a" * 500, 10**9, 3, size=(240, 320)).shape == (240, 320, 3)


@pytest.mark.parametrize(
    "values",
    [[], [1.0], [0.0, 0.0], [-1.0, 2.0], [1e-30, 1e30], [float("nan"), 1.0], [float("inf"), 1.0], [5.0] * 9000],
)
def test_curves_of_all_kinds(values: list[float]) -> None:
    picture = np.asarray(draw_curves({"loss": values, "other": [0.1] * 5}, (300, 150)))
    assert picture.shape == (150, 300, 3)


def test_long_curves_keep_their_peaks() -> None:
    values = np.ones(100_000)
    values[54_321] = 1000.0
    with_peak = np.asarray(draw_curves({"loss": values}, (400, 200))).astype(int)
    column = 58 + (388 - 58) * 54_321 // 100_000
    blue = (with_peak[40:100, column - 3 : column + 4, 2] > 120).any(1)
    assert blue.mean() > 0.9


def test_panels_are_cut_at_the_edge() -> None:
    panel = text_panel((("heading", ""), ("name", "value")), 12)
    for x, y in ((-10, -5), (90, 95), (200, 200), (0, 0)):
        picture = np.full((100, 100, 3), 200, np.uint8)
        overlay(picture, panel, x, y)
        assert (picture != 200).any() == (x < 100)


def test_pictures_are_copies_in_bytes() -> None:
    image = torch.tensor([[-1.0, 0.5], [2.0, float("nan")]])
    assert to_picture(image)[..., 0].tolist() == [[0, 128], [255, 0]]
    array = np.zeros((2, 2, 3), np.uint8)
    to_picture(array)[:] = 1
    assert (array == 0).all()


def test_window(tmp_path: Path) -> None:
    """A fit in a window pauses, makes one step, goes on, and stops, which saves it."""

    def status() -> tuple[int, bool]:
        path = tmp_path / "status.json"
        state = json.loads(path.read_text()) if path.exists() else {"step": 0, "paused": False}
        return state["step"], state["paused"]

    with display() as name, Program(name, [preview_worker.__file__, tmp_path], tmp_path) as program:
        program.wait_for(lambda: status()[0] > 0, "a step")
        program.key("space")
        program.wait_for(lambda: status()[1], "a pause")
        time.sleep(0.5)
        step, _ = status()
        before = program.picture(480, 640)
        assert (before[50:260, 30:300] > 200).all(-1).mean() > 0.05  # the white of the silhouette
        program.key("n")
        program.wait_for(lambda: status()[0] > step, "the next step")
        time.sleep(0.5)
        assert status() == (step + 1, True)
        after = program.picture(480, 640)
        assert (after[:44, :400] != before[:44, :400]).any()  # its number
        program.key("space")
        program.wait_for(lambda: status()[0] > step + 1, "more steps")
        program.key("s")
        code, out, errors = program.end()
    assert code == 0, errors
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state is not None
    assert step + 1 < state["step"] == int(out) < 10**6
    assert not (tmp_path / "imgui.ini").exists()
