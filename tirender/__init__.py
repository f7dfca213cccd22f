"""tirender: a differentiable renderer for meshes, point clouds, Gaussians, voxel volumes and radiance fields.

Kernels are written in Taichi; PyTorch provides tensors, gradients and optimizers. The subpackages have PyTorch3D's
names: ``tirender.io``, ``.structures``, ``.renderer``, ``.loss``, ``.ops``, ``.transforms``, ``.utils``, ``.vis``.
They are loaded when they are first used. Importing tirender does not start Taichi. The first operation does, or
:func:`tirender.init`.
"""

from importlib import import_module
from types import ModuleType

from tirender.engine.runtime import init

__version__ = "0.2.0"

__all__ = ["__version__", "init"]

_SUBPACKAGES = ("fields", "fit", "io", "loss", "ops", "renderer", "scenes", "structures", "transforms", "utils", "vis")


def __getattr__(name: str) -> ModuleType:
    if name in _SUBPACKAGES:
        return import_module(f"tirender.{name}")
    raise AttributeError(f"module 'tirender' has no attribute {name!r}")
