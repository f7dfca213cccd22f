"""Small fits, alone or under ``torchrun``: ``python ranks_worker.py FOLDER`` saves the curves of all kinds there;
``... FOLDER die`` begins one that never ends, in which the second process dies.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

import tirender
from tirender.fields import HashGridConfig, HashGridField, NeuralRadianceField
from tirender.fit import (
    Checkpoint,
    FitConfig,
    ImageConfig,
    MeshConfig,
    NerfConfig,
    SilhouetteConfig,
    VolumeConfig,
    fit,
    fit_images,
    fit_mesh,
    fit_nerf,
    fit_silhouettes,
    fit_volume,
    render_views,
)
from tirender.fit.distributed import process_group, rank
from tirender.ops.hash_grid import HashGridLayout
from tirender.renderer import TexturesVertex
from tirender.utils import torus

STEPS = 20
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
    torch.manual_seed(rank())  # not what decides
    runs = {
        "silhouette": fit_silhouettes(views, config=SilhouetteConfig(views_per_step=3, **calm, **options)),
        "images": fit_images(views, config=ImageConfig(views_per_step=1, seed=None, **calm, **options)),
        "volume": fit_volume(views, VolumeConfig(volume_size=8, double_at=(9,), views_per_step=3, **options)),
        "mesh": fit_mesh(ring, config=MeshConfig(level=1, n_samples=100, **options)),
        "nerf": fit_nerf(views, nerf, field=NeuralRadianceField(4, 16)),
        "hashgrid": fit_nerf(views, hash_grid, field=HashGridField(HASH_GRID)),
    }
    return {kind: run.history for kind, run in runs.items()}


def fit_and_die(folder: Path) -> None:
    """A fit without end, which the second process leaves at its fourth step."""
    module = torch.nn.Linear(2, 1)

    def losses(step: int) -> dict[str, torch.Tensor]:
        if rank() == 1 and step == 3:
            os._exit(7)
        return {"size": module(torch.ones(2)).square().sum()}

    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    fit(
        losses, module, optimizer, FitConfig(10**6, progress=False), callbacks=[Checkpoint(folder / "checkpoint.pt", 1)]
    )


if __name__ == "__main__":
    tirender.init("cpu", cpu_max_num_threads=1)  # the processes share a few cores
    with process_group():
        if sys.argv[2:] == ["die"]:
            fit_and_die(Path(sys.argv[1]))
        else:
            torch.save(curves(), Path(sys.argv[1]) / f"curves_{rank()}.pt")
