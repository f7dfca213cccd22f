"""Measures of quality: silhouettes and images, compared with the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from tirender.checks import FLOATS, check_tensor, fail
from tirender.fit.radiance import Render
from tirender.fit.views import Views
from tirender.renderer import MeshRenderer
from tirender.structures import Meshes

WINDOW, SIGMA = 11, 1.5  # of SSIM's window, in pixels
K1, K2 = 0.01, 0.03

Watch = Callable[[int, torch.Tensor, torch.Tensor], object]
"""Is called with the number of a photo, the photo (H, W, 3), and what was rendered in its place."""


def silhouette_iou(mesh: Meshes, renderer: MeshRenderer, views: Views) -> float:
    """Intersection over union of covered pixels (alpha > 0.5), averaged over all views.

    Args:
        mesh: one mesh.
        renderer: returns RGBA images; it is called with cameras.
        views: the truth.
    """
    ious = []
    for i, alpha in enumerate(_rendered(mesh, renderer, views)[..., 3] > 0.5):
        truth = views.silhouettes[i] > 0.5
        union = float((alpha | truth).sum())
        ious.append(float((alpha & truth).sum()) / union if union else 1.0)
    return sum(ious) / len(ious)


def image_psnr(mesh: Meshes, renderer: MeshRenderer, views: Views) -> float:
    """Peak signal-to-noise ratio in dB over all pixels of all views, for colours in [0, 1].

    Args:
        mesh, renderer, views: as for :func:`silhouette_iou`.
    Raises:
        ValueError: the views have no images.
    """
    if views.images is None:
        fail("views", "images", "silhouettes only")
    return psnr(_rendered(mesh, renderer, views)[..., :3], views.images)


def psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of values that are clipped to [0, 1].

    Args:
        image, truth: of the same shape.
    Returns:
        at most 300 dB, for equal images.
    """
    check_tensor("image", image, truth.shape)
    return -10 * math.log10(max(float((image.clamp(0, 1) - truth).square().mean()), 1e-30))


def ssim(image: torch.Tensor, truth: torch.Tensor) -> float:
    """Structural similarity of values in [0, 1] (Wang, Bovik, Sheikh and Simoncelli 2004).

    The constants are theirs: a Gaussian window of 11 x 11 pixels and standard deviation 1.5, K1 = 0.01 and K2 = 0.03.
    The result is averaged over channels and over the pixels whose window lies inside the image.

    Args:
        image, truth: (..., H, W, C), one or more images of at least 11 x 11; values are clipped to [0, 1].
    Returns:
        1 for equal images.
    Raises:
        ValueError: smaller images, or of different shapes.
    """
    check_tensor("truth", truth, ("...", "H", "W", "C"), FLOATS)
    check_tensor("image", image, truth.shape, like=truth)
    if min(truth.shape[-3:-1]) < WINDOW:
        fail("image", f"at least {WINDOW} x {WINDOW} pixels", f"{truth.shape[-3]} x {truth.shape[-2]}")
    offset = torch.arange(WINDOW, dtype=torch.float64, device=truth.device) - WINDOW // 2
    weights = torch.softmax(-0.5 * (offset / SIGMA) ** 2, dim=0)
    x, y = (v.double().clamp(0, 1).movedim(-1, -3).reshape(-1, 1, *v.shape[-3:-1]) for v in (image, truth))

    def mean(values: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.conv2d(values, weights[None, None, :, None]), weights[None, None, None])

    mean_x, mean_y = mean(x), mean(y)
    variances = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = K1**2, K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float((luminance * (2 * covariance + c2) / (variances + c2)).mean())


def view_quality(render: Render, views: Views, watch: Watch | None = None) -> dict[str, float]:
    """``"psnr"`` in dB over all pixels, and ``"ssim"``, of views on black.

    Args:
        render: returns images (1, H, W, 4) for a camera.
        views: the truth.
        watch: is called with each view.
    """
    with torch.no_grad():
        images = torch.cat([render(views.cameras[i])[..., :3] for i in range(len(views))])
    truth = views.on_black
    for i in range(len(views) if watch is not None else 0):
        watch(i, truth[i], images[i])  # type: ignore[misc]
    return {"psnr": psnr(images, truth), "ssim": ssim(images, truth)}


def _rendered(mesh: Meshes, renderer: MeshRenderer, views: Views) -> torch.Tensor:
    """Images (N, H, W, 4), rendered one by one, so that memory does not grow with their number."""
    with torch.no_grad():
        return torch.cat([renderer(mesh, cameras=views.cameras[i]) for i in range(len(views))])
