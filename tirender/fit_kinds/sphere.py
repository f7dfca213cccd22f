"""What the fits share that deform a sphere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import FitKind, Option, Target

if TYPE_CHECKING:
    from tirender.fit import FitRun
    from tirender.structures import Meshes

LEVEL = Option("level", "subdivisions of the sphere to start from (default: 4)", range(8), "", "N")


class SphereFit(FitKind):
    """A fit whose module is a :class:`~tirender.fit.DeformedMesh`."""

    def write(self, run: FitRun, target: Target, folder: Path, given: Mapping[str, Any]) -> str:
        """Write mesh.obj, in the object's own place; colours of vertices become a texture map."""
        import torch

        from tirender.io import IO
        from tirender.renderer import TexturesVertex
        from tirender.utils.bake_textures import bake_vertex_colors

        with torch.no_grad():
            mesh = target.put_back(self.result(run.module))
            if isinstance(mesh.textures, TexturesVertex):
                mesh.textures = bake_vertex_colors(mesh)
        IO().save_mesh(mesh, folder / "mesh.obj", comment=target.comment())
        return "mesh.obj"

    def result(self, module: Any) -> Meshes:
        mesh: Meshes = module()
        return mesh

    def rebuild(self, config: Any, parameters: Mapping[str, Any], device: Any) -> Meshes:
        module = config.make_module(None, device)
        module.load_state_dict(parameters)
        return self.result(module).detach()
