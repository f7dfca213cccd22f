"""``pytorch3d.ops``."""
