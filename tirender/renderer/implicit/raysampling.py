"""Rays through the pixels of cameras, and samples along them.

A ray starts at the camera's centre (for orthographic cameras, in the plane through the centre). Its direction has a
view depth of 1, so that lengths are depths; with ``unit_directions`` it has length 1, so that lengths are distances.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from tirender.checks import check_kind, check_tensor, fail
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.implicit.utils import HeterogeneousRayBundle, RayBundle


class _Raysampler(torch.nn.Module):
    """The common part of all samplers: the settings, and the samples along rays."""

    def __init__(
        self,
        n_pts_per_ray: int,
        min_depth: float,
        max_depth: float,
        n_rays_per_image: int | None,
        n_rays_total: int | None,
        unit_directions: bool,
        stratified_sampling: bool,
    ) -> None:
        super().__init__()
        self._n_pts_per_ray = n_pts_per_ray
        self._min_depth = min_depth
        self._max_depth = max_depth
        self._n_rays_per_image = n_rays_per_image
        self._n_rays_total = n_rays_total
        self._unit_directions = unit_directions
        self._stratified_sampling = stratified_sampling
        _check_samples(n_pts_per_ray, min_depth, max_depth)
        _check_ray_counts(n_rays_per_image, n_rays_total)

    def _bundle(
        self,
        cameras: CamerasBase,
        xys: torch.Tensor,
        n_pts_per_ray: int | None = None,
        min_depth: float | None = None,
        max_depth: float | None = None,
        stratified_sampling: bool | None = None,
    ) -> RayBundle:
        """The rays through image points ``xys`` (N, ..., 2); None takes the sampler's own setting."""
        n_points = self._n_pts_per_ray if n_pts_per_ray is None else n_pts_per_ray
        nearest = self._min_depth if min_depth is None else min_depth
        furthest = self._max_depth if max_depth is None else max_depth
        _check_samples(n_points, nearest, furthest)
        origins, directions = _rays_through(cameras, xys)
        if self._unit_directions:
            directions = torch.nn.functional.normalize(directions, dim=-1)
        lengths = torch.linspace(nearest, furthest, n_points, dtype=xys.dtype, device=xys.device)
        lengths = lengths.expand(*xys.shape[:-1], n_points)
        if self._stratified_sampling if stratified_sampling is None else stratified_sampling:
            lengths = _jitter(lengths)
        return RayBundle(origins=origins, directions=directions, lengths=lengths, xys=xys)


