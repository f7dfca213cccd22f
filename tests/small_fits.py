"""A fit of each kind and variety, of a few steps in milliseconds each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from tirender.fit import Callback, FitRun, render_views
from tirender.fit_kinds import KINDS
from tirender.fit_kinds.base import MeshTarget, ViewsTarget
from tirender.fit_kinds.material import LitTarget
from tirender.fit_kinds.splats import PhotosTarget
from tirender.renderer import TexturesVertex
from tirender.utils import ico_sphere

RAYS = {"views_per_step": 2, "n_pts_per_ray": 12}
FITS: dict[str, tuple[str, dict[str, Any]]] = {
    "mesh": ("mesh", {"level": 1, "n_samples": 40}),
    "silhouette": ("silhouette", {"level": 1, "edges": "antialias", "optimizer": "adam"}),
    "images vertex": ("images", {"level": 1, "faces_per_pixel": 4, "sigma_final": 1e-5}),
    "images uv": ("images", {"level": 1, "faces_per_pixel": 4, "texture": "uv", "texture_size": 8}),
    "material": ("material", {"texture_size": 8, "surface_size": 1, "environment_size": 4}),
    "volume": ("volume", {**RAYS, "volume_size": 8, "double_at": (2,)}),
    "nerf harmonic": ("nerf", {**RAYS, "rays_per_view": 8}),
    "nerf hashgrid": (
        "nerf",
        {**RAYS, "rays_per_view": 16, "field": "hashgrid", "update_every": 3, "samples_per_step": 512},
    ),
    "splats mcmc": ("splats", {"n_random": 40, "max_gaussians": 80, "grow_every": 3, "degree_every": 3}),
    "splats split": ("splats", {"n_random": 40, "growth": "split", "max_gaussians": 80, "grow_every": 3, "degree": 1}),
}


@cache
def target_of(kind: str) -> Any:
    ball = ico_sphere(1)
    if kind == "mesh":
        return MeshTarget(mesh=ball.scale_verts(1.2))
    ball.textures = TexturesVertex(ball.verts_padded() / 2 + 0.5)
    views = render_views(ball, 4, 16)
    if kind == "material":
        return LitTarget(views=views, mesh=ball)
    return PhotosTarget(photos=views) if kind == "splats" else ViewsTarget(views=views)


def settings_of(name: str) -> dict[str, Any]:
    """What a checkpoint of the command line says of a fit."""
    kind, changes = FITS[name]
    config = config_of(name, 1)
    return {**{key: value for key, value in vars(config).items() if key not in ("steps", "progress")}, "kind": kind}


def config_of(name: str, steps: int) -> Any:
    kind, changes = FITS[name]
    config = KINDS[kind].configure("tutorial", {"field": changes.get("field")})
    return dataclasses.replace(config, steps=steps, progress=False, **changes)


def run_small(name: str, steps: int, callbacks: Sequence[Callback] = ()) -> FitRun:
    """Fit."""
    kind = FITS[name][0]
    return KINDS[kind].fit(target_of(kind), config_of(name, steps), callbacks)


def parameters_of(run: FitRun) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in run.module.state_dict().items()}
