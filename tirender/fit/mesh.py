"""Fits of a mesh to another mesh (section 1 of the tutorials)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tirender.checks import fail
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


def fit_mesh(
    target: Meshes,
    source: Meshes | None = None,
    config: MeshConfig | None = None,
    callbacks: Sequence[Callback] = (),
) -> FitRun:
    """Deform a mesh until its surface is that of a target, by the chamfer distance of points sampled from both.

    Args:
        target: one mesh, about as large as the source; see :func:`~tirender.fit.shape.normalized`.
        source: the mesh to start from; a unit sphere by default.
        config: the tutorials' settings by default.
        callbacks: see :func:`~tirender.fit.loop.fit`.
    Returns:
        the run; ``run.module()`` is the fitted mesh.
    Raises:
        NonFiniteLoss: see :func:`~tirender.fit.loop.fit`.
    """
    config = config or MeshConfig()
    module = config.make_module(source, target.device)

    def losses(step: int) -> dict[str, torch.Tensor]:
        mesh = module()
        return {"chamfer": _chamfer(target, mesh, config.n_samples), **shape_losses(mesh)}

    def images() -> dict[str, torch.Tensor]:
        renderer = shape_renderer(256, target.device)
        pictures = {"prediction": renderer(grey(module())), "target": renderer(grey(target))}
        return {name: picture[0, ..., :3] for name, picture in pictures.items()}

    return config.fit(losses, module, config.make_optimizer(module), callbacks, images)


def surface_chamfer(mesh: Meshes, target: Meshes, n_samples: int = 20000) -> float:
    """The chamfer distance between points sampled from two surfaces; leaves the random generators as they are.

    Args:
        mesh, target: one mesh each.
        n_samples: points from each.
    """
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        return float(_chamfer(target, mesh, n_samples))


def grey(mesh: Meshes) -> Meshes:
    """The mesh in grey instead of its textures."""
    mesh = mesh.clone()
    mesh.textures = TexturesVertex([torch.full_like(verts, 0.7) for verts in mesh.verts_list()])
    return mesh


def shape_renderer(image_size: int, device: torch.device | str) -> MeshRenderer:
    """A renderer that shows the shape of a mesh at the origin; it gives images (N, image_size, image_size, 4)."""
    R, T = look_at_view_transform(2.7, 10, 150)
    cameras = FoVPerspectiveCameras(R=R, T=T, device=device)
    lights = PointLights(location=[[1.0, 2.0, -3.0]], device=device)
    rasterizer = MeshRasterizer(cameras, RasterizationSettings(image_size=image_size))
    return MeshRenderer(rasterizer, HardPhongShader(device, cameras, lights))


def _chamfer(target: Meshes, mesh: Meshes, n_samples: int) -> torch.Tensor:
    of_target: Any = sample_points_from_meshes(target, n_samples)
    of_mesh: Any = sample_points_from_meshes(mesh, n_samples)
    distance: Any = chamfer_distance(of_target, of_mesh)[0]
    return distance
