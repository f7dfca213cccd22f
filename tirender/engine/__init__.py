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
