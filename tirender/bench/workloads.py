"""The rows of the benchmark's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tirender.bench import operations, steps
from tirender.bench.measuring import Work


@dataclass(frozen=True)
class Workload:
    """A row of the table.

    Attributes:
        title: in the table.
        unit: of its throughput.
        prepare: ``prepare(device, **settings)`` returns the work, ready to start.
        small: settings that use the same kernels and take no time, for tests.
        settings: replace the defaults, which are the tutorials'.
    """

    title: str
    unit: str
    prepare: Callable[..., Work]
    small: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


BACK: dict[str, Any] = {"adjoint": True}
BF16: dict[str, Any] = {"precision": "bf16"}
ANTIALIAS: dict[str, Any] = {"edges": "antialias"}
TINY = {"image_size": 16}
FEW_POINTS = {"image_size": 32, "n_points": 20_000}  # enough that some cover the centre of a pixel
FEW_RAYS = {"views": 2, "rays_per_view": 3, "n_pts_per_ray": 4, "image_size": 8}
FEW_SAMPLES = {"samples": 4096, "image_size": 8}
FEW_GAUSSIANS = {"n": 50, "image_size": 16}
TINY_MARCH = {"size": 8, "views": 2, "image_size": 8, "samples": 5}
STEPS: dict[str, Workload] = {
    "mesh": Workload(
        "1 mesh: chamfer of 5k + 5k points, shape losses",
        "points",
        steps.mesh_step,
        {"level": 1, "n_samples": 50},
    ),
    "render": Workload("2 render: Phong, 512 x 512", "pixels", steps.render_step, TINY),
    "render-20": Workload(
        "2 render: Phong, 20 x 512 x 512",
        "pixels",
        steps.render_step,
        {**TINY, "views": 2},
        {"views": 20},
    ),
    "points": Workload("3 points: 100 k points, 512 x 512, K 10", "points", steps.points_step, FEW_POINTS),
    "silhouette": Workload(
        "4.3 silhouette: 2 x 128 x 128, K 50", "pixels", steps.silhouette_step, {**TINY, "level": 1}
    ),
    "images": Workload("4.4 images: 2 x 128 x 128, K 50", "pixels", steps.image_step, {**TINY, "level": 1}),
    "silhouette-antialias": Workload(
        "4.3 silhouette, anti-aliased edges", "pixels", steps.silhouette_step, {**TINY, "level": 1}, ANTIALIAS
    ),
    "images-antialias": Workload(
        "4.4 images, anti-aliased edges", "pixels", steps.image_step, {**TINY, "level": 1}, ANTIALIAS
    ),
    "volume": Workload(
        "5 volume: 128^3, 10 x 128 x 128, 150 a ray",
        "samples",
        steps.volume_step,
        {"size": 8, "views": 2, "image_size": 8, "n_pts_per_ray": 5},
    ),
    "nerf": Workload(
        "6 radiance field: 6 x 750 rays, 128 a ray",
        "samples",
        steps.nerf_step,
        FEW_RAYS,
    ),
    "nerf-bf16": Workload("6 radiance field, bf16", "samples", steps.nerf_step, FEW_RAYS, BF16),
    "hashgrid": Workload("6 with a hash grid: 65 k samples", "samples", steps.hash_grid_step, FEW_SAMPLES),
    "hashgrid-bf16": Workload("6 with a hash grid, bf16", "samples", steps.hash_grid_step, FEW_SAMPLES, BF16),
    "splats": Workload("7 Gaussians: 10 k, 360 x 360", "pixels", steps.splats_step, FEW_GAUSSIANS),
    "splats-100k": Workload(
        "7 Gaussians: 100 k, 720 x 720",
        "pixels",
        steps.splats_step,
        FEW_GAUSSIANS,
        {"n": 100_000, "image_size": 720},
    ),
}
OPERATIONS: dict[str, Workload] = {
    "op-nearest-faces": Workload("nearest faces, 512 x 512", "pixels hit", operations.nearest_faces, TINY),
    "op-soft-faces": Workload("faces of a soft image, 128 x 128", "fragments", operations.select_soft, TINY),
    "op-silhouette": Workload("silhouette", "fragments", operations.silhouette, TINY),
    "op-silhouette-adjoint": Workload("silhouette, adjoint", "fragments", operations.silhouette, TINY, BACK),
    "op-shade": Workload("texture, light, blend", "fragments", operations.shade, TINY),
    "op-shade-adjoint": Workload("texture, light, blend, adjoint", "fragments", operations.shade, TINY, BACK),
    "op-antialias": Workload("anti-alias, 512 x 512", "pixels", operations.antialias, TINY),
    "op-antialias-adjoint": Workload("anti-alias, adjoint", "pixels", operations.antialias, TINY, BACK),
    "op-knn-100k": Workload(
        "nearest of 100 k to 100 k points", "queries", operations.nearest_neighbours, {"n_points": 50}
    ),
    "op-knn-1m": Workload(
        "nearest of 1 M to 1 M points",
        "queries",
        operations.nearest_neighbours,
        {"n_points": 60},
        {"n_points": 10**6},
    ),
    "op-splat-adjoint": Workload("splat 100 k points, adjoint", "points", operations.splat, FEW_POINTS, BACK),
    "op-splat-5m": Workload(
        "splat 5 M points",
        "points",
        operations.splat,
        FEW_POINTS,
        {"n_points": 5 * 10**6},
    ),
    "op-gaussians": Workload("draw 100 k Gaussians, 720 x 720", "blends", operations.gaussians, FEW_GAUSSIANS),
    "op-gaussians-adjoint": Workload(
        "draw 100 k Gaussians, adjoint", "blends", operations.gaussians, FEW_GAUSSIANS, BACK
    ),
    "op-march": Workload("march a volume", "samples", operations.march, TINY_MARCH),
    "op-march-adjoint": Workload("march a volume, adjoint", "samples", operations.march, TINY_MARCH, BACK),
    "op-hash": Workload("hash grid, 262 k points", "points", operations.hash_grid, {"n_points": 20}),
    "op-hash-adjoint": Workload("hash grid, adjoint", "points", operations.hash_grid, {"n_points": 20}, BACK),
}
WORKLOADS = STEPS | OPERATIONS
