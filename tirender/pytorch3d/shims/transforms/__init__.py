"""``pytorch3d.transforms``."""
