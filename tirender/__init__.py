"""tirender: a differentiable renderer for meshes, point clouds, voxel volumes and radiance fields.

Kernels are written in Taichi, gradients go through PyTorch. The subpackages and their names follow PyTorch3D:
``tirender.io``, ``.structures``, ``.renderer``, ``.loss``, ``.ops``, ``.transforms``, ``.utils``, ``.vis``.
Importing tirender starts nothing; the Taichi runtime starts with the first operation, or with :func:`tirender.init`.
"""

from tirender.engine.runtime import init

__version__ = "0.1.0"

__all__ = ["__version__", "init"]
