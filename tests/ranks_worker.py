"""Small fits, alone or under ``torchrun``: ``python ranks_worker.py FOLDER`` saves the curves of all kinds there;
``... FOLDER die`` begins one that never ends, in which the second process dies; ``own`` makes
small ones in a group of its own, and saves what became of them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

import tirender
from tirender.engine.hash_grid import HashGridLayout
from tirender.fields import HashGridConfig, HashGridField, NeuralRadianceField
from tirender.fit import (
    Callback,
    Checkpoint,
    FitConfig,
    FitRun,
    ImageConfig,
    MeshConfig,
    NerfConfig,
    Preview,
    SilhouetteConfig,
    SplatConfig,
    VolumeConfig,
    distributed,
    fit,
    fit_images,
    fit_mesh,
    fit_nerf,
    fit_silhouettes,
    fit_splats,
    fit_volume,
    process_group,
    render_views,
)
from tirender.fit.distributed import rank
from tirender.fit.interrupts import Interrupted
from tirender.renderer import TexturesVertex
from tirender.utils import torus
from tirender.vis.display import Event

STEPS = 20
N_LOOKS = 30  # at a paused preview
HASH_GRID = HashGridConfig(
    layout=HashGridLayout(n_levels=4, log2_rows=8, base_resolution=4, finest_resolution=16),
    hidden=8,
    steps_per_extent=24,
    grid_resolution=8,
)


def curves() -> dict[str, dict[str, list[float]]]:
    """The losses of small fits of all kinds; three views a step do not part evenly."""
    ring = torus(0.3, 0.7, 8, 12)
    ring.textures = TexturesVertex(ring.verts_padded() / 2 + 0.5)
    views = render_views(ring, 5, 16)
    options = {"steps": STEPS, "progress": False}
    calm = {"level": 1, "lr": 0.05}  # faces that tumble would make much of a rounding
    nerf = NerfConfig(views_per_step=3, n_pts_per_ray=12, rays_per_view=15, **options)
    hash_grid = replace(nerf, field="hashgrid", update_every=4, samples_per_step=200, lr=1e-2)
    splats = SplatConfig(photos_per_step=3, degree_every=5, grow_every=5, n_random=100, seed=3, **options)
    torch.manual_seed(rank())  # not what decides
    runs = {
        "silhouette": fit_silhouettes(views, config=SilhouetteConfig(views_per_step=3, **calm, **options)),
        "images": fit_images(views, config=ImageConfig(views_per_step=1, seed=None, **calm, **options)),
        "volume": fit_volume(views, VolumeConfig(volume_size=8, double_at=(9,), views_per_step=3, **options)),
        "mesh": fit_mesh(ring, config=MeshConfig(level=1, n_samples=100, **options)),
        "nerf": fit_nerf(views, nerf, field=NeuralRadianceField(4, 16)),
        "splats": fit_splats(views, ring, splats),
        "split": fit_splats(views, ring, replace(splats, growth="split")),
        "hashgrid": fit_nerf(views, hash_grid, field=HashGridField(HASH_GRID)),
    }
    return {kind: run.history for kind, run in runs.items()}


def small_fit(
    callback: Callback, at: int = 0, call: Callable[[], object] = lambda: None, steps: int = 10**6, start: float = 1.0
) -> FitRun:
    """A fit of one number; the second process calls something in the midst of a step."""
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(module.weight, start)

    def losses(step: int) -> dict[str, torch.Tensor]:
        if dist.get_rank() == 1 and step == at:
            call()
        return {"size": module(torch.ones(1)).square().sum()}

    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    return fit(losses, module, optimizer, FitConfig(steps, progress=False), callbacks=[callback])


class Screen:
    """A display whose user pauses the fit after three steps, looks on, makes one step and stops it."""

    is_open, size, n_looks = True, (240, 320), 0

    def show(self, picture: object) -> None: ...

    def events(self) -> list[Event]:
        self.n_looks += 1  # the first look is before the first step
        key = {4: "space", 4 + N_LOOKS: "n", 5 + N_LOOKS: "s"}.get(self.n_looks)
        return [Event("press", key)] if key else []

    def close(self) -> None:
        self.is_open = False


def fit_in_a_group_of_ones_own(folder: Path) -> None:
    """Fits alone and together, one that a preview pauses and stops, and one that a signal to the second ends."""
    dist.init_process_group("gloo")
    facts: dict[str, float] = {}
    own = 1.0 + dist.get_rank()
    facts["alone"] = small_fit(Callback(), steps=3, start=own).history["size"][0]
    with process_group():
        facts["together"] = small_fit(Callback(), steps=3, start=own).history["size"][0]

        ask, n_asked = distributed.any_process, []
        distributed.any_process = lambda *flags: n_asked.append(1) or ask(*flags)
        run = small_fit(Preview(Screen()) if rank() == 0 else Callback())
        facts |= {"stopped": run.stopped, "stopped_at": run.step, "answers": len(n_asked)}

        try:
            small_fit(Checkpoint(folder / "checkpoint.pt", 1000), 3, lambda: signal.raise_signal(signal.SIGINT))
        except Interrupted as end:
            facts["interrupted_at"] = end.run.step
    facts["left"] = dist.is_initialized() and distributed.world() == 1
    (folder / f"facts_{dist.get_rank()}.json").write_text(json.dumps(facts))
    dist.destroy_process_group()


if __name__ == "__main__":
    tirender.init("cpu", cpu_max_num_threads=1)  # the processes share a few cores
    folder, what = Path(sys.argv[1]), sys.argv[2:]
    if what == ["own"]:
        fit_in_a_group_of_ones_own(folder)
    else:
        with process_group(gpus=False):
            if what == ["die"]:
                small_fit(Checkpoint(folder / "checkpoint.pt", 1), 3, lambda: os._exit(7))
            else:
                torch.save(curves(), folder / f"curves_{rank()}.pt")
