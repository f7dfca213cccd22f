"""The one Taichi runtime of the process: started once, on the first operation or by :func:`init`, never restarted.

A runtime that the program has started itself is adopted as it is, since a second ``ti.init`` would invalidate every
field it holds. Compiled kernels are kept in Taichi's offline cache (``TI_OFFLINE_CACHE_FILE_PATH``, by default
``~/.cache/taichi/ticache``), so that only the first run on a machine pays for compiling.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch

from tirender.engine import compiler
from tirender.engine.archs import ARCHS
from tirender.engine.device_arrays import DeviceArray
from tirender.engine.device_copies import DeviceCopies
from tirender.engine.first_order import refuse_transforms
from tirender.engine.launcher import Launcher

MAX_NUMBERS = 2**31  # Taichi counts them in int32, and reads elsewhere beyond

F = TypeVar("F", bound=Callable[..., Any])

_lock = threading.Lock()
_arch: str | None = None
_forked = False
_launchers: dict[Any, Launcher] = {}
_copies = DeviceCopies()


def init(arch: str | None = None, **options: Any) -> str:
    """Start the Taichi runtime, or adopt the one that the program has started.

    Called by itself with the defaults at the first operation; call it earlier to choose.

    Args:
        arch: ``"cpu"``, ``"cuda"`` or ``"vulkan"``. By default the environment variable ``TIRENDER_ARCH``, else
            ``"cuda"`` where torch can use one, else ``"cpu"``.
        options: passed to ``ti.init`` (``cpu_max_num_threads=1``, ``offline_cache_file_path=...``).
    Returns:
        The arch that runs.
    Raises:
        ValueError: for an unknown arch.
        RuntimeError: where the runtime already runs on another arch, where Taichi cannot use the one asked for, or in
            a forked child.
    """
    global _arch
    with _lock:
        _refuse_fork()
        wanted = arch or os.environ.get("TIRENDER_ARCH") or None
        if wanted is not None and wanted not in ARCHS:
            raise ValueError(f"arch: expected 'cpu', 'cuda' or 'vulkan', got {wanted!r}")
        if _arch is None:
            _arch = _start(wanted, options)
        else:
            _refuse_another(_arch, arch, options)
        return _arch


def arch() -> str:
    """The running arch, started with the defaults if none runs."""
    return _arch if _arch is not None and not _forked else init()


def is_parallel_device() -> bool:
    """Whether kernels run on a GPU-like arch, which wants thousands of threads where a CPU wants a few long tasks."""
    return arch() != "cpu"


def launch(kernel: Any, *args: Any) -> None:
    """Run a kernel on contiguous tensors and numbers, after seeing that the arch can reach them.

    Tensors go in detached: Taichi would otherwise deal with their ``.grad`` itself. On Vulkan they are copied to the
    device and back, but for those that :func:`keep` was called for. What :func:`scratch` gave is never copied.

    Raises:
        ValueError: for a tensor on a device that the arch cannot reach, of 2^31 numbers or more, or of float64 where
            Vulkan lacks a function. On CUDA only the first GPU is reached.
        RuntimeError: in a forked child.
    """
    running = arch()
    args = tuple(_reachable(a, running) if isinstance(a, torch.Tensor) else a for a in args)
    launcher = _launchers.get(kernel)
    try:
        with _stream_order() if running == "cuda" else contextlib.nullcontext():
            if launcher is not None:
                launcher(*args)
            else:
                _launch_first(kernel, args, running)
    except (TypeError, ValueError):  # of the arguments: the launcher names them
        raise
    except Exception as error:
        if running == "vulkan" and any(isinstance(a, torch.Tensor) and a.dtype == torch.float64 for a in args):
            raise ValueError("dtype: expected float32 on the 'vulkan' arch, got float64; call .float()") from error
        raise


def keep(rows: torch.Tensor) -> None:
    """Have a device with memory of its own hold on to rows (n, k) of numbers, for all launches that read them.

    Args:
        rows: contiguous; nobody may write to them as long as they live.
    """
    if arch() == "vulkan":
        _copies.keep(_reachable(rows, "vulkan"))


def scratch(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor | DeviceArray:
    """Memory for numbers that kernels write and read, and nobody else: on Vulkan it stays on the device.

    Kernels may take it as an array of numbers, not of vectors.
    """
    if arch() == "vulkan" and 0 not in shape:
        return DeviceArray(shape, dtype)
    return torch.empty(shape, dtype=dtype, device=device)


def synchronize() -> None:
    """Wait until all work that kernels and torch have begun is done."""
    import taichi as ti

    if arch() != "cpu":
        ti.sync()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def not_compiled(function: F) -> F:
    """Keep ``torch.compile`` and ``torch.func`` out of a function that launches kernels.

    This is ``torch.compiler.disable``, but which alone imports the compiler, in as long as the rest of the package
    takes, whether anything is ever compiled or not.
    """
    disabled: Callable[..., Any] | None = None

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal disabled
        refuse_transforms(function)
        if "torch._dynamo" not in sys.modules:  # nothing can be compiling
            return function(*args, **kwargs)
        if disabled is None:
            disabled = torch.compiler.disable(function)
        return disabled(*args, **kwargs)

    return call  # type: ignore[return-value]


def _launch_first(kernel: Any, args: tuple[Any, ...], running: str) -> None:
    launcher = Launcher(kernel, _copies if running == "vulkan" else None)
    notice = threading.Timer(1.0, _say_compiling)
    notice.daemon = True
    notice.start()
    try:
        launcher(*args)
    finally:
        notice.cancel()
    _launchers[kernel] = launcher


@contextlib.contextmanager
def _stream_order() -> Iterator[None]:
    """Taichi launches on CUDA's default stream. Where torch works on another, each waits for the other."""
    if not torch.cuda.is_initialized() or (ours := torch.cuda.current_stream(0)) == torch.cuda.default_stream(0):
        yield
        return
    default = torch.cuda.default_stream(0)
    default.wait_stream(ours)
    try:
        yield
    finally:
        ours.wait_stream(default)


