"""tirender view: its camera, its keys, how well it draws when; and the window itself, on a display of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from xvfb import CLI, Program, display

from tirender import datasets
from tirender.cli import main
from tirender.scenes import MeshScene, load_scene
from tirender.scenes.base import Look, Scene
from tirender.scenes.controls import CONTROLS, FIT_CONTROLS, FIT_HELP, HELP, VIEWS
from tirender.scenes.saved_pictures import saver
from tirender.scenes.shots import place_in
from tirender.scenes.viewer import BACKGROUNDS, Viewer
from tirender.utils import ico_sphere
from tirender.vis.display import NO_NOTES, Event, Notes
from tirender.vis.drawing import write_notes
from tirender.vis.orbit import ELEVATION_MAX, OrbitCamera
from tirender.vis.window import NoWindow, Window


def seen(camera: OrbitCamera, point: torch.Tensor) -> torch.Tensor:
    """Where a point (3,) is on the screen, in short sides from its middle, to the right and up."""
    x, y = camera.cameras().transform_points_ndc(point[None])[0, :2]
    return torch.stack([-x, y]) / 2


def test_the_first_view_holds_the_scene() -> None:
    camera = OrbitCamera((1.0, 2.0, 3.0), 5.0)
    points = torch.tensor([1.0, 2.0, 3.0]) + 5 * torch.nn.functional.normalize(torch.randn(1000, 3), dim=1)
    where = camera.cameras().transform_points_ndc(points)[:, :2].abs()
    assert 0.9 < where.max() <= 1


def test_what_is_panned_follows_the_cursor() -> None:
    camera = OrbitCamera(azimuth=37, elevation=-20)
    camera.pan(0.25, -0.125)
    torch.testing.assert_close(seen(camera, torch.zeros(3)), torch.tensor([0.25, -0.125]))
    camera.pan(-0.25, 0.125)
    torch.testing.assert_close(camera.target, torch.zeros(3), atol=1e-6, rtol=0)


def test_what_is_orbited_follows_the_cursor() -> None:
    camera = OrbitCamera(azimuth=0, elevation=0)
    nearest = torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(seen(camera, nearest), torch.zeros(2))
    camera.orbit(0.1, 0.05)
    right, up = seen(camera, nearest)
    assert right > 0.1
    assert up > 0.05
    camera.orbit(0.9, -2)
    assert camera.azimuth == pytest.approx(180)
    assert camera.elevation == ELEVATION_MAX
    torch.testing.assert_close(camera.target, torch.zeros(3))


def test_zoom_and_reset() -> None:
    camera = OrbitCamera()
    first, before = camera.cameras().T, camera.distance
    camera.zoom(2)
    assert camera.distance == before / 2
    camera.zoom(1e9)
    assert 0 < camera.distance < 0.1
    assert camera.cameras().znear < camera.distance
    camera.orbit(0.3, 0.3)
    camera.pan(1, 1)
    camera.reset()
    assert torch.equal(camera.cameras().T, first)


def test_the_light_is_beside_the_camera() -> None:
    camera = OrbitCamera(azimuth=0, elevation=0)
    torch.testing.assert_close(camera.beside(0, 0, 1.0), camera.cameras().get_camera_center())
    x, y, z = camera.beside(30, 20, 1.0)[0]
    assert x > 0  # to the right of who looks along -Z
    assert y > 0
    assert 0 < z < camera.distance
    assert camera.beside(0, 500).isfinite().all()


@pytest.mark.parametrize(("kwargs", "name"), [({"radius": 0.0}, "radius"), ({"fov": 180.0}, "fov")])
def test_bad_cameras(kwargs: dict, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected"):
        OrbitCamera(**kwargs)


class Ball(Scene):
    """A scene that counts samples, each of which takes its time."""

    shaders = ("color", "depth")
    supersample = 3
    facts = "a ball"
    device = torch.device("cpu")

    def __init__(self, seconds_a_sample: float = 0.0) -> None:
        self.seconds = seconds_a_sample
        self.looks: list[Look] = []

    def draw(self, cameras: object, shader: str, look: Look) -> torch.Tensor:
        self.looks.append(look)
        height, width = look.image_size
        time.sleep(self.seconds * height * width)
        return torch.tensor([0.5, 0.5, 0.5, 1.0]).expand(1, height, width, 4)

    def depth(self, cameras: object, image_size: tuple[int, int]) -> torch.Tensor:
        raise NotImplementedError


class Screen:
    """A display that plays events, a list for each time it is asked."""

    is_ready, density = True, 1.0

    def __init__(self, *script: list[Event]) -> None:
        self.script, self.is_open, self.size, self.shown = list(script), True, (64, 96), []
        self.notes: list[Notes] = []

    def show(self, picture: np.ndarray | None, notes: Notes = NO_NOTES) -> None:
        self.notes.append(notes)
        if picture is not None:
            self.shown.append(picture)

    def events(self) -> list[Event]:
        return self.script.pop(0) if self.script else press("q")

    def close(self) -> None:
        self.is_open = False


def press(*keys: str) -> list[Event]:
    return [Event(kind, key) for key in keys for kind in ("press", "release")]


def drag(right: float, up: float, *keys: str) -> list[Event]:
    held = [Event("press", key, 0.5, 0.5) for key in keys]
    return [*held, Event("move", "", 0.5 + right, 0.5 + up), *(Event("release", key) for key in keys)]


def best(viewer: Viewer, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """The last of the pictures that get better and better."""
    picture = viewer.picture(size)
    assert picture is not None
    while (better := viewer.picture(size)) is not None:
        picture = better
    return picture


def test_mouse_and_keys_move_the_camera() -> None:
    viewer, expected = Viewer(Ball()), OrbitCamera()
    for events, way in [
        (drag(0.2, 0.1, "mouse_left"), lambda: expected.orbit(0.2, 0.1)),
        (drag(0.2, 0.1, "mouse_middle"), lambda: expected.pan(0.2, 0.1)),
        (drag(0.2, 0.1, "shift", "mouse_left"), lambda: expected.pan(0.2, 0.1)),
        (drag(0.2, 0.5, "mouse_right"), lambda: expected.zoom(2)),
        (drag(0.3, 0.3), lambda: None),
        (drag(0.3, 0.3, "control", "mouse_left"), lambda: None),
        ([Event("scroll", "", 0, 1)], lambda: expected.zoom(1.1)),
        (press("r"), expected.reset),
    ]:
        viewer.handle(events)
        way()
        for name in ("azimuth", "elevation", "distance"):
            assert getattr(viewer.camera, name) == pytest.approx(getattr(expected, name)), name
        torch.testing.assert_close(viewer.camera.target, expected.target)


def test_the_first_view_shows_what_there_is_to_see() -> None:
    scene = MeshScene(ico_sphere(1).scale_verts(0.1).offset_verts(torch.tensor([0.5, 0.2, 0.0])))
    viewer = Viewer(scene)
    viewer.frame()
    places = viewer.camera.cameras().transform_points_ndc(scene.landmarks)[..., :2]
    assert 0.9 < places.abs().max() < 1
    near = viewer.camera.distance
    viewer.handle([Event("scroll", "", 0, 1), *press("r")])
    assert viewer.camera.distance == near
    viewer.frame(azimuth=90, elevation=0, look_at=(0.0, 1.0, 0.0), zoom=2)
    assert viewer.camera.azimuth == 90
    middle = viewer.camera.cameras().transform_points_ndc(place_in(scene, (0.0, 1.0, 0.0))[None])
    torch.testing.assert_close(middle[0, :2], torch.zeros(2), atol=1e-5, rtol=0)


def test_held_keys_move_the_camera_as_time_goes_by() -> None:
    viewer = Viewer(Ball())
    start = viewer.camera.azimuth
    viewer.handle([Event("press", "arrow_right")])
    for _ in range(10):
        viewer.advance(0.1)
    assert viewer.camera.azimuth == pytest.approx((start - 90) % 360)
    viewer.handle([Event("release", "arrow_right"), Event("press", "shift"), Event("press", "arrow_up")])
    viewer.advance(0.1)
    assert viewer.camera.azimuth == pytest.approx((start - 90) % 360)
    assert seen(viewer.camera, torch.zeros(3))[1] == pytest.approx(0.05, abs=1e-3)
    viewer.handle([Event("release", "shift"), Event("release", "arrow_up"), Event("press", "z")])
    before = viewer.camera.distance
    viewer.advance(0.1)
    assert viewer.camera.distance < before
    viewer.handle([Event("release", "z"), *press("space")])
    azimuth = viewer.camera.azimuth
    viewer.advance(0.1)
    assert viewer.camera.azimuth != azimuth
    viewer.handle(press("space"))
    azimuth = viewer.camera.azimuth
    viewer.advance(0.1)
    assert viewer.camera.azimuth == azimuth


def test_keys_change_the_looks() -> None:
    scene = Ball()
    viewer = Viewer(scene)
    best(viewer)
    first = scene.looks[-1]
    viewer.handle(press("s", "w", "b"))
    best(viewer)
    look = scene.looks[-1]
    assert (look.shader, look.wireframe, look.background) == ("depth", True, BACKGROUNDS[1])
    viewer.handle(press("s", "w", *["b"] * (len(BACKGROUNDS) - 1)))
    best(viewer)
    look = scene.looks[-1]
    assert (look.shader or "color", look.wireframe, look.background) == ("color", False, BACKGROUNDS[0])
    assert look.light == first.light


def test_the_light_follows_the_camera_or_stays() -> None:
    scene = Ball()
    viewer = Viewer(scene)

    def light() -> tuple[float, float, float] | None:
        viewer.render((8, 8))
        return scene.looks[-1].light

    first = light()
    viewer.handle(drag(0.2, 0, "mouse_left"))
    second = light()
    assert second != first
    viewer.handle(press("l") + drag(0.2, 0, "mouse_left"))
    assert light() == pytest.approx(second)
    viewer.handle(drag(0.2, 0, "control", "mouse_left"))
    assert light() != pytest.approx(second)
    assert light() == pytest.approx(first)  # the way that the first drag turned the camera
    viewer.handle(press("l", "r"))
    assert light() == pytest.approx(first)


def test_a_background_of_ones_own_comes_first() -> None:
    viewer = Viewer(Ball(), background=(1.0, 0.0, 0.0))
    viewer.handle(press("b"))
    assert viewer.background == BACKGROUNDS[0]
    viewer.handle(press(*["b"] * len(BACKGROUNDS)))
    assert viewer.background == (1.0, 0.0, 0.0)


def test_quick_scenes_are_drawn_well_at_once() -> None:
    scene = Ball()
    viewer = Viewer(scene)
    viewer.handle(drag(0.1, 0, "mouse_left"))
    assert viewer.picture((64, 96)) is not None
    assert scene.looks[-1].image_size == (3 * 64, 3 * 96)
    for density, n in ((1.5, 2), (2.0, 2), (3.0, 1)):  # pixels that cannot be seen need no samples
        viewer.picture((64, 96), density)
        assert scene.looks[-1].image_size == (n * 64, n * 96)


def test_scenes_are_drawn_better_at_rest() -> None:
    scene = Ball()
    viewer = Viewer(scene)
    viewer.pace.cost = 0.0, 1 / 36 / (64 * 96)
    viewer.handle(drag(0.1, 0, "mouse_left"))
    picture = viewer.picture((64, 96))
    assert picture is not None
    assert picture.shape == (64, 96, 3)
    assert scene.looks[-1].image_size == (64, 96)
    assert viewer.picture((64, 96)) is None  # it still moves
    time.sleep(0.2)
    best(viewer, (64, 96))
    assert scene.looks[-1].image_size == (3 * 64, 3 * 96)
    n_drawn = len(scene.looks)
    assert viewer.picture((64, 96)) is None
    assert len(scene.looks) == n_drawn


def test_slow_scenes_are_drawn_coarsely_while_they_move() -> None:
    scene = Ball(1e-5)
    viewer = Viewer(scene)
    viewer.warm_up()
    for _ in range(8):
        viewer.handle(drag(0.01, 0, "mouse_left"))
        viewer.picture((128, 128))
    assert scene.looks[-1].image_size[0] <= 64
    time.sleep(0.2)
    scene.seconds = 0
    best(viewer, (128, 128))
    assert scene.looks[-1].image_size == (384, 384)


def test_a_new_size_is_drawn_anew() -> None:
    viewer = Viewer(Ball())
    assert best(viewer, (64, 64)).shape == (64, 64, 3)
    assert best(viewer, (40, 80)).shape == (40, 80, 3)


def test_notes_come_and_go() -> None:
    viewer = Viewer(Ball(), "ball")
    assert viewer.notes().facts[0] == ("ball", "")
    assert not viewer.notes().help
    for key in ("h", "/", "?"):
        viewer.handle(press(key))
        assert viewer.notes().help == HELP
        viewer.handle(press(key))
        assert not viewer.notes().help
    viewer.handle(press("i", "g"))
    assert not viewer.notes().facts
    assert viewer.notes().axes
    viewer.handle(press("i"))
    facts = dict(viewer.notes().facts)
    viewer.handle(drag(0.1, 0, "mouse_left"))
    time.sleep(0.3)
    assert dict(viewer.notes().facts)["camera"] != facts["camera"]


def test_notes_without_a_new_picture_are_shown_too() -> None:
    viewer = Viewer(Ball())
    screen = Screen([], [], [], [])
    viewer.serve(screen)
    time.sleep(0.2)
    while viewer.serve(screen):
        pass
    n_shown, n_notes = len(screen.shown), len(screen.notes)
    viewer.say("hello")
    screen.script = [[]]
    assert viewer.serve(screen)
    assert (len(screen.shown), len(screen.notes)) == (n_shown, n_notes + 1)
    assert screen.notes[-1].message == "hello"


def test_notes_are_written() -> None:
    plain = np.full((400, 400, 3), 128, np.uint8)
    matrix = tuple(OrbitCamera().cameras().get_full_projection_transform().get_matrix().flatten().tolist())
    for notes, rows, columns in [
        (Notes(facts=(("ball", ""), ("scene", "1 ball"))), slice(0, 100), slice(0, 100)),
        (Notes(facts=(("ball", ""),), help=(("h", "help"),)), slice(180, 220), slice(150, 250)),
        (Notes(message="saved"), slice(350, 400), slice(150, 250)),
        (Notes(camera=matrix, axes=True), slice(296, 400), slice(0, 104)),
    ]:
        written = plain.copy()
        write_notes(written, notes)
        changed = (written != 128).any(-1)
        assert changed[rows, columns].any()
        changed[rows, columns] = False
        assert not changed[100:].any()
    small = np.full((3, 5, 3), 128, np.uint8)
    write_notes(small, Notes(facts=(("ball", ""),), help=(("h", "help"),), message="m", camera=matrix, axes=True))


def test_pictures_are_saved_without_notes(tmp_path: Path) -> None:
    viewer = Viewer(Ball(), save=saver(tmp_path / "new"))
    viewer.shows_help = True
    best(viewer, (64, 96))
    viewer.handle(press("p", "p"))
    viewer.handle(press("p"))
    saved = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in saved] == ["view_000.png", "view_001.png"]
    with Image.open(saved[0]) as image:
        assert image.size == (96, 64)
        assert (np.asarray(image) == 128).all()


def test_a_folder_that_cannot_be_made_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    viewer = Viewer(Ball(), save=saver(tmp_path / "file"))
    viewer.handle(press("p"))
    assert "not saved" in viewer._message
    assert not viewer.closed


def test_a_mesh_is_viewed_and_its_wires() -> None:
    viewer = Viewer(MeshScene(ico_sphere(1)))
    screen = Screen([], drag(0.1, 0, "mouse_left"), press("i"), press("w"))
    viewer.run(screen)
    assert not screen.is_open
    assert len(screen.shown) >= 3
    wires, viewer.wireframe = viewer.render((64, 64)), False
    without = viewer.render((64, 64))
    assert (wires <= without + 1e-6).all()
    darker = (wires < without - 0.1).any(-1)
    sphere = (without < 0.99).any(-1)
    assert 0.1 < darker.float().mean() / sphere.float().mean() < 0.6
    assert not (darker & ~sphere).any()


def test_unknown_shader() -> None:
    with pytest.raises(ValueError, match="shader: expected 'color' or 'depth', got 'phong'"):
        Viewer(Ball(), shader="phong")


def test_every_key_has_its_help() -> None:
    for controls, rows in ((CONTROLS, HELP), (FIT_CONTROLS, FIT_HELP)):
        assert set(controls) <= {word.strip(",") for keys, _ in rows for word in keys.split()}
    assert [control.label for control in CONTROLS.values()][: len(VIEWS)] == dict(HELP)["1 2 3 4 5 6 7"].split(", ")


def test_no_display(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(NoWindow, match="window: expected a display, got none"):
        Window("title", (64, 64))
    assert main(["view"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("tirender view: window: expected a display, got none (DISPLAY is not set); ")
    assert "--web" in message


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["missing.obj"], "missing.obj: No such file"),
        (["harbour", "--shader", "flat"], "--shader: expected unlit, "),
        (["--size", "64", "64", "64"], "64: No such file"),
        (["--camera", "3"], "--camera: expected a file with cameras, or a fit to views, got 3"),
        (["--camera", "3", "--zoom", "2"], "--zoom: expected a camera around the object, got --camera"),
    ],
)
def test_bad_arguments(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", *args]) == 2
    assert message in capsys.readouterr().err


def test_window(tmp_path: Path) -> None:
    """The viewer opens, turns, switches shading, writes a picture, and quits."""
    path = datasets.creature()
    args = ["-c", CLI, "view", path, "--size", 256, "-o", tmp_path]
    with display() as name, Program(name, args, tmp_path) as program:
        look, scene = Look((256, 256), background=BACKGROUNDS[0]), load_scene(path)
        camera = OrbitCamera(orientation=scene.orientation)
        camera.hold(scene.landmarks, (1, 1))
        expected = 255 * scene.render(camera.cameras(), look)[0, 120:].numpy()  # below the facts
        program.wait_for(
            lambda: np.abs(program.picture(256, 256)[120:] - expected).mean() < 1, "the creature in the window"
        )
        with_facts = program.screen()
        program.key("i")
        plain = program.wait_for_change(with_facts, "no facts")
        program.drag(1, 100, 120, 60, 10)
        turned = program.wait_for_change(plain, "another view")
        program.key("s")
        shaded = program.wait_for_change(turned, "another shading")
        program.key("p")
        program.wait_for((tmp_path / "view_000.png").is_file, "a picture")
        time.sleep(0.2)
        program.key("q")
        code, _, errors = program.end()
    assert code == 0, errors
    with Image.open(tmp_path / "view_000.png") as image:
        picture = np.asarray(image).astype(int)
    assert picture.shape == (256, 256, 3)
    assert np.abs(picture - shaded[1:257, 1:257]).mean() < 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["view_000.png"]  # and no imgui.ini


def test_window_without_a_driver(tmp_path: Path) -> None:
    """It needs no Vulkan; the wheel zooms, and another size is taken over."""
    environment = {"VK_DRIVER_FILES": "/nowhere", "VK_ICD_FILENAMES": "/nowhere"}
    args = ["-c", CLI, "view", datasets.creature(), "--size", 200, "-o", tmp_path]
    with display() as name, Program(name, args, tmp_path, environment) as program:
        program.wait_for(lambda: program.is_steady(), "a picture")
        program.key("i")
        program.wait_for(lambda: program.is_steady(), "no facts")
        before = program.picture(200, 200)
        covered = (before != before[0, 0]).any(-1)
        first = program.screen()
        program.wheel(forward=3)
        program.wait_for_change(first, "a nearer view")
        nearer = program.picture(200, 200)
        assert (nearer != before[0, 0]).any(-1).sum() > 1.3 * covered.sum()
        program.resize(320, 260)
        program.wait_for(lambda: (program.picture(260, 320)[250, 310] == before[0, 0]).all(), "another size")
        program.wait_for(lambda: program.is_steady(), "a picture of that size")
        program.key("p")
        program.wait_for((tmp_path / "view_000.png").is_file, "a picture")
        time.sleep(0.2)
        program.key("Escape")
        code, _, errors = program.end()
    assert code == 0, errors
    with Image.open(tmp_path / "view_000.png") as image:
        assert image.size == (320, 260)
