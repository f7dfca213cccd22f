"""The peak memory of this process."""

from __future__ import annotations

import sys
from pathlib import Path

import torch


def peak_memory() -> float | None:
    """The most bytes that this process has had in memory so far; None if the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would include the parent's
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_device_memory() -> float | None:
    """The most bytes that torch has allocated on the GPU; None without a GPU."""
    return float(torch.cuda.max_memory_allocated()) if torch.cuda.is_initialized() else None