class MultinomialRaysampler(_Raysampler):
    """Sample rays through a regular grid on the image plane, or through random points of that grid.

    Args:
        min_x, max_x, min_y, max_y: the first and last column and row, in the image coordinates of the cameras'
            ``unproject_points``.
        image_width, image_height: the size of the grid.
        n_pts_per_ray: P, the number of evenly spaced samples of a ray.
        min_depth, max_depth: the lengths of the first and the last sample, in world units.
        n_rays_per_image: draw this number of rays a camera from the grid; None for the whole grid.
        n_rays_total: draw this number of rays from the grids of random cameras; not together with
            ``n_rays_per_image``.
        unit_directions: use directions of length 1, so that lengths are distances.
        stratified_sampling: draw each sample uniformly between the midpoints to its neighbours.
    Raises:
        ValueError: if ``min_depth`` is not below ``max_depth``, or both counts are given.
    """

    _xy_grid: torch.Tensor

    def __init__(
        self,
        *,
        min_x: float,
        max_x: float,
        min_y: float,
        max_y: float,
        image_width: int,
        image_height: int,
        n_pts_per_ray: int,
        min_depth: float,
        max_depth: float,
        n_rays_per_image: int | None = None,
        n_rays_total: int | None = None,
        unit_directions: bool = False,
        stratified_sampling: bool = False,
    ) -> None:
        super().__init__(
            n_pts_per_ray, min_depth, max_depth, n_rays_per_image, n_rays_total, unit_directions, stratified_sampling
        )
        y, x = torch.meshgrid(
            torch.linspace(min_y, max_y, image_height, dtype=torch.float32),
            torch.linspace(min_x, max_x, image_width, dtype=torch.float32),
            indexing="ij",
        )
        self.register_buffer("_xy_grid", torch.stack([x, y], dim=-1), persistent=False)

    def forward(
        self,
        cameras: CamerasBase,
        *,
        mask: torch.Tensor | None = None,
        min_depth: float | None = None,
        max_depth: float | None = None,
        n_rays_per_image: int | None = None,
        n_pts_per_ray: int | None = None,
        stratified_sampling: bool | None = None,
        n_rays_total: int | None = None,
        **kwargs: Any,
    ) -> RayBundle | HeterogeneousRayBundle:
        """Sample rays of N cameras.

        Args:
            cameras: N cameras; the rays are differentiable in their parameters.
            mask: (N, image_height, image_width), the probability of each pixel, up to a factor; None for equal ones.
                With a mask but no count, the number of rays a camera is the least number of positive pixels.
            min_depth, max_depth, n_pts_per_ray, stratified_sampling, n_rays_per_image, n_rays_total: override the
                sampler's own settings. If more rays than pixels are requested, pixels repeat.
            kwargs: ignored.
        Returns:
            a ``RayBundle``: (N, image_height, image_width, .) for the whole grid, (N, n_rays_per_image, 1, .) for drawn
            rays. With ``n_rays_total``, a ``HeterogeneousRayBundle`` (n_rays_total, 1, .). World space.
        Raises:
            ValueError: if arguments contradict each other, or the mask has another shape, a negative value or no
                positive value.
        """
        check_kind("cameras", cameras, CamerasBase)
        n_total = n_rays_total or self._n_rays_total
        n_per_image = n_rays_per_image or self._n_rays_per_image
        _check_ray_counts(n_per_image, n_total)
        if mask is not None:
            check_tensor("mask", mask, (cameras.R.shape[0], *self._xy_grid.shape[:2]))
            if not bool((mask >= 0).all()):
                fail("mask", "values of 0 or more", float(mask.min()))
        drawn = None
        if n_total:
            drawn = _draw_cameras(cameras.R.shape[0], n_total, cameras.device)
            cameras, n_per_image = cameras[drawn[0]], int(drawn[1].max())
            mask = None if mask is None else mask.index_select(0, drawn[0])
        n = cameras.R.shape[0]
        xys = self._xy_grid.to(cameras.R).expand(n, *self._xy_grid.shape)
        if mask is not None and n_per_image is None:
            n_per_image = int((mask > 0).flatten(1).sum(1).min())
        if n_per_image is not None:
            weights = xys.new_ones(n, xys[0, ..., 0].numel()) if mask is None else mask.flatten(1).to(xys)
            pixels = _draw_pixels(weights, n_per_image)
            xys = xys.flatten(1, 2).gather(1, pixels[..., None].expand(-1, -1, 2))[:, :, None]
        bundle = self._bundle(cameras, xys, n_pts_per_ray, min_depth, max_depth, stratified_sampling)
        return bundle if drawn is None else _pack(bundle, *drawn)


class NDCMultinomialRaysampler(MultinomialRaysampler):
    """Sample rays through the pixel centres of an image in NDC (+X left, +Y up, [-1, 1] on the short side).

    Args:
        image_width, image_height: the image's size in pixels.
        n_pts_per_ray, min_depth, max_depth, n_rays_per_image, n_rays_total, unit_directions, stratified_sampling: as
            for :class:`MultinomialRaysampler`.
    Raises:
        ValueError: as :class:`MultinomialRaysampler`, and if the image's size is not positive.
    """

    def __init__(
        self,
        *,
        image_width: int,
        image_height: int,
        n_pts_per_ray: int,
        min_depth: float,
        max_depth: float,
        n_rays_per_image: int | None = None,
        n_rays_total: int | None = None,
        unit_directions: bool = False,
        stratified_sampling: bool = False,
    ) -> None:
        if image_width < 1 or image_height < 1:
            fail("image_width, image_height", "positive integers", (image_width, image_height))
        short = min(image_width, image_height)
        # pixel centres lie half a pixel, 1 / short in NDC, inside the edges
        x, y = (image_width - 1) / short, (image_height - 1) / short
        super().__init__(
            min_x=x,
            max_x=-x,
            min_y=y,
            max_y=-y,
            image_width=image_width,
            image_height=image_height,
            n_pts_per_ray=n_pts_per_ray,
            min_depth=min_depth,
            max_depth=max_depth,
            n_rays_per_image=n_rays_per_image,
            n_rays_total=n_rays_total,
            unit_directions=unit_directions,
            stratified_sampling=stratified_sampling,
        )


