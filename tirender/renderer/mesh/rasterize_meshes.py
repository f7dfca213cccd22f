"""Rasterization of meshes that are already projected."""

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
    """The faces nearest to the viewer at each pixel of each mesh's image.

    A face belongs to a pixel if it covers the centre, or is nearer to it than ``sqrt(blur_radius)``, at a depth >= 0.
    A centre on an edge or vertex that faces share belongs to exactly one of them, by the top-left rule of Direct3D.
    Equal depths go to the lower face index. Faces of less than 1e-8 in twice the NDC area (2e-8 for those seen from
    behind), and those with a vertex that is not finite, are not drawn.

    Args:
        meshes: N meshes whose vertices are (x_ndc, y_ndc, z_view), +X left and +Y up, [-1, 1] on the short side.
        image_size: side of a square image, or (H, W), in pixels.
        blur_radius: in NDC units squared.
        faces_per_pixel: K, how many to keep; None keeps all.
        bin_size, max_faces_per_bin: accepted for compatibility; nothing here overflows or needs tuning.
        perspective_correct: barycentric coordinates in space instead of in the image. The division is bounded so that
            no coordinate exceeds 1000, and no gradient passes where it is.
        clip_barycentric_coords: move coordinates of pixels outside a face onto it.
        cull_backfaces: skip faces whose vertices run clockwise as seen.
        z_clip_value: cut faces at this depth; with ``perspective_correct`` as the perspective division requires.
        cull_to_frustum: accepted for compatibility; what is off screen costs nothing anyway.
    Returns:
        pix_to_face: (N, H, W, K) int64 packed face indices, nearest first.
        zbuf: (N, H, W, K) depth.
        bary_coords: (N, H, W, K, 3).
        dists: (N, H, W, K) squared NDC distance to the face's outline, negative inside.
        All -1 where empty; the last three are differentiable in the vertices, the choice of faces held fixed.
    Raises:
        ValueError: for sizes, radii or counts out of range.
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
    """The checked settings of a rasterization; ``clip_barycentric_coords=None`` clips where there is blur."""
    blur_radius = check_number("blur_radius", blur_radius)
    if blur_radius < 0:
        fail("blur_radius", "a finite number >= 0", blur_radius)
    if faces_per_pixel is not None:
        wanted = check_number("faces_per_pixel", faces_per_pixel)
        if wanted != int(wanted) or wanted < 1:
            fail("faces_per_pixel", "an integer >= 1 or None", faces_per_pixel)
    return RasterMode(
        image_size=parse_image_size(image_size),
        blur_radius=blur_radius,
        faces_per_pixel=None if faces_per_pixel is None else int(faces_per_pixel),
        perspective_correct=bool(perspective_correct),
        clip_barycentric_coords=blur_radius > 0 if clip_barycentric_coords is None else bool(clip_barycentric_coords),
        cull_backfaces=bool(cull_backfaces),
    )
