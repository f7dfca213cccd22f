"""Images of a mesh from all sides, as data for fits."""

from __future__ import annotations

from typing import Any

import torch

from tirender.renderer import (
    BlendParams,
    FoVPerspectiveCameras,
    MeshRasterizer,
    MeshRenderer,
    PointLights,
    RasterizationSettings,
    SoftPhongShader,
    look_at_view_transform,
)
from tirender.renderer.mesh.material_shader import MaterialShader
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.structures import Meshes


def render_mesh_around(
    mesh: Meshes,
    elev: torch.Tensor,
    azim: torch.Tensor,
    dist: float = 2.7,
    image_size: int = 128,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> tuple[FoVPerspectiveCameras, torch.Tensor, torch.Tensor, PointLights]:
    """Render a textured mesh with a light at (0, 0, -3), as in sections 4.2 and 5.1 of the tutorials.

    Args:
        mesh: one mesh with textures, within the unit sphere.
        elev, azim: (N,) elevations and azimuths of the cameras in degrees.
        dist: the cameras' distance from the origin, in world units.
        image_size: side of the images in pixels.
        background: the background colour.
    Returns:
        cameras: N cameras.
        images: (N, image_size, image_size, 3) in [0, 1], without gradients.
        silhouettes: (N, image_size, image_size), 1 if the pixel's centre is covered, 0 if not, and between them where
            what covers it is transparent.
        lights: the light.
    """
    R, T = look_at_view_transform(dist=dist, elev=elev, azim=azim)
    cameras = FoVPerspectiveCameras(R=R, T=T, device=mesh.device)
    lights = PointLights(location=[[0.0, 0.0, -3.0]], device=mesh.device)
    settings = RasterizationSettings(image_size=image_size)
    shader_class: Any = SoftPhongShader
    if isinstance(mesh.textures, TexturesMaterial):
        shader_class = MaterialShader
        settings.faces_per_pixel = None if mesh.textures.needs_all_fragments else 1
    shader = shader_class(device=mesh.device, lights=lights, blend_params=BlendParams(background_color=background))
    renderer = MeshRenderer(MeshRasterizer(raster_settings=settings), shader)
    with torch.no_grad():
        rendered = renderer(mesh.extend(len(azim)), cameras=cameras)
    alpha = rendered[..., 3].contiguous()
    silhouettes = alpha if shader_class is MaterialShader else (alpha > 0).to(alpha.dtype)
    return cameras, rendered[..., :3].contiguous(), silhouettes, lights
