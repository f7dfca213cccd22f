"""A mesh as a scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from tirender.checks import fail
from tirender.io.orientation import Orientation
from tirender.renderer import (
    AmbientLights,
    BlendParams,
    MeshRasterizer,
    PointLights,
    RasterizationSettings,
    TexturesVertex,
    antialias,
)
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.mesh.as_material import as_material
from tirender.renderer.mesh.material_shader import MaterialShader
from tirender.renderer.mesh.material_shading import looks_of, surface_points
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.scenes.base import GREY, Look, Scene, depth_picture, framed, from_origin, outermost, placement
from tirender.structures import Meshes
from tirender.structures.fragments import Fragments

AMBIENT, DIFFUSE = 0.48, 0.48  # together below 1, so that white has shades, and shows on white
BACK = (1.0, 0.25, 0.3)  # the colour of back faces, where they are shown
FURTHEST = 1e9  # from the centre, in scene radii, where a stray may lie; kernels promise nothing beyond
VISIBLE = 0.5  # the opacity from which a face counts as seen where one face alone is shown


class MeshScene(Scene):
    """A mesh, moved and scaled into the unit sphere; grey if it has no texture. Back faces are lit like front faces.

    Its first shader is "pbr" where a material says how metallic or rough it is, else "phong".

    Args:
        mesh: a batch of one.
        name: for messages.
        origin: what was taken off its vertices, which the scene's ``centre`` includes.
        orientation: which way up it stands.
        place: whether to move and scale it.
    Raises:
        ValueError: no faces, or vertices that are not finite, or all the same.
    """

    shaders: tuple[str, ...] = ("phong", "pbr", "gouraud", "flat", "unlit", "normals", "silhouette", "depth")

    def __init__(
        self,
        mesh: Meshes,
        name: str = "mesh",
        origin: Sequence[float] | None = None,
        orientation: Orientation | None = None,
        place: bool = True,
    ) -> None:
        if len(mesh) != 1 or mesh.isempty():
            fail(name, "at least one face", "none" if len(mesh) == 1 else f"{len(mesh)} meshes")
        self.orientation = orientation or Orientation()
        points, centre = framed(_used(mesh), self.orientation), mesh.verts_packed().new_zeros(3)
        self.mesh = mesh.clone()
        if place:
            centre, self.scale = placement(points, name)
            self.centre = from_origin(centre, origin)
            self.mesh = mesh.offset_verts(-centre).scale_verts(1 / self.scale)
            if bool((self.mesh.verts_packed().abs() > FURTHEST).any()):  # normals that were given are lost
                self.mesh = self.mesh.update_padded(self.mesh.verts_padded().clamp(-FURTHEST, FURTHEST))
        self._landmarks = outermost((points - centre) / self.scale)
        if self.mesh.textures is None:
            self.mesh.textures = TexturesVertex([torch.full_like(self.mesh.verts_packed(), GREY)])
        if not isinstance(self.mesh.textures, TexturesMaterial):
            self.mesh.textures = as_material(self.mesh) or self.mesh.textures
        textures = self.mesh.textures
        self._is_single_sided = isinstance(textures, TexturesMaterial) and textures.is_single_sided
        if isinstance(textures, TexturesMaterial) and textures.is_physical:
            self.shaders = ("pbr", *(name for name in MeshScene.shaders if name != "pbr"))

    @property
    def facts(self) -> str:
        return f"{len(self.mesh.faces_packed())} faces"

    @property
    def device(self) -> torch.device:
        return self.mesh.device

    @property
    def landmarks(self) -> torch.Tensor:
        return self._landmarks

    def draw(self, cameras: CamerasBase, shader: str, look: Look) -> torch.Tensor:
        culls = shader == "pbr" and self._is_single_sided and not look.backfaces
        fragments, meshes = self._rasterize(cameras, look.image_size, culls)
        if shader in ("depth", "normals"):
            seen = _Seen(fragments, meshes)
            if shader == "depth":
                images = depth_picture(seen.image(fragments.packed.zbuf[:, None]), seen.hit, cameras)
            else:
                normals = (seen.image(surface_points(fragments.packed, meshes).normals) + 1) / 2
                images = torch.cat([normals * seen.hit, seen.hit], dim=3)
        elif shader == "pbr":
            from tirender.scenes.surroundings import draw_in_surroundings  # others need none of its kernels

            images = draw_in_surroundings(fragments, meshes, cameras, look, self.orientation)
        else:
            shade = MaterialShader(
                shader == "flat",
                shader == "gouraud",
                mipmaps=look.edges != "hard",
                device=self.device,
                cameras=cameras,
                blend_params=BlendParams(background_color=(0.0, 0.0, 0.0)),
            )
            images = shade(fragments, meshes, lights=lamps_of(cameras, look, shader))
            images = images[..., 3:] if shader == "silhouette" else images
        if look.wireframe:
            images = _with_edges(images, fragments, _Seen(fragments, meshes), look)
        if look.backfaces and images.shape[3] == 4:
            images = _with_backfaces(images, fragments, meshes, cameras)
        return images if look.edges == "hard" or self._is_seen_through else antialias(images, fragments)

    def depth(self, cameras: CamerasBase, image_size: tuple[int, int]) -> torch.Tensor:
        fragments, meshes = self._rasterize(cameras, image_size)
        seen = _Seen(fragments, meshes)
        depth = seen.image(fragments.packed.zbuf[:, None])  # type: ignore[union-attr]
        return torch.where(seen.hit > 0, depth, math.inf)[..., 0]

    @property
    def _is_seen_through(self) -> bool:
        """Whether more than the nearest face may show in a pixel."""
        textures = self.mesh.textures
        return isinstance(textures, TexturesMaterial) and textures.needs_all_fragments

    def _rasterize(
        self, cameras: CamerasBase, image_size: tuple[int, int], culls: bool = False
    ) -> tuple[Fragments, Meshes]:
        meshes = self.mesh.extend(len(cameras))
        faces_per_pixel = None if self._is_seen_through else 1
        settings = RasterizationSettings(image_size, faces_per_pixel=faces_per_pixel, cull_backfaces=culls)
        return MeshRasterizer(cameras, settings)(meshes), meshes


def _used(mesh: Meshes) -> torch.Tensor:
    """The vertices that faces have; stray ones must not count."""
    verts = mesh.verts_packed()
    used = torch.zeros(len(verts), dtype=torch.bool, device=verts.device)
    return verts[used.index_fill(0, mesh.faces_packed().flatten(), True)]


class _Seen:
    """The fragment that is seen in each pixel: the nearest that is not transparent.

    Attributes:
        hit: (N, H, W, 1), 1 where there is one, else 0.
    """

    def __init__(self, fragments: Fragments, meshes: Meshes) -> None:
        packed = fragments.packed
        assert packed is not None
        n_pixels = len(packed.offsets) - 1
        index = torch.arange(len(packed), device=meshes.device)
        if isinstance(meshes.textures, TexturesMaterial) and meshes.textures.needs_all_fragments:
            index = index[looks_of(packed, meshes).opacity >= VISIBLE]
        pixels = packed.pixel_index.index_select(0, index)
        first = torch.ones_like(pixels, dtype=torch.bool)
        first[1:] = pixels[1:] != pixels[:-1]
        self._pixels, self._fragments = pixels[first], index[first]
        self._shape = (n_pixels, (packed.n_images, *packed.image_size))
        self.hit = self.image(torch.ones(len(packed), 1, device=meshes.device))

    def image(self, values: torch.Tensor) -> torch.Tensor:
        """(N, H, W, C): the values (M, C) of the fragments that are seen; 0 where there is none."""
        n_pixels, shape = self._shape
        seen = values.index_select(0, self._fragments)
        return values.new_zeros(n_pixels, values.shape[1]).index_copy(0, self._pixels, seen).view(*shape, -1)


def _with_edges(images: torch.Tensor, fragments: Fragments, seen: _Seen, look: Look) -> torch.Tensor:
    """Images with dark lines, a pixel wide, along the edges of visible faces."""
    to_pixels = min(look.image_size) / 2
    distance = seen.image(fragments.packed.dists[:, None]).abs().sqrt() * to_pixels  # type: ignore[union-attr]
    width = look.supersample or MeshScene.supersample
    line = ((width + 1) / 2 - distance).clamp(0, 1) * seen.hit
    return torch.cat([images[..., :3] * (1 - 0.75 * line), images[..., 3:]], dim=3)


def _with_backfaces(images: torch.Tensor, fragments: Fragments, meshes: Meshes, cameras: CamerasBase) -> torch.Tensor:
    """Images in which faces are red that are seen from behind."""
    packed: Any = fragments.packed
    faces = packed.pix_to_face.long()
    corner = meshes.verts_packed().index_select(0, meshes.faces_packed()[:, 0].index_select(0, faces))
    ray = corner - cameras.get_camera_center().index_select(0, packed.image_index.long())
    is_behind = (ray * meshes.faces_normals_packed().index_select(0, faces)).sum(1, keepdim=True) > 0
    colors = images[..., :3]
    red = colors.mean(3, keepdim=True) * images.new_tensor(BACK)
    colors = torch.lerp(colors, red, 0.9 * _Seen(fragments, meshes).image(is_behind.to(images.dtype)))
    return torch.cat([colors, images[..., 3:]], dim=3)


def lamps_of(cameras: CamerasBase, look: Look, shader: str) -> AmbientLights | PointLights:
    """Point lights: the look's, or one a camera; or the same light everywhere. White stays a little below white.

    The one of a camera is 22 degrees above it and 12 to the right, as seen from the origin, and 1.7 times as far away.
    """
    if shader == "unlit":
        return AmbientLights(device=cameras.device)
    if look.light is not None:
        position = torch.tensor([look.light])
    else:
        world_to_view = cameras.get_world_to_view_transform()
        origin = world_to_view.transform_points(torch.zeros(1, 3, device=cameras.device)).reshape(-1, 1, 3)
        above, beside = math.radians(22), math.radians(12)
        towards = origin.new_tensor(
            [-math.cos(above) * math.sin(beside), math.sin(above), -math.cos(above) * math.cos(beside)]
        )
        in_view = origin + 1.7 * origin.norm(dim=-1, keepdim=True) * towards
        position = world_to_view.inverse().transform_points(in_view).reshape(-1, 3)
    return PointLights([[AMBIENT] * 3], [[DIFFUSE] * 3], location=position, device=cameras.device)
