"""The operations in the tutorials' steps, forward and adjoint, on similar data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from tirender.bench.limits import COPY, LOOP
from tirender.bench.measuring import Work
from tirender.bench.steps import MARCH, creature, points_scene, views_of
from tirender.engine.composite_gaussians import Canvas, limits_of
from tirender.engine.gaussian_tiles import Gaussians2D, list_tiles
from tirender.engine.hash_grid import HashGridLayout, hash_encode
from tirender.engine.kernels.lanes import LANES
from tirender.engine.mesh_rasterization import MeshRasterization
from tirender.engine.rasterize_meshes import select_triangles
from tirender.engine.silhouette import soft_silhouette
from tirender.fit import SilhouetteConfig, SplatConfig, SplatModel
from tirender.fit.first_gaussians import first_gaussians
from tirender.ops import knn_points
from tirender.renderer import (
    EmissionAbsorptionRaymarcher,
    FoVPerspectiveCameras,
    MeshRasterizer,
    NDCMultinomialRaysampler,
    PointLights,
    RasterizationSettings,
    SoftPhongShader,
    VolumeRenderer,
    look_at_view_transform,
)
from tirender.renderer import antialias as blend_outlines
from tirender.renderer.gaussians.cameras import pixel_cameras
from tirender.structures import Volumes

SIGMA = 1e-4
EDGES, COORDS, EDGE = 27.0, 24.0, 12.0
"""Multiply-adds for a pixel and a face: for the distance to its edges, nine for each edge; for barycentric coordinates
and depth; for the gradient of the distance to one edge."""
BLEND, BLEND_ADJOINT = 20.0, 40.0
"""Multiply-adds for a pixel and a Gaussian that reaches its row in a tile: for the exponent, the exponential, and the
blend; and for their adjoints."""
DENSITY = 0.018  # as in the first step of a fit: no ray stops early


def nearest_faces(device: str, image_size: int = 512) -> Work:
    """The nearest face of each pixel."""
    rasterization = _rasterization(device, RasterizationSettings(image_size=image_size))
    n_fragments, needs = len(rasterization.selection()[1]), (LOOP, COORDS)
    return Work.of(lambda: select_triangles(rasterization.triangles, rasterization.mode), n_fragments, needs)


def select_soft(device: str, image_size: int = 128, faces_per_pixel: int = 50) -> Work:
    """The faces that overlap or nearly overlap each pixel, nearest first."""
    rasterization = _rasterization(device, _soft(image_size, faces_per_pixel))
    n_fragments, needs = len(rasterization.selection()[1]), (LOOP, EDGES + COORDS)
    return Work.of(lambda: select_triangles(rasterization.triangles, rasterization.mode), n_fragments, needs)


def silhouette(device: str, adjoint: bool = False, image_size: int = 128, faces_per_pixel: int = 50) -> Work:
    """The soft silhouette, from the selected faces."""
    rasterization = _rasterization(device, _soft(image_size, faces_per_pixel))
    selection = rasterization.selection(by_depth=False)
    verts = rasterization.triangles.verts_ndc.detach().requires_grad_(adjoint)
    triangles = dataclasses.replace(rasterization.triangles, verts_ndc=verts)

    def forward() -> torch.Tensor:
        return soft_silhouette(triangles, rasterization.mode, *selection, SIGMA)

    needs = (LOOP, EDGE if adjoint else EDGES)
    return _either(forward, [verts], adjoint, len(selection[1]), needs)


def shade(device: str, adjoint: bool = False, image_size: int = 128, faces_per_pixel: int = 50) -> Work:
    """Images from the selected faces: interpolated, textured, lit and blended."""
    mesh = creature(device)
    moved = torch.zeros_like(mesh.verts_packed(), requires_grad=adjoint)
    mesh = mesh.offset_verts(moved)
    fragments: Any = MeshRasterizer(_camera(device), _soft(image_size, faces_per_pixel))(mesh)
    shader = SoftPhongShader(device, _camera(device), PointLights(location=[[0.0, 0.0, -3.0]], device=device))
    needs = (LOOP, EDGE if adjoint else EDGES + COORDS)  # for a fragment that others hide
    return _either(lambda: shader(fragments, mesh), [moved], adjoint, len(fragments.packed), needs)


def antialias(device: str, adjoint: bool = False, image_size: int = 512) -> Work:
    """Outlines blended in a picture of four channels; or the gradients of the picture and of the vertices."""
    mesh = creature(device)
    moved = torch.zeros_like(mesh.verts_packed(), requires_grad=adjoint)
    mesh = mesh.offset_verts(moved)
    fragments: Any = MeshRasterizer(_camera(device), RasterizationSettings(image_size=image_size))(mesh)
    picture = torch.rand(1, image_size, image_size, 4, generator=torch.Generator().manual_seed(0)).to(device)
    picture.requires_grad_(adjoint)
    n_pixels = image_size**2
    return _either(lambda: blend_outlines(picture, fragments), [picture, moved], adjoint, n_pixels, (COPY, 32.0))


def nearest_neighbours(device: str, n_points: int = 100_000, neighbours: int = 1) -> Work:
    """The nearest points of one random cloud in a cube to each point of another."""
    p1, p2 = torch.rand(2, 1, n_points, 3, generator=torch.Generator().manual_seed(0)).to(device)
    return Work.of(lambda: knn_points(p1, p2, K=neighbours), n_points)


def march(
    device: str, adjoint: bool = False, size: int = 128, views: int = 10, image_size: int = 128, samples: int = 150
) -> Work:
    """Emission and absorption in thin fog."""
    R, T = look_at_view_transform(2.7, 0.0, torch.linspace(-180, 180, views))
    cameras = FoVPerspectiveCameras(R=R, T=T, device=device)
    densities = torch.full((1, 1, size, size, size), DENSITY, device=device, requires_grad=adjoint)
    features = torch.full((1, 3, size, size, size), 0.5, device=device, requires_grad=adjoint)
    volumes = Volumes(
        densities.expand(views, -1, -1, -1, -1), features.expand(views, -1, -1, -1, -1), voxel_size=3.0 / size
    )
    rays = NDCMultinomialRaysampler(
        image_width=image_size, image_height=image_size, n_pts_per_ray=samples, min_depth=1.2, max_depth=4.2
    )
    renderer = VolumeRenderer(rays, EmissionAbsorptionRaymarcher())
    n_samples = views * image_size**2 * samples
    needs = (LOOP, 2 * MARCH if adjoint else MARCH)
    return _either(lambda: renderer(cameras, volumes)[0], [densities, features], adjoint, n_samples, needs)


def hash_grid(device: str, adjoint: bool = False, n_points: int = 1 << 18) -> Work:
    """Features of random points from a hash grid; or the gradient of its table."""
    layout = HashGridLayout()
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(n_points, 3, generator=generator).to(device)
    table = torch.rand(layout.n_rows, layout.n_features, generator=generator).to(device).requires_grad_(adjoint)
    needs = (LOOP, 8.0 * layout.n_channels)  # eight corners of a cell at each level
    return _either(lambda: hash_encode(points, table, layout), [table], adjoint, n_points, needs)


def splat(device: str, adjoint: bool = False, n_points: int | None = None, image_size: int = 512) -> Work:
    """Points, selected and composited; or the gradient of the selected points."""
    renderer, cloud = points_scene(device, image_size, 0.003, 10, n_points)
    points = torch.zeros_like(cloud.points_packed(), requires_grad=adjoint)
    needs = (COPY, 4.0 * (3 + 4 + (3 if adjoint else 0)))  # reads points and colours, writes gradients once
    return _either(lambda: renderer(cloud.offset(points)), [points], adjoint, len(points), needs)


def gaussians(device: str, adjoint: bool = False, n: int = 100_000, image_size: int = 720) -> Work:
    """Gaussians on the surface of a mesh, with harmonics of degree 3, projected, coloured and composited."""
    config = SplatConfig(n_random=n, first_size=2.0, opacity=0.5)
    targets = views_of(device, 16)
    model = SplatModel(first_gaussians(targets, creature(device), config), (image_size, image_size), config).to(device)
    model.requires_grad_(adjoint)
    viewmats, intrinsics, _ = pixel_cameras(_camera(device), (image_size, image_size))
    leaves = [p for p in model.parameters() if p.requires_grad]
    needs = (LOOP, BLEND_ADJOINT if adjoint else BLEND)
    return _either(
        lambda: model.draw(viewmats, intrinsics, 3).images,
        leaves,
        adjoint,
        _n_blends(model, viewmats, intrinsics),
        needs,
    )


@torch.no_grad()
def _n_blends(model: SplatModel, viewmats: torch.Tensor, intrinsics: torch.Tensor) -> int:
    """Pixels times the Gaussians that reach their row in a tile; those behind the end of a pixel count too."""
    drawn = model.draw(viewmats, intrinsics, 0)
    flat = [x.flatten(0, 1) for x in (drawn.means2d, drawn.conics, drawn.opacities, drawn.depths, drawn.radii)]
    means2d, conics, opacities, depths, radii = flat
    image = torch.zeros_like(radii[:, 0])
    canvas = Canvas(drawn.images.shape[1], drawn.images.shape[2], 1)
    gaussians = Gaussians2D(means2d, conics, means2d[:, :0], opacities, image, depths, radii)
    tiles = list_tiles(gaussians, canvas.height, canvas.width, 1, limits_of(canvas, means2d))
    rows = tiles.lists.entries[:, 1]
    return LANES * int(((rows >> 16) - (rows & 0xFFFF) + 1).sum())


def _either(
    forward: Any, inputs: Sequence[torch.Tensor], adjoint: bool, n_units: int, needs: tuple[str, float] | None = None
) -> Work:
    """An operation without gradients, or only its adjoint."""
    if not adjoint:
        return Work.of(lambda: torch.no_grad()(forward)(), n_units, needs)
    result = forward()
    upstream = torch.rand(result.shape, generator=torch.Generator().manual_seed(0)).to(result)
    return Work.of(lambda: torch.autograd.grad(result, inputs, upstream, retain_graph=True), n_units, needs)


def _soft(image_size: int, faces_per_pixel: int) -> RasterizationSettings:
    """The settings of a fit to silhouettes."""
    config = SilhouetteConfig(sigma=SIGMA, faces_per_pixel=faces_per_pixel)
    settings: RasterizationSettings = config.edge_settings((image_size, image_size))["raster_settings"]
    return settings


def _camera(device: str) -> FoVPerspectiveCameras:
    R, T = look_at_view_transform(2.7, 10.0, 150.0)
    return FoVPerspectiveCameras(R=R, T=T, device=device)


def _rasterization(device: str, settings: RasterizationSettings) -> MeshRasterization:
    """The creature, rasterized."""
    fragments: Any = MeshRasterizer(_camera(device), settings)(creature(device))
    rasterization: MeshRasterization = fragments.rasterization
    return rasterization
