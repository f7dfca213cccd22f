"""Fits of a mesh to another mesh (section 1 of the tutorials)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tirender.checks import fail
from tirender.fit.models import DeformedMesh
from tirender.fit.run import Callback, FitRun
from tirender.fit.shape import ShapeConfig, shape_losses
from tirender.loss import chamfer_distance
from tirender.ops import sample_points_from_meshes
from tirender.renderer import (
    FoVPerspectiveCameras,
    HardPhongShader,
    MeshRasterizer,
    MeshRenderer,
    PointLights,
    RasterizationSettings,
    TexturesVertex,
    look_at_view_transform,
)
from tirender.structures import Meshes
from tirender.utils import ico_sphere


@dataclass(frozen=True)
class MeshConfig(ShapeConfig):
    """Settings of :func:`fit_mesh`; the defaults are the tutorials'.

    Attributes:
        n_samples: points drawn from each surface at each step.
        w_chamfer: weight of the chamfer distance between them.
    """

    n_samples: int = 5000
    w_laplacian: float = 0.1
    w_chamfer: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_samples < 1:
            fail("n_samples", "at least 1", self.n_samples)


BEST_MESH = MeshConfig()
"""A preset that reaches further than the tutorial's settings."""


def fit_mesh(
    target: Meshes,
    source: Meshes | None = None,
    config: MeshConfig | None = None,
    callbacks: Sequence[Callback] = (),
) -> FitRun:
    """Deform a mesh until points sampled from it lie where those of a target do.

    Args:
        target: one mesh, about the size of the source; see :func:`~tirender.fit.shape.normalized`.
        source: the mesh to start from; a unit sphere by default.
        config: the tutorials' settings by default.
        callbacks: see :func:`~tirender.fit.loop.fit`.
    Returns:
        the run; ``run.module()`` is the fitted mesh.
    Raises:
        NonFiniteLoss: see :func:`~tirender.fit.loop.fit`.
    """
    config = config or MeshConfig()
    module = DeformedMesh(ico_sphere(config.level, target.device) if source is None else source)

    def losses(step: int) -> dict[str, torch.Tensor]:
        mesh = module()
        return {"chamfer": _chamfer(target, mesh, config.n_samples), **shape_losses(mesh)}

    def images() -> dict[str, torch.Tensor]:
        return {"prediction": _drawn(module()), "target": _drawn(target)}

    return config.fit(losses, module, config.make_optimizer(module), callbacks, images)


def surface_chamfer(mesh: Meshes, target: Meshes, n_samples: int = 20000) -> float:
    """The chamfer distance between points sampled from two surfaces; the random numbers of a fit are not disturbed.

    Args:
        mesh, target: one mesh each.
        n_samples: points from each.
    """
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        return float(_chamfer(target, mesh, n_samples))


def _chamfer(target: Meshes, mesh: Meshes, n_samples: int) -> torch.Tensor:
    of_target: Any = sample_points_from_meshes(target, n_samples)
    of_mesh: Any = sample_points_from_meshes(mesh, n_samples)
    distance: Any = chamfer_distance(of_target, of_mesh)[0]
    return distance


def _drawn(mesh: Meshes) -> torch.Tensor:
    """(H, W, 3): a mesh about the origin in grey."""
    R, T = look_at_view_transform(2.7, 10, 150)
    cameras = FoVPerspectiveCameras(R=R, T=T, device=mesh.device)
    lights = PointLights(location=[[1.0, 2.0, -3.0]], device=mesh.device)
    mesh = mesh.clone()
    mesh.textures = TexturesVertex([torch.full_like(verts, 0.7) for verts in mesh.verts_list()])
    rasterizer = MeshRasterizer(cameras, RasterizationSettings(image_size=256))
    images: torch.Tensor = MeshRenderer(rasterizer, HardPhongShader(mesh.device, cameras, lights))(mesh)
    return images[0, ..., :3]
