"""The page of a fit to photos: unseen photos beside what was fitted, numbers, and a flight through the scene."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from tirender.fit import FitRun
    from tirender.renderer import CamerasBase
    from tirender.scenes.cameras import SceneCamera

    Paint = Callable[[CamerasBase, tuple[int, int]], torch.Tensor]

PAGE, FLIGHT = "results.html", "flight"
MOST_PAIRS, MOST_LINES = 8, 40  # photos that are shown, and that have a line of numbers
SIDE, QUALITY = 480, 88  # of pictures: short side in pixels at most, and JPEG's
N_KEYS, N_FRAMES, SECONDS = 16, 120, 5.0

_PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
img, video { max-width: 100%; display: block }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, max-content)); gap: .5rem; margin: 1rem 0 }
.pair p { grid-column: 1 / 3; margin: 0; color: #666 }
td, th { text-align: right; padding: .1rem 1rem .1rem 0; font-variant-numeric: tabular-nums }
td:first-child, th:first-child { text-align: left }
</style>
<h1>$title</h1>
<p>$summary</p>
$flight
<h2>$heading</h2>
<p>Left the photo, right what was fitted.</p>
$pairs
<h2>Numbers</h2>
<table><tr><th>photo<th>PSNR<th>SSIM</tr>
$rows
</table>
</html>
""")


@dataclass(frozen=True)
class Flight:
    """Pictures along cameras.

    Attributes:
        paint: what draws them, see :meth:`~tirender.fit_kinds.FitKind.painter`.
        n_frames: pictures; none for 0.
        side: their short side in pixels at most.
    """

    paint: Paint
    n_frames: int = N_FRAMES
    side: int = SIDE

    def written(self, record: dict[str, Any], size: tuple[int, int], folder: Path) -> str:
        """Write it; returns what shows it.

        Args:
            record: of the cameras, see :func:`~tirender.fit.views.camera_record`.
            size: height and width of photos.
            folder: of the results.
        """
        import torch

        from tirender.scenes.cameras import from_views, path_through
        from tirender.vis import save_animation

        cameras = from_views(record)
        if len(cameras) < 2:
            return "<p>A flight needs two cameras.</p>"
        scale = min(self.side / min(size), 1)
        height, width = (max(round(side * scale / 2), 1) * 2 for side in size)  # even, for encoders
        device, frames = record["R"].device, []
        with torch.no_grad():
            for camera in path_through(keys_of(cameras), self.n_frames):
                seen = self.paint(camera.camera((height, width), device), (height, width))
                frames.append(seen[0, ..., :3].clamp(0, 1).cpu())
        heading, fps = "<h2>A flight along the cameras</h2>", self.n_frames / SECONDS
        try:
            save_animation(frames, folder / f"{FLIGHT}.mp4", fps)
        except ImportError as error:
            warnings.warn(f"no {FLIGHT}.mp4 but {FLIGHT}.gif: {error}", stacklevel=2)
            save_animation(frames, folder / f"{FLIGHT}.gif", fps)
            return f'{heading}<img alt="A flight through the scene" src="{FLIGHT}.gif">'
        return f'{heading}<video src="{FLIGHT}.mp4" autoplay loop muted controls playsinline></video>'


class Page:
    """Collects the photos that a fit is compared with, and writes ``results.html``; called as ``Watch`` says.

    Args:
        names: of these photos.
    """

    def __init__(self, names: Sequence[str]) -> None:
        from tirender.fit_kinds.photos import evenly_spread

        self._names = names
        self._shown = {*evenly_spread(len(names), MOST_PAIRS)}
        self._pairs: list[str] = []
        self._qualities: list[tuple[float, float]] = []

    @property
    def has_photos(self) -> bool:
        """Whether there were any."""
        return bool(self._qualities)

    def __call__(self, i: int, truth: torch.Tensor, rendered: torch.Tensor) -> None:
        from tirender.fit.held_out import quality_of

        quality = quality_of(rendered, truth)
        self._qualities.append(quality)
        if i in self._shown:
            words = f"{escape(self._names[i])}: {quality[0]:.2f} dB"
            self._pairs.append(f'<div class="pair">{_image(truth)}{_image(rendered)}<p>{words}</p></div>')

    def write(self, run: FitRun, target: Any, flight: Flight, folder: Path, title: str) -> None:
        """Write the page, and beside it the flight, as a video or, without an encoder, as a GIF.

        Args:
            run, target: of the fit.
            flight: along the cameras.
            folder: of the results.
            title: of the page.
        """
        from tirender.fit.refinement import refined_record
        from tirender.io.files import write_file

        is_unseen = target.held_out is not None
        views = target.photos if hasattr(target, "photos") else target.views
        psnr, ssim = (sum(values) / len(self._qualities) for values in zip(*self._qualities))
        n = len(self._qualities)
        what = f"{n} photos that it has not seen" if is_unseen else "the photos that it was fitted to"
        rows = [
            f"<tr><td>{escape(name)}<td>{psnr:.2f} dB<td>{ssim:.4f}</tr>"
            for name, (psnr, ssim) in zip(self._names[:MOST_LINES], self._qualities)
        ]
        record = refined_record(target.about()["cameras"], run.module.state_dict())
        page = _PAGE.substitute(
            title=escape(title),
            summary=f"Fitted to {len(views)} photos in {run.step} steps. On {what}: {psnr:.2f} dB, SSIM {ssim:.4f}.",
            flight=flight.written(record, views.image_size, folder) if flight.n_frames else "",
            heading="Photos that were held out" if is_unseen else "Photos that were fitted to",
            pairs="\n".join(self._pairs),
            rows="\n".join(rows),
        )
        write_file(folder / PAGE, [page.encode()])


def _image(image: torch.Tensor) -> str:
    """A picture (H, W, 3) inside of the page."""
    from PIL import Image

    pixels = (image.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()
    picture = Image.fromarray(pixels)
    scale = SIDE / min(picture.size)
    if scale < 1:
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BOX)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img width="{picture.width}" height="{picture.height}" alt="" src="data:image/jpeg;base64,{data}">'


def keys_of(cameras: Sequence[SceneCamera]) -> list[SceneCamera]:
    """Cameras that a smooth path leads through: some of them, in an order in which each is close to the next.

    The order is that of their names, unless going from each to the nearest that is left is much shorter.
    """
    import torch

    from tirender.fit_kinds.photos import evenly_spread

    eyes = torch.stack([-camera.R @ camera.T for camera in cameras])
    distances = torch.cdist(eyes, eyes)
    named, order = [*range(len(cameras))], [0]
    left = set(named[1:])
    while left:
        order.append(min(left, key=lambda i: float(distances[order[-1], i])))
        left.remove(order[-1])

    def length(way: list[int]) -> float:
        return sum(float(distances[a, b]) for a, b in zip(way, way[1:]))

    order = order if length(order) < length(named) / 2 else named
    return [cameras[order[i]] for i in evenly_spread(len(order), N_KEYS)]
