"""How large the pictures of a tour are, and how long its fits take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tirender.fit_kinds import KINDS

NOT_SHOWN = ("material",)
"""The kinds of fits that are in no tour."""


def fit_settings(preset: str, **changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of every kind of fit in a tour, by its name: those of a preset, with changes to some fields."""
    shown = {name: kind for name, kind in KINDS.items() if name not in NOT_SHOWN}
    return {name: replace(kind.presets()[preset], **changes.get(name, {})) for name, kind in shown.items()}


@dataclass(frozen=True)
class TourConfig:
    """Settings of the seven sections.

    Attributes:
        picture_size: side of rendered pictures, in pixels.
        point_radius: of the cloud's points, in NDC units.
        view_size: side of the views to fit to, in pixels.
        n_views, n_views_radiance: number of views in section 4, and in sections 5 to 7.
        turntable_size, n_frames: side of a turntable's pictures in pixels, and their number.
        cover_size: side of each section's small picture, in pixels.
        fits: settings of the fits, by the name of their kind.
    """

    picture_size: int = 512
    point_radius: float = 0.012
    view_size: int = 128
    n_views: int = 20
    n_views_radiance: int = 40
    turntable_size: int = 256
    n_frames: int = 36
    cover_size: int = 240
    fits: Mapping[str, Any] = field(default_factory=lambda: fit_settings("tutorial"))


FULL = TourConfig(
    fits=fit_settings(
        "best",
        silhouette={"steps": 1000},
        images={"steps": 1000},
        volume={"steps": 300, "views_per_step": 5, "double_at": (60, 120)},
        splats={"steps": 3000, "n_random": 10_000, "max_gaussians": 30_000},
    )
)
"""The sizes of the tutorials, with our own presets, some of them shortened."""

QUICK = TourConfig(
    view_size=96,
    n_frames=24,
    turntable_size=192,
    fits=fit_settings(
        "best",
        mesh={"steps": 1000, "level": 3, "n_samples": 3000},
        silhouette={"steps": 400, "level": 3},
        images={"steps": 500, "level": 3},
        volume={"steps": 150, "volume_size": 64, "n_pts_per_ray": 75, "views_per_step": 4, "double_at": (40,)},
        nerf={"steps": 250, "n_pts_per_ray": 192, "samples_per_step": 1 << 15},
        splats={"steps": 2500, "n_random": 5_000, "max_gaussians": 15_000, "degree_every": 500},
    ),
)
"""A tour that takes minutes on a CPU."""
