"""``pytorch3d.io``."""