class MonteCarloRaysampler(_Raysampler):
    """Sample rays through uniform random points of a rectangle on the image plane.

    Args:
        min_x, max_x, min_y, max_y: the rectangle, in the image coordinates of the cameras' ``unproject_points``.
        n_rays_per_image: R, the number of rays a camera.
        n_pts_per_ray, min_depth, max_depth, unit_directions, stratified_sampling: as for
            :class:`MultinomialRaysampler`.
        n_rays_total: draw this number of rays from random cameras; ``n_rays_per_image`` must then be None.
    Raises:
        ValueError: if ``min_depth`` is not below ``max_depth``, or both or no counts are given.
    """

    def __init__(
        self,
        min_x: float,
        max_x: float,
        min_y: float,
        max_y: float,
        n_rays_per_image: int | None,
        n_pts_per_ray: int,
        min_depth: float,
        max_depth: float,
        *,
        n_rays_total: int | None = None,
        unit_directions: bool = False,
        stratified_sampling: bool = False,
    ) -> None:
        super().__init__(
            n_pts_per_ray, min_depth, max_depth, n_rays_per_image, n_rays_total, unit_directions, stratified_sampling
        )
        if not n_rays_per_image and not n_rays_total:
            fail("n_rays_per_image, n_rays_total", "one of them positive", (n_rays_per_image, n_rays_total))
        self._min_x = min_x
        self._max_x = max_x
        self._min_y = min_y
        self._max_y = max_y

    def forward(
        self, cameras: CamerasBase, *, stratified_sampling: bool | None = None, **kwargs: Any
    ) -> RayBundle | HeterogeneousRayBundle:
        """Sample rays of N cameras.

        Args:
            cameras: N cameras; the rays are differentiable in their parameters.
            stratified_sampling: overrides the sampler's own setting.
            kwargs: ignored.
        Returns:
            a ``RayBundle`` (N, R, .) or, with ``n_rays_total``, a ``HeterogeneousRayBundle`` (n_rays_total, 1, .), in
            world space.
        Raises:
            ValueError: if ``cameras`` is not of a camera class.
        """
        check_kind("cameras", cameras, CamerasBase)
        drawn, n_rays = None, self._n_rays_per_image or 0
        if self._n_rays_total:
            drawn = _draw_cameras(cameras.R.shape[0], self._n_rays_total, cameras.device)
            cameras, n_rays = cameras[drawn[0]], int(drawn[1].max())
        lowest = cameras.R.new_tensor([self._min_x, self._min_y])
        extent = cameras.R.new_tensor([self._max_x, self._max_y]) - lowest
        xys = lowest + extent * torch.rand(cameras.R.shape[0], n_rays, 2, dtype=extent.dtype, device=extent.device)
        bundle = self._bundle(cameras, xys, stratified_sampling=stratified_sampling)
        return bundle if drawn is None else _pack(bundle, *drawn)


class GridRaysampler(MultinomialRaysampler):
    """PyTorch3D's older name of :class:`MultinomialRaysampler`, with positional arguments."""

    def __init__(
        self,
        min_x: float,
        max_x: float,
        min_y: float,
        max_y: float,
        image_width: int,
        image_height: int,
        n_pts_per_ray: int,
        min_depth: float,
        max_depth: float,
    ) -> None:
        super().__init__(
            min_x=min_x,
            max_x=max_x,
            min_y=min_y,
            max_y=max_y,
            image_width=image_width,
            image_height=image_height,
            n_pts_per_ray=n_pts_per_ray,
            min_depth=min_depth,
            max_depth=max_depth,
        )


