"""Fits on a page that are turned while they run: what is shown, what it costs, and that the fit does not notice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from web_client import WebClient

from tirender import cli, datasets
from tirender.fit import FitConfig, FitRun, fit, render_views
from tirender.fit.views import camera_record
from tirender.renderer import TexturesVertex, look_at_view_transform
from tirender.scenes.base import Look, Scene
from tirender.scenes.cameras import SceneCamera, from_views, frusta_of
from tirender.scenes.live import LivePreview
from tirender.scenes.viewer import Viewer
from tirender.utils import ico_sphere
from tirender.vis.display import Event


class Noise(nn.Module):
    """A parameter that should be 1, of which dropout leaves nothing now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(1))
        self.dropout = nn.Dropout(0.2)

    def forward(self) -> torch.Tensor:
        return self.dropout(self.x)


class Grey(Scene):
    """As bright as the parameter, and drawn slowly."""

    shaders = ("color",)
    supersample = 1
    facts = "a parameter"
    device = torch.device("cpu")

    def __init__(self, value: torch.Tensor, pause: float = 0.0) -> None:
        self.value, self.pause = value, pause

    def draw(self, cameras: Any, shader: str, look: Look) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        torch.rand(3)
        time.sleep(self.pause)
        return torch.cat([self.value.expand(1, *look.image_size, 3), torch.ones(1, *look.image_size, 1)], dim=3)

    def depth(self, cameras: Any, image_size: tuple[int, int]) -> torch.Tensor:
        return torch.full((1, *image_size), torch.inf)


def fit_noise(steps: int, *callbacks: Any, seconds: float = 0.0) -> FitRun:
    module = Noise()

    def losses(step: int) -> dict[str, torch.Tensor]:
        assert module.training
        time.sleep(seconds)
        return {"square": (module() - 1).square().sum()}

    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    return fit(losses, module, optimizer, FitConfig(steps, progress=False), callbacks=callbacks)


def grey(pause: float = 0.0) -> Callable[[nn.Module], Scene]:
    return lambda module: Grey(module().clone(), pause)


def watched(preview: LivePreview, what: Callable[[WebClient], None]) -> tuple[threading.Thread, list[BaseException]]:
    """A thread in which a browser opens the page, and does something; and its errors."""
    errors: list[BaseException] = []

    def watch() -> None:
        try:
            with WebClient(preview._page.address) as browser:
                what(browser)
        except (EOFError, OSError):  # the fit has ended
            pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread, errors


def test_a_fit_is_the_same_with_and_without_somebody_who_turns_it() -> None:
    preview = LivePreview(grey(), "noise")
    n_pictures = []

    def turn(browser: WebClient) -> None:
        browser.say(events=[{"kind": "press", "key": "arrow_right"}])
        for _ in range(1000):
            n_pictures.append(browser.hear("picture"))

    thread, errors = watched(preview, turn)
    run = fit_noise(100, preview, seconds=0.005)
    thread.join(30)
    assert not errors
    assert len(n_pictures) >= 2
    assert run.history == fit_noise(100).history
    assert run.module.training


def test_pictures_take_their_share_of_the_time_at_most() -> None:
    class Timed(LivePreview):
        seconds = 0.0

        def _between(self) -> None:
            began = time.perf_counter()
            super()._between()
            self.seconds += time.perf_counter() - began

    preview = Timed(grey(0.01), "noise")

    def drag(browser: WebClient) -> None:
        browser.say(events=[{"kind": "press", "key": "mouse_left"}])
        for i in range(10_000):
            browser.say(events=[{"kind": "move", "x": i % 9 / 9}, {"kind": "press", "key": "p"}])
            time.sleep(0.01)

    thread, _ = watched(preview, drag)
    began = time.perf_counter()
    fit_noise(700, preview, seconds=0.003)
    elapsed = time.perf_counter() - began
    thread.join(30)
    assert 0.02 * elapsed < preview.seconds < 0.1 * elapsed


def test_a_newcomer_does_not_wait_for_the_next_pictures() -> None:
    class Late(LivePreview):
        def _between(self) -> None:
            if self._scene is not None:
                self._next = time.perf_counter() + 100
            super()._between()

    preview = Late(grey(), "noise")
    heard = []

    def look(browser: WebClient) -> None:
        heard.append(browser.hear("picture"))

    thread, errors = watched(preview, look)
    fit_noise(400, preview, seconds=0.005)
    thread.join(30)
    assert not errors
    assert heard


