"""A scene to look at from all sides: what mouse and keys do to camera and look, and at what resolution it is drawn.

No window is involved: a :class:`~tirender.vis.display.Display` shows the pictures and reports events.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tirender.checks import check_choice
from tirender.engine import runtime
from tirender.scenes.base import Look, Scene
from tirender.vis.display import Display, Event
from tirender.vis.drawing import overlay, text_panel, to_picture
from tirender.vis.orbit import OrbitCamera

KEYS = {
    "s": "shading",
    "w": "wireframe",
    "l": "light",
    "b": "background",
    "space": "turn",
    "r": "reset",
    "p": "picture",
    "i": "facts",
    "h": "help",
    "q": "quit",
}
HELP = (
    ("left drag, arrows", "turn"),
    ("middle drag, shift + drag or arrows", "pan"),
    ("right drag, z and x, wheel on a page", "nearer and farther"),
    ("ctrl + drag", "move the light"),
    ("s", "next shading"),
    ("w", "wireframe on or off"),
    ("l", "light beside the camera, or fixed"),
    ("b", "next background"),
    ("space", "turn by itself"),
    ("r", "back to the first view"),
    ("p", "save a picture"),
    ("i", "facts on or off"),
    ("h", "this help on or off"),
    ("q or escape", "quit"),
)
BACKGROUNDS = ((1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.08, 0.09, 0.1), (0.85, 0.92, 1.0))
ARROWS = {"arrow_left": (-1, 0), "arrow_right": (1, 0), "arrow_up": (0, 1), "arrow_down": (0, -1)}
ZOOMS = {"z": 1, "x": -1}
ARROW_SPEED = 0.5  # short sides of the picture a second
ZOOM_SPEED = 2.5  # factor a second
TURN_SPEED = 0.2  # short sides a second
DRAG_ZOOM = 4.0  # factor a short side
WHEEL_ZOOM = 1.1  # factor a notch
LIGHT = (12.0, 22.0)  # degrees to the right of the camera, and above

FRAME_SECONDS = 1 / 35  # the longest time for a picture while something moves
REST_SECONDS = 0.15  # after this time at rest, pictures may take longer
REPAINT_SECONDS = 0.25  # after this time a picture is shown again, which windows need
MESSAGE_SECONDS = 3.0
FACTS_SECONDS = 0.25  # between updates of the facts while something moves
RESOLUTIONS = (0.25, 0.35, 0.5, 0.7, 1.0)  # fractions of the picture's width to render, with one sample a pixel


class Viewer:
    """Shows a scene; the user moves its camera and changes its look.

    Args:
        scene: to look at.
        name: of the scene.
        folder: for saved pictures.
        shader: one of the scene's; None for its first.
        background: RGB in [0, 1]; a key changes it to others.
    Raises:
        ValueError: an unknown shader.
    """

    def __init__(
        self,
        scene: Scene,
        name: str = "scene",
        folder: Path = Path(),
        shader: str | None = None,
        background: tuple[float, float, float] = BACKGROUNDS[0],
    ) -> None:
        self.scene, self.name, self.folder = scene, name, folder
        self.shader = check_choice("shader", shader or scene.shaders[0], scene.shaders)
        self.background = background
        self.backgrounds = (background, *(other for other in BACKGROUNDS if other != background))
        self.camera = OrbitCamera(orientation=scene.orientation)
        self.wireframe = self.turning = self.closed = self.shows_help = False
        self.shows_facts = True
        self._light_angles = LIGHT
        self._light_camera: OrbitCamera | None = None  # the light stays beside it
        self._held: set[str] = set()
        self._cursor = (0.0, 0.0)
        self._pace = _Pace(max(scene.supersample, 1))
        self._facts: tuple[tuple[str, str], ...] = ()
        self._facts_due = 0.0
        self._seconds_a_picture = FRAME_SECONDS  # while something moves
        self._message, self._message_end = "", 0.0
        self._say("h: help")

    def run(self, display: Display) -> None:
        """Show the scene until the user closes the display or quits, then close it."""
        picture = np.full((*display.size, 3), round(255 * self.background[0]), np.uint8)
        overlay(picture, text_panel((("compiling kernels, for a moment ...", ""),), 14), 12, 12)
        display.show(picture)
        self._warm_up()
        before = shown = time.perf_counter()
        while display.is_open and not self.closed:
            now = time.perf_counter()
            self.handle(display.events())
            self.advance(now - before)
            before = now
            new = self.picture(display.size)
            if new is not None:
                picture = new
            if display.is_open and (new is not None or now - shown > REPAINT_SECONDS):
                display.show(picture)
                if new is not None and self._pace.is_moving:
                    self._seconds_a_picture += 0.2 * (now - shown - self._seconds_a_picture)
                shown = now
            else:
                time.sleep(0.005)
        display.close()

    def handle(self, events: Sequence[Event]) -> None:
        """React to what the user did."""
        for event in events:
            if event.kind == "release":
                self._held.discard(event.key)
            elif event.kind == "press":
                self._held.add(event.key)
                self._cursor = (event.x, event.y)
                self._press(event.key)
            elif event.kind == "scroll":
                self.camera.zoom(WHEEL_ZOOM**event.y)
                self._pace.move()
            else:
                self._drag(event.x - self._cursor[0], event.y - self._cursor[1])
                self._cursor = (event.x, event.y)

    def advance(self, seconds: float) -> None:
        """Move for this time, as held keys say, and turn."""
        seconds = min(seconds, 0.1)  # no leaps after a slow picture
        for key, (right, up) in ARROWS.items():
            if key in self._held:
                way = ARROW_SPEED * seconds
                (self.camera.pan if "shift" in self._held else self.camera.orbit)(way * right, way * up)
                self._pace.move()
        for key, sign in ZOOMS.items():
            if key in self._held:
                self.camera.zoom(ZOOM_SPEED ** (sign * seconds))
                self._pace.move()
        if self.turning:
            self.camera.orbit(TURN_SPEED * seconds, 0)
            self._pace.move()

    def picture(self, size: tuple[int, int]) -> np.ndarray | None:
        """A new picture (H, W, 3) uint8, or None if the last one is up to date and of full quality.

        While something moves it is as coarse as speed demands; afterwards it gets better in steps.

        Args:
            size: its height and width.
        """
        if self._message and time.perf_counter() > self._message_end:
            self._message = ""
            self._pace.change()
        quality = self._pace.next(size)
        if quality is None:
            return None
        share, supersample = quality
        height, width = size
        began = time.perf_counter()
        picture = to_picture(self.render((max(round(share * height), 1), max(round(share * width), 1)), supersample))
        if supersample == 1:
            self._pace.measure(share, time.perf_counter() - began)
        if picture.shape[:2] != size:
            picture = np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
        self._write_on(picture)
        return picture

    def render(self, size: tuple[int, int], supersample: int | None = None) -> torch.Tensor:
        """The current picture (H, W, 3) of the scene, without facts and help.

        Args:
            size: height and width in pixels.
            supersample: n x n samples a pixel; None for the scene's own n.
        """
        x, y, z = (self._light_camera or self.camera).beside(*self._light_angles).reshape(3).tolist()
        look = Look(size, self.shader, self.background, (x, y, z), supersample, self.wireframe)
        return self.scene.render(self.camera.cameras(self.scene.device), look)[0]

    def save_picture(self, size: tuple[int, int]) -> Path:
        """Save the current picture as a new file, ``view_000.png`` or the next number that is free."""
        number = 0
        while (path := self.folder / f"view_{number:03d}.png").exists():
            number += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(to_picture(self.render(size))).save(path)
        return path

    def _warm_up(self) -> None:
        """Compile the kernels, and measure how fast they are."""
        self.render((128, 128), 1)
        began = time.perf_counter()
        self.render((128, 128), 1)
        self._pace.cost = (time.perf_counter() - began) / 128**2

    def _press(self, key: str) -> None:
        self._pace.change()
        if key == "s":
            self.shader = _after(self.shader, self.scene.shaders)
        elif key == "w":
            self.wireframe = not self.wireframe
        elif key == "l":
            self._light_camera = None if self._light_camera else copy.copy(self.camera)
            self._say("light fixed" if self._light_camera else "light beside the camera")
        elif key == "b":
            self.background = _after(self.background, self.backgrounds)
        elif key == "space":
            self.turning = not self.turning
        elif key == "r":
            self.camera.reset()
            self.turning, self._light_angles, self._light_camera = False, LIGHT, None
        elif key == "p":
            self._save()
        elif key == "i":
            self.shows_facts = not self.shows_facts
        elif key == "h":
            self.shows_help = not self.shows_help
        elif key in ("q", "escape"):
            self.closed = True

    def _drag(self, right: float, up: float) -> None:
        shift, control = "shift" in self._held, "control" in self._held
        if "mouse_left" in self._held and control:
            self._light_angles = (self._light_angles[0] + 180 * right, self._light_angles[1] + 180 * up)
        elif "mouse_middle" in self._held or ("mouse_left" in self._held and shift):
            self.camera.pan(right, up)
        elif "mouse_left" in self._held:
            self.camera.orbit(right, up)
        elif "mouse_right" in self._held:
            self.camera.zoom(DRAG_ZOOM**up)
        else:
            return
        self._pace.move()

    def _save(self) -> None:
        try:
            path = self.save_picture(self._pace.size)
        except OSError as error:
            self._say(f"not saved: {error}")
        else:
            self._say(f"saved {path}")

    def _say(self, message: str) -> None:
        self._message, self._message_end = message, time.perf_counter() + MESSAGE_SECONDS

    def _write_on(self, picture: np.ndarray) -> None:
        """Lay help, facts and the message over a picture, in place."""
        height, width = picture.shape[:2]
        letters = 13 if min(height, width) >= 400 else 10
        if self.shows_facts and not self.shows_help:
            overlay(picture, text_panel(self._read_facts(), letters), 10, 10)
        if self.shows_help:
            panel = text_panel(HELP, letters)
            overlay(picture, panel, (width - panel.shape[1]) // 2, (height - panel.shape[0]) // 2)
        if self._message:
            panel = text_panel(((self._message, ""),), letters)
            overlay(picture, panel, (width - panel.shape[1]) // 2, height - panel.shape[0] - 10)

    def _read_facts(self) -> tuple[tuple[str, str], ...]:
        now = time.perf_counter()
        height, width = self._pace.size
        rate = f", {1 / self._seconds_a_picture:.0f} a second" if self._pace.is_moving else ""
        if now > self._facts_due or not self._pace.is_moving:
            self._facts_due = now + FACTS_SECONDS
            camera = self.camera
            self._facts = (
                (self.name, ""),
                ("scene", self.scene.facts),
                ("shading", self.shader + (" + wireframe" if self.wireframe else "")),
                ("camera", f"{camera.azimuth:.0f}°, {camera.elevation:.0f}°, {camera.distance:.2f}"),
                ("picture", f"{height} x {width}" + rate),
                ("kernels", runtime.arch()),
            )
        return self._facts


def _after(value: Any, values: Sequence[Any]) -> Any:
    return values[(list(values).index(value) + 1) % len(values)]


class _Pace:
    """Chooses the quality of pictures: quick ones while something moves, good ones at rest.

    A quality is a fraction of the picture's width to render, and the n of n x n samples a pixel.
    """

    def __init__(self, supersample: int) -> None:
        self.size = (512, 512)
        self.cost = 1e-7  # seconds a sample
        self._qualities = [(share, 1) for share in RESOLUTIONS] + [(1.0, supersample)] * (supersample > 1)
        self._drawn: int | None = None  # index of the last picture's quality; None: it is out of date
        self._moved = 0.0

    @property
    def is_moving(self) -> bool:
        return time.perf_counter() - self._moved < REST_SECONDS

    def move(self) -> None:
        """The camera or the light moves."""
        self._moved, self._drawn = time.perf_counter(), None

    def change(self) -> None:
        """Something else has changed."""
        self._drawn = None

    def next(self, size: tuple[int, int]) -> tuple[float, int] | None:
        """The quality of the next picture, which has this size; None if none is due."""
        if size != self.size:
            self.size, self._drawn = size, None
        if self._drawn is None:
            self._drawn = self._quick()
        elif self.is_moving or self._drawn == len(self._qualities) - 1:
            return None
        else:
            self._drawn = min(self._drawn + 2, len(self._qualities) - 1)
        return self._qualities[self._drawn]

    def measure(self, share: float, seconds: float) -> None:
        """Learn from the time of a picture with one sample a pixel; one that compiles kernels counts little."""
        cost = seconds / (share**2 * self.size[0] * self.size[1])
        self.cost += 0.3 * (min(cost, 3 * self.cost) - self.cost)

    def _quick(self) -> int:
        """The best quality that is quick enough while something moves."""
        n_samples = self.size[0] * self.size[1]
        fits = [i for i, share in enumerate(RESOLUTIONS) if share**2 * n_samples * self.cost <= FRAME_SECONDS]
        return max(fits, default=0)
