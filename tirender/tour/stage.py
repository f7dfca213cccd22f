"""What a section of the tour works with: its folder, its data, its fits and its pictures."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from PIL import Image

from tirender import vis
from tirender.fit import Checkpoint, Every, FitConfig, FitRun, Views, normalized, render_views
from tirender.fit.callbacks import ProgressLines, save_figure
from tirender.fit.checkpoint import previous
from tirender.fit.run import Callback
from tirender.fit_kinds import KINDS
from tirender.io import IO
from tirender.io.files import decode_image, encode_png, read_source, write_file
from tirender.progress import prints_lines, shows_bar
from tirender.renderer import FoVPerspectiveCameras, look_at_view_transform
from tirender.scenes.base import Look, Scene
from tirender.structures import Meshes
from tirender.tour.config import TourConfig
from tirender.tour.data import TourData
from tirender.tour.results import Picture, Work

LAST = 20  # steps that the mean of the final losses is over
CHECKPOINT = 50  # steps between checkpoints
FILMED = 24  # pictures in the film of a fit
FPS = 12
WHITE, SKY = (1.0, 1.0, 1.0), (0.86, 0.92, 0.97)
QUALITY = {  # by the fits' names: the report's names and formats
    "chamfer": ("chamfer distance", "{:.2e}"),
    "silhouette_iou": ("silhouette IoU", "{:.3f}"),
    "image_psnr": ("PSNR", "{:.1f} dB"),
    "held_out_psnr": ("PSNR", "{:.1f} dB"),
    "held_out_ssim": ("SSIM", "{:.3f}"),
    "gaussians": ("Gaussians", "{:,.0f}"),
}


class Stage:
    """What a section works with.

    Args:
        folder: of the tour; each section has a folder in it.
        number: of the section.
        config: the tour's settings.
        data: the files to look at.
        device: of tensors.
    """

    def __init__(self, folder: Path, number: int, config: TourConfig, data: TourData, device: str) -> None:
        self.root, self.folder = folder, folder / f"section{number}"
        self.config, self.data, self.device = config, data, device
        self.folder.mkdir(parents=True, exist_ok=True)

    @functools.cached_property
    def target(self) -> Meshes:
        """The textured mesh, moved and scaled as the tutorials do."""
        return normalized(IO().load_mesh(self.data.mesh, device=self.device))[0]

    def views(self, n_views: int) -> Views:
        """Views of the mesh."""
        return render_views(self.target, n_views, self.config.view_size)

    @contextmanager
    def timed(self, name: str, work: list[Work]) -> Iterator[None]:
        """Time the block, and add a row for it to the table."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        work.append(Work(name, time.perf_counter() - wall, time.process_time() - cpu))

    def fit(self, kind: str, target: Any, callbacks: Sequence[Callback] = ()) -> tuple[FitRun, Work]:
        """Run a fit, or the rest of an interrupted one; ``tirender view`` can show its checkpoint.

        Args:
            kind: the name of the kind of fit; its settings are the tour's.
            target: what to fit to.
            callbacks: more callbacks.
        Returns:
            the finished run, and its row for the table.
        """
        config = dataclasses.replace(self.config.fits[kind], progress=shows_bar())
        folder = self.folder / kind
        path = folder / "checkpoint.pt"
        settings = {name: value for name, value in vars(config).items() if name not in ("steps", "progress")}
        start = _Start()
        film = _Film(config, folder / "film")
        checkpoint = Checkpoint(path, CHECKPOINT, settings=settings | {"kind": kind})
        wall, cpu = time.perf_counter(), time.process_time()
        lines = [ProgressLines(f"fit {kind}", str(folder))] if prints_lines() else []
        run = KINDS[kind].fit(target, config, [*lines, checkpoint, start, film, *callbacks])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        film.add(run)
        previous(path).unlink(missing_ok=True)
        losses = {name: sum(values[-LAST:]) / len(values[-LAST:]) for name, values in run.history.items()}
        quality = _in_words(KINDS[kind].quality(run, target))
        return run, Work(kind, wall, cpu, run.step, start.step, losses, quality)

    def film(self, kind: str) -> list[torch.Tensor]:
        """The pictures (H, W, 3) that were taken during a fit; the last one is repeated."""
        paths = sorted((self.folder / kind / "film").glob("*.png"))
        frames = [decode_image(read_source(path).data, str(path)) for path in paths]
        return frames + frames[-1:] * (len(frames) // 3)

    def turntable(self, scene: Scene, n_frames: int, size: int) -> torch.Tensor:
        """Pictures (n_frames, size, size, 3) from all around a scene, a little from above."""
        R, T = look_at_view_transform(2.7, 12.0, torch.arange(n_frames) * (360.0 / n_frames) + 150.0)
        look = Look((size, size), background=WHITE)
        frames = []
        for i in range(n_frames):
            cameras = FoVPerspectiveCameras(R=R[i : i + 1], T=T[i : i + 1], device=scene.device)
            frames.append(scene.render(cameras, look)[0])
        return torch.stack(frames)

    def save_image(self, name: str, image: torch.Tensor, alt: str, label: str = "") -> Picture:
        """Save an image (H, W, 3)."""
        return self._saved(name, encode_png(image), alt, label)

    def save_pil(self, name: str, image: Image.Image, alt: str, label: str = "") -> Picture:
        """Save an image of Pillow's."""
        stream = io.BytesIO()
        image.convert("RGB").save(stream, "PNG")
        return self._saved(name, stream.getvalue(), alt, label)

    def save_grid(self, name: str, images: torch.Tensor, columns: int, alt: str, label: str = "") -> Picture:
        """Save images (N, H, W, 3) in rows, at their own size in pixels."""
        rows, (height, width) = math.ceil(len(images) / columns), images.shape[1:3]
        vis.image_grid(images, rows, columns)
        plt.gcf().set(dpi=100, figwidth=columns * width / 100, figheight=rows * height / 100)
        return self.save_plot(name, alt, label)

    def save_losses(self, name: str, run: FitRun, alt: str) -> Picture:
        """Save the curves of a fit's losses, large enough to read on a phone."""
        vis.plot_losses(run.history)
        figure, axes = plt.gcf(), plt.gca()
        figure.set(figwidth=7, figheight=4, dpi=120, layout_engine="constrained")
        axes.set(yscale="log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=10, ncols=2)
        return self.save_plot(name, alt)

    def save_plot(self, name: str, alt: str, label: str = "") -> Picture:
        """Save the current pyplot figure."""
        path = self.folder / f"{name}.png"
        save_figure(path)
        return Picture(path.relative_to(self.root).as_posix(), alt, label)

    def save_film(self, name: str, frames: Sequence[torch.Tensor] | torch.Tensor, alt: str, label: str = "") -> Picture:
        """Save images (H, W, 3) as an animation."""
        path = self.folder / f"{name}.webp"
        vis.save_animation(frames, path, FPS)
        return Picture(path.relative_to(self.root).as_posix(), alt, label)

    def save_cover(self, frames: Sequence[torch.Tensor] | torch.Tensor, alt: str) -> Picture:
        """Save the section's small picture, of one image or as an animation."""
        size = (self.config.cover_size,) * 2
        small = [
            F.interpolate(frame.movedim(-1, 0)[None], size, mode="bilinear", antialias=True)[0].movedim(0, -1)
            for frame in frames
        ]
        return self.save_film("cover", small, alt)

    def _saved(self, name: str, png: bytes, alt: str, label: str) -> Picture:
        path = self.folder / f"{name}.png"
        write_file(path, [png])
        return Picture(path.relative_to(self.root).as_posix(), alt, label)


class _Start(Callback):
    """Remembers the first step of a fit, which is not 0 if it is resumed."""

    step = 0

    def on_start(self, run: FitRun) -> None:
        self.step = run.step


class _Film(Every):
    """Saves pictures during a fit, as files, so that they survive an interruption."""

    def __init__(self, config: FitConfig, folder: Path) -> None:
        super().__init__(max(config.steps // FILMED, 1), self.add)
        self.folder = folder

    def add(self, run: FitRun) -> None:
        assert run.images is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            image = run.images()["prediction"]
        colors = image[..., None].expand(*image.shape, 3) if image.dim() == 2 else image
        write_file(self.folder / f"{run.step:06d}.png", [encode_png(colors)])


def _in_words(quality: Mapping[str, float]) -> dict[str, str]:
    """Quality as the report prints it."""
    return {name: form.format(value) for key, value in quality.items() for name, form in [QUALITY[key]]}
