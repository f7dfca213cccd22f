"""How large the pictures of a tour are, and how long its fits take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tirender.fit import ImageConfig, MeshConfig, NerfConfig, SilhouetteConfig, VolumeConfig
from tirender.fit.nerf import HASHGRID_NERF
from tirender.fit.rendering import BEST_IMAGES, BEST_SILHOUETTE
from tirender.fit.volume import BEST_VOLUME


@dataclass(frozen=True)
class TourConfig:
    """Settings of the six sections.

    Attributes:
        picture_size: side of rendered pictures, in pixels.
        point_radius: of the cloud's points, in NDC units.
        view_size: side of the views that are fitted to; the figures of volumes and fields are twice as large.
        n_views, n_views_radiance: of section 4, and of sections 5 and 6.
        turntable_size, n_frames: side and number of the pictures of a turntable.
        cover_size: side of the small picture of each section.
        mesh, silhouette, images, volume, nerf: settings of the fits.
    """

    picture_size: int = 512
    point_radius: float = 0.012
    view_size: int = 128
    n_views: int = 20
    n_views_radiance: int = 40
    turntable_size: int = 256
    n_frames: int = 36
    cover_size: int = 240
    mesh: MeshConfig = MeshConfig()
    silhouette: SilhouetteConfig = SilhouetteConfig()
    images: ImageConfig = ImageConfig()
    volume: VolumeConfig = VolumeConfig()
    nerf: NerfConfig = NerfConfig()


FULL = TourConfig(
    silhouette=replace(BEST_SILHOUETTE, steps=1000),
    images=replace(BEST_IMAGES, steps=1000),
    volume=replace(BEST_VOLUME, steps=300, views_per_step=5, double_at=(60, 120)),
    nerf=HASHGRID_NERF,
)
"""The tutorials' sizes, with the presets that reach further and take fewer steps; a hash grid as radiance field."""

QUICK = TourConfig(
    view_size=96,
    n_frames=24,
    turntable_size=192,
    mesh=MeshConfig(steps=1000, level=3, n_samples=3000),
    silhouette=replace(BEST_SILHOUETTE, steps=400, level=3),
    images=replace(BEST_IMAGES, steps=500, level=3),
    volume=VolumeConfig(steps=150, volume_size=64, n_pts_per_ray=75, views_per_step=4, double_at=(40,)),
    nerf=replace(HASHGRID_NERF, steps=250, n_pts_per_ray=192, samples_per_step=1 << 15),
)
"""Minutes on a CPU."""
