"""Mip-mapped textures: their levels, which of them a pixel reads, and gradients."""

from __future__ import annotations

import gc
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import rounding

import tirender.renderer as r
from tirender.renderer.mesh import mipmaps
from tirender.renderer.mesh.mipmaps import footprint_level, mip_chain, pack_mipmaps, sample_mipmaps
from tirender.structures import Meshes
from tirender.utils import ico_sphere

PLANE_FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
PLANE_UVS = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])


def plane(image: torch.Tensor, half: float, uv_scale: float = 1.0, **options) -> Meshes:
    """A square that faces the camera, with a map from edge to edge."""
    verts = torch.cat([(PLANE_UVS * 2 - 1) * half * torch.tensor([-1.0, 1]), torch.ones(4, 1)], 1).to(image)
    options = {"padding_mode": "repeat", "align_corners": False, "sampling_mode": "trilinear"} | options
    textures = r.TexturesUV([image], [PLANE_FACES], [PLANE_UVS.to(image) * uv_scale], **options)
    return Meshes([verts], [PLANE_FACES], textures)


def picture(mesh: Meshes, size: int, cameras=None) -> torch.Tensor:
    cameras = cameras or r.FoVOrthographicCameras()
    fragments = r.MeshRasterizer(cameras, r.RasterizationSettings(size))(mesh)
    return r.HardPhongShader(cameras=cameras, lights=r.AmbientLights())(fragments, mesh)[..., :3]


def checkerboard(n_texels: int, n_fields: int) -> torch.Tensor:
    stripe = torch.arange(n_texels) // (n_texels // n_fields)
    return ((stripe[:, None] + stripe) % 2)[..., None].expand(-1, -1, 3).float()


def test_levels_are_means_down_to_one_texel():
    image = torch.rand(8, 4, 3, dtype=torch.float64)
    chain = mip_chain(image)
    assert chain.sizes == [(8, 4), (4, 2), (2, 1), (1, 1)]
    levels = [t.view(*size, 3) for t, size in zip(chain.texels.split([h * w for h, w in chain.sizes]), chain.sizes)]
    assert torch.equal(levels[0], image)
    torch.testing.assert_close(levels[1], image.view(4, 2, 2, 2, 3).mean((1, 3)))
    torch.testing.assert_close(levels[3][0, 0], image.mean((0, 1)))
    assert mip_chain(torch.rand(5, 7, 2)).sizes == [(5, 7), (2, 3), (1, 1)]


def test_levels_are_kept_until_the_map_is_written_to_or_dies():
    image = torch.rand(16, 16, 3)
    chain = mip_chain(image)
    assert mip_chain(image) is chain
    image[0, 0] = 5
    assert float(mip_chain(image).texels[0, 0]) == 5
    n_kept = len(mipmaps._chains)
    del image, chain
    gc.collect()
    assert len(mipmaps._chains) == n_kept - 1
    wanted = torch.rand(4, 4, 3, requires_grad=True)
    assert mip_chain(wanted).texels.requires_grad
    assert wanted not in mipmaps._chains


@pytest.mark.parametrize("turn", [0.0, 0.3, 1.2])
def test_the_level_follows_the_longer_axis(turn):
    size = torch.tensor([[64, 128]])
    c, s = math.cos(turn), math.sin(turn)
    axes = torch.tensor([[8.0, 0], [0, 2.0]]) @ torch.tensor([[c, s], [-s, c]])  # an ellipse of 8 and 2 texels
    slopes = axes / torch.tensor([[128.0], [64.0]])
    assert float(footprint_level(slopes[None], size)) == pytest.approx(3, abs=1e-5)
    assert float(footprint_level(slopes[None] / 100, size)) == 0


def test_a_pixel_of_four_by_four_texels_is_their_mean():
    image = torch.rand(64, 64, 3)
    expected = F.avg_pool2d(image.permute(2, 0, 1), 4).permute(1, 2, 0)
    torch.testing.assert_close(picture(plane(image, 1.0), 16)[0], expected, atol=1e-4 * rounding(), rtol=0)


