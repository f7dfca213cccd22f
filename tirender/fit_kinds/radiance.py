"""What the fits of volumes and of radiance fields share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import FitKind, Numbers, Option, Target, ViewsTarget
from tirender.fit_kinds.targets import VIEW_OPTIONS, load_views_and_held_out

if TYPE_CHECKING:
    import torch

    from tirender.fit import FitRun
    from tirender.fit.quality import Watch
    from tirender.renderer import CamerasBase

RADIANCE_OPTIONS = (
    *VIEW_OPTIONS,
    Option("isolevel", "opacity where the mesh's surface lies (default: 0.5)", Numbers(low=1e-6, high=1.0), "", "F"),
    Option("crop", "the mesh lies in this box, in the source's coordinates", Numbers(6), "", "X Y Z X Y Z"),
    Option(
        "frames",
        "pictures of a turntable of an object, and of a flight along the cameras of photos (default: 36)",
        range(10001),
        "",
        "N",
        36,
    ),
)
VOXELS = 128  # along an axis, to extract a mesh from
FPS = 15


class RadianceFit(FitKind):
    """A fit whose module renders images (N, H, W, 4) of cameras."""

    flight_side = 128

    def load(self, given: Mapping[str, Any], device: str) -> ViewsTarget:
        target = load_views_and_held_out(given, device)
        check_size(target.views.image_size)
        return target

    def data(self, target: ViewsTarget) -> list[torch.Tensor]:
        return [target.views.silhouettes, target.views.on_black]

    def draw(self, run: FitRun, target: ViewsTarget) -> None:
        from tirender import vis

        truth = target.views if target.held_out is None else target.held_out
        rendered = run.module(truth.cameras[0])[0]
        vis.compare_view(rendered, truth.on_black[0], truth.silhouettes[0], f"iter: {run.step}")

    def quality(self, run: FitRun, target: ViewsTarget, watch: Watch | None = None) -> dict[str, float]:
        from tirender.fit.quality import view_quality

        prefix, truth = ("fitted", target.views) if target.held_out is None else ("held_out", target.held_out)
        return {f"{prefix}_{name}": value for name, value in view_quality(run.module, truth, watch).items()}

    def write(self, run: FitRun, target: ViewsTarget, folder: Path, given: Mapping[str, Any]) -> str:
        """Write mesh.ply, and a turntable as a GIF and an MP4; the result itself is the checkpoint."""
        self._write_mesh(run, target, folder / "mesh.ply", given)
        if given["frames"]:
            from tirender.fit import cameras_around

            write_frames(run, cameras_around(target.views.cameras, given["frames"]), folder / "turntable")
        return "checkpoint.pt"

    def _write_mesh(self, run: FitRun, target: Target, path: Path, given: Mapping[str, Any]) -> None:
        from tirender.fit import extract_mesh
        from tirender.io import IO
        from tirender.renderer import VolumeSampler
        from tirender.structures import Volumes

        field: Any = self.result(run.module)
        if isinstance(field, Volumes):
            field = VolumeSampler(field)
        config: Any = run.config
        level, crop = given.get("isolevel") or 0.5, given.get("crop")
        device = next(run.module.parameters()).device
        mesh = extract_mesh(field, config.extent, VOXELS, level, device, None if crop is None else target.box(crop))
        if mesh.isempty():
            where = "everywhere" if crop is None else "everywhere in --crop"
            warnings.warn(f"no {path.name}: the opacity is below {level:g} {where}", stacklevel=2)
            return
        IO().save_mesh(target.put_back(mesh), path, colors_as_uint8=True, comment=target.comment())


def check_size(size: tuple[int, int]) -> None:
    """Raise ``ValueError`` for images whose structural similarity is not defined."""
    from tirender.checks import fail
    from tirender.fit.quality import WINDOW

    if min(size) < WINDOW:
        fail("--size", f"views of at least {WINDOW} x {WINDOW} pixels", " x ".join(map(str, size)))


def write_frames(run: FitRun, cameras: Sequence[CamerasBase], path: Path) -> None:
    """Write what cameras see, one after the other, as a GIF and an MP4.

    Args:
        run: whose module renders.
        cameras: one a frame.
        path: of the files, without an ending.
    """
    import torch

    from tirender import vis

    with torch.no_grad():
        frames = torch.cat([run.module(camera)[..., :3] for camera in cameras])
    vis.save_animation(frames, path.with_suffix(".gif"), FPS)
    try:
        vis.save_animation(frames, path.with_suffix(".mp4"), FPS)
    except ImportError as error:
        warnings.warn(f"no {path.name}.mp4: {error}", stacklevel=2)
