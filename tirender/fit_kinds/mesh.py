"""``tirender fit mesh``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import MeshTarget, Option
from tirender.fit_kinds.sphere import LEVEL, SphereFit
from tirender.fit_kinds.targets import load_mesh_target

if TYPE_CHECKING:
    import torch

    from tirender.fit import Callback, FitRun, MeshConfig
    from tirender.fit.quality import Watch


class MeshFit(SphereFit):
    """A sphere becomes a mesh by the distance of their surfaces."""

    name = "mesh"
    finds, so_that = "a deformation of a sphere", "its surface is that of a mesh"
    options = (Option("target", "the mesh file", metavar="TARGET", required=True), LEVEL)

    def presets(self) -> dict[str, MeshConfig]:
        from tirender.fit.mesh import MeshConfig

        return {"tutorial": MeshConfig(), "best": MeshConfig()}  # we know of no better settings

    def load(self, given: Mapping[str, Any], device: str) -> MeshTarget:
        return load_mesh_target(given["target"], device, given)

    def data(self, target: MeshTarget) -> list[torch.Tensor]:
        return [target.mesh.verts_packed()]

    def fit(self, target: MeshTarget, config: MeshConfig, callbacks: Sequence[Callback]) -> FitRun:
        from tirender.fit.mesh import fit_mesh

        return fit_mesh(target.mesh, config=config, callbacks=callbacks)

    def draw(self, run: FitRun, target: MeshTarget) -> None:
        from tirender import vis

        vis.plot_pointcloud(run.module(), title=f"iter: {run.step}")

    def compare(self, run: FitRun, target: MeshTarget) -> None:
        from tirender import vis
        from tirender.fit.mesh import grey, shape_renderer

        renderer = shape_renderer(512, target.mesh.device)
        vis.visualize_prediction(grey(run.module()), renderer, renderer(grey(target.mesh))[0, ..., :3])

    def quality(self, run: FitRun, target: MeshTarget, watch: Watch | None = None) -> dict[str, float]:
        from tirender.fit.mesh import surface_chamfer

        return {"chamfer": surface_chamfer(run.module(), target.mesh)}
