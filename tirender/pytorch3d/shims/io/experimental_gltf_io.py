"""glTF, under its older path."""

from tirender.io.gltf_io import MeshGlbFormat

__all__ = ["MeshGlbFormat"]
