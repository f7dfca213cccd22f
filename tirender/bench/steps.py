"""A step of each tutorial, with the library's own fits and renderers, on the data that ships with it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from tirender import datasets
from tirender.bench.limits import GEMM, LOOP
from tirender.bench.measuring import Work
from tirender.fit import (
    ImageConfig,
    MeshConfig,
    NerfConfig,
    SilhouetteConfig,
    SplatConfig,
    Views,
    VolumeConfig,
    fit_images,
    fit_mesh,
    fit_nerf,
    fit_silhouettes,
    fit_splats,
    fit_volume,
    normalized,
    render_views,
)
from tirender.fit.nerf import HASHGRID_NERF
from tirender.io import load_objs_as_meshes
from tirender.renderer import (
    AlphaCompositor,
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    MeshRasterizer,
    MeshRenderer,
    PointLights,
    PointsRasterizationSettings,
    PointsRasterizer,
    PointsRenderer,
    RasterizationSettings,
    SoftPhongShader,
    look_at_view_transform,
)
from tirender.structures import Meshes, Pointclouds

FOREVER = 10**9  # steps; the stopwatch stops the fit
N_VIEWS = 20
MARCH = 32.0
"""Multiply-adds for a sample of a volume: eight voxels of four channels. The adjoint reads them and adds to them."""


def mesh_step(device: str, level: int = 4, n_samples: int = 5000) -> Work:
    """Section 1: the chamfer distance of points on a sphere and on a mesh, and the losses that keep it smooth."""
    config = MeshConfig(steps=FOREVER, progress=False, level=level, n_samples=n_samples)
    target = creature(device)
    return Work.of_fit(lambda callbacks: fit_mesh(target, config=config, callbacks=callbacks), 2 * n_samples)


def render_step(device: str, image_size: int = 512, views: int = 1) -> Work:
    """Section 2: a textured mesh with Phong shading."""
    R, T = look_at_view_transform(2.7, torch.linspace(0, 180, views), torch.linspace(-180, 180, views))
    cameras = FoVPerspectiveCameras(R=R, T=T, device=device)
    rasterizer = MeshRasterizer(cameras, RasterizationSettings(image_size=image_size))
    lights = PointLights(location=[[0.0, 0.0, -3.0]], device=device)
    renderer = MeshRenderer(rasterizer, SoftPhongShader(device=device, cameras=cameras, lights=lights))
    meshes = creature(device).extend(views)
    return Work.of(lambda: renderer(meshes), views * image_size**2)


def points_step(
    device: str, image_size: int = 512, radius: float = 0.003, points_per_pixel: int = 10, n_points: int | None = None
) -> Work:
    """Section 3: a point cloud, composited."""
    renderer, cloud = points_scene(device, image_size, radius, points_per_pixel, n_points)
    return Work.of(lambda: renderer(cloud), len(cloud.points_packed()))


def silhouette_step(
    device: str, level: int = 4, views: int = 2, image_size: int = 128, faces_per_pixel: int = 50, edges: str = "soft"
) -> Work:
    """Section 4.3: silhouettes of a sphere, compared with those of a mesh."""
    config = SilhouetteConfig(
        steps=FOREVER, progress=False, level=level, views_per_step=views, faces_per_pixel=faces_per_pixel, edges=edges
    )
    targets = views_of(device, image_size)
    return Work.of_fit(
        lambda callbacks: fit_silhouettes(targets, config=config, callbacks=callbacks), views * image_size**2
    )


def image_step(
    device: str, level: int = 4, views: int = 2, image_size: int = 128, faces_per_pixel: int = 50, edges: str = "soft"
) -> Work:
    """Section 4.4: images of a sphere with coloured vertices, compared with those of a mesh."""
    config = ImageConfig(
        steps=FOREVER, progress=False, level=level, views_per_step=views, faces_per_pixel=faces_per_pixel, edges=edges
    )
    targets = views_of(device, image_size)
    return Work.of_fit(lambda callbacks: fit_images(targets, config=config, callbacks=callbacks), views * image_size**2)


def volume_step(device: str, size: int = 128, views: int = 10, image_size: int = 128, n_pts_per_ray: int = 150) -> Work:
    """Section 5: images of a volume, marched forward and in the adjoint."""
    config = VolumeConfig(
        steps=FOREVER, progress=False, volume_size=size, views_per_step=views, n_pts_per_ray=n_pts_per_ray
    )
    targets = views_of(device, image_size)
    return Work.of_fit(
        lambda callbacks: fit_volume(targets, config, callbacks),
        n_units=views * image_size**2 * n_pts_per_ray,
        needs=(LOOP, 3 * MARCH),
    )


def nerf_step(
    device: str,
    views: int = 6,
    rays_per_view: int = 750,
    n_pts_per_ray: int = 128,
    image_size: int = 128,
    precision: str = "float32",
) -> Work:
    """Section 6: rays through the tutorial's network."""
    config = NerfConfig(
        steps=FOREVER,
        progress=False,
        views_per_step=views,
        rays_per_view=rays_per_view,
        n_pts_per_ray=n_pts_per_ray,
        precision=precision,
    )
    targets = views_of(device, image_size)
    field: Any = config.make_field().to(device)
    weights = [p.numel() for name, p in field.named_parameters() if name.endswith("weight")]
    weights[2] = field.mlp[0].out_features ** 2  # the part of this layer that does not depend on the direction
    # forward once and backward twice, except that the embedding needs no gradient
    needs = 2 * (3 * sum(weights) - field.mlp[0].weight.numel())
    return Work.of_fit(
        lambda callbacks: fit_nerf(targets, config, callbacks, field),
        n_units=views * rays_per_view * n_pts_per_ray,
        needs=(GEMM, float(needs)) if precision == "float32" else None,
    )


