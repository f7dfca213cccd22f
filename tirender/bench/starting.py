"""What a start costs: a program's imports and first image, and kernels that are compiled for the first time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import torch

import tirender
from tirender import runtime
from tirender.bench.measuring import Stopwatch, Work, peak_memory
from tirender.bench.workloads import STEPS

STARTS = {
    "start": "a program's imports and first image, kernels cached",
    "first-use": "kernels of the six tutorials, compiled for the first time",
}
PROGRAM = "import sys; from tirender.bench.starting import first_image; first_image(*sys.argv[1:])"


def time_start(device: str) -> dict[str, Any]:
    """The ``seconds`` that a new interpreter takes until it has rendered a small image and ended, the second time, and
    the ``memory`` that it has needed before."""
    watch, said = Stopwatch(0.0), []
    watch.start()
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, runtime.arch(), device], check=True, capture_output=True, text=True
        )
        said.append(done.stdout)
        watch.lap()
    return {"seconds": watch.laps[-1], "memory": json.loads(said[-1])}


def first_image(arch: str, device: str) -> None:
    """Render one, and print the memory needed before, in JSON."""
    tirender.init(arch)
    print(json.dumps(peak_memory()))
    _first(STEPS["render"].prepare(device, **STEPS["render"].small))


def time_first_use(device: str) -> dict[str, Any]:
    """The ``seconds`` that the first run of each of the tutorials' steps takes on small data, together and one by one.

    For a runtime without a cache (``tirender.init(offline_cache=False)``), so that it is those of compiling.
    """
    torch.manual_seed(0)
    steps = {name: _first(step.prepare(device, **step.small)) for name, step in STEPS.items()}
    return {"seconds": sum(steps.values()), "steps": steps}


def _first(work: Work) -> float:
    """The seconds of the first run."""
    watch = Stopwatch(0.0)
    work.run(watch)
    return watch.laps[0]
