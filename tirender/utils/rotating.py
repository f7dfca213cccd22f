"""The helper functions of tutorials 5 and 6: turntables of volumes and radiance fields, and image colours at rays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tirender.checks import check_integer, check_kind, check_tensor, fail
from tirender.renderer import FoVPerspectiveCameras
from tirender.renderer.cameras_base import CamerasBase
from tirender.renderer.implicit import EmissionAbsorptionRaymarcher, ImplicitRenderer, NDCMultinomialRaysampler

DISTANCE = 2.7


def sample_images_at_mc_locs(target_images: torch.Tensor, sampled_rays_xy: torch.Tensor) -> torch.Tensor:
    """Sample images at the pixels of rays.

    Args:
        target_images: (N, H, W, C) floats.
        sampled_rays_xy: (N, ..., 2), NDC, a ray bundle's ``xys``.
    Returns:
        (N, ..., C): bilinear between pixel centres, and the nearest pixel beyond the outermost; differentiable.
    Raises:
        ValueError: if the shapes do not fit.
    """
    check_tensor("target_images", target_images, ("N", "H", "W", "C"))
    n, height, width, n_channels = target_images.shape
    check_tensor("sampled_rays_xy", sampled_rays_xy, ("...", 2), like=target_images)
    if sampled_rays_xy.shape[0] != n:
        fail("sampled_rays_xy", f"rays of {n} images", f"of {sampled_rays_xy.shape[0]}")
    short = min(height, width)
    grid = sampled_rays_xy * -sampled_rays_xy.new_tensor([short / width, short / height])  # NDC's +X is left, +Y up
    sampled = F.grid_sample(
        target_images.movedim(3, 1), grid.reshape(n, -1, 1, 2), padding_mode="border", align_corners=False
    )
    return sampled[..., 0].movedim(1, 2).reshape(*sampled_rays_xy.shape[:-1], n_channels)


def generate_rotating_volume(
    volume_model: Callable[[CamerasBase], torch.Tensor], n_frames: int = 50, cameras: CamerasBase | None = None
) -> torch.Tensor:
    """Render a volume from a full circle around it, at the height of its centre.

    Args:
        volume_model: maps one camera to images (1, H, W, C), as :class:`~tirender.fields.VolumeModel` does.
        n_frames: number of frames, 1 or more.
        cameras: the first one's intrinsics are used; None for a field of view of 60 degrees.
    Returns:
        (n_frames, H, W, 3) in [0, 1], without gradients.
    Raises:
        ValueError: if ``n_frames`` is below 1.
    """
    if not callable(volume_model):
        fail("volume_model", "a function of cameras", type(volume_model).__name__)
    with torch.no_grad():
        frames = [volume_model(camera)[..., :3].clamp(0, 1) for camera in _around(n_frames, cameras)]
    return torch.cat(frames)


def generate_rotating_nerf(
    neural_radiance_field: Any,
    n_frames: int = 50,
    renderer_grid: ImplicitRenderer | None = None,
    cameras: CamerasBase | None = None,
) -> torch.Tensor:
    """Render a radiance field from a full circle around it, at the height of its centre.

    Args:
        neural_radiance_field: a field with ``batched_forward``, as :class:`~tirender.fields.NeuralRadianceField` has.
        n_frames, cameras: as for :func:`generate_rotating_volume`.
        renderer_grid: the renderer; None for 256 x 256 pixels, with 128 samples between depths 0.1 and 3.
    Returns:
        (n_frames, H, W, 3) in [0, 1], without gradients.
    Raises:
        ValueError: if ``n_frames`` is below 1.
    """
    if not callable(getattr(neural_radiance_field, "batched_forward", None)):
        fail("neural_radiance_field", "a field with batched_forward", type(neural_radiance_field).__name__)
    if renderer_grid is None:
        sampler = NDCMultinomialRaysampler(
            image_width=256, image_height=256, n_pts_per_ray=128, min_depth=0.1, max_depth=3.0
        )
        renderer_grid = ImplicitRenderer(sampler, EmissionAbsorptionRaymarcher())

    def render(camera: CamerasBase) -> torch.Tensor:
        return renderer_grid(cameras=camera, volumetric_function=neural_radiance_field.batched_forward)[0]

    if cameras is None:
        parameters = list(getattr(neural_radiance_field, "parameters", list)())
        cameras = FoVPerspectiveCameras(device=parameters[0].device if parameters else "cpu")
    return generate_rotating_volume(render, n_frames, cameras)


def _around(n_frames: int, cameras: CamerasBase | None) -> list[CamerasBase]:
    """The cameras of a turntable."""
    n_frames = check_integer("n_frames", n_frames, 1)
    if cameras is not None:
        check_kind("cameras", cameras, CamerasBase)
        if not len(cameras):
            fail("cameras", "at least one", 0)
    camera = (FoVPerspectiveCameras() if cameras is None else cameras)[0]
    turned = []
    for angle in torch.linspace(0, 2 * math.pi, n_frames + 1)[:-1].tolist():
        c, s = math.cos(angle), math.sin(angle)
        frame = camera.clone()
        frame.R = torch.tensor([[[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]], device=camera.device)
        frame.T = torch.tensor([[0.0, 0.0, DISTANCE]], device=camera.device)
        turned.append(frame)
    return turned