def test_between_two_levels():
    image = torch.rand(64, 64, 3)
    seen = picture(plane(image, 1.0, sampling_mode="trilinear"), 32)[0]
    zoomed = picture(plane(image, 1.0 * 2**-0.5), 32)[0]  # pixels of two sqrt(2) texels
    assert float(zoomed[8:24, 8:24].std()) < float(seen[8:24, 8:24].std())
    chain = pack_mipmaps([image])
    uv = torch.rand(50, 2)
    index = torch.zeros(50).long()

    def at(level: float) -> torch.Tensor:
        slopes = (torch.eye(2) * 2**level / 64).expand(50, 2, 2)
        return sample_mipmaps(chain, index, uv, slopes, ("repeat", "repeat"), False)

    torch.testing.assert_close(at(1.25), 0.75 * at(1.0) + 0.25 * at(2.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(at(9.0), image.mean((0, 1)).expand(50, 3), atol=1e-5, rtol=0)
    base = sample_mipmaps(chain, index, uv, None, ("repeat", "repeat"), False)
    assert torch.equal(at(-3.0), base)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("soft", "near"), [(False, False), (True, False), (False, True)])
def test_the_fused_shader_and_its_twin(dtype, soft, near, request):
    if dtype == torch.float64:
        request.getfixturevalue("needs_f64")
    sphere = ico_sphere(2)
    verts, faces = sphere.verts_packed().to(dtype), sphere.faces_packed()
    maps = [
        torch.rand(33, 64, 3, dtype=dtype, requires_grad=True),
        torch.rand(16, 16, 3, dtype=dtype, requires_grad=True),
    ]
    uvs = (3 * torch.rand(len(verts), 2, dtype=dtype)).requires_grad_()
    leaf = verts.clone().requires_grad_()
    options = {"padding_mode": ("repeat", "mirror"), "align_corners": False, "sampling_mode": "trilinear"}
    mesh = Meshes([leaf, leaf], [faces, faces], r.TexturesUV(maps, [faces] * 2, [uvs, uvs], **options))
    R, T = r.look_at_view_transform(1.05 if near else 2.5, 20, torch.tensor([30.0, 80.0]))
    cameras = r.FoVPerspectiveCameras(R=R.to(dtype), T=T.to(dtype), znear=0.2)
    settings = r.RasterizationSettings((24, 20), blur_radius=1e-3 if soft else 0.0, faces_per_pixel=4 if soft else 1)
    fragments = r.MeshRasterizer(cameras, settings)(mesh)
    assert (fragments.rasterization.clipping is not None) == near
    kind = r.SoftPhongShader if soft else r.HardPhongShader
    ours = kind(cameras=cameras, lights=r.AmbientLights())(fragments, mesh)
    texels = mesh.sample_textures(fragments.packed)
    dense = mesh.sample_textures(fragments)
    assert torch.equal(dense[fragments.pix_to_face >= 0], texels)
    blend = r.softmax_rgb_blend if soft else r.hard_rgb_blend
    theirs = blend(dense, fragments, r.BlendParams(), **({"znear": 0.2, "zfar": 100.0} if soft else {}))
    tolerance = (1e-4 if dtype == torch.float32 else 1e-9) * rounding()
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)
    up = torch.randn_like(ours)
    leaves = [leaf, uvs, *maps]
    gradients = [torch.autograd.grad(out, leaves, up, retain_graph=True) for out in (ours, theirs)]
    for a, b in zip(*gradients, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, atol=20 * tolerance * float(b.abs().max()), rtol=0)


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck_of_the_texels():
    image = torch.rand(12, 10, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda image: picture(plane(image, 1.0, uv_scale=1.7), 5), (image,))


def test_fragments_made_by_hand_show_the_map_itself():
    mesh, alike = plane(torch.rand(64, 64, 3), 1.0), plane(torch.rand(64, 64, 3), 1.0)
    alike.textures = r.TexturesUV(
        mesh.textures.maps_list(), [PLANE_FACES], [PLANE_UVS], padding_mode="repeat", align_corners=False
    )
    fragments = r.MeshRasterizer(r.FoVOrthographicCameras(), r.RasterizationSettings(8))(mesh).detach()
    assert torch.equal(mesh.sample_textures(fragments), alike.sample_textures(fragments))


