"""How good a fit is: silhouettes, images and surfaces compared with the truth."""

from __future__ import annotations

import math

import torch

from tirender.checks import fail
from tirender.fit.views import Views
from tirender.renderer import MeshRenderer
from tirender.structures import Meshes


def silhouette_iou(mesh: Meshes, renderer: MeshRenderer, views: Views) -> float:
    """Intersection over union of covered pixels (alpha > 0.5), the mean over all views.

    Args:
        mesh: one mesh.
        renderer: gives RGBA images; cameras are passed at the call.
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
    error = (_rendered(mesh, renderer, views)[..., :3].clamp(0, 1) - views.images).square().mean()
    return -10 * math.log10(max(float(error), 1e-30))


def _rendered(mesh: Meshes, renderer: MeshRenderer, views: Views) -> torch.Tensor:
    """(N, H, W, 4); one view after the other, so that memory does not grow with them."""
    with torch.no_grad():
        return torch.cat([renderer(mesh, cameras=views.cameras[i]) for i in range(len(views))])
