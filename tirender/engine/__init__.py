"""What runs the kernels. Private: its users are ``structures``, ``ops``, ``renderer``, ``loss`` and ``fields``.

- ``runtime``: the one Taichi runtime; ``launch`` runs a kernel through ``launcher``, which knows compiled kernels;
  ``device_copies`` keeps what a device with memory of its own need not be sent twice.
- ``kernels/``: Taichi alone, no torch.
- ``first_order``: the base of the ``autograd.Function``s, which turns a second derivative into an error.
- In torch alone, between the kernels: ``mesh_rasterization`` (from vertices to fragments, by ``near_clipping``),
  ``packed_fragments`` (what a rasterizer returns), ``surface_slopes``, ``edge_partners``, ``local_frames``,
  ``neighbourhood``.
- Each other file holds the ``autograd.Function`` and the launches of the kernel file of its name. It takes tensors, not
  structures.
"""

import inspect
import os
import tempfile

# Each of Taichi's decorators asks inspect for the source of the frame that imports the module, which has none. Inspect
# looks for it among all modules, each time, which took half of the time to import tirender: tell it the answer.
getattr(inspect, "modulesbyfile", {}).setdefault("<frozen importlib._bootstrap>", "importlib._bootstrap")

if os.name == "posix" and "HOME" not in os.environ:  # as in a service; Taichi ends the process where there is none
    _home = os.path.expanduser("~")
    os.environ["HOME"] = _home if os.path.isdir(_home) else tempfile.gettempdir()
