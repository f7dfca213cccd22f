"""Growth by the gradient in the image: the original's clones, splits and pruning (Kerbl et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from tirender.fit import growth
from tirender.gsplat.strategy.base import SHAPE, Strategy


@dataclass
class DefaultStrategy(Strategy):
    """Clones small Gaussians and splits large ones where the mean's gradient in the image is high; prunes.

    Args:
        prune_opa: Gaussians of a lower opacity are removed.
        grow_grad2d: the gradient above which Gaussians grow, in units of half an image.
        grow_scale3d: the size, in units of the scene, up to which they are cloned; beyond it they are split.
        grow_scale2d: the size in the image above which they are split.
        prune_scale3d: the size, in units of the scene, above which they are removed, after the first reset.
        prune_scale2d: the size in the image above which they are removed.
        refine_scale2d_stop_iter: until when sizes in the image count; 0 for never.
        refine_start_iter, refine_stop_iter, refine_every: when Gaussians grow and are pruned.
        reset_every: after so many steps, opacities are lowered to twice ``prune_opa``.
        pause_refine_after_reset: steps after a reset in which nothing grows.
        absgrad: whether the sums of absolute gradients count (Ye et al. 2024): ``rasterization(absgrad=True)``.
        revised_opacity: whether the halves of a split are together as opaque as it was (Rota Bulò et al. 2024).
        verbose: whether to print what happens.
        key_for_gradient: the name in ``info`` of the means in the image.
    """

    required: ClassVar = SHAPE
    prune_opa: float = 0.005
    grow_grad2d: float = 0.0002
    grow_scale3d: float = 0.01
    grow_scale2d: float = 0.05
    prune_scale3d: float = 0.1
    prune_scale2d: float = 0.15
    refine_scale2d_stop_iter: int = 0
    refine_start_iter: int = 500
    refine_stop_iter: int = 15_000
    reset_every: int = 3000
    refine_every: int = 100
    pause_refine_after_reset: int = 0
    absgrad: bool = False
    revised_opacity: bool = False
    verbose: bool = False
    key_for_gradient: str = "means2d"

    def initialize_state(self, scene_scale: float = 1.0) -> dict[str, Any]:
        """The state that the steps take: sums of gradients, and how often Gaussians were seen."""
        state: dict[str, Any] = {"grad2d": None, "count": None, "scene_scale": scene_scale}
        if self.refine_scale2d_stop_iter > 0:
            state["radii"] = None
        return state

    def step_pre_backward(  # type: ignore[override]
        self,
        params: growth.Parameters,
        optimizers: growth.Optimizers,
        state: dict[str, Any],
        step: int,
        info: Mapping[str, Any],
    ) -> None:
        """Called before the backward pass, with the ``meta`` of the rasterization: keeps the means' gradient."""
        info[self.key_for_gradient].retain_grad()

    def step_post_backward(  # type: ignore[override]
        self,
        params: growth.Parameters,
        optimizers: growth.Optimizers,
        state: dict[str, Any],
        step: int,
        info: Mapping[str, Any],
        packed: bool = False,
    ) -> None:
        """Called after the backward pass.

        Args:
            params, optimizers: by name.
            state: of :meth:`initialize_state`.
            step: counted from 0.
            info: the ``meta`` of the rasterization.
            packed: whether that was packed.
        """
        if step >= self.refine_stop_iter:
            return
        self._update_state(params, state, info, packed)
        is_paused = step % self.reset_every < self.pause_refine_after_reset
        if step > self.refine_start_iter and step % self.refine_every == 0 and not is_paused:
            cloned, divided = self._grow_gs(params, optimizers, state, step)
            removed = self._prune_gs(params, optimizers, state, step)
            if self.verbose:
                n = len(params["means"])
                print(f"step {step}: {cloned} cloned, {divided} split, {removed} removed, {n} in all")
            for name in ("grad2d", "count", "radii"):
                if isinstance(state.get(name), torch.Tensor):
                    state[name].zero_()
        if step > 0 and step % self.reset_every == 0:
            growth.reset_opacities(params, optimizers, 2 * self.prune_opa)

    @torch.no_grad()
    def _update_state(
        self, params: growth.Parameters, state: dict[str, Any], info: Mapping[str, Any], packed: bool
    ) -> None:
        """Add the gradients of the Gaussians that were drawn."""
        means2d = info[self.key_for_gradient]
        grads = (means2d.absgrad if self.absgrad else means2d.grad).detach()
        grads = grads * (0.5 * info["n_cameras"]) * grads.new_tensor([info["width"], info["height"]])
        radii, n = info["radii"], len(params["means"])
        if packed:
            index = info["gaussian_ids"]
        else:
            drawn = (radii > 0).all(-1)
            index = drawn.nonzero()[:, -1]
            grads, radii = grads[drawn], radii[drawn]
        for name in ("grad2d", "count"):
            if state[name] is None:
                state[name] = grads.new_zeros(n)
        state["grad2d"].index_add_(0, index, grads.norm(dim=-1))
        state["count"].index_add_(0, index, torch.ones_like(grads[:, 0]))
        if self.refine_scale2d_stop_iter > 0:
            if state["radii"] is None:
                state["radii"] = grads.new_zeros(n)
            sizes = radii.amax(-1).to(grads) / max(info["width"], info["height"])
            state["radii"].scatter_reduce_(0, index, sizes, "amax")

    @torch.no_grad()
    def _grow_gs(
        self, params: growth.Parameters, optimizers: growth.Optimizers, state: dict[str, Any], step: int
    ) -> tuple[int, int]:
        is_high = state["grad2d"] / state["count"].clamp(min=1) > self.grow_grad2d
        is_small = params["scales"].exp().amax(-1) <= self.grow_scale3d * state["scene_scale"]
        cloned, divided = is_high & is_small, is_high & ~is_small
        if step < self.refine_scale2d_stop_iter:
            divided |= state["radii"] > self.grow_scale2d
        n_cloned, n_divided = int(cloned.sum()), int(divided.sum())
        if n_cloned:
            growth.duplicate(params, optimizers, state, cloned)
        if n_divided:
            mask = torch.cat([divided, divided.new_zeros(n_cloned)])
            growth.split(params, optimizers, state, mask, self.revised_opacity)
        return n_cloned, n_divided

    @torch.no_grad()
    def _prune_gs(
        self, params: growth.Parameters, optimizers: growth.Optimizers, state: dict[str, Any], step: int
    ) -> int:
        removed = params["opacities"].flatten().sigmoid() < self.prune_opa
        if step > self.reset_every:
            too_big = params["scales"].exp().amax(-1) > self.prune_scale3d * state["scene_scale"]
            if step < self.refine_scale2d_stop_iter:
                too_big |= state["radii"] > self.prune_scale2d
            removed |= too_big
        if n := int(removed.sum()):
            growth.remove(params, optimizers, state, removed)
        return n
