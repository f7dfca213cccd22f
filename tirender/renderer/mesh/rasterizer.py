"""The mesh rasterizer: from meshes in world space and cameras to fragments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tirender.checks import check_kind, check_number
from tirender.engine.first_order import refuse_transforms
from tirender.engine.mesh_rasterization import MeshRasterization
from tirender.renderer.mesh.rasterize_meshes import raster_mode
from tirender.renderer.projection import from_ndc, pick_cameras, to_clip, to_ndc
from tirender.structures.fragments import Fragments, PackedFragments
from tirender.structures.meshes import Meshes

if TYPE_CHECKING:
    from tirender.renderer.cameras import CamerasBase

__all__ = ["Fragments", "MeshRasterizer", "RasterizationSettings"]

NEAR_MIN = 1e-6  # near plane of perspective cameras without znear, in world units


@dataclass
class RasterizationSettings:
    """Settings of the mesh rasterizer. Fields may be assigned; they are checked when used.

    Args:
        image_size: side of a square image, or (H, W), in pixels.
        blur_radius: the squared distance from a face's edges up to which it covers pixels, in NDC units squared.
        faces_per_pixel: the number of faces that a pixel keeps, nearest first; None keeps all.
        bin_size, max_faces_opengl, max_faces_per_bin: ignored; nothing overflows here, and nothing needs tuning.
        perspective_correct: compute barycentric coordinates in view space; None does so for perspective cameras.
        clip_barycentric_coords: clamp the coordinates of pixels outside a face to the face; None does so if
            ``blur_radius`` > 0.
        cull_backfaces: skip faces seen from behind.
        z_clip_value: depth at which faces are clipped, in world units. None: half of ``znear`` for perspective cameras
            (1e-6 for those without ``znear``), no clipping for others.
        cull_to_frustum: ignored; faces off screen cost nothing.
    """

    image_size: int | list[int] | tuple[int, int] = 256
    blur_radius: float = 0.0
    faces_per_pixel: int | None = 1
    bin_size: int | None = None
    max_faces_opengl: int = 10_000_000
    max_faces_per_bin: int | None = None
    perspective_correct: bool | None = None
    clip_barycentric_coords: bool | None = None
    cull_backfaces: bool = False
    z_clip_value: float | None = None
    cull_to_frustum: bool = False


class MeshRasterizer(nn.Module):
    """Project meshes with cameras and find the nearest faces at each pixel.

    Args:
        cameras: one camera for all meshes, or one a mesh; may be passed to the call instead.
        raster_settings: the settings; may be passed to the call instead.
    """

    def __init__(
        self, cameras: CamerasBase | None = None, raster_settings: RasterizationSettings | None = None
    ) -> None:
        super().__init__()
        self.cameras = cameras
        self.raster_settings = RasterizationSettings() if raster_settings is None else raster_settings

    def to(self, device: Any) -> MeshRasterizer:  # type: ignore[override]
        """Move the cameras to a device; returns self."""
        if self.cameras is not None:
            self.cameras = self.cameras.to(device)  # type: ignore[assignment]
        return self

    def transform(self, meshes_world: Meshes, **kwargs: Any) -> Meshes:
        """Project meshes: their vertices become (x_ndc, y_ndc, z_view), the input of :func:`rasterize_meshes`.

        Raises:
            ValueError: if there are no cameras, or neither one nor one a mesh.
        """
        check_kind("meshes_world", meshes_world, Meshes)
        cameras = pick_cameras(self.cameras, kwargs, len(meshes_world), "meshes")
        return meshes_world.update_padded(to_ndc(to_clip(_padded(meshes_world), cameras, kwargs)))

    def forward(self, meshes_world: Meshes, **kwargs: Any) -> Fragments:
        """Rasterize a batch of meshes.

        Args:
            meshes_world: N meshes in world space.
            kwargs: ``cameras`` and ``raster_settings`` replace the rasterizer's own; the rest is passed to the cameras
                (``R``, ``T``, ``fov``, ...).
        Returns:
            the fragments, with the tensors of :func:`rasterize_meshes`; differentiable in vertices and cameras.
        Raises:
            ValueError: if there are no cameras, or a setting is out of range.
        """
        refuse_transforms(type(self))
        check_kind("meshes_world", meshes_world, Meshes)
        given = kwargs.pop("raster_settings", None)
        settings = self.raster_settings if given is None else given
        passed = dict(kwargs)
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
        if cameras.get_image_size() is None and not cameras.in_ndc():
            kwargs.setdefault("image_size", (mode.image_size,))
        if type(self).transform is not MeshRasterizer.transform:  # a subclass projects in its own way
            meshes = self.transform(meshes_world, **passed)
            clip = from_ndc(meshes.verts_packed(), cameras.is_perspective())
        else:
            meshes = meshes_world
            clip = to_clip(_padded(meshes), cameras, kwargs).reshape(-1, 4)
            if len(clip) != len(meshes.verts_packed()):
                clip = clip.index_select(0, meshes.verts_padded_to_packed_idx())
        rasterization = MeshRasterization(
            clip,
            meshes.topology.faces_int32,
            meshes.faces_packed_to_mesh_idx().int(),
            len(meshes),
            mode,
            _near_plane(settings, cameras),
            cameras.is_perspective(),
            partners=lambda: meshes_world.topology.edge_partners(meshes_world.verts_packed()),
        )
        return Fragments.from_packed(PackedFragments.of(rasterization), mode.faces_per_pixel)


def _padded(meshes: Meshes) -> torch.Tensor:
    """The vertices (N, max V_i, 3), to be read only: most often a view of the packed ones."""
    return meshes.topology.vert_rows.pad_view(meshes.verts_packed())


def _near_plane(settings: RasterizationSettings, cameras: CamerasBase) -> float | None:
    """The depth at which faces are clipped, or None; see ``RasterizationSettings.z_clip_value``."""
    if settings.z_clip_value is not None:
        return check_number("z_clip_value", settings.z_clip_value)
    if not cameras.is_perspective():
        return None
    znear = cameras.get_znear()
    if znear is None or not len(cameras):
        return NEAR_MIN
    return float(torch.as_tensor(znear).min()) / 2