def _reachable(tensor: torch.Tensor, running: str) -> torch.Tensor:
    if tensor.device.type not in ("cpu", running):
        advice = "start with tirender.init('cuda')" if tensor.is_cuda else "move the tensors with .cpu()"
        raise ValueError(f"device: expected CPU tensors on the {running!r} arch, got {tensor.device}; {advice}")
    if tensor.device.index:
        raise ValueError(
            f"device: expected cuda:0, where kernels run, got {tensor.device}; "
            "the environment variable CUDA_VISIBLE_DEVICES, set before the start, says which GPU that is"
        )
    if tensor.numel() >= MAX_NUMBERS:
        raise ValueError(f"size: expected tensors of fewer than 2^31 numbers, got shape {tuple(tensor.shape)}")
    return tensor.detach() if tensor.requires_grad else tensor


def describe() -> dict[str, str]:
    """Versions, arch, device, driver and cache folder, as ``tirender info`` prints them."""
    import taichi as ti

    import tirender

    running = arch()
    return {
        "tirender": tirender.__version__,
        "taichi": ".".join(map(str, ti.__version__)),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "arch": running,
        "device": _device_name(running),
        "driver": _driver_name(running),
        "threads": str(ti.cfg.cpu_max_num_threads) if running == "cpu" else "-",
        "kernel cache": ti.cfg.offline_cache_file_path if ti.cfg.offline_cache else "off",
    }


def _device_name(running: str) -> str:
    if running == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    models = (
        [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] if cpuinfo.exists() else []
    )
    name = models[0].partition(":")[2].strip() if models else platform.processor() or platform.machine()
    return f"{name} ({os.cpu_count()} threads)" if running == "cpu" else "chosen by the Vulkan driver"


def _driver_name(running: str) -> str:
    if running == "cuda":
        return f"CUDA {torch.version.cuda}"
    if running == "vulkan":
        folders = (Path("/usr/share/vulkan/icd.d"), Path("/etc/vulkan/icd.d"))
        found = sorted(file.stem for folder in folders if folder.is_dir() for file in folder.glob("*.json"))
        return ", ".join(os.environ.get("VK_DRIVER_FILES", "").split(":") if "VK_DRIVER_FILES" in os.environ else found)
    return "LLVM (in Taichi)"


def _start(wanted: str | None, options: dict[str, Any]) -> str:
    compiler.choose()
    import taichi as ti

    compiler.remember_sources()

    by_name = {"cpu": ti.cpu, "cuda": ti.cuda, "vulkan": ti.vulkan}
    if _has_program():
        found = {ti.x64: "cpu", ti.arm64: "cpu", ti.cuda: "cuda", ti.vulkan: "vulkan"}.get(ti.cfg.arch)
        if found is None:
            raise RuntimeError(f"arch: expected a Taichi runtime on cpu, cuda or vulkan, got {ti.cfg.arch}")
        _refuse_another(found, wanted, options)
        return found
    name = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    settings: dict[str, Any] = {
        "offline_cache": True,
        "fast_math": False,
        "make_cpu_multithreading_loop": False,
        "log_level": ti.ERROR,
    }
    compiler.free_cache(
        options.get("offline_cache_file_path")
        or os.environ.get("TI_OFFLINE_CACHE_FILE_PATH")
        or ti.lang.impl.default_cfg().offline_cache_file_path
    )
    with contextlib.redirect_stdout(io.StringIO()):  # its banner
        ti.init(arch=by_name[name], **(settings | options))
    if (ti.cfg.arch in (ti.x64, ti.arm64)) != (name == "cpu") or (name != "cpu" and ti.cfg.arch != by_name[name]):
        ti.reset()
        raise RuntimeError(f"arch: expected {name!r}, got none: Taichi found no usable {name} driver on this machine")
    return name


def _refuse_another(running: str, wanted: str | None, options: dict[str, Any]) -> None:
    if wanted is not None and wanted != running:
        raise RuntimeError(f"arch: expected {running!r}, which runs already (Taichi starts once), got {wanted!r}")
    if options:
        raise RuntimeError(f"options: expected none, as Taichi runs already on {running!r}, got {', '.join(options)}")


def _has_program() -> bool:
    """Whether Taichi runs, whoever has started it."""
    taichi = sys.modules.get("taichi")
    return taichi is not None and taichi.lang.impl.get_runtime().prog is not None


def _mark_forked() -> None:
    """In a child that was just forked: a program that ran in its parent would hang here."""
    global _forked
    _forked = _forked or _has_program()


if hasattr(os, "register_at_fork"):  # not on Windows, which never forks
    os.register_at_fork(after_in_child=_mark_forked)


def _refuse_fork() -> None:
    if _forked:
        raise RuntimeError(
            "fork: expected the process that started Taichi, got a forked child, in which kernels would hang; "
            "use the 'spawn' start method (multiprocessing.set_start_method('spawn'), DataLoader(num_workers=0))"
        )


@functools.cache
def _say_compiling() -> None:
    """Once in a process, however many kernels it waits for."""
    print("tirender: compiling kernels, or loading those that an earlier run has compiled ...", file=sys.stderr)
