"""tirender: a differentiable renderer for meshes, point clouds, Gaussians, voxel volumes and radiance fields.

Kernels are written in Taichi; PyTorch provides tensors, gradients and optimizers. The subpackages have PyTorch3D's
names: ``tirender.io``, ``.structures``, ``.renderer``, ``.loss``, ``.ops``, ``.transforms``, ``.utils``, ``.vis``.
They are loaded when they are first used, and torch with them. Importing tirender does not start Taichi. The first
operation does, or ``tirender.init``, see :func:`tirender.engine.runtime.init`.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tirender.engine.runtime import init

os.environ.setdefault("TI_SKIP_VERSION_CHECK", "ON")  # importing taichi would otherwise call a version server
os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "False")

__version__ = "0.2.0"

__all__ = ["__version__", "init"]

_SUBPACKAGES = ("fields", "fit", "io", "loss", "ops", "renderer", "scenes", "structures", "transforms", "utils", "vis")


def __getattr__(name: str) -> Any:
    if name == "init":
        return import_module("tirender.engine.runtime").init
    if name in _SUBPACKAGES:
        return import_module(f"tirender.{name}")
    raise AttributeError(f"module 'tirender' has no attribute {name!r}")