class NDCGridRaysampler(NDCMultinomialRaysampler):
    """PyTorch3D's older name of :class:`NDCMultinomialRaysampler`, with positional arguments."""

    def __init__(
        self, image_width: int, image_height: int, n_pts_per_ray: int, min_depth: float, max_depth: float
    ) -> None:
        super().__init__(
            image_width=image_width,
            image_height=image_height,
            n_pts_per_ray=n_pts_per_ray,
            min_depth=min_depth,
            max_depth=max_depth,
        )


def _check_samples(n_pts_per_ray: int, min_depth: float, max_depth: float) -> None:
    if n_pts_per_ray < 0:
        fail("n_pts_per_ray", "a number that is not negative", n_pts_per_ray)
    if n_pts_per_ray > 1 and not min_depth < max_depth:
        fail("min_depth, max_depth", "min_depth < max_depth", (min_depth, max_depth))
    if not (math.isfinite(min_depth) and math.isfinite(max_depth)):
        fail("min_depth, max_depth", "finite numbers", (min_depth, max_depth))


def _check_ray_counts(n_rays_per_image: int | None, n_rays_total: int | None) -> None:
    if n_rays_per_image and n_rays_total:
        fail("n_rays_per_image, n_rays_total", "at most one of them", (n_rays_per_image, n_rays_total))
    for name, count in (("n_rays_per_image", n_rays_per_image), ("n_rays_total", n_rays_total)):
        if count is not None and count < 0:
            fail(name, "a positive integer or None", count)


def _rays_through(cameras: CamerasBase, xys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Origins at depth 0 and directions of depth 1, (N, ..., 3) each, computed from the points at depths 1 and 2."""
    n, *spatial, _ = xys.shape
    flat = xys.reshape(n, -1, 2)
    at_depths = [torch.nn.functional.pad(flat, (0, 1), value=depth) for depth in (1.0, 2.0)]
    points = cameras.unproject_points(torch.cat(at_depths, dim=1), from_ndc=True)
    near, far = points.reshape(n, 2, *spatial, 3).unbind(1)
    directions = far - near
    return near - directions, directions


def _jitter(lengths: torch.Tensor) -> torch.Tensor:
    """Replace each length by a random one between the midpoints to its neighbours."""
    midpoints = (lengths[..., 1:] + lengths[..., :-1]) / 2
    lower = torch.cat([lengths[..., :1], midpoints], -1)
    upper = torch.cat([midpoints, lengths[..., -1:]], -1)
    return lower + (upper - lower) * torch.rand_like(lower)


def _draw_pixels(weights: torch.Tensor, n_rays: int) -> torch.Tensor:
    """(N, n_rays): pixel indices drawn in proportion to the weights (N, H * W), with repetition only if necessary."""
    n_candidates = (weights > 0).sum(1)
    if len(weights) and (n_rays < 1 or int(n_candidates.min()) < 1):
        fail("mask", "a positive pixel in each image", n_candidates.tolist())
    drawn = torch.multinomial(weights, n_rays, replacement=True)
    enough = (n_candidates >= n_rays).nonzero()[:, 0]
    if len(enough):
        drawn[enough] = torch.multinomial(weights[enough], n_rays)
    return drawn


def _draw_cameras(n_cameras: int, n_rays: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a random camera for each of ``n_rays`` rays; return the drawn cameras, ascending, and their ray counts."""
    counts = torch.randint(n_cameras, (n_rays,), device=device).bincount(minlength=n_cameras)
    camera_ids = counts.nonzero()[:, 0]
    return camera_ids, counts.index_select(0, camera_ids)


def _pack(bundle: RayBundle, camera_ids: torch.Tensor, camera_counts: torch.Tensor) -> HeterogeneousRayBundle:
    """The first ``camera_counts`` rays of each camera, as (R, 1, .) tensors."""
    n_rays = bundle.origins[0, ..., 0].numel()
    is_used = torch.arange(n_rays, device=camera_counts.device) < camera_counts[:, None]
    index = is_used.flatten().nonzero()[:, 0]
    origins, directions, lengths, xys = (x.flatten(0, -2).index_select(0, index)[:, None] for x in bundle)
    return HeterogeneousRayBundle(origins, directions, lengths, xys, camera_ids, camera_counts)
