"""``pytorch3d.datasets.shapenet``; its loader ``ShapeNetCore`` is left out."""
