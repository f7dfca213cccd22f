"""``tirender fit material``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import FitKind, Option, ViewsTarget
from tirender.fit_kinds.photos import SIZE_OF_VIEWS, is_photos
from tirender.fit_kinds.targets import VIEW_OPTIONS, load_mesh_target, load_views_target

if TYPE_CHECKING:
    import torch

    from tirender.fit import Callback, FitRun
    from tirender.fit.material import MaterialConfig, MaterialModel
    from tirender.fit.quality import Watch
    from tirender.renderer import CamerasBase
    from tirender.structures import Meshes

N_VIEWS = 40


@dataclass(frozen=True, kw_only=True)
class LitTarget(ViewsTarget):
    """Views of a mesh that is known, moved as they are."""

    mesh: Meshes


class MaterialFit(FitKind):
    """The material of a known shape, and the light around it, by images."""

    name = "material"
    finds = "the base colours, metallic and roughness of a known mesh, and the light around it"
    so_that = "it looks the same in every view"
    options = (
        *VIEW_OPTIONS,
        Option("mesh", "the known shape, in the coordinates of the photos (of a mesh SOURCE: itself)", metavar="FILE"),
        Option("texture-size", "side of the map of base colours (default: 256)", range(1, 8193), "texels", "PX"),
        Option(
            "surface-size",
            "side of the map of metallic and roughness (default: 1, the same everywhere)",
            range(1, 8193),
            "texels",
            "PX",
        ),
    )

    def presets(self) -> dict[str, MaterialConfig]:
        from tirender.fit.material import BEST_MATERIAL, MaterialConfig

        return {"tutorial": MaterialConfig(), "best": BEST_MATERIAL}

    def configure(self, preset: str, given: Mapping[str, Any]) -> MaterialConfig:
        config: MaterialConfig = super().configure(preset, given)
        return config

    def load(self, given: Mapping[str, Any], device: str) -> LitTarget:
        from tirender.checks import fail
        from tirender.fit.material import render_lit_views

        place = {"up", "front", "centre", "scale", "origin"}
        if not is_photos(given["source"]):
            if given.get("mesh"):
                fail("--mesh", "photos as SOURCE, with it", given["source"])
            known = load_mesh_target(given["source"], device, given, with_looks=True)
            views = render_lit_views(known.mesh, given["views"] or N_VIEWS, given["size"] or SIZE_OF_VIEWS)
            return LitTarget(views=views, mesh=known.mesh, **{name: getattr(known, name) for name in place})
        if not given.get("mesh"):
            fail("--mesh", "the file of the known shape, for photos", None)
        target = load_views_target(given, device, without_masks="full")
        known = load_mesh_target(given["mesh"], device, given, with_looks=True)
        mesh = known.put_back(known.mesh)
        verts = mesh.verts_packed()
        if target.centre is not None:
            verts = (verts - target.centre.to(verts)) / target.scale
        moved = known.mesh.update_padded(verts.float()[None])
        moved.textures = known.mesh.textures
        return LitTarget(
            views=target.views, mesh=moved, names=target.names, **{name: getattr(target, name) for name in place}
        )

    def data(self, target: LitTarget) -> list[torch.Tensor]:
        images: Any = target.views.images
        return [images, target.mesh.verts_packed()]

    def fit(self, target: LitTarget, config: MaterialConfig, callbacks: Sequence[Callback]) -> FitRun:
        from tirender.fit.material import fit_material

        return fit_material(target.views, target.mesh, config=config, callbacks=callbacks)

    def draw(self, run: FitRun, target: LitTarget) -> None:
        from tirender import vis

        views = target.views
        images: Any = views.images
        vis.visualize_prediction(
            self.result(run.module),
            lambda mesh: self._renderer(run, target)(mesh, cameras=views.cameras[views.shown]),
            images[views.shown],
            title=f"iter: {run.step}",
        )

    def quality(self, run: FitRun, target: LitTarget, watch: Watch | None = None) -> dict[str, float]:
        from tirender.fit.quality import image_psnr

        mesh, renderer, views = self.result(run.module), self._renderer(run, target), target.views
        if watch is not None:
            images: Any = views.images
            for i in range(len(views)):
                watch(i, images[i], renderer(mesh, cameras=views.cameras[i])[0, ..., :3].detach())
        metallic, roughness = self._model(run).metallic_roughness.detach().mean((0, 1)).tolist()
        return {"image_psnr": image_psnr(mesh, renderer, views), "metallic": metallic, "roughness": roughness}

    def painter(self, run: FitRun, target: LitTarget) -> Callable[[CamerasBase, tuple[int, int]], torch.Tensor]:
        mesh = self.result(run.module)
        return lambda cameras, size: self._renderer(run, target, size)(mesh, cameras=cameras)

    def write(self, run: FitRun, target: LitTarget, folder: Path, given: Mapping[str, Any]) -> str:
        """Write mesh.glb, in the object's own place, and environment.hdr, the light around it."""
        import torch

        from tirender.io import IO, save_environment

        with torch.no_grad():
            light = self._model(run).surroundings().picture()
        save_environment(folder / "environment.hdr", light)
        IO().save_mesh(target.put_back(self.result(run.module)), folder / "mesh.glb")
        return "mesh.glb"

    def result(self, module: Any) -> Meshes:
        mesh: Meshes = module.finished()
        return mesh

    def rebuild(self, config: MaterialConfig, parameters: Mapping[str, Any], device: Any) -> Meshes:
        from tirender.fit.material import MaterialModel

        return MaterialModel.restored(parameters).to(device).finished()

    @staticmethod
    def _model(run: FitRun) -> MaterialModel:
        module: Any = run.module
        return module  # type: ignore[no-any-return]

    def _renderer(self, run: FitRun, target: LitTarget, size: tuple[int, int] | None = None) -> Any:
        import torch

        from tirender.fit.material import material_renderer

        with torch.no_grad():
            return material_renderer(size or target.views.image_size, self._model(run))
