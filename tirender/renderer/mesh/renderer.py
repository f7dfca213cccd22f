"""A rasterizer and a shader, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tirender.structures.fragments import Fragments

if TYPE_CHECKING:
    from tirender.renderer.mesh.rasterizer import MeshRasterizer
    from tirender.structures.meshes import Meshes


class MeshRenderer(nn.Module):
    """Renders meshes: ``images = renderer(meshes, cameras=…, lights=…)``.

    Args:
        rasterizer: meshes to fragments.
        shader: fragments and meshes to images; any module with ``forward(fragments, meshes, **kwargs)``.
    """

    def __init__(self, rasterizer: MeshRasterizer, shader: nn.Module) -> None:
        super().__init__()
        self.rasterizer = rasterizer
        self.shader = shader

    def to(self, device: Any) -> MeshRenderer:  # type: ignore[override]
        """Moves rasterizer and shader."""
        self.rasterizer.to(device)
        self.shader.to(device)
        return self

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> torch.Tensor:
        """(N, H, W, C) images, C = 4 (RGBA) for the shaders here.

        Args:
            meshes_world: N meshes in world space.
            kwargs: passed to rasterizer and shader: ``cameras``, ``lights``, ``materials``, ``raster_settings`` …
        """
        return self.shader(self.rasterizer(meshes_world, **kwargs), meshes_world, **kwargs)


class MeshRendererWithFragments(MeshRenderer):
    """Like :class:`MeshRenderer`, returning the fragments too."""

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> tuple[torch.Tensor, Fragments]:  # type: ignore[override]
        """(N, H, W, C) images and their fragments; arguments as for :class:`MeshRenderer`."""
        fragments = self.rasterizer(meshes_world, **kwargs)
        return self.shader(fragments, meshes_world, **kwargs), fragments
