"""What all fits of a mesh share: the sphere to start from, the losses that keep it smooth, the optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tirender.checks import check_choice, check_integer, fail
from tirender.fit.loop import Losses, fit
from tirender.fit.models import DeformedMesh
from tirender.fit.run import Callback, FitConfig, FitRun, Images
from tirender.loss import mesh_shape_losses
from tirender.structures import Meshes
from tirender.utils import ico_sphere

MAX_LEVEL = 7  # 327,680 faces


@dataclass(frozen=True)
class ShapeConfig(FitConfig):
    """Settings of a fit of a mesh; the defaults are the tutorials'.

    Attributes:
        steps, seed, progress, smoothing: see :class:`FitConfig`.
        level: of the ``ico_sphere`` to deform, if no source is given.
        optimizer: "sgd" or "adam".
        lr: learning rate.
        momentum: of SGD.
        decay: ratio of the last learning rate to the first; it decays exponentially over the steps.
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
        if check_integer("level", self.level, 0) > MAX_LEVEL:
            fail("level", f"at most {MAX_LEVEL}", self.level)
        if not 0 < self.decay <= 1:
            fail("decay", "a number in (0, 1]", self.decay)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss, by its name."""
        return {name.removeprefix("w_"): value for name, value in vars(self).items() if name.startswith("w_")}

    def make_module(self, source: Meshes | None, device: torch.device | str) -> DeformedMesh:
        """The mesh before the first step: of the source, or of a sphere on the device."""
        source = ico_sphere(self.level, device) if source is None else source
        return DeformedMesh(source, self.make_textures(source))

    def make_textures(self, source: Meshes) -> nn.Module | None:
        """The module that holds the mesh's colours; None for those of the source."""
        return None

    def make_optimizer(self, module: DeformedMesh, lr_texture: float = 0.0) -> torch.optim.Optimizer:
        """The optimizer over a mesh's parameters.

        Args:
            module: the mesh.
            lr_texture: learning rate of its textures, if they are fitted.
        """
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
    """The losses ``"edge"``, ``"normal"`` and ``"laplacian"``, which keep a mesh regular."""
    return mesh_shape_losses(mesh)._asdict()


def normalized(mesh: Meshes) -> tuple[Meshes, torch.Tensor, float]:
    """Move and scale a mesh as section 1.1 does: the mean of its vertices to 0, its coordinates into [-1, 1].

    Args:
        mesh: one mesh.
    Returns:
        the new mesh, and the centre (3,) and scale that lead back: ``new * scale + centre`` is the old one.
    """
    verts = mesh.verts_packed()
    centre = verts.mean(0)
    scale = float((verts - centre).abs().max())
    return mesh.offset_verts(-centre).scale_verts(1 / scale), centre, scale
