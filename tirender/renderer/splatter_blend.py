"""Blending by splatting each pixel's fragments onto its neighbours.

See Cole et al., "Differentiable Surface Rendering via Non-Differentiable Sampling", 2021. The rasterizer is a fixed
sampling of surface points. Each point is projected again and drawn as a small Gaussian. A pixel's colour then changes
smoothly as points move, also across silhouettes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tirender.checks import check_tensor, fail
from tirender.renderer.blending import BlendParams, background_tensor

EXCESS = 0.05  # excess over 1 of the weights in a full neighbourhood, which gives their normalisation a gradient
DIRECTIONS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


class SplatterBlender(nn.Module):
    """Splat fragments onto the 3 x 3 pixels around each, in three layers: behind, on and before the pixel's surface.

    Args:
        input_shape: the shape (N, H, W, K) of the fragments.
        device: ignored; everything is computed on the device of the colours.
    """

    def __init__(self, input_shape: tuple[int, int, int, int], device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)

    def forward(
        self,
        colors: torch.Tensor,
        pixel_coords_cameras: torch.Tensor,
        cameras: Any,
        background_mask: torch.Tensor,
        blend_params: BlendParams,
    ) -> torch.Tensor:
        """Blend the fragments of each pixel and of its neighbours.

        Args:
            colors: (N, H, W, K, 3), nearest first.
            pixel_coords_cameras: (N, H, W, K, 3), the fragments' points in world space. Their barycentric coordinates
                are fixed; gradients pass through their positions in the image.
            cameras: N cameras, or one.
            background_mask: (N, H, W, K) bool, True in empty slots.
            blend_params: ``sigma``, the standard deviation of the Gaussian in pixels (0.5 in the paper), and
                ``background_color``.
        Returns:
            (N, H, W, 4) RGBA in the colours' dtype; differentiable in colours, points and cameras. Which surface
            occludes which is held fixed.
        Raises:
            ValueError: if a shape does not fit ``input_shape``.
        """
        check_tensor("colors", colors, (*self.input_shape, 3))
        check_tensor("pixel_coords_cameras", pixel_coords_cameras, (*self.input_shape, 3))
        check_tensor("background_mask", background_mask, self.input_shape, torch.bool)
        if not blend_params.sigma > 0:
            fail("sigma", "a number of pixels above 0", blend_params.sigma)
        n, height, width, k = self.input_shape
        if 0 in self.input_shape:
            return colors.new_zeros(n, height, width, 4)

        offsets, depth = (x.to(colors.dtype) for x in _project(pixel_coords_cameras, cameras, background_mask))
        opaque = torch.where(background_mask[..., None], 0, torch.cat((colors, torch.ones_like(colors[..., :1])), -1))
        kernel_sum = sum(_gaussian(colors.new_tensor(d), blend_params.sigma) for d in DIRECTIONS)

        layers = torch.arange(k, device=colors.device)
        behind, surface, before = (colors.new_zeros(n, height, width, 4) for _ in range(3))
        for dy, dx in DIRECTIONS:
            to_target = offsets - offsets.new_tensor((dx, dy))
            weight = _gaussian(to_target, blend_params.sigma) * ((1 + EXCESS) / kernel_sum)
            splats = _shifted(weight[..., None] * opaque, dy, dx, 0.0)
            level = layers - _surface_layer(depth, _shifted(depth, dy, dx, float(depth.max())))[..., None]
            behind = behind + torch.where((level > 0)[..., None], splats, 0).sum(3)
            surface = surface + torch.where((level == 0)[..., None], splats, 0).sum(3)
            before = before + torch.where((level < 0)[..., None], splats, 0).sum(3)

        image = torch.cat((background_tensor(blend_params, colors), colors.new_zeros(1)))
        for layer in (behind, surface, before):
            layer = layer / layer[..., 3:].clamp(min=1)
            image = image * (1 - layer[..., 3:]) + layer
        return image


def _project(points: torch.Tensor, cameras: Any, background_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The points' offsets from their pixels' centres and their depths.

    Returns:
        offsets (N, H, W, K, 2) in pixels, right and down, 0 in empty slots; depths (N, H, W, K) in view space, beyond
        all others in empty slots.
    """
    n, height, width, k, _ = points.shape
    world_to_view = cameras.get_world_to_view_transform()
    with torch.no_grad():  # empty slots get a point one unit ahead, which projects without a division by 0
        ahead = world_to_view.inverse().transform_points(points.new_tensor([[[0.0, 0.0, 1.0]]]))
    safe = torch.where(background_mask[..., None], ahead.view(-1, 1, 1, 1, 3), points).view(n, -1, 3)
    screen = cameras.transform_points_screen(safe, image_size=(height, width))[..., :2].view(n, height, width, k, 2)
    rows, columns = (torch.arange(s, device=points.device, dtype=points.dtype) + 0.5 for s in (height, width))
    centres = torch.stack((columns.expand(height, width), rows[:, None].expand(height, width)), -1)
    offsets = torch.where(background_mask[..., None], 0, screen - centres[:, :, None])

    depth = world_to_view.transform_points(safe)[..., 2].detach().view(n, height, width, k)
    nearest, farthest = depth.min(), depth.max()
    return offsets, torch.where(background_mask, 2 * farthest - nearest + 1, depth)


def _surface_layer(target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """The layer of each source pixel that continues the surface of its target pixel, given depths (N, H, W, K).

    Returns:
        (N, H, W): the source's layer l. It is -m if the source's surface fits the target's layer m better; all layers
        of the source then lie behind the target's surface.
    """
    to_source, source_layer = (source - target[..., :1]).abs().min(-1)
    to_target, target_layer = (target - source[..., :1]).abs().min(-1)
    return torch.where(to_target < to_source, -target_layer, source_layer)


def _gaussian(offset: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.exp(-offset.square().sum(-1) / (2 * sigma**2))


def _shifted(values: torch.Tensor, dy: int, dx: int, fill: float) -> torch.Tensor:
    """Shift ``values`` (N, H, W, ...) down by dy and to the right by dx; new pixels get ``fill``."""
    height, width = values.shape[1:3]
    out = values.new_full(values.shape, fill)
    out[:, max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = values[
        :, max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
    ]
    return out
