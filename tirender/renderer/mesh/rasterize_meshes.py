"""Rasterization of meshes in NDC."""

from __future__ import annotations

import torch

from tirender.checks import check_kind, check_number, fail
from tirender.engine.mesh_rasterization import MeshRasterization
from tirender.engine.rasterize_meshes import RasterMode
from tirender.renderer.utils import parse_image_size
from tirender.structures.fragments import Fragments, PackedFragments
from tirender.structures.meshes import Meshes


def rasterize_meshes(
    meshes: Meshes,
    image_size: int | list[int] | tuple[int, int] = 256,
    blur_radius: float = 0.0,
    faces_per_pixel: int | None = 8,
    bin_size: int | None = None,
    max_faces_per_bin: int | None = None,
    perspective_correct: bool = False,
    clip_barycentric_coords: bool = False,
    cull_backfaces: bool = False,
    z_clip_value: float | None = None,
    cull_to_frustum: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find the faces nearest to the viewer at each pixel of each mesh's image.

    A face belongs to a pixel if it covers the centre, or is nearer to it than ``sqrt(blur_radius)``, at a depth >= 0.
    A centre on an edge or vertex that faces share belongs to exactly one of them, by the top-left rule of Direct3D.
    Equal depths go to the lower face index. Faces of less than 1e-8 in twice the NDC area (2e-8 for those seen from
    behind), and those with a vertex that is not finite, are not drawn.

    Args:
        meshes: N meshes with vertices (x_ndc, y_ndc, z_view), +X left and +Y up, [-1, 1] on the short side.
        image_size: side of a square image, or (H, W), in pixels.
        blur_radius: the squared distance from a face's edges up to which it covers pixels, in NDC units squared.
        faces_per_pixel: K, the number of faces to keep at a pixel; None keeps all.
        bin_size, max_faces_per_bin: ignored; nothing overflows here, and nothing needs tuning.
        perspective_correct: compute barycentric coordinates in view space rather than in the image. They are bounded by
            1000; no gradient passes at the bound.
        clip_barycentric_coords: clamp the coordinates of pixels outside a face to the face.
        cull_backfaces: skip faces with clockwise vertices in the image.
        z_clip_value: clip faces at this depth; None for no clipping. With ``perspective_correct``, the new vertices lie
            on the edges in view space, otherwise on the edges in the image.
        cull_to_frustum: ignored; faces off screen cost nothing.
    Returns:
        pix_to_face: (N, H, W, K) int64 packed face indices, nearest first.
        zbuf: (N, H, W, K) depth in view space.
        bary_coords: (N, H, W, K, 3).
        dists: (N, H, W, K) squared distance to the face's nearest edge in NDC units squared, negative inside the face.
        All are -1 where empty. The last three are differentiable in the vertices; the choice of faces is held fixed.
    Raises:
        ValueError: if a size, radius or count is out of range.
    """
    check_kind("meshes", meshes, Meshes)
    mode = raster_mode(
        image_size, blur_radius, faces_per_pixel, perspective_correct, clip_barycentric_coords, cull_backfaces
    )
    verts = meshes.verts_packed()
    perspective = perspective_correct and z_clip_value is not None
    w = verts[:, 2:] if perspective else torch.ones_like(verts[:, 2:])
    rasterization = MeshRasterization(
        torch.cat([verts[:, :2] * w, w, verts[:, 2:]], 1),
        meshes.topology.faces_int32,
        meshes.faces_packed_to_mesh_idx().int(),
        len(meshes),
        mode,
        None if z_clip_value is None else check_number("z_clip_value", z_clip_value),
        perspective,
    )
    fragments = Fragments.from_packed(PackedFragments.of(rasterization), faces_per_pixel)
    return fragments.pix_to_face, fragments.zbuf, fragments.bary_coords, fragments.dists


def raster_mode(
    image_size: int | list[int] | tuple[int, int],
    blur_radius: float,
    faces_per_pixel: int | None,
    perspective_correct: bool,
    clip_barycentric_coords: bool | None,
    cull_backfaces: bool,
) -> RasterMode:
    """Check the settings of a rasterization; ``clip_barycentric_coords=None`` clips if ``blur_radius`` > 0."""
    blur_radius = check_number("blur_radius", blur_radius)
    if blur_radius < 0:
        fail("blur_radius", "a finite number >= 0", blur_radius)
    if faces_per_pixel is not None:
        count = check_number("faces_per_pixel", faces_per_pixel)
        if count != int(count) or count < 1:
            fail("faces_per_pixel", "an integer >= 1 or None", faces_per_pixel)
    return RasterMode(
        image_size=parse_image_size(image_size),
        blur_radius=blur_radius,
        faces_per_pixel=None if faces_per_pixel is None else int(faces_per_pixel),
        perspective_correct=bool(perspective_correct),
        clip_barycentric_coords=blur_radius > 0 if clip_barycentric_coords is None else bool(clip_barycentric_coords),
        cull_backfaces=bool(cull_backfaces),
    )
