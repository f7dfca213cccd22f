"""Measurements in a process of their own, which says what memory they need and how long a start takes.

``run`` asks for one; ``python -m tirender.bench.worker`` answers, in JSON both ways.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tirender.bench.measuring import Work
    from tirender.bench.workloads import Workload

SEED = 0


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Measure in a new process.

    Args:
        request: ``task``, the name of a function of this module, and its arguments.
    Raises:
        RuntimeError: it failed; with the last line that it said.
    """
    text = json.dumps({**request, "started": time.time()})
    command = [sys.executable, "-m", "tirender.bench.worker"]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8")
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RuntimeError(said[-1] if said else f"ended with {done.returncode}, as where memory runs out")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def row(device: str, started: float, name: str, budget: float, settings: Mapping[str, Any] | None = None) -> Any:
    """A workload: its laps, memory, and when the first was done, in seconds from the start of the process."""
    from tirender.bench.measuring import peak_device_memory, peak_memory
    from tirender.bench.workloads import WORKLOADS

    base = peak_memory()
    work = _prepared(WORKLOADS[name], device, settings)
    ready, measured = time.time(), _measured(work, budget)
    return {
        **measured,
        "start": ready - started + measured["first"],
        "needs": work.needs,
        "base_memory": base,
        "peak_memory": peak_memory(),
        "peak_device_memory": peak_device_memory(),
    }


def series(device: str, started: float, name: str, budget: float, settings: list[Mapping[str, Any]]) -> Any:
    """A workload with one setting after another, in one process; whose memory and start are of none of them."""
    from tirender.bench.workloads import WORKLOADS

    return [_measured(_prepared(WORKLOADS[name], device, each), budget) for each in settings]


def _prepared(workload: Workload, device: str, settings: Mapping[str, Any] | None) -> Work:
    import torch

    torch.manual_seed(SEED)
    return workload.prepare(device, **{**workload.settings, **(settings or {})})


def _measured(work: Work, budget: float) -> dict[str, Any]:
    from tirender.bench.measuring import Stopwatch, summary

    watch = Stopwatch(budget)
    work.run(watch)
    return {**summary(watch.laps), "laps": watch.laps, "n_units": work.n_units}


def limits(device: str, started: float, budget: float) -> Any:
    """What the machine can do, and what it is."""
    from tirender import runtime
    from tirender.bench.limits import measure_limits

    return {"rates": measure_limits(device, budget), "machine": runtime.describe()}


def peer(device: str, started: float, name: str, library: str, budget: float) -> Any:
    """The same lines on tirender and on another library, by turns."""
    from tirender.bench.peer import compare

    return compare(name, library, device, budget)


TASKS: dict[str, Callable[..., Any]] = {"row": row, "series": series, "limits": limits, "peer": peer}


def main() -> None:
    """Answer one request on stdin."""
    import tirender

    request = json.load(sys.stdin)
    task, arch = request.pop("task"), request.pop("arch")
    device = "cuda" if tirender.init(arch) == "cuda" else "cpu"
    json.dump(TASKS[task](device, **request), sys.stdout)


if __name__ == "__main__":
    main()
