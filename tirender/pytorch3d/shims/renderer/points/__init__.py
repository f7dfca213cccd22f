"""``pytorch3d.renderer.points``."""
