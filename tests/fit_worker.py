"""A short fit in a process of its own, to be killed: checkpoint folder, seconds a step, write to die at (0: none)."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from dying import die_at

from tirender.fit import Callback, Checkpoint, DeformedMesh, Every, FitConfig, fit
from tirender.fit.shape import shape_losses
from tirender.utils import ico_sphere

STEPS = 60


def run_fit(folder: Path, steps: int, period: int, callbacks: Sequence[Callback] = ()) -> torch.Tensor:
    """The vertices after a fit that draws random numbers at each step."""
    module = DeformedMesh(ico_sphere(1))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)

    def losses(step: int) -> dict[str, torch.Tensor]:
        mesh = module()
        pull = (mesh.verts_packed() - torch.randn(3)).square().mean()
        return {"pull": pull, **shape_losses(mesh)}

    run = fit(
        losses,
        module,
        optimizer,
        FitConfig(steps, progress=False),
        scheduler=scheduler,
        callbacks=[Checkpoint(folder / "checkpoint.pt", period), *callbacks],
    )
    return run.module().verts_packed().detach()


if __name__ == "__main__":
    folder, pause, event = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    tell = Every(1, lambda run: (print(run.step, flush=True), time.sleep(pause)))
    die_at(event)
    torch.save(run_fit(folder, STEPS, 1, [tell]), folder / "result.pt")
