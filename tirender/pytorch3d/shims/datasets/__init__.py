"""``pytorch3d.datasets``, as far as it needs no data; nothing of it is in ``tirender.datasets``."""

from tirender.pytorch3d.shims.datasets.r2n2 import BlenderCamera, collate_batched_R2N2, render_cubified_voxels
from tirender.pytorch3d.shims.datasets.utils import collate_batched_meshes

__all__ = ["BlenderCamera", "collate_batched_R2N2", "collate_batched_meshes", "render_cubified_voxels"]
