"""How long a start takes: imports and the first image, and compiling kernels for the first time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import torch

from tirender.bench.measuring import Stopwatch
from tirender.bench.workloads import STEPS
from tirender.engine import runtime

STARTS = {
    "start": "imports and first image, with cached kernels",
    "first-use": "compiling the kernels of the six tutorials",
}
STARTS_TIMED = 3


def time_start(device: str) -> dict[str, Any]:
    """Time some new interpreters that render a small image and end: the least ``seconds``, and the ``memory`` that
    torch and Taichi take in them."""
    seconds = []
    for _ in range(STARTS_TIMED):
        since = time.perf_counter()
        command = [sys.executable, "-m", "tirender.bench.first_image", runtime.arch(), device]
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
        seconds.append(time.perf_counter() - since)
        if done.returncode:
            raise RuntimeError(last_line(done.stderr))
    return {"seconds": min(seconds), "memory": json.loads(done.stdout), "laps": seconds}


def time_first_use(device: str) -> dict[str, Any]:
    """Time compiling: how many ``seconds`` longer the first run of each tutorial's step takes than later ones.

    The data are small. The runtime must have no cache (``tirender.init(offline_cache=False)``).
    """
    torch.manual_seed(0)
    steps = {}
    for name, step in STEPS.items():
        watch = Stopwatch(0.0)
        step.prepare(device, **step.small).run(watch)
        steps[name] = max(watch.laps[0] - min(watch.laps[1:]), 0.0)
    return {"seconds": sum(steps.values()), "steps": steps}


def last_line(text: str) -> str:
    """The last line that a process has printed, which says most about a failure."""
    return ([""] + text.strip().splitlines())[-1]
