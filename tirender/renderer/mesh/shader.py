"""Shaders: from fragments and meshes to images.

Where the meshes have the library's own textures and lights and the fragments come from its rasterizer, one fused kernel
does everything; otherwise the same mathematics runs in torch, on packed fragments or on dense ones made by hand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tirender.checks import check_kind, check_tensor, fail
from tirender.engine.silhouette import soft_silhouette
from tirender.ops.interp_face_attrs import interpolate_face_attributes
from tirender.renderer.blending import BlendParams, hard_rgb_blend, sigmoid_alpha_blend, slots, softmax_rgb_blend
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.lighting import PointLights, as_rows
from tirender.renderer.materials import Materials
from tirender.renderer.mesh.antialias import antialias
from tirender.renderer.mesh.fused_shading import SceneProperties, can_fuse, check_belong, shade
from tirender.renderer.mesh.shading import (
    _phong_shading_with_pixels,
    flat_shading,
    gouraud_shading,
    lit_vertex_colors,
    phong_shading,
)
from tirender.renderer.mesh.textures import TexturesVertex
from tirender.renderer.splatter_blend import SplatterBlender
from tirender.structures.fragments import Fragments, as_fragments
from tirender.structures.meshes import Meshes

SHADINGS = {"phong": phong_shading, "flat": flat_shading}
DEPTHS = {"znear": 1.0, "zfar": 100.0}


class ShaderBase(nn.Module):
    """What the shaders share: defaults for what a call may also give as ``cameras=``, ``lights=``, ``materials=``,
    ``blend_params=``, ``znear=`` and ``zfar=``.

    Args:
        device: where the default lights and materials live.
        cameras: needed by every shader that lights or uses depth.
        lights: ``PointLights()`` by default.
        materials: ``Materials()`` by default.
        blend_params: ``BlendParams()`` by default.
        antialias: blend the outlines of the finished picture, see :func:`~tirender.renderer.antialias`; for the shaders
            that show the nearest face alone.
    """

    _soft = False

    def __init__(
        self,
        device: torch.device | str = "cpu",
        cameras: CamerasBase | None = None,
        lights: Any = None,
        materials: Materials | None = None,
        blend_params: BlendParams | None = None,
        antialias: bool = False,
    ) -> None:
        super().__init__()
        if antialias and self._soft:
            fail("antialias", "False for a shader whose edges are soft", antialias)
        self.antialias = antialias
        self.cameras = cameras
        self.lights = PointLights(device=device) if lights is None else lights
        self.materials = Materials(device=device) if materials is None else materials
        self.blend_params = BlendParams() if blend_params is None else blend_params

    def _finish(self, images: torch.Tensor, fragments: Fragments) -> torch.Tensor:
        """The images with their outlines blended, where asked."""
        return antialias(images, fragments) if self.antialias else images

    def to(self, device: Any) -> ShaderBase:  # type: ignore[override]
        """Moves cameras, lights and materials."""
        for name in ("cameras", "lights", "materials"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name).to(device))
        return self

    def _get_cameras(self, **kwargs: Any) -> CamerasBase:
        """The cameras of a call with these keyword arguments, else the shader's own; for shaders of one's own.

        Raises:
            ValueError: if there are none.
        """
        cameras = _given(kwargs, "cameras", self.cameras)
        if cameras is None:
            fail("cameras", "a camera, given to the shader or to its call", None)
        check_kind("cameras", cameras, CamerasBase)
        return cameras

    def _scene(self, meshes: Meshes, kwargs: dict[str, Any]) -> SceneProperties:
        """What a call shades with."""
        check_kind("meshes", meshes, Meshes)
        n_images = len(meshes)
        cameras = self._get_cameras(**kwargs)
        lights, materials, blend_params = (
            _given(kwargs, name, getattr(self, name)) for name in ("lights", "materials", "blend_params")
        )
        if len(cameras) not in (1, n_images):
            fail("cameras", f"1 camera or one for each of the {n_images} images", len(cameras))
        for owner, holder in (("lights", lights), ("materials", materials)):
            for name, width in getattr(holder, "widths", {}).items():
                if hasattr(holder, name):
                    _check_rows(f"{owner}.{name}", getattr(holder, name), n_images, width)
        znear, zfar = (_given(kwargs, name, getattr(cameras, name, default)) for name, default in DEPTHS.items())
        for name, value in (("znear", znear), ("zfar", zfar)):
            _check_rows(name, torch.as_tensor(value).reshape(-1), n_images, 1)
        return SceneProperties(cameras, lights, materials, _checked(blend_params), znear, zfar)


class _ColorShader(ShaderBase):
    """Light, then blend: subclasses say how."""

    _shading: str

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> torch.Tensor:
        """(N, H, W, 4) RGBA images, differentiable in vertices, textures, lights, materials and cameras.

        Args:
            fragments: of N images, from the rasterizer or made by hand.
            meshes: the N meshes they show, with textures.
            kwargs: ``cameras``, ``lights``, ``materials``, ``blend_params``, ``znear``, ``zfar`` for this call.
        Raises:
            ValueError: without cameras or textures.
        """
        fragments = as_fragments(fragments)
        return self._finish(self._shade(fragments, meshes, self._scene(meshes, kwargs)), fragments)

    def _shade(self, fragments: Fragments, meshes: Meshes, scene: SceneProperties) -> torch.Tensor:
        check_belong(fragments, meshes)
        textures = meshes.textures
        if textures is None:
            fail("meshes.textures", "textures", None)
        if self._shading == "gouraud" and not isinstance(textures, TexturesVertex):
            fail("meshes.textures", "TexturesVertex", type(textures).__name__)
        is_ours = all(_is_ours(part) for part in (meshes, textures, scene.lights, scene.materials))
        if is_ours and fragments.rasterization is not None and can_fuse(textures, scene.lights, scene.materials):
            colors, shading = None, self._shading
            if shading == "gouraud":
                shading = "unlit"
                colors = lit_vertex_colors(meshes, scene.lights, scene.cameras, scene.materials)
            return shade(fragments.rasterization, meshes, scene, shading, self._soft, colors)
        seen = fragments.packed if is_ours and fragments.packed is not None else fragments
        if self._shading == "gouraud":
            colors = gouraud_shading(meshes, seen, scene.lights, scene.cameras, scene.materials)
        else:
            light, texels = SHADINGS[self._shading], meshes.sample_textures(seen)
            colors = light(meshes, seen, scene.lights, scene.cameras, scene.materials, texels)
        if self._soft:
            return softmax_rgb_blend(colors, seen, scene.blend_params, znear=scene.znear, zfar=scene.zfar)
        return hard_rgb_blend(colors, seen, scene.blend_params)


class HardPhongShader(_ColorShader):
    """The nearest face, lit at each pixel."""

    _shading, _soft = "phong", False


class SoftPhongShader(_ColorShader):
    """All faces of a pixel, lit there, blended softly."""

    _shading, _soft = "phong", True


class HardGouraudShader(_ColorShader):
    """The nearest face, lit at its vertices (``TexturesVertex`` only)."""

    _shading, _soft = "gouraud", False


class SoftGouraudShader(_ColorShader):
    """All faces of a pixel, lit at their vertices (``TexturesVertex`` only), blended softly."""

    _shading, _soft = "gouraud", True


class HardFlatShader(_ColorShader):
    """The nearest face, lit once for the whole face."""

    _shading, _soft = "flat", False


class TexturedSoftPhongShader(SoftPhongShader):
    """The older name of :class:`SoftPhongShader`."""


class SoftSilhouetteShader(nn.Module):
    """The probability that a pixel is covered by any face, in the alpha channel of a white image.

    Args:
        blend_params: only ``sigma`` is used.
    """

    def __init__(self, blend_params: BlendParams | None = None) -> None:
        super().__init__()
        self.blend_params = BlendParams() if blend_params is None else blend_params

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> torch.Tensor:
        """(N, H, W, 4); RGB is 1, alpha is differentiable in the vertices. ``blend_params`` may be given."""
        blend_params = _checked(_given(kwargs, "blend_params", self.blend_params))
        rasterization = as_fragments(fragments).rasterization
        if rasterization is None:
            dists = slots(fragments, "dists")
            return sigmoid_alpha_blend(dists.new_ones(*dists.shape, 3), fragments, blend_params)
        selection = rasterization.selection(by_depth=False)
        alpha = soft_silhouette(rasterization.triangles, rasterization.mode, *selection, float(blend_params.sigma))
        return torch.cat([torch.ones_like(alpha)[..., None].expand(*alpha.shape, 3), alpha[..., None]], -1)


class HardSilhouetteShader(nn.Module):
    """Whether a pixel is covered by a face, in the alpha channel of a white image.

    Args:
        antialias: blend the outline, which gives its vertices gradients; see :func:`~tirender.renderer.antialias`. The
            default, other than for shaders of colours, is True: without it, nothing here has a gradient.
    """

    def __init__(self, antialias: bool = True) -> None:
        super().__init__()
        self.antialias = antialias

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> torch.Tensor:
        """(N, H, W, 4); RGB is 1, alpha is differentiable in the vertices where it is anti-aliased."""
        fragments = as_fragments(fragments)
        alpha = fragments.is_covered()[..., None].to(meshes.verts_packed())
        if self.antialias:
            alpha = antialias(alpha, fragments)
        return torch.cat([torch.ones_like(alpha).expand(*alpha.shape[:3], 3), alpha], -1)


class HardDepthShader(ShaderBase):
    """The depth of the nearest face in view space."""

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> torch.Tensor:
        """(N, H, W, 1), ``zfar`` where empty; differentiable in the vertices."""
        zbuf = slots(fragments, "zbuf")
        zfar = _per_image(self._scene(meshes, kwargs).zfar, zbuf)
        return self._finish(torch.where(fragments.pix_to_face[..., :1] >= 0, zbuf[..., :1], zfar), fragments)


class SoftDepthShader(ShaderBase):
    """Depths of the faces of a pixel, each with its coverage as weight, nearest first, until the weights sum to 1."""

    _soft = True

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> torch.Tensor:
        """(N, H, W, 1); what weight is left goes to ``zfar``; differentiable in the vertices."""
        scene = self._scene(meshes, kwargs)
        filled = fragments.pix_to_face >= 0
        coverage = torch.where(filled, torch.sigmoid(-slots(fragments, "dists") / scene.blend_params.sigma), 0)
        depth = torch.where(filled, slots(fragments, "zbuf"), 0)
        reached = coverage.cumsum(-1).clamp(max=1)
        weights = reached - torch.cat([torch.zeros_like(reached[..., :1]), reached[..., :-1]], -1)
        zfar = _per_image(scene.zfar, depth)
        return (weights * depth).sum(-1, keepdim=True) + (1 - reached[..., -1:]) * zfar


class HardNormalShader(ShaderBase):
    """The interpolated unit normal of the nearest face, in world space."""

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> torch.Tensor:
        """(N, H, W, 3), 0 where empty; differentiable in the vertices. ``(image + 1) / 2`` makes a colour of it."""
        corners = meshes.verts_normals_packed().index_select(0, meshes.faces_packed().flatten()).view(-1, 3, 3)
        faces, coords = fragments.pix_to_face[..., :1], fragments.bary_coords[..., :1, :]
        normals = interpolate_face_attributes(faces, coords, corners)[..., 0, :]
        length = normals.square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
        return self._finish(normals / length, fragments)


class SplatterPhongShader(ShaderBase):
    """Phong shading, then splatting of each pixel's colours onto its neighbours (Cole et al. 2021)."""

    _soft = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.splatter_blender: SplatterBlender | None = None

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> torch.Tensor:
        """(N, H, W, 4) RGBA; differentiable in what :class:`SoftPhongShader` is."""
        scene, fragments = self._scene(meshes, kwargs), as_fragments(fragments)
        check_belong(fragments, meshes)
        texels = meshes.sample_textures(fragments)
        colors, points = _phong_shading_with_pixels(
            meshes, fragments, scene.lights, scene.cameras, scene.materials, texels
        )
        colors = colors.to(points.dtype)
        n, height, width, k = fragments.pix_to_face.shape
        if self.splatter_blender is None or self.splatter_blender.input_shape != (n, height, width, k):
            self.splatter_blender = SplatterBlender((n, height, width, k), colors.device)
        return self.splatter_blender(colors, points, scene.cameras, fragments.pix_to_face < 0, scene.blend_params)


