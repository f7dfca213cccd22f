"""tirender: a differentiable renderer for meshes, point clouds, voxel volumes and radiance fields.

Kernels are written in Taichi; PyTorch provides tensors, gradients and optimizers. The subpackages have PyTorch3D's
names: ``tirender.io``, ``.structures``, ``.renderer``, ``.loss``, ``.ops``, ``.transforms``, ``.utils``, ``.vis``.
Importing tirender does not start Taichi. The first operation does, or :func:`tirender.init`.
"""

from tirender.engine.runtime import init

__version__ = "0.2.0"

__all__ = ["__version__", "init"]
