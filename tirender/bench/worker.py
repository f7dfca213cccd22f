"""Measurements in a process of their own, which says what memory they need.

All are forked from a server that has imported torch and Taichi once, and used neither; where there is no fork, each
imports them anew.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import torch

import tirender
from tirender import runtime
from tirender.bench.limits import measure_limits
from tirender.bench.measuring import Stopwatch, Work, peak_device_memory, peak_memory, summary
from tirender.bench.peer import compare
from tirender.bench.starting import time_first_use, time_start
from tirender.bench.workloads import WORKLOADS, Workload

SEED = 0


def run(request: Mapping[str, Any]) -> Any:
    """Measure in a new process.

    Args:
        request: ``task``, the name of one in ``TASKS``, its arguments, and the ``arch``.
    Raises:
        RuntimeError: it failed; with the last line that it said.
    """
    server = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if server else "spawn")
    if server:
        context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(dict(request), sender), daemon=True)
    process.start()
    sender.close()
    try:
        answer, error = receiver.recv()
    except EOFError:
        process.join()
        answer, error = None, f"ended with {process.exitcode}, as where memory runs out"
    if error is not None:
        raise RuntimeError(error)
    process.join()
    return answer


def _answer(request: dict[str, Any], sender: Connection) -> None:
    """Do what ``run`` asks for, in the new process."""
    with open(os.devnull, "w") as nowhere:  # what is told of kernels and warnings would tear the table
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        task, arch = request.pop("task"), request.pop("arch")
        device = "cuda" if tirender.init(arch, offline_cache=task != "first-use") == "cuda" else "cpu"
        sender.send((TASKS[task](device, **request), None))
    except KeyboardInterrupt:  # which the other process sees too
        pass
    except Exception as error:
        said = "".join(traceback.format_exception_only(error))
        sender.send((None, said.strip().splitlines()[-1]))


def row(device: str, name: str, budget: float, settings: Mapping[str, Any] | None = None) -> Any:
    """A workload: its laps and memory."""
    base = peak_memory()
    work = _prepared(WORKLOADS[name], device, settings)
    return {
        **_measured(work, budget),
        "needs": work.needs,
        "base_memory": base,
        "peak_memory": peak_memory(),
        "peak_device_memory": peak_device_memory(),
    }


def series(device: str, name: str, budget: float, settings: list[Mapping[str, Any]]) -> Any:
    """A workload with one setting after another, in one process; whose memory is of none of them."""
    return [_measured(_prepared(WORKLOADS[name], device, each), budget) for each in settings]


def limits(device: str, budget: float) -> Any:
    """What the machine can do, and what it is."""
    return {"rates": measure_limits(device, budget), "machine": runtime.describe()}


def peer(device: str, name: str, library: str, budget: float) -> Any:
    """The same lines on tirender and on another library, by turns."""
    return compare(name, library, device, budget)


def _prepared(workload: Workload, device: str, settings: Mapping[str, Any] | None) -> Work:
    torch.manual_seed(SEED)
    return workload.prepare(device, **{**workload.settings, **(settings or {})})


def _measured(work: Work, budget: float) -> dict[str, Any]:
    watch = Stopwatch(budget)
    work.run(watch)
    return {**summary(watch.laps), "laps": watch.laps, "n_units": work.n_units}


TASKS: dict[str, Callable[..., Any]] = {
    "row": row,
    "series": series,
    "limits": limits,
    "start": time_start,
    "first-use": time_first_use,
    "peer": peer,
}
