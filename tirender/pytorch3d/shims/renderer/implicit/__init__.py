"""``pytorch3d.renderer.implicit``."""
