"""The rows of the benchmark's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tirender.bench import operations, steps
from tirender.bench.measuring import Work


@dataclass(frozen=True)
class Workload:
    """A row.

    Attributes:
        title: what the table says.
        unit: what its throughput counts.
        prepare: ``prepare(device, **settings)`` makes everything ready.
        settings: in place of the defaults, which are the tutorials'.
    """

    title: str
    unit: str
    prepare: Callable[..., Work]
    settings: Mapping[str, Any] = field(default_factory=dict)


BACK: dict[str, Any] = {"adjoint": True}
STEPS: dict[str, Workload] = {
    "mesh": Workload("1 mesh: chamfer of 5k + 5k points, shape losses", "points", steps.mesh_step),
    "render": Workload("2 render: Phong, 512 x 512", "pixels", steps.render_step),
    "render-20": Workload("2 render: Phong, 20 x 512 x 512", "pixels", steps.render_step, {"views": 20}),
    "points": Workload("3 points: 100 k points, 512 x 512, K 10", "points", steps.points_step),
    "silhouette": Workload("4.3 silhouette: 2 x 128 x 128, K 50", "pixels", steps.silhouette_step),
    "images": Workload("4.4 images: 2 x 128 x 128, K 50", "pixels", steps.image_step),
    "volume": Workload("5 volume: 128^3, 10 x 128 x 128, 150 a ray", "samples", steps.volume_step),
    "nerf": Workload("6 radiance field: 6 x 750 rays, 128 a ray", "samples", steps.nerf_step),
    "hashgrid": Workload("6 with a hash grid: 65 k samples", "samples", steps.hash_grid_step),
}
OPERATIONS: dict[str, Workload] = {
    "op-nearest-faces": Workload("nearest faces, 512 x 512", "pixels hit", operations.select_nearest),
    "op-soft-faces": Workload("faces of a soft image, 128 x 128", "fragments", operations.select_soft),
    "op-silhouette": Workload("silhouette", "fragments", operations.silhouette),
    "op-silhouette-adjoint": Workload("silhouette, adjoint", "fragments", operations.silhouette, BACK),
    "op-shade": Workload("texture, light, blend", "fragments", operations.shade),
    "op-shade-adjoint": Workload("texture, light, blend, adjoint", "fragments", operations.shade, BACK),
    "op-knn-100k": Workload("nearest of 100 k to 100 k points", "queries", operations.nearest_neighbours),
    "op-knn-1m": Workload(
        "nearest of 1 M to 1 M points", "queries", operations.nearest_neighbours, {"n_points": 10**6}
    ),
    "op-splat-adjoint": Workload("splat 100 k points, adjoint", "points", operations.splat, BACK),
    "op-splat-5m": Workload("splat 5 M points", "points", operations.splat, {"n_points": 5 * 10**6}),
    "op-march": Workload("march a volume", "samples", operations.march),
    "op-march-adjoint": Workload("march a volume, adjoint", "samples", operations.march, BACK),
    "op-hash": Workload("hash grid, 262 k points", "points", operations.hash_grid),
    "op-hash-adjoint": Workload("hash grid, adjoint", "points", operations.hash_grid, BACK),
}
WORKLOADS = STEPS | OPERATIONS
