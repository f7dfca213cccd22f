"""Measurements in a process of their own, so that its memory is theirs.

``run`` sends a request and ``python -m tirender.bench.worker`` answers it, each in a line of JSON. On Linux the worker
imports torch and Taichi once, uses neither, and forks for each request. Elsewhere it ends after the first request.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from typing import IO, Any

import torch

import tirender
from tirender.bench.limits import measure_limits
from tirender.bench.measuring import Stopwatch, Work, summary
from tirender.bench.memory import peak_device_memory, peak_memory
from tirender.bench.peer import compare
from tirender.bench.starting import last_line, time_first_use, time_start
from tirender.bench.workloads import WORKLOADS, Workload
from tirender.engine import runtime

SEED = 0
FORKS = sys.platform == "linux"  # not macOS, whose frameworks do not survive a fork
NO_DRIVER_CACHE = {"MESA_SHADER_CACHE_DISABLE": "true", "CUDA_CACHE_DISABLE": "1"}

_server: subprocess.Popen[str] | None = None


def run(request: Mapping[str, Any]) -> Any:
    """Measure in a new process.

    Args:
        request: the ``task``, a name in ``TASKS``, its arguments, and the ``arch``.
    Raises:
        RuntimeError: the measurement failed; with the last line that the process printed.
    """
    global _server
    if _server is None or _server.poll() is not None:
        command = [sys.executable, "-m", "tirender.bench.worker"]
        _server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,  # which Ctrl-C does not reach
        )
        atexit.register(_end, _server)
    print(json.dumps(request), file=_server.stdin, flush=True)
    assert _server.stdout is not None
    line = _server.stdout.readline()
    answer = json.loads(line) if line else {"error": "the process that measures has ended"}
    if not line or not FORKS:
        _end(_server)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["result"]


def _end(server: subprocess.Popen[str]) -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    if server.poll() is None:
        if FORKS:
            os.killpg(server.pid, signal.SIGKILL)
        else:
            server.kill()
        server.wait()
    server.stdin.close()
    server.stdout.close()


def main() -> None:
    """Answer requests on stdin."""
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            if not FORKS:
                _answer(line, said)
                return
            child = os.fork()
            if not child:
                code = 1
                try:
                    _answer(line, said)
                    code = 0
                finally:
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if code:
                said.seek(0)
                why = ", as where memory runs out" if code == -signal.SIGKILL else f": {last_line(said.read())}"
                print(json.dumps({"error": f"ended with {code}{why}"}), flush=True)


def _answer(line: str, said: IO[str]) -> None:
    """Run the task and print the answer; all other output goes to a file."""
    stdout = os.dup(1)
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    try:
        request = json.loads(line)
        task, arch = request.pop("task"), request.pop("arch")
        if task == "first-use":
            os.environ.update(NO_DRIVER_CACHE)
        device = "cuda" if tirender.init(arch, offline_cache=task != "first-use") == "cuda" else "cpu"
        answer = {"result": TASKS[task](device, **request)}
    except Exception as error:
        answer = {"error": last_line("".join(traceback.format_exception_only(error)))}
    with open(stdout, "w", encoding="utf-8") as file:
        print(json.dumps(answer), file=file)


def row(device: str, name: str, budget: float, settings: Mapping[str, Any] | None = None) -> Any:
    """The laps and the memory of a workload."""
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
    """The laps of a workload with several settings. They share a process, so its memory says nothing."""
    return [_measured(_prepared(WORKLOADS[name], device, each), budget) for each in settings]


def limits(device: str, budget: float) -> Any:
    """The limits of the machine, and its description."""
    return {"rates": measure_limits(device, budget), "machine": runtime.describe()}


def peer(device: str, name: str, library: str, budget: float) -> Any:
    """The same lines on tirender and on another library, in turns."""
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


if __name__ == "__main__":
    main()