@pytest.mark.usefixtures("needs_long_loops")
def test_a_checkerboard_at_a_grazing_angle_comes_closer_to_many_samples():
    image, size = checkerboard(256, 8), 128
    verts = torch.tensor([[-20.0, 0, 0], [20, 0, 0], [20, 0, 40], [-20, 0, 40]])
    R, T = r.look_at_view_transform(eye=((0.0, 1.5, -1.0),), at=((0.0, 0.9, 5.0),))
    cameras = r.FoVPerspectiveCameras(R=R, T=T, znear=0.1)

    def seen(mode: str, size: int) -> torch.Tensor:
        options = {"padding_mode": "repeat", "align_corners": False, "sampling_mode": mode}
        mesh = Meshes([verts], [PLANE_FACES], r.TexturesUV([image], [PLANE_FACES], [PLANE_UVS * 6], **options))
        return picture(mesh, size, cameras)

    truth = F.avg_pool2d(seen("bilinear", 8 * size).permute(0, 3, 1, 2), 8).permute(0, 2, 3, 1)
    errors = [(seen(mode, size) - truth).square().mean() for mode in ("bilinear", "trilinear")]
    assert float(10 * torch.log10(errors[0] / errors[1])) > 3  # dB


def test_joining_maps_of_different_sizes_warns():
    meshes = [plane(torch.rand(n, n, 3), 1.0) for n in (8, 4)]
    batch = meshes[0].textures.join_batch([meshes[1].textures])
    with pytest.warns(UserWarning, match="smaller levels of joined maps mix"):
        batch.join_scene()


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_levels_of_batches_of_maps_are_kept(several, padded, monkeypatch):
    """Padded maps, several maps a mesh, and batches made of them are halved once, and again after they change."""
    halved = []
    monkeypatch.setattr(mipmaps, "_halve", lambda image, halve=mipmaps._halve: halved.append(image) or halve(image))
    maps = torch.rand((2, 2, 4, 4, 3) if several else (2, 4, 4, 3))
    ids = [torch.tensor([0, 1])] * 2 if several else None
    options = {"maps_ids": ids, "sampling_mode": "trilinear"}
    textures = r.TexturesUV(maps if padded else [*maps], [PLANE_FACES] * 2, [PLANE_UVS] * 2, **options)

    def sample(textures: r.TexturesUV) -> torch.Tensor:
        return textures.faces_verts_textures_packed()

    seen = sample(textures)
    n_maps = 4 if several else 2
    for _ in range(2):
        assert torch.equal(sample(textures), seen)
        sample(textures.extend(3))
    assert len(halved) == n_maps
    maps.mul_(0.5)
    torch.testing.assert_close(sample(textures), seen / 2)
    assert len(halved) == 2 * n_maps
    kept = len(mipmaps._views), len(mipmaps._chains)
    del textures, maps
    halved.clear()
    gc.collect()
    assert len(mipmaps._views) < kept[0] or not (padded or several)
    assert len(mipmaps._chains) == kept[1] - n_maps


@pytest.mark.parametrize("made_within", [False, True])
def test_trilinear_pictures_in_inference_mode(made_within):
    image = torch.rand(16, 16, 3)
    expected = picture(plane(image, 1.0, sampling_mode="trilinear"), 4)
    with torch.inference_mode():
        mesh = plane(image.clone() if made_within else image, 1.0, sampling_mode="trilinear")
        assert torch.equal(picture(mesh, 4), expected)
    if not made_within:  # the levels that were kept can be part of a graph
        wanted = plane(image, 1.0, sampling_mode="trilinear")
        wanted.textures = wanted.textures._like([image], [PLANE_FACES], [PLANE_UVS.clone().requires_grad_()], None)
        picture(wanted, 4).sum().backward()
