"""The mesh renderer: a rasterizer followed by a shader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tirender.structures.fragments import Fragments

if TYPE_CHECKING:
    from tirender.renderer.mesh.rasterizer import MeshRasterizer
    from tirender.structures.meshes import Meshes


class MeshRenderer(nn.Module):
    """Render meshes: ``images = renderer(meshes, cameras=…, lights=…)``.

    Args:
        rasterizer: maps meshes to fragments.
        shader: maps fragments and meshes to images; any module with ``forward(fragments, meshes, **kwargs)``.
    """

    def __init__(self, rasterizer: MeshRasterizer, shader: nn.Module) -> None:
        super().__init__()
        self.rasterizer = rasterizer
        self.shader = shader

    def to(self, device: Any) -> MeshRenderer:  # type: ignore[override]
        """Move the rasterizer and the shader to a device; returns self."""
        self.rasterizer.to(device)
        self.shader.to(device)
        return self

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> torch.Tensor:
        """Render a batch of meshes.

        Args:
            meshes_world: N meshes in world space.
            kwargs: passed to rasterizer and shader: ``cameras``, ``lights``, ``materials``, ``raster_settings``, ...
        Returns:
            (N, H, W, C) images, RGBA for tirender's shaders; differentiable in vertices, textures, lights, materials
            and cameras. Which faces a pixel sees is held fixed.
        Raises:
            ValueError: as the rasterizer and the shader.
        """
        return self.shader(self.rasterizer(meshes_world, **kwargs), meshes_world, **kwargs)


class MeshRendererWithFragments(MeshRenderer):
    """A :class:`MeshRenderer` that also returns the fragments."""

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> tuple[torch.Tensor, Fragments]:  # type: ignore[override]
        """Render a batch of meshes as :class:`MeshRenderer` does; returns images (N, H, W, C) and fragments."""
        fragments = self.rasterizer(meshes_world, **kwargs)
        return self.shader(fragments, meshes_world, **kwargs), fragments
