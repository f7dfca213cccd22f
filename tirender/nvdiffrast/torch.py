"""The functions of ``nvdiffrast.torch``."""

from tirender.nvdiffrast.antialiasing import TopologyHash, antialias, antialias_construct_topology_hash
from tirender.nvdiffrast.interpolation import interpolate
from tirender.nvdiffrast.logs import get_log_level, set_log_level
from tirender.nvdiffrast.rasterization import DepthPeeler, RasterizeCudaContext, RasterizeGLContext, rasterize
from tirender.nvdiffrast.texturing import Mipmaps, texture, texture_construct_mip

__all__ = [
    "DepthPeeler",
    "Mipmaps",
    "RasterizeCudaContext",
    "RasterizeGLContext",
    "TopologyHash",
    "antialias",
    "antialias_construct_topology_hash",
    "get_log_level",
    "interpolate",
    "rasterize",
    "set_log_level",
    "texture",
    "texture_construct_mip",
]
