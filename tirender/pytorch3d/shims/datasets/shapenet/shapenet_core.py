"""What PyTorch3D's loader of ShapeNet, which is left out, is made of."""

from tirender.pytorch3d.shims.datasets.shapenet_base import ShapeNetBase

__all__ = ["ShapeNetBase"]
