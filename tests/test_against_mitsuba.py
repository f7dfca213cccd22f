"""Spheres under surroundings against Mitsuba 3, a path tracer of its own: what the split of the light costs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import tirender.renderer as r
from tirender.renderer.mesh.material import Material
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.renderer.tone_mapping import encode_srgb
from tirender.structures import Meshes
from tirender.utils import ico_sphere

pytestmark = pytest.mark.long

SIZE, SAMPLES = 40, 768
COPPER, GREY = (0.9, 0.6, 0.3), (0.5, 0.5, 0.5)
FOV, VIEW = 32.0, (4.0, 20.0, 30.0)


def sky(height: int = 64) -> torch.Tensor:
    """(H, W, 3): a grey sky with two soft lamps; a white Lambertian sphere is 1 where it is brightest."""
    v, u = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(2 * height) + 0.5) / (2 * height), indexing="ij"
    )
    phi, theta = (u - 0.5) * 2 * math.pi, v * math.pi
    towards = torch.stack([phi.sin() * theta.sin(), theta.cos(), -phi.cos() * theta.sin()], -1)
    light = 0.3 + 0.3 * towards[..., 1:2].clamp(min=0) + torch.zeros(3)
    for at, size, strength, color in (
        ((-0.5, 0.6, 0.62), 0.9, 3.0, (1.0, 0.9, 0.8)),
        ((0.8, 0.1, 0.59), 0.85, 1.5, (0.7, 0.85, 1.0)),
    ):
        inside = torch.sigmoid(((towards * torch.tensor(at)).sum(-1, keepdim=True) - size) * 60)
        light = light + strength * inside * torch.tensor(color)
    return light / r.EnvironmentLights(light, size=64).maps().levels[-1].max()


def ours(light: torch.Tensor, material: Material) -> torch.Tensor:
    """(SIZE, SIZE, 4) linear light, without light that is reflected more than once."""
    sphere = ico_sphere(5)
    verts, faces = sphere.verts_packed(), sphere.faces_packed()
    textures = TexturesMaterial([material], [torch.zeros(len(faces)).long()])
    mesh = Meshes([verts], [faces], textures, verts_normals=[verts])
    R, T = r.look_at_view_transform(*VIEW)
    cameras = r.FoVPerspectiveCameras(R=R, T=T, fov=FOV)
    fragments = r.MeshRasterizer(cameras, r.RasterizationSettings(SIZE, faces_per_pixel=1))(mesh)
    lights = r.EnvironmentLights(light, size=128)
    shader = r.PBRShader(lights, cameras=cameras, tone_mapping="linear", multiple_scattering=False)
    with torch.no_grad():
        return shader(fragments, mesh)[0]


def theirs(mi: Any, light: torch.Tensor, bsdf: dict[str, Any]) -> torch.Tensor:
    """(SIZE, SIZE, 3), traced; their surroundings have -Z at the edge of the picture, ours in its middle."""
    R, T = r.look_at_view_transform(*VIEW)
    eye = r.FoVPerspectiveCameras(R=R, T=T).get_camera_center()[0].tolist()
    transform = mi.ScalarTransform4f
    scene = mi.load_dict(
        {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": 2},
            "sensor": {
                "type": "perspective",
                "fov": FOV,
                "to_world": transform().look_at(origin=eye, target=[0, 0, 0], up=[0, 1, 0]),
                "film": {
                    "type": "hdrfilm",
                    "width": SIZE,
                    "height": SIZE,
                    "rfilter": {"type": "box"},
                    "pixel_format": "rgb",
                },
                "sampler": {"type": "independent", "sample_count": SAMPLES},
            },
            "sky": {
                "type": "envmap",
                "bitmap": mi.Bitmap(np.ascontiguousarray(light.numpy())),
                "to_world": transform().rotate([0, 1, 0], 180),
            },
            "sphere": {"type": "sphere", "bsdf": bsdf},
        }
    )
    return torch.from_numpy(np.array(mi.render(scene)))


def rgb(*value: float) -> dict[str, Any]:
    return {"type": "rgb", "value": list(value)}


def material(color: tuple[float, ...], metallic: float, roughness: float) -> Material:
    red, green, blue = encode_srgb(torch.tensor(color)).tolist()
    return Material(base_color=(red, green, blue, 1.0), metallic=metallic, roughness=roughness)


@pytest.mark.parametrize("kind", ["conductor", "copper", "dielectric", "principled"])
def test_spheres_differ_by_less_than_3_percent_of_white(kind: str) -> None:
    mi = pytest.importorskip("mitsuba", reason="Mitsuba 3 is not installed (pip install mitsuba)")
    mi.set_variant("scalar_rgb")
    light = sky()
    # the base of "principled" is Burley's, which is brighter at the edges the rougher it is; ours is Lambert's
    for roughness in (0.2, 0.4, 0.6, 0.8, *([1.0] if kind != "principled" else [])):
        alpha = {"distribution": "ggx", "alpha": roughness**2}
        principled = {"type": "principled", "roughness": roughness, "specular": 0.5}
        bsdf, surface = {
            "conductor": (
                {"type": "roughconductor", "material": "none", **alpha},
                material((1.0,) * 3, 1.0, roughness),
            ),
            "copper": ({**principled, "metallic": 1.0, "base_color": rgb(*COPPER)}, material(COPPER, 1.0, roughness)),
            # of a sphere of glass, light that comes back after two bounces is what its outside reflects
            "dielectric": ({"type": "roughdielectric", "int_ior": 1.5, **alpha}, material((0.0,) * 3, 0.0, roughness)),
            "principled": ({**principled, "base_color": rgb(*GREY)}, material(GREY, 0.0, roughness)),
        }[kind]
        image, traced = ours(light, surface), theirs(mi, light, bsdf)
        seen = image[..., 3] > 0
        difference = (image[..., :3] - traced)[seen]
        error, level = float(difference.abs().mean()), float(traced[seen].mean())
        print(f"{kind}, roughness {roughness}: {error:.4f}, mean {level:.3f}")
        assert error < 0.03
