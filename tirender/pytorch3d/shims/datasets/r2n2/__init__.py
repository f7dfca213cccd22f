"""``pytorch3d.datasets.r2n2``; its loader ``R2N2`` is left out."""

from tirender.pytorch3d.shims.datasets.r2n2.utils import BlenderCamera, collate_batched_R2N2, render_cubified_voxels

__all__ = ["BlenderCamera", "collate_batched_R2N2", "render_cubified_voxels"]
