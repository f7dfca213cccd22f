"""The keys of a viewer: what they are called, and help for them."""

from __future__ import annotations

from tirender.fit.preview import CONTROLS as FIT
from tirender.vis.display import Control, Rows

QUESTION = "End the viewer? The program in the terminal ends, too."
CONTROLS = {
    "1": Control("front"),
    "2": Control("back"),
    "3": Control("right"),
    "4": Control("left"),
    "5": Control("top"),
    "6": Control("bottom"),
    "7": Control("askew"),
    "s": Control("shading"),
    "w": Control("wireframe"),
    "f": Control("back faces"),
    "g": Control("grid"),
    "l": Control("light"),
    "b": Control("background"),
    "space": Control("turn"),
    "r": Control("reset"),
    "p": Control("picture"),
    "i": Control("facts"),
    "h": Control("help"),
    "q": Control("quit", owner=True, ask=QUESTION),
}
VIEWS = {  # degrees from the front: to the right, and up
    "1": (0.0, 0.0),
    "2": (180.0, 0.0),
    "3": (90.0, 0.0),
    "4": (-90.0, 0.0),
    "5": (0.0, 90.0),
    "6": (0.0, -90.0),
    "7": (-30.0, 20.0),
}
ARROWS = {"arrow_left": (-1, 0), "arrow_right": (1, 0), "arrow_up": (0, 1), "arrow_down": (0, -1)}
ZOOMS = {"z": 1, "x": -1}
_MOUSE: Rows = (
    ("drag, arrows, one finger", "turn"),
    ("middle drag, shift + drag, two fingers", "pan"),
    ("wheel, right drag, z and x, pinch", "nearer and farther"),
    ("ctrl + drag, j and k", "move the light, or turn the surroundings"),
    ("1 2 3 4 5 6 7", "front, back, right, left, top, bottom, askew"),
)
_LOOKS: Rows = (
    ("w", "wireframe"),
    ("f", "back faces in red"),
    ("g", "grid and axes"),
    ("l", "light beside the camera, or fixed"),
    ("b", "next background"),
    ("r", "back to the first view"),
    ("p", "save a picture"),
    ("i", "facts"),
    ("h or ?", "this help"),
)
HELP: Rows = (*_MOUSE, ("s", "next shading"), ("space", "turn by itself"), *_LOOKS, ("q or escape", "quit"))

CAMERA_HELP: Rows = (("click on a camera", "look through it"), ("c", "cameras, shown or not"))
WITH_CAMERAS = {**CONTROLS, "c": Control("cameras")}

# While a fit runs, some keys belong to the fit.
FIT_CONTROLS = {
    **FIT,
    "c": WITH_CAMERAS["c"],
    "m": CONTROLS["s"],
    **{key: control for key, control in CONTROLS.items() if key not in FIT},
}
FIT_HELP: Rows = (
    *_MOUSE,
    *CAMERA_HELP,
    ("m", "next shading"),
    *_LOOKS,
    ("space, n", "pause or go on, one step"),
    ("s, q", "stop the fit and save, close the page"),
)