def _is_ours(part: Any) -> bool:
    """Whether a part is of a class of tirender's own: a caller's class may mean anything, and reads dense fragments."""
    return type(part).__module__.startswith("tirender.")


def _given(kwargs: dict[str, Any], name: str, own: Any) -> Any:
    """What a call gives, else the shader's own."""
    value = kwargs.get(name)
    return own if value is None else value


def _check_rows(name: str, value: Any, n_images: int, width: int | None) -> None:
    """Raise where a property is no tensor with one row, or one an image, of ``width`` numbers."""
    check_tensor(name, value)
    rows = value.reshape(-1, 1) if value.dim() < 2 else as_rows(value)
    if rows.dim() != 2 or len(rows) not in (1, n_images) or (width is not None and rows.shape[1] != width):
        counts = " or ".join(str(n) for n in sorted({1, n_images}))
        fail(name, f"{counts} rows of {'C' if width is None else width} numbers", f"shape {tuple(value.shape)}")


def _checked(blend_params: BlendParams) -> BlendParams:
    for name in ("sigma", "gamma"):
        if not float(getattr(blend_params, name)) > 0:
            fail(name, "a number above 0", getattr(blend_params, name))
    return blend_params


def _per_image(value: Any, images: torch.Tensor) -> torch.Tensor:
    """A number or one an image, to be broadcast with (N, H, W, C)."""
    value = torch.as_tensor(value).to(images)
    return value.view(-1, 1, 1, 1)