def test_pause_step_and_stop() -> None:
    preview = LivePreview(grey(), "noise")
    seen: list[dict[str, Any]] = []

    def use(browser: WebClient) -> None:
        browser.hear("picture")
        browser.press("space")
        while not (board := browser.hear("board")[0])["paused"]:
            pass
        seen.append(board)
        browser.press("n")
        seen.append(browser.hear("board")[0])
        browser.press("s")
        browser.hear("end")

    thread, errors = watched(preview, use)
    run = fit_noise(10**6, preview, seconds=0.003)
    thread.join(30)
    assert not errors
    assert run.stopped
    assert [board["paused"] for board in seen] == [True, True]
    assert run.step == seen[1]["step"] == seen[0]["step"] + 1


def test_nobody_watches() -> None:
    def scene(module: nn.Module) -> Scene:
        raise AssertionError("nobody sees it")

    fit_noise(20, LivePreview(scene))


def views(n: int = 3) -> Any:
    sphere = ico_sphere(1)
    sphere.textures = TexturesVertex(sphere.verts_padded() / 2 + 0.5)
    return render_views(sphere, n, 16)


def test_frusta() -> None:
    of_views = views()
    frusta = torch.tensor(frusta_of(from_views(camera_record(of_views))))
    assert frusta.shape == (3, 5, 3)
    torch.testing.assert_close(frusta[:, 0], of_views.cameras.get_camera_center())
    corners = of_views.cameras.transform_points_ndc(frusta[:, 1:])[..., :2]
    torch.testing.assert_close(corners.abs(), torch.ones_like(corners), atol=1e-4, rtol=0)
    assert (frusta[:, 1:].mean(1).norm(dim=1) < frusta[:, 0].norm(dim=1)).all()  # they look at the origin


def test_frusta_of_other_cameras() -> None:
    assert frusta_of([]) == []
    flat = SceneCamera("", torch.eye(3), torch.tensor([0.0, 0.0, 2.0]), (0.5, 0.5), aspect=2.0, is_orthographic=True)
    eye, *corners = torch.tensor(frusta_of([flat])[0])
    assert eye.tolist() == [0, 0, -2]
    assert corners[0][:2].tolist() == [4, 2]  # half its picture, in units of the scene


def test_looking_through_a_camera_and_going_on_from_there() -> None:
    R, T = look_at_view_transform(3.0, 25.0, torch.tensor([10.0, 70.0]), at=((0.1, 0.2, 0.0),))
    cameras = [SceneCamera("", R[i], T[i], (2.5, 2.5), aspect=2.0) for i in range(2)]
    viewer = Viewer(Grey(torch.ones(1)), cameras=cameras)
    assert viewer.notes().frusta
    for key in ("camera_7", "camera_-1", "camera_x", "camera_", "camera_99999999999999999999"):
        viewer.handle([Event("press", key)])
        assert viewer.through is None
    viewer.handle([Event("press", "camera_1")])
    picture = viewer.picture((100, 100))
    assert picture is not None
    assert picture.shape == (50, 100, 3)
    assert torch.equal(viewer._current((50, 100)).T, T[1:])
    assert dict(viewer.notes().facts)["camera"] == "number 1"

    points = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.2, 0.0], [0.4, -0.3, 0.2]])
    before = viewer._current((50, 100)).transform_points_ndc(points)[..., :2]
    viewer.handle([Event("press", "mouse_left"), Event("move", "", 0.0, 0.0)])
    assert viewer.through is None
    after = viewer._current((50, 100)).transform_points_ndc(points)[..., :2]
    torch.testing.assert_close(after, before, atol=0.1, rtol=0)  # another field of view, but the same place
    assert viewer.picture((100, 100)) is not None
    viewer.handle([Event("press", "c")])
    assert not viewer.notes().frusta


def test_from_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The page of a fit has its cameras and what is fitted; stopping there writes everything, and nothing more."""
    heard: dict[str, Any] = {}

    def use() -> None:
        text = ""
        while "guests" not in text:
            time.sleep(0.05)
            text += capfd.readouterr().err
        with WebClient(text.split("tirender: open ")[1].split()[0]) as browser:
            heard["frusta"] = browser.hear("facts")[0]["frusta"]
            heard["facts"] = dict(browser.hear("picture")[0]["facts"])
            browser.press("camera_1")
            while heard["facts"]["camera"] != "number 1":
                heard["facts"] = dict(browser.hear("picture")[0]["facts"])
            browser.press("s")
            heard["end"] = browser.hear("end")

    thread = threading.Thread(target=use)
    thread.start()
    command = ["fit", "silhouette", str(datasets.creature()), "--size", "24", "--views", "3", "--steps", "9999"]
    assert cli.main([*command, "--level", "2", "--preview", "web", "--port", "0", "-o", str(tmp_path)]) == 0
    thread.join(30)
    assert len(heard["frusta"]) == 3
    assert heard["facts"]["scene"] == "320 faces"
    assert "end" in heard
    assert json.loads((tmp_path / "losses.json").read_text())["steps"] < 9999
    assert "Traceback" not in capfd.readouterr().err
