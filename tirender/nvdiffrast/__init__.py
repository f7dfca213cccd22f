"""nvdiffrast's functions over tirender's kernels: on a CPU, CUDA or Vulkan, with nothing to compile.

``tirender.nvdiffrast.torch`` has the names, arguments and conventions of ``nvdiffrast.torch``, version 0.4. A program
changes its import, ``import tirender.nvdiffrast.torch as dr``, or leaves it and calls :func:`install` first. What is
the same and what differs is in the README, "Coming from nvdiffrast".
"""

from tirender.nvdiffrast.alias import VERSION, install

__all__ = ["VERSION", "install"]
