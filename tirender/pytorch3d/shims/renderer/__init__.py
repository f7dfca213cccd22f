"""``pytorch3d.renderer``."""
