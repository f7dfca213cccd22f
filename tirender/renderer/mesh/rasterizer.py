"""From meshes in world space and a camera to fragments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tirender.checks import check_kind, check_number
from tirender.engine.mesh_rasterization import MeshRasterization
from tirender.renderer.mesh.rasterize_meshes import raster_mode
from tirender.renderer.projection import pick_cameras, to_clip, to_ndc
from tirender.structures.fragments import Fragments, PackedFragments
from tirender.structures.meshes import Meshes

if TYPE_CHECKING:
    from tirender.renderer.cameras import CamerasBase

__all__ = ["Fragments", "MeshRasterizer", "RasterizationSettings"]

NEAR_MIN = 1e-6  # where a perspective camera without znear cuts


@dataclass
class RasterizationSettings:
    """How meshes are rasterized; the fields may be assigned, and are checked when used.

    Args:
        image_size: side of a square image, or (H, W), in pixels.
        blur_radius: how far outside a face pixels still see it, in NDC units squared.
        faces_per_pixel: how many faces a pixel keeps, nearest first; None keeps all.
        bin_size, max_faces_per_bin: accepted for compatibility; nothing here overflows or needs tuning.
        perspective_correct: None: whether the camera is a perspective one.
        clip_barycentric_coords: None: whether ``blur_radius`` > 0.
        cull_backfaces: skip faces seen from behind.
        z_clip_value: depth at which faces are cut; None: half of ``znear`` for perspective cameras (1e-6 where the
            camera has none), and no cut for the others.
        cull_to_frustum: accepted for compatibility; what is off screen costs nothing anyway.
    """

    image_size: int | list[int] | tuple[int, int] = 256
    blur_radius: float = 0.0
    faces_per_pixel: int | None = 1
    bin_size: int | None = None
    max_faces_per_bin: int | None = None
    perspective_correct: bool | None = None
    clip_barycentric_coords: bool | None = None
    cull_backfaces: bool = False
    z_clip_value: float | None = None
    cull_to_frustum: bool = False


class MeshRasterizer(nn.Module):
    """Projects meshes with a camera and finds the faces nearest at each pixel.

    Args:
        cameras: one camera for all meshes or one each; may be given at the call instead.
        raster_settings: may be given at the call instead.
    """

    def __init__(
        self, cameras: CamerasBase | None = None, raster_settings: RasterizationSettings | None = None
    ) -> None:
        super().__init__()
        self.cameras = cameras
        self.raster_settings = RasterizationSettings() if raster_settings is None else raster_settings

    def to(self, device: Any) -> MeshRasterizer:  # type: ignore[override]
        """Moves the cameras."""
        if self.cameras is not None:
            self.cameras = self.cameras.to(device)  # type: ignore[assignment]
        return self

    def transform(self, meshes_world: Meshes, **kwargs: Any) -> Meshes:
        """The meshes with vertices (x_ndc, y_ndc, z_view), as :func:`rasterize_meshes` takes them.

        Raises:
            ValueError: without cameras, or with a number of them that fits neither one nor the meshes.
        """
        check_kind("meshes_world", meshes_world, Meshes)
        cameras = pick_cameras(self.cameras, kwargs, len(meshes_world), "meshes")
        return meshes_world.update_padded(to_ndc(to_clip(meshes_world.verts_padded(), cameras, kwargs)))

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> Fragments:
        """Rasterizes a batch.

        Args:
            meshes_world: N meshes in world space.
            kwargs: ``cameras`` and ``raster_settings`` in place of the rasterizer's own; the rest goes to the cameras
                (``R``, ``T``, ``fov`` ...).
        Returns:
            Fragments; see :func:`rasterize_meshes` for what they hold. Differentiable in vertices and cameras.
        Raises:
            ValueError: without cameras, or with settings out of range.
        """
        check_kind("meshes_world", meshes_world, Meshes)
        given = kwargs.pop("raster_settings", None)
        settings = self.raster_settings if given is None else given
        cameras = pick_cameras(self.cameras, kwargs, len(meshes_world), "meshes")
        perspective, clip_bary = settings.perspective_correct, settings.clip_barycentric_coords
        mode = raster_mode(
            settings.image_size,
            settings.blur_radius,
            settings.faces_per_pixel,
            cameras.is_perspective() if perspective is None else perspective,
            clip_bary,
            settings.cull_backfaces,
        )
        if cameras.get_image_size() is None:
            kwargs.setdefault("image_size", (mode.image_size,))
        padded = to_clip(meshes_world.verts_padded(), cameras, kwargs)
        clip = padded.reshape(-1, 4)
        if len(clip) != len(meshes_world.verts_packed()):
            clip = clip.index_select(0, meshes_world.verts_padded_to_packed_idx())
        rasterization = MeshRasterization(
            clip,
            meshes_world.topology.faces_int32,
            meshes_world.faces_packed_to_mesh_idx().int(),
            len(meshes_world),
            mode,
            _near_plane(settings, cameras),
            cameras.is_perspective(),
        )
        return Fragments.from_packed(PackedFragments.of(rasterization), mode.faces_per_pixel)


def _near_plane(settings: RasterizationSettings, cameras: CamerasBase) -> float | None:
    if settings.z_clip_value is not None:
        return check_number("z_clip_value", settings.z_clip_value)
    if not cameras.is_perspective():
        return None
    znear = cameras.get_znear()
    if znear is None or not len(cameras):
        return NEAR_MIN
    return float(torch.as_tensor(znear).min()) / 2
