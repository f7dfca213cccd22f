"""The page of a fit to photos: unseen photos beside what was fitted, numbers, and a flight through the scene."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from tirender.fit import FitRun
    from tirender.scenes.cameras import SceneCamera

PAGE, FLIGHT = "results.html", "flight"
MOST_PAIRS, MOST_LINES = 8, 40  # photos that are shown, and that have a line of numbers
SIDE, QUALITY = 480, 88  # of pictures: short side in pixels at most, and JPEG's
N_KEYS, N_FRAMES, FPS = 16, 120, 24.0

_PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
img, video { max-width: 100%; display: block }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; margin: 1rem 0 }
.pair p { grid-column: 1 / 3; margin: 0; color: #666 }
td, th { text-align: right; padding: .1rem 1rem .1rem 0; font-variant-numeric: tabular-nums }
td:first-child, th:first-child { text-align: left }
</style>
<h1>$title</h1>
<p>$summary</p>
<h2>A flight along the cameras</h2>
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


def write_page(run: FitRun, target: Any, folder: Path, title: str) -> None:
    """Write ``results.html``, and beside it the flight, as a video or, without an encoder, as a GIF.

    Args:
        run: of a fit to photos; ``run.module(cameras, image_size)`` returns images (1, H, W, 4).
        target: a :class:`~tirender.fit_kinds.PhotosTarget`.
        folder: of the results.
        title: of the page.
    """
    from tirender.fit.held_out import compared, quality_of, seen_by
    from tirender.fit.photos import as_capture
    from tirender.fit_kinds.photos import evenly_spread
    from tirender.io.files import write_file

    is_unseen = target.held_out is not None
    photos = seen_by(run.module, as_capture(target.held_out if is_unseen else target.photos), not is_unseen)
    if not is_unseen:
        photos = photos[evenly_spread(len(photos), MOST_PAIRS)]
    shown = set(evenly_spread(len(photos), MOST_PAIRS))
    pairs, rows, qualities = [], [], []
    for i, (truth, _, rendered) in enumerate(compared(run.module, photos)):
        quality = quality_of(rendered, truth)
        qualities.append(quality)
        name, words = escape(photos.names[i]), f"<td>{quality[0]:.2f} dB<td>{quality[1]:.4f}"
        if i in shown:
            pairs.append(f'<div class="pair">{_image(truth)}{_image(rendered)}<p>{name}: {quality[0]:.2f} dB</p></div>')
        if i < MOST_LINES:
            rows.append(f"<tr><td>{name}{words}</tr>")
    psnr, ssim = (sum(values) / len(qualities) for values in zip(*qualities))
    n_fitted = len(target.photos)
    what = f"{len(photos)} photos that it has not seen" if is_unseen else "photos that it was fitted to"
    page = _PAGE.substitute(
        title=escape(title),
        summary=f"Fitted to {n_fitted} photos in {run.step} steps. On {what}: {psnr:.2f} dB, SSIM {ssim:.4f}.",
        flight=_flight(run.module, target, folder),
        heading="Photos that were held out" if is_unseen else "Photos that were fitted to",
        pairs="\n".join(pairs),
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


def _flight(module: Any, target: Any, folder: Path) -> str:
    """Write the flight; returns what shows it."""
    from tirender.fit.refinement import refined_record
    from tirender.scenes.cameras import from_views, path_through
    from tirender.vis import save_animation

    cameras = from_views(refined_record(target.about()["cameras"], module.state_dict()))
    if len(cameras) < 2:
        return "<p>A flight needs two cameras.</p>"
    height, width = target.photos.image_size
    scale = min(SIDE / min(height, width), 1)
    size = (max(round(height * scale / 2), 1) * 2, max(round(width * scale / 2), 1) * 2)  # even, for encoders
    device = target.photos.cameras.device
    path = path_through(keys_of(cameras), N_FRAMES)
    frames = [module(camera.camera(size, device), size)[0, ..., :3].clamp(0, 1).cpu() for camera in path]
    try:
        save_animation(frames, folder / f"{FLIGHT}.mp4", FPS)
    except ImportError as error:
        warnings.warn(f"no {FLIGHT}.mp4 but {FLIGHT}.gif: {error}", stacklevel=2)
        save_animation(frames, folder / f"{FLIGHT}.gif", FPS)
        return f'<img alt="A flight through the scene" src="{FLIGHT}.gif">'
    return f'<video src="{FLIGHT}.mp4" autoplay loop muted controls playsinline></video>'


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
