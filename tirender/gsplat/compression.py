"""``gsplat.compression``: a name that programs may import."""

from tirender.gsplat.not_built import png_compression as PngCompression

__all__ = ["PngCompression"]
