"""Which Taichi compiles kernels: Taichi 1.7, or the fork taichi-forge, chosen by ``TIRENDER_TAICHI=taichi_forge``.

The fork keeps Taichi's names. Where they are used, ``import taichi`` gives the one that was chosen.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

NAMES = ("taichi", "taichi_forge")


def choose() -> None:
    """Let the fork take Taichi's name in this process, if the environment asks for it.

    Raises:
        ValueError: for a name that is not one of the two.
        RuntimeError: where the program has imported Taichi already.
    """
    name = os.environ.get("TIRENDER_TAICHI") or "taichi"
    if name not in NAMES:
        raise ValueError(f"TIRENDER_TAICHI: expected 'taichi' or 'taichi_forge', got {name!r}")
    if name == "taichi" or ("taichi" in sys.modules and sys.modules["taichi"] is sys.modules.get(name)):
        return
    if "taichi" in sys.modules:
        raise RuntimeError(f"TIRENDER_TAICHI: expected {name} before any import of taichi, got it afterwards")
    importlib.import_module(name)
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        sys.modules["taichi" + module.removeprefix(name)] = sys.modules[module]


def launch(program: Any, kernel: Any, context: Any) -> None:
    """Launch a kernel of Taichi's program, compiled where it is not yet."""
    if hasattr(program, "compile_and_launch_kernel"):  # taichi-forge
        program.compile_and_launch_kernel(program.config(), program.get_device_caps(), kernel, context)
    else:
        program.launch_kernel(program.compile_kernel(program.config(), program.get_device_caps(), kernel), context)
