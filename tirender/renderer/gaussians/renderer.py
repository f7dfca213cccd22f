"""The renderer of Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from tirender.checks import check_integer, check_kind, check_number, fail
from tirender.engine.project_gaussians import Projection
from tirender.engine.splatting import Drawing, World, draw_gaussians
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.gaussians.cameras import pixel_cameras
from tirender.renderer.projection import pick_cameras
from tirender.renderer.utils import parse_image_size
from tirender.structures.gaussians import Gaussians


@dataclass
class GaussiansRasterizationSettings:
    """Settings of the renderer. Fields may be assigned; they are checked when used.

    Args:
        image_size: side of a square image, or (H, W), in pixels.
        blur: the variance, in square pixels, that is added to Gaussians in the image.
        antialiased: whether the blur lowers the opacity, so that small Gaussians do not grow (Mip-Splatting).
        znear, zfar: the least and the greatest depth, in world units, of means that are drawn.
        degree: of the harmonics that are used; None for all that the Gaussians have.
        max_alpha: the greatest alpha of a Gaussian at a pixel, below 1.
    """

    image_size: int | list[int] | tuple[int, int] = 256
    blur: float = 0.3
    antialiased: bool = False
    znear: float = 0.01
    zfar: float = 1e10
    degree: int | None = None
    max_alpha: float = 0.999


class RenderedGaussians(NamedTuple):
    """Images, and where Gaussians are in them.

    Attributes:
        colors: (N, H, W, 3), on the background.
        alphas: (N, H, W, 1) opacities.
        depths: (N, H, W, 1) expected depths in view space, 0 where there is no Gaussian.
        means2d: (N, P, 2) the means of the P Gaussians in pixels, from the upper left corner; 0 for those not drawn.
            ``means2d.retain_grad()`` before the backward pass keeps its gradient, by which a fit adds Gaussians.
        radii: (N, P, 2) int32 half the size of each Gaussian's box in pixels; 0 for those not drawn.
    """

    colors: torch.Tensor
    alphas: torch.Tensor
    depths: torch.Tensor
    means2d: torch.Tensor
    radii: torch.Tensor


class GaussiansRenderer(nn.Module):
    """Render Gaussians: ``images = renderer(gaussians, cameras=…)``.

    Gaussians are projected to Gaussians in the image (EWA splatting, as Kerbl et al. 2023), sorted by the depth of
    their means, and composited front to back. Alphas below 1/255 are left out, and a pixel ends before its
    transmittance falls to 1e-4: gsplat's constants.

    Args:
        cameras: N cameras with a projection matrix, or fisheye cameras without distortion; may be passed to the call.
        raster_settings: the settings; may be passed to the call instead.
        background_color: a number or three; may be passed to the call instead.
    """

    def __init__(
        self,
        cameras: CamerasBase | None = None,
        raster_settings: GaussiansRasterizationSettings | None = None,
        background_color: float | Sequence[float] | torch.Tensor = 0.0,
    ) -> None:
        super().__init__()
        self.cameras = cameras
        self.raster_settings = GaussiansRasterizationSettings() if raster_settings is None else raster_settings
        self.background_color = background_color

    def to(self, device: Any) -> GaussiansRenderer:  # type: ignore[override]
        """Move the cameras to a device; returns self."""
        if self.cameras is not None:
            self.cameras = self.cameras.to(device)  # type: ignore[assignment]
        return self

    def forward(self, gaussians: Gaussians, **kwargs: Any) -> torch.Tensor:
        """Render an image with each camera.

        Args:
            gaussians: in world space.
            kwargs: as for :meth:`render`.
        Returns:
            (N, H, W, 4): colour on the background, and opacity.
        """
        rendered = self._render(gaussians, "RGB", kwargs)
        return torch.cat([rendered.images, rendered.alphas], -1)

    def render(self, gaussians: Gaussians, **kwargs: Any) -> RenderedGaussians:
        """Render colours, opacities and depths with each camera.

        Args:
            gaussians: in world space.
            kwargs: ``cameras``, ``raster_settings`` and ``background_color`` replace the renderer's own; the rest is
                passed to the cameras (``R``, ``T``, ``fov``, ...).
        Returns:
            differentiable in the Gaussians, the cameras' R and T, and the background; not in the cameras' intrinsics.
        Raises:
            ValueError: if there are no cameras, they have skew or distortion, or a setting is out of range.
        """
        drawn = self._render(gaussians, "RGB+ED", kwargs)
        return RenderedGaussians(drawn.images[..., :3], drawn.alphas, drawn.images[..., 3:], drawn.means2d, drawn.radii)

    def _render(self, gaussians: Gaussians, mode: str, kwargs: dict[str, Any]) -> Any:
        check_kind("gaussians", gaussians, Gaussians)
        settings = kwargs.pop("raster_settings", None) or self.raster_settings
        background = kwargs.pop("background_color", self.background_color)
        given = kwargs.get("cameras", self.cameras)
        cameras = pick_cameras(self.cameras, kwargs, 1 if given is None else len(given), "images")
        height, width = parse_image_size(settings.image_size)
        viewmats, intrinsics, model = pixel_cameras(cameras, (height, width), kwargs)
        projection, degree, max_alpha = _checked(settings, model, (height, width), gaussians.degree)
        means = gaussians.means
        backgrounds = torch.as_tensor(background, dtype=means.dtype, device=means.device)
        if backgrounds.shape not in ((), (3,), (len(viewmats), 3)):
            fail("background_color", "a number or three", background)
        return draw_gaussians(
            World(means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.harmonics),
            viewmats.to(means.dtype),
            intrinsics.detach().to(means.dtype),
            backgrounds.expand(len(viewmats), 3),
            projection,
            Drawing(degree, mode, alpha_max=max_alpha),
        )


def _checked(
    settings: GaussiansRasterizationSettings, model: str, image_size: tuple[int, int], degree: int
) -> tuple[Projection, int, float]:
    """The projection, the degree of harmonics and the greatest alpha, as the engine takes them."""
    check_kind("raster_settings", settings, GaussiansRasterizationSettings)
    blur, znear, zfar = (check_number(name, getattr(settings, name)) for name in ("blur", "znear", "zfar"))
    if blur < 0:
        fail("blur", "a number of 0 or more", blur)
    if settings.degree is not None:
        wanted = check_integer("degree", settings.degree, 0)
        if wanted > degree:
            fail("degree", f"at most {degree}, which the Gaussians have", wanted)
        degree = wanted
    max_alpha = check_number("max_alpha", settings.max_alpha)
    if not 0 < max_alpha < 1:
        fail("max_alpha", "a number between 0 and 1", max_alpha)
    height, width = image_size
    compensated = bool(settings.antialiased)
    projection = Projection(width, height, model, blur, znear, zfar, compensated=compensated)
    return projection, degree, max_alpha
