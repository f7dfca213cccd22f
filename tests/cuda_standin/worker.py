"""Compiles and launches kernels for CUDA, on the stand-in for the driver, in a process of its own.

``LD_LIBRARY_PATH=FOLDER python worker.py OUTPUT CAPABILITY [KERNEL ...]`` finds the stand-in, libcuda.so, in FOLDER and
writes the PTX of each case and ``report.json`` to OUTPUT. CAPABILITY is 86 for sm_86. Kernels that are named, and no
others, are compiled once, in float32.
"""

from __future__ import annotations

import ctypes
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

import tirender
import tirender.engine.kernels  # first: it says which Taichi this is
from tirender.engine import runtime

# isort: split
import cases

ON_MODULE = ctypes.CFUNCTYPE(None, ctypes.c_char_p)
ON_LAUNCH = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint), ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
)


class Driver:
    """The stand-in, and what it was told since it was last asked."""

    def __init__(self, capability: int) -> None:
        self.library = ctypes.CDLL("libcuda.so")
        self.set("compute_capability", capability)
        self.modules: list[str] = []
        self.launches: list[dict[str, Any]] = []
        self._callbacks = ON_MODULE(self._on_module), ON_LAUNCH(self._on_launch)
        for name, callback in zip(("on_module", "on_launch"), self._callbacks):
            ctypes.c_void_p.in_dll(self.library, name).value = ctypes.cast(callback, ctypes.c_void_p).value

    def set(self, name: str, value: int) -> None:
        ctypes.c_int.in_dll(self.library, name).value = value

    def take(self) -> dict[str, Any]:
        """Modules, launches and copies; forgotten afterwards."""
        copies = {}
        for name in ("bytes_to_device", "bytes_to_host"):
            count = ctypes.c_uint64.in_dll(self.library, name)
            copies[name], count.value = count.value, 0
        told = {"modules": self.modules, "launches": self.launches, **copies}
        self.modules, self.launches = [], []
        return told

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor in device memory."""
        address, n_bytes = ctypes.c_size_t(), max(torch.empty(0, dtype=dtype).itemsize * torch.Size(shape).numel(), 1)
        assert self.library.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(n_bytes)) == 0
        memory = (ctypes.c_char * n_bytes).from_address(address.value)
        return torch.frombuffer(memory, dtype=dtype).view(shape)

    def _on_module(self, ptx: bytes) -> None:
        self.modules.append(ptx.decode())

    def _on_launch(self, name: bytes, sizes: Any, stream: int | None, params: Any) -> None:
        """The one parameter of a kernel begins with the address of its packed arguments."""
        arguments = ctypes.c_size_t.from_address(params[0]).value
        self.launches.append(
            {
                "name": name.decode(),
                "grid": sizes[0],
                "block": sizes[1],
                "shared": sizes[2],
                "stream": stream,
                "arguments": arguments,
            }
        )


def launch(driver: Driver, case: cases.Case) -> dict[str, Any]:
    """Launch a kernel on tensors on the device; what the driver was told, and the arguments it should have found."""
    args = cases.arguments(case, driver.empty)
    expected = cases.packed(case, args)
    driver.take()
    runtime.launch(case.kernel, *args)
    told = driver.take()
    told["launches"] = [x for x in told["launches"] if x["name"].startswith(case.kernel.__name__)]
    for launched in told["launches"]:  # the stand-in hands out no memory twice: they are still there
        launched["arguments"] = ctypes.string_at(launched["arguments"], len(expected)).hex()
    return told | {"expected": expected.hex()}


def faults(driver: Driver, case: cases.Case) -> dict[str, Any]:
    """What happens to tensors in the host's memory, in a thread without a context, and where a launch fails."""
    args = cases.arguments(case, driver.empty)
    of_host = cases.arguments(case, lambda shape, dtype: torch.zeros(shape, dtype=dtype))
    runtime.launch(case.kernel, *args)
    driver.take()
    runtime.launch(case.kernel, *of_host)
    copied = driver.take()
    context = ctypes.c_void_p(1)
    with ThreadPoolExecutor(1) as other:
        other.submit(driver.library.cuCtxGetCurrent, ctypes.byref(context)).result()
        other.submit(runtime.launch, case.kernel, *args).result()
    from_thread = driver.take()
    driver.set("launch_result", 719)
    try:
        runtime.launch(case.kernel, *args)
        error = ""
    except RuntimeError as raised:
        error = str(raised)
    driver.set("launch_result", 0)
    return {
        "bytes": sum(arg.nbytes for arg in of_host if isinstance(arg, torch.Tensor)),
        "bytes_to_host": copied["bytes_to_host"],
        "context before": context.value,
        "launches from a thread": len(from_thread["launches"]),
        "error": error,
    }


def main(output: str, capability: str, *names: str) -> None:
    driver = Driver(int(capability))
    tirender.init("cuda")
    chosen, found = cases.cases(), []
    if names:
        of_name = {case.name: case for case in chosen if case.floats == torch.float32}
        chosen = [of_name[name] for name in names]
    for case in chosen:
        told = launch(driver, case)
        file = f"{len(found):03}.ptx"
        Path(output, file).write_text("".join(told.pop("modules")))
        found.append({"title": case.title, "kernel": case.name, "floats": str(case.floats), "ptx": file, **told})
    report = {"cases": found, "faults": faults(driver, case)}
    Path(output, "report.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
