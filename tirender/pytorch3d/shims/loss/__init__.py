"""``pytorch3d.loss``."""
