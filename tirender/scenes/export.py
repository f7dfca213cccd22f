"""What fits, volumes and Gaussians look like, as a mesh that files hold."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tirender.checks import fail
from tirender.fit.baking import bake, bake_material
from tirender.fit.extract import colors_along_normals, extract_mesh
from tirender.fit.fusion import DepthPicture, colors_from, fuse, vertex_colors
from tirender.io.file_mesh import FileMesh, centered
from tirender.io.mesh_records import record_of_mesh
from tirender.io.orientation import Orientation
from tirender.renderer import TexturesAtlas, TexturesMaterial, TexturesVertex, VolumeSampler
from tirender.scenes.base import Look
from tirender.scenes.cameras import SceneCamera, to_file
from tirender.scenes.fitted import RestoredFit
from tirender.scenes.gaussians import GaussianScene
from tirender.structures import Gaussians, Meshes, Volumes
from tirender.structures.volumes import voxel_sizes
from tirender.vis.orbit import OrbitCamera

VIEWS, SIDE = 48, 384  # pictures that a surface is fused from, and their size
MOST_VIEWS = 120  # of cameras that belong to a scene
LEAST_VOXELS, MOST_VOXELS = 128, 512


@dataclass(frozen=True)
class ExportOptions:
    """How a mesh is made.

    Attributes:
        bake: side of the texture map that it gets, in texels; None for colours at its vertices.
        voxels: along the longest side of what a surface is extracted from; None for what suits it.
        isolevel: the opacity where the surface of a volume or field lies.
        box: (2, 3) corners of what is extracted, in the file's coordinates, or None.
    """

    bake: int | None = None
    voxels: int | None = None
    isolevel: float = 0.5
    box: torch.Tensor | None = None


@torch.no_grad()
def record_of(placed: RestoredFit, options: ExportOptions, name: str) -> FileMesh:
    """Return what is there as a mesh in its own place, upright, with the cameras of its views.

    Meshes keep their textures, unless ``bake`` is given and they have none that are maps. Volumes and fields are cut at
    an opacity, and coloured as they look along their normals. Gaussians are seen from around, or by the cameras of
    their photos, and the depths and colours fused.

    Args:
        placed: what to export.
        options: how.
        name: of the file, for messages.
    Raises:
        ValueError: there is no surface.
        ImportError: ``bake`` is given and xatlas is not installed.
    """
    thing = placed.fitted
    if options.box is not None:
        centre_of_file = torch.tensor([*placed.centre], dtype=torch.float64)
        options = replace(options, box=(options.box.double() - centre_of_file) / placed.scale)
    if isinstance(thing, Meshes):
        mesh = _of_mesh(thing, options, name)
    elif isinstance(thing, Gaussians):
        mesh = _of_gaussians(thing, placed, options, name)
    else:
        mesh = _of_field(thing, placed.config, options)
    if mesh.isempty():
        fail(name, "a surface", f"none at an opacity of {options.isolevel:g}")
    mesh.verts_normals_packed()  # which are written, so that others light it alike
    record = record_of_mesh(mesh.cpu(), name)
    centre = np.array([*placed.centre], dtype=np.float64)
    cameras = tuple(to_file(camera, centre, placed.scale) for camera in placed.cameras)
    _warn_of_principal_points(placed.cameras, name)
    record = replace(
        record, verts=record.verts * placed.scale + centre, orientation=placed.orientation, cameras=cameras
    )
    far = centered(record)
    return far if far.origin.any() else replace(record, verts=record.verts.astype(np.float32).astype(np.float64))


def _of_mesh(mesh: Meshes, options: ExportOptions, name: str) -> Meshes:
    mesh = mesh.detach()
    textures = mesh.textures
    if options.bake is None:
        return mesh
    if isinstance(textures, TexturesVertex | TexturesAtlas):
        mesh.textures = bake(mesh, options.bake)
    elif isinstance(textures, TexturesMaterial) and all(m.base_map is None for m in textures.materials):
        mesh.textures = bake_material(mesh, options.bake, name)
    return mesh


def _of_field(thing: Any, config: Any, options: ExportOptions) -> Meshes:
    if isinstance(thing, Volumes):
        field, extent, box, voxels = _of_volume(thing)
        device: Any = thing.device
    else:
        field, extent, box, voxels = thing.eval(), config.extent, None, 128
        device = next(thing.parameters()).device
    extent = config.extent if config is not None else extent
    box = options.box if options.box is not None else box
    mesh = extract_mesh(field, extent, options.voxels or voxels, options.isolevel, device, box)
    if options.bake is not None and not mesh.isempty():
        mesh.textures = bake(mesh, options.bake, lambda t: colors_along_normals(field, t.points, t.normals))
    return mesh


def _of_volume(volume: Volumes) -> tuple[VolumeSampler, float, torch.Tensor, int]:
    """What samples a volume, the side of a cube around the origin that holds it, its box, and voxels along that."""
    shape = volume.densities().shape[2:]
    transform = volume.get_local_to_world_coords_transform()
    corners = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]], device=volume.device)
    ends = transform.transform_points(corners)
    half = voxel_sizes(volume)[0].to(ends) / 2
    box = torch.stack([ends.amin(0) - half, ends.amax(0) + half])
    return VolumeSampler(volume), 2 * float(box.abs().max()), box, min(max(*shape, LEAST_VOXELS), MOST_VOXELS)


def _of_gaussians(gaussians: Gaussians, placed: RestoredFit, options: ExportOptions, name: str) -> Meshes:
    scene = GaussianScene(gaussians, name, orientation=placed.orientation)
    centre, scale = scene.centre.to(torch.float32), scene.scale
    pictures = _pictures(scene, placed.cameras)
    low, high = torch.full((3,), -1.1, device=scene.device), torch.full((3,), 1.1, device=scene.device)
    if options.box is not None:
        box = ((options.box - centre) / scale).to(low)
        low, high = torch.maximum(low, box[0]), torch.minimum(high, box[1])
    if bool((high <= low).any()):
        fail(name, "a box with a part of the Gaussians", "another")
    voxels = options.voxels or 160
    mesh = fuse(pictures, low, high, voxels)
    if mesh.isempty():
        return mesh
    colors_at = colors_from(pictures, 3 * float((high - low).max()) / voxels)
    textures = vertex_colors(mesh, colors_at) if options.bake is None else bake(mesh, options.bake, colors_at)
    mesh = mesh.scale_verts(scale).offset_verts(centre.to(mesh.device))
    mesh.textures = textures
    return mesh


def _pictures(scene: GaussianScene, cameras: Sequence[SceneCamera]) -> list[DepthPicture]:
    """Colours and depths of the scene: as its photos see it, or from all around."""
    if cameras:
        step = math.ceil(len(cameras) / MOST_VIEWS)
        sizes = [_size_of(camera.aspect) for camera in cameras[::step]]
        moved = [camera.moved(scene.centre, scene.scale) for camera in cameras[::step]]
        shots = [(camera.camera(size, scene.device), size) for camera, size in zip(moved, sizes)]
    else:
        shots = [(camera.cameras(scene.device), (SIDE, SIDE)) for camera in _around(VIEWS, scene.orientation)]
    pictures = []
    for camera, size in shots:
        look = Look(image_size=size, background=(0.0, 0.0, 0.0))
        depth = scene.depth(camera, size)[0]
        pictures.append(DepthPicture(camera, scene.render(camera, look)[0], depth))
    return pictures


def _size_of(aspect: float | None) -> tuple[int, int]:
    """Height and width of a picture."""
    aspect = aspect or 1.0
    return (SIDE, round(SIDE * aspect)) if aspect >= 1.0 else (round(SIDE / aspect), SIDE)


def _around(n: int, orientation: Orientation) -> list[OrbitCamera]:
    """Cameras all around the origin, evenly spread on a spiral."""
    golden = 180.0 * (3.0 - math.sqrt(5.0))
    heights = [1.0 - (2 * i + 1) / n for i in range(n)]
    return [
        OrbitCamera(azimuth=i * golden % 360.0, elevation=math.degrees(math.asin(height)), orientation=orientation)
        for i, height in enumerate(heights)
    ]


def _warn_of_principal_points(cameras: Sequence[SceneCamera], name: str) -> None:
    """Warn where pictures are not centred on the axes of their cameras, which files cannot say."""
    if any(max(map(abs, camera.principal)) > 0.02 for camera in cameras):
        warnings.warn(
            f"{name}: cameras whose axis is not in the middle of their picture look a little aside", stacklevel=3
        )
