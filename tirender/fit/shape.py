"""What all fits of a mesh share: the sphere they start from, losses that keep it smooth, the optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tirender.checks import check_choice, fail
from tirender.fit.loop import Losses, fit
from tirender.fit.models import DeformedMesh
from tirender.fit.run import Callback, FitConfig, FitRun, Images
from tirender.loss import mesh_edge_loss, mesh_laplacian_smoothing, mesh_normal_consistency
from tirender.structures import Meshes


@dataclass(frozen=True)
class ShapeConfig(FitConfig):
    """Settings of a fit of a mesh; the defaults are the tutorials'.

    Attributes:
        steps, seed, progress, smoothing: see :class:`FitConfig`.
        level: of the ``ico_sphere`` that is deformed, where no source is given.
        optimizer: "sgd" or "adam".
        lr: learning rate.
        momentum: of SGD.
        decay: what learning rates are multiplied by in the course of the fit, evenly over its steps.
        w_edge, w_normal, w_laplacian: weights of the losses on edge lengths, normals and smoothness.
    """

    steps: int = 2000
    level: int = 4
    optimizer: str = "sgd"
    lr: float = 1.0
    momentum: float = 0.9
    decay: float = 1.0
    w_edge: float = 1.0
    w_normal: float = 0.01
    w_laplacian: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("optimizer", self.optimizer, ("sgd", "adam"))
        if not 0 < self.decay <= 1:
            fail("decay", "a number in (0, 1]", self.decay)

    @property
    def weights(self) -> dict[str, float]:
        """The weights by the losses' names."""
        return {name.removeprefix("w_"): value for name, value in vars(self).items() if name.startswith("w_")}

    def make_optimizer(self, module: DeformedMesh, lr_texture: float = 0.0) -> torch.optim.Optimizer:
        """The optimizer over a mesh's parameters; its textures may have a learning rate of their own."""
        groups: list[dict[str, Any]] = [{"params": [module.deform_verts]}]
        if module.textures is not None:
            groups.append({"params": list(module.textures.parameters()), "lr": lr_texture})
        if self.optimizer == "adam":
            return torch.optim.Adam(groups, lr=self.lr)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum)

    def fit(
        self,
        losses: Losses,
        module: DeformedMesh,
        optimizer: torch.optim.Optimizer,
        callbacks: Sequence[Callback],
        images: Images | None = None,
    ) -> FitRun:
        """Run the loop with these settings."""
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, self.decay ** (1 / max(self.steps, 1)))
        return fit(
            losses,
            module,
            optimizer,
            self,
            weights=self.weights,
            scheduler=scheduler,
            callbacks=callbacks,
            images=images,
        )


def shape_losses(mesh: Meshes) -> dict[str, torch.Tensor]:
    """The losses that keep a mesh regular: ``"edge"``, ``"normal"`` and ``"laplacian"``."""
    return {
        "edge": mesh_edge_loss(mesh),
        "normal": mesh_normal_consistency(mesh),
        "laplacian": mesh_laplacian_smoothing(mesh, method="uniform"),
    }


def normalized(mesh: Meshes) -> tuple[Meshes, torch.Tensor, float]:
    """A mesh moved and scaled as section 1.1 does: the mean of its vertices at 0, coordinates within [-1, 1].

    Args:
        mesh: one mesh.
    Returns:
        the new mesh, and the centre (3,) and scale with which ``new * scale + centre`` is the old one.
    """
    verts = mesh.verts_packed()
    centre = verts.mean(0)
    scale = float((verts - centre).abs().max())
    return mesh.offset_verts(-centre).scale_verts(1 / scale), centre, scale