def hash_grid_step(device: str, samples: int = 1 << 16, image_size: int = 128, precision: str = "float32") -> Work:
    """Section 6 with a hash grid: as many rays as have this number of samples in all."""
    config = dataclasses.replace(
        HASHGRID_NERF, steps=FOREVER, progress=False, samples_per_step=samples, precision=precision
    )
    targets = views_of(device, image_size)
    return Work.of_fit(lambda callbacks: fit_nerf(targets, config, callbacks), samples)


def splats_step(device: str, n: int = 10_000, image_size: int = 360) -> Work:
    """Gaussians on the surface of a mesh, with harmonics of degree 3, fitted to its views."""
    config = SplatConfig(steps=FOREVER, progress=False, growth="none", n_random=n, degree_every=1, first_size=2.0)
    targets, start = views_of(device, image_size), creature(device)
    return Work.of_fit(lambda callbacks: fit_splats(targets, start, config, callbacks), image_size**2)


def creature(device: str) -> Meshes:
    """The mesh of all steps, within [-1, 1]."""
    return normalized(load_objs_as_meshes([datasets.creature()], device=device))[0]


def views_of(device: str, image_size: int) -> Views:
    """Views of the creature, to fit to."""
    return render_views(creature(device), N_VIEWS, image_size)


def points_scene(
    device: str, image_size: int, radius: float, points_per_pixel: int, n_points: int | None = None
) -> tuple[PointsRenderer, Pointclouds]:
    """A renderer, and the harbour; another number of points is drawn from its points, each moved a little."""
    with np.load(datasets.harbour()) as data:
        verts, rgb = (torch.from_numpy(data[key]).float() for key in ("verts", "rgb"))
    if n_points is not None:
        generator = torch.Generator().manual_seed(0)
        chosen = torch.randint(len(verts), (n_points,), generator=generator)
        aside = torch.randn(n_points, 3, generator=generator) * 0.003
        verts, rgb = verts.index_select(0, chosen) + aside, rgb.index_select(0, chosen)
    R, T = look_at_view_transform(20, 25, 170)
    cameras = FoVOrthographicCameras(R=R, T=T, znear=0.01, device=device)
    settings = PointsRasterizationSettings(image_size, radius, points_per_pixel)
    renderer = PointsRenderer(PointsRasterizer(cameras, settings), AlphaCompositor())
    return renderer, Pointclouds([verts.to(device)], features=[rgb.to(device)])
