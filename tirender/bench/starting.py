"""What a start costs: a program's imports and first image, and kernels that are compiled for the first time."""

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
    "start": "a program's imports and first image, kernels cached",
    "first-use": "kernels of the six tutorials, compiled for the first time",
}
STARTS_TIMED = 3


def time_start(device: str) -> dict[str, Any]:
    """The least ``seconds`` of some new interpreters until they have rendered a small image and ended; and the
    ``memory`` that torch and Taichi take in them."""
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
    """The ``seconds`` by which the first run of each of the tutorials' steps takes longer than later ones, on small
    data; together and one by one.

    For a runtime without a cache (``tirender.init(offline_cache=False)``), so that it is those of compiling.
    """
    torch.manual_seed(0)
    steps = {}
    for name, step in STEPS.items():
        watch = Stopwatch(0.0)
        step.prepare(device, **step.small).run(watch)
        steps[name] = max(watch.laps[0] - min(watch.laps[1:]), 0.0)
    return {"seconds": sum(steps.values()), "steps": steps}


def last_line(text: str) -> str:
    """Of what a process has said, what tells most."""
    return ([""] + text.strip().splitlines())[-1]
