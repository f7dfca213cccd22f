"""PyTorch3D's path of the glTF format; here ``IO`` knows it from the start."""

from tirender.io.gltf_io import MeshGlbFormat

__all__ = ["MeshGlbFormat"]
