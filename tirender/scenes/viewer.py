"""A scene to look at from all sides: what mouse and keys do to camera and look, and when it is drawn.

No window is involved: a :class:`~tirender.vis.display.NotedDisplay` shows the pictures and reports events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tirender.checks import check_choice
from tirender.engine import runtime
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.environment import EnvironmentLights
from tirender.scenes.base import Look, Scene
from tirender.scenes.cameras import SceneCamera
from tirender.scenes.controls import ARROWS, HELP, VIEWS, ZOOMS
from tirender.scenes.ground import GroundGrid
from tirender.scenes.saved_pictures import saver
from tirender.scenes.shots import place_in
from tirender.scenes.view_light import ViewLight
from tirender.vis.display import Event, NotedDisplay, Notes, Rows
from tirender.vis.drawing import to_picture
from tirender.vis.orbit import OrbitCamera
from tirender.vis.pace import FRAME_SECONDS, Pace

BACKGROUNDS = ((0.17, 0.18, 0.2), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.85, 0.92, 1.0))
ARROW_SPEED = 0.5  # short sides of the picture a second
ZOOM_SPEED = 2.5  # factor a second
TURN_SPEED = 0.2  # short sides a second
DRAG_ZOOM = 4.0  # factor a short side
MOST_HELD = 32  # keys at once; a page may send any number
WHEEL_ZOOM = 1.1  # factor a notch
PAN_MAX = 20.0  # the furthest that the target goes from the middle of the scene

MESSAGE_SECONDS = 3.0
FACTS_SECONDS = 0.25  # between updates of the facts while something moves
WARM_UP = (16, 64)  # sides of pictures that are drawn to measure how long they take
IDLE_SECONDS = 0.005  # between looks at what the user does


class Viewer:
    """Shows a scene; the user moves its camera and changes its look.

    Args:
        scene: to look at.
        name: of the scene.
        save: takes a picture (H, W, 3) uint8 that the user wants to keep, and says where it is; by default, a file in
            the working folder.
        shader: one of the scene's; None for its first.
        background: RGB in [0, 1]; a key changes it to others.
        cameras: to look through, when the user chooses one; None: the scene's.
        environment: the surroundings for the shader "pbr"; None: a studio.
    Raises:
        ValueError: an unknown shader.
    """

    def __init__(
        self,
        scene: Scene,
        name: str = "scene",
        save: Callable[[np.ndarray], str] | None = None,
        shader: str | None = None,
        background: tuple[float, float, float] = BACKGROUNDS[0],
        cameras: Sequence[SceneCamera] | None = None,
        environment: EnvironmentLights | None = None,
    ) -> None:
        self.scene, self.name, self.save = scene, name, save or saver(Path())
        self.cameras = tuple(scene.cameras if cameras is None else cameras)
        self.shader = check_choice("shader", shader or scene.shaders[0], scene.shaders)
        self.background = background
        self.backgrounds = (background, *(other for other in BACKGROUNDS if other != background))
        self.camera = OrbitCamera(orientation=scene.orientation)
        self.through: int | None = None  # the index of the camera to look through
        self.wireframe = self.backfaces = self.grid = self.turning = self.closed = self.shows_help = False
        self.shows_facts = self.shows_cameras = True
        self._is_kept = False  # whether the user wants to keep the picture
        self.pace, self.help = Pace(max(scene.supersample, 1)), HELP
        self._ground: GroundGrid | None = None
        self.environment, self._light = environment, ViewLight(self.camera)
        self._held: set[str] = set()
        self._cursor = (0.0, 0.0)
        self._facts: Rows = ()
        self._facts_due = 0.0
        self._seconds_a_picture = FRAME_SECONDS  # while something moves
        self._message, self._message_end = "", 0.0
        self._before = self._shown_at = time.perf_counter()
        self._notes = Notes()

    @property
    def is_surrounded(self) -> bool:
        """Whether surroundings give the light, and no lamp."""
        return self.shader == "pbr"

    def frame(
        self,
        azimuth: float | None = None,
        elevation: float | None = None,
        look_at: Sequence[float] | None = None,
        zoom: float | None = None,
    ) -> None:
        """Let the first view show what there is to see.

        Args:
            azimuth, elevation: see ``OrbitCamera``; None for the usual ones.
            look_at: a place in the coordinates of the scene's file that the camera looks at; None: the middle of what
                is seen.
            zoom: enlarges the picture by this factor.
        """
        camera = self.camera
        camera.azimuth = camera.azimuth if azimuth is None else azimuth
        camera.elevation = camera.elevation if elevation is None else elevation
        if look_at is not None:
            camera.target = place_in(self.scene, look_at)
        camera.hold(self.scene.landmarks, (1, 1), keep_target=look_at is not None)
        camera.distance /= zoom or 1.0
        camera.settle()

    def run(self, display: NotedDisplay) -> None:
        """Show the scene until the user closes the display or quits, then close it."""
        try:
            picture = np.full((*display.size, 3), [round(255 * part) for part in self.background], np.uint8)
            display.show(picture, Notes(message="compiling kernels, for a moment ..."))
            self.warm_up()
            self.say("h: help")
            while display.is_open and not self.closed:
                if not self.serve(display):
                    time.sleep(IDLE_SECONDS)
        finally:
            display.close()

    def serve(self, display: NotedDisplay) -> bool:
        """Do what is due on a display: read its events, move, and show a picture if a new one is due and welcome.

        Returns:
            whether it has shown something.
        """
        now = time.perf_counter()
        self.handle(display.events())
        self.advance(now - self._before)
        self._before = now
        if not (display.is_open and display.is_ready):
            return False
        picture, notes = self.picture(display.size, display.density), self.notes()
        if picture is None and notes == self._notes:
            return False
        display.show(picture, notes)
        if picture is not None and self.pace.is_moving:
            self._seconds_a_picture += 0.2 * (min(now - self._shown_at, 1.0) - self._seconds_a_picture)
        self._shown_at, self._notes = now, notes
        return True

    def handle(self, events: Sequence[Event]) -> None:
        """React to what the user did."""
        for event in events:
            if event.kind == "release":
                self._held.discard(event.key)
            elif event.kind == "press":
                if len(self._held) < MOST_HELD:
                    self._held.add(event.key)
                self._cursor = (event.x, event.y)
                self._press(event.key)
            elif event.kind == "scroll":
                self._move(self.camera.zoom, WHEEL_ZOOM**event.y)
            else:
                self._drag(event.x - self._cursor[0], event.y - self._cursor[1])
                self._cursor = (event.x, event.y)
        if self._is_kept:  # once, however often the user said so
            self._is_kept = False
            self._save()

    def advance(self, seconds: float) -> None:
        """Move for this time, as held keys say, and turn."""
        seconds = min(seconds, 0.1)  # no leaps after a slow picture
        for key, (right, up) in ARROWS.items():
            if key in self._held:
                way = ARROW_SPEED * seconds
                self._move(self._pan if "shift" in self._held else self.camera.orbit, way * right, way * up)
        for key, sign in ZOOMS.items():
            if key in self._held:
                self._move(self.camera.zoom, ZOOM_SPEED ** (sign * seconds))
        if self._light.advance(self._held, seconds, self.is_surrounded):
            self.pace.move()
        if self.turning:
            self._move(self.camera.orbit, TURN_SPEED * seconds, 0)

    def picture(self, size: tuple[int, int], density: float = 1.0) -> np.ndarray | None:
        """A new picture (H, W, 3) uint8, or None if the last one is up to date and of full quality.

        While something moves it is as coarse, and has as few pixels, as speed demands; afterwards it gets better.

        Args:
            size: the height and width that it should have.
            density: pixels to a point of the screen.
        """
        size = self._framed(size)
        quality = self.pace.next(size, density)
        if quality is None:
            return None
        share, supersample = quality
        began = time.perf_counter()
        picture = to_picture(self.render((max(round(share * size[0]), 1), max(round(share * size[1]), 1)), supersample))
        self.pace.measure(quality, time.perf_counter() - began)
        return picture

    def notes(self) -> Notes:
        """What is to be written over the picture."""
        if self._message and time.perf_counter() > self._message_end:
            self._message = ""
        matrix = self._current(self.pace.size).get_full_projection_transform().get_matrix()
        return Notes(
            facts=self._read_facts() if self.shows_facts else (),
            help=self.help if self.shows_help else (),
            message=self._message,
            camera=tuple(matrix.reshape(16).tolist()),
            axes=self.grid,
            frusta=self.shows_cameras and bool(self.cameras),
        )

    def render(self, size: tuple[int, int], supersample: int | None = None) -> torch.Tensor:
        """The current picture (H, W, 3) of the scene, without facts and help.

        Args:
            size: height and width in pixels.
            supersample: n x n samples a pixel; None for the scene's own n.
        """
        look = Look(
            size,
            self.shader,
            self.background,
            None if self.is_surrounded else self._light.place,
            supersample,
            self.wireframe,
            backfaces=self.backfaces,
            environment=self.environment,
            environment_turn=self._light.turn,
        )
        cameras = self._current(size)
        image = self.scene.render(cameras, look)[0]
        if not self.grid:
            return image
        self._ground = self._ground or GroundGrid(self.scene)
        return self._ground.draw(image, cameras, self.background)

    def warm_up(self) -> None:
        """Compile the kernels, and measure how fast they are."""
        small, large = WARM_UP
        self.render((large, large), 1)
        of_small, of_large = (min(self._seconds(side) for _ in range(2)) for side in WARM_UP)
        a_sample = max(of_large - of_small, 1e-6) / (large**2 - small**2)
        self.pace.cost = max(of_small - small**2 * a_sample, 1e-4), a_sample

    def _seconds(self, side: int) -> float:
        began = time.perf_counter()
        self.render((side, side), 1)
        return time.perf_counter() - began

    def say(self, message: str) -> None:
        """Show a message for a moment."""
        self._message, self._message_end = message, time.perf_counter() + MESSAGE_SECONDS

    def set_scene(self, scene: Scene) -> None:
        """Show another scene, from the same side."""
        self.scene, self._ground = scene, None
        self.pace.change()

    def _current(self, size: tuple[int, int]) -> CamerasBase:
        """The camera of pictures of this size."""
        if self.through is None:
            return self.camera.cameras(self.scene.device)
        return self.cameras[self.through].camera(size, self.scene.device)

    def _framed(self, size: tuple[int, int]) -> tuple[int, int]:
        """The largest size within this one that has the shape of the picture of the camera that is looked through."""
        aspect = None if self.through is None else self.cameras[self.through].aspect
        if aspect is None:
            return size
        height, width = size
        return min(height, max(round(width / aspect), 1)), min(width, max(round(height * aspect), 1))

    def _press(self, key: str) -> None:
        self.pace.change()
        if key in VIEWS:
            self._look_from(*VIEWS[key])
        elif key.startswith("camera_"):
            self.look_through(key.removeprefix("camera_"))
        elif key in ("s", "m"):
            self.shader = _after(self.shader, self.scene.shaders)
        elif key == "w":
            self.wireframe = not self.wireframe
        elif key == "f":
            self.backfaces = not self.backfaces
        elif key == "g":
            self.grid = not self.grid
        elif key == "l":
            self.say("light fixed" if self._light.fix_or_free() else "light beside the camera")
        elif key == "b":
            self.background = _after(self.background, self.backgrounds)
        elif key == "space":
            self.turning = not self.turning
        elif key == "r":
            self.camera.reset()
            self.through, self.turning = None, False
            self._light.reset()
        elif key == "p":
            self._is_kept = True
        elif key == "c":
            self.shows_cameras = not self.shows_cameras
        elif key == "i":
            self.shows_facts = not self.shows_facts
        elif key in ("h", "/", "?"):
            self.shows_help = not self.shows_help
        elif key in ("q", "escape"):
            self.closed = True

    def _drag(self, right: float, up: float) -> None:
        shift, control = "shift" in self._held, "control" in self._held
        if "mouse_left" in self._held and control:
            self._light.move(180 * right, 180 * up, self.is_surrounded)
            self.pace.move()
        elif "mouse_middle" in self._held or ("mouse_left" in self._held and shift):
            self._move(self._pan, right, up)
        elif "mouse_left" in self._held:
            self._move(self.camera.orbit, right, up)
        elif "mouse_right" in self._held:
            self._move(self.camera.zoom, DRAG_ZOOM**up)

    def _move(self, how: Callable[..., None], *distances: float) -> None:
        """Move the camera; one that is looked through is left behind."""
        if self.through is not None:
            self._leave()
        how(*distances)
        self.pace.move()

    def _pan(self, right: float, up: float) -> None:
        self.camera.pan(right, up)
        self.camera.target = self.camera.target.clamp(-PAN_MAX, PAN_MAX)

    def _look_from(self, right: float, up: float) -> None:
        self.camera.reset()
        self.camera.azimuth, self.camera.elevation = (180.0 + right) % 360, 0.0
        self.camera.orbit(0, -up / 180)
        self.through = None

    def look_through(self, number: str) -> None:
        """Take the place of one of the cameras, by its number; none of another number."""
        if number.isdecimal() and int(number[:9]) < len(self.cameras):
            self.through = int(number[:9])
            self.say(f"camera {self.through}")

    def _leave(self) -> None:
        """Go on from the camera that is looked through."""
        camera, self.through = self._current(self.pace.size), None
        eye = camera.get_camera_center()
        ends = eye.new_tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
        middle, edge = camera.unproject_points(ends[None], from_ndc=True)[0]
        self.camera.stand(eye[0].cpu(), F.normalize(middle - eye[0], dim=0).cpu(), float((edge - middle).norm()))
        self.camera.target = self.camera.target.clamp(-PAN_MAX, PAN_MAX)

    def _save(self) -> None:
        try:
            self.say(f"saved {self.save(to_picture(self.render(self.pace.size)))}")
        except OSError as error:
            self.say(f"not saved: {error}")

    def _read_facts(self) -> Rows:
        now = time.perf_counter()
        if now < self._facts_due and self.pace.is_moving:
            return self._facts
        self._facts_due = now + FACTS_SECONDS
        height, width = self.pace.size
        rate = f", {1 / self._seconds_a_picture:.0f} a second" if self.pace.is_moving else ""
        added = [*["wireframe"] * self.wireframe, *["back faces in red"] * self.backfaces]
        self._facts = (
            (self.name, ""),
            ("scene", self.scene.facts),
            ("shading", " + ".join([self.shader, *added])),
            ("camera", self._camera_in_words()),
            ("picture", f"{width} x {height}{rate}"),
            ("kernels", runtime.arch()),
        )
        return self._facts

    def _camera_in_words(self) -> str:
        if self.through is not None:
            return f"number {self.through}"
        azimuth = (self.camera.azimuth + 180) % 360 - 180
        return f"{azimuth:.0f}°, {self.camera.elevation:.0f}°, {self.camera.distance:.2f}"


def _after(value: Any, values: Sequence[Any]) -> Any:
    return values[(list(values).index(value) + 1) % len(values)]
