"""From meshes to images: PyTorch3D's renders and gradients, the fused and the torch path, a user's own shader."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import load_reference
from test_shading import CASES, load
from torch import nn

import tirender.renderer as r
from tirender.io import load_objs_as_meshes
from tirender.renderer.mesh.rasterizer import Fragments
from tirender.structures import Meshes

class ByHand(nn.Module):
    """Passes a shader dense fragments made by hand, as a user's own rasterizer would."""

    def __init__(self, shader: nn.Module) -> None:
        super().__init__()
        self.shader = shader

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: object) -> torch.Tensor:
        dense = Fragments(fragments.pix_to_face, fragments.zbuf, fragments.bary_coords, fragments.dists)
        return self.shader(dense, meshes, **kwargs)


def renderer_of(path: Path, by_hand: bool = False):
    """Inputs and the renderer of a reference case."""
    data, meta, verts, texture, meshes, cameras, lights, materials, blend = load(path)
    if meta["shader"] == "SoftSilhouetteShader":
        shader: nn.Module = r.SoftSilhouetteShader(blend)
    else:
        shader = getattr(r, meta["shader"])(cameras=cameras, lights=lights, materials=materials, blend_params=blend)
    rasterizer = r.MeshRasterizer(cameras, r.RasterizationSettings(**meta["raster"]))
    return r.MeshRenderer(rasterizer, ByHand(shader) if by_hand else shader), meshes, data, (verts, texture)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_images_match_pytorch3d(path):
    """Gradients of the same cases are compared in test_shading, through the torch path, and just below."""
    renderer, meshes, data, _ = renderer_of(path)
    torch.testing.assert_close(renderer(meshes), torch.from_numpy(data["out_image"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_fused_shaders_equal_those_on_dense_fragments_made_by_hand(path):
    images, grads = [], []
    for by_hand in (False, True):
        renderer, meshes, data, leaves = renderer_of(path, by_hand)
        images.append(renderer(meshes))
        grads.append(torch.autograd.grad(images[-1], leaves, torch.from_numpy(data["up_image"]), allow_unused=True))
    torch.testing.assert_close(*images, rtol=1e-4, atol=1e-5)
    for a, b in zip(*grads):
        assert (a is None) == (b is None) or not (b if a is None else a).any()
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


def test_cow_matches_pytorch3d(tutorial_data: Path):
    data, _ = load_reference("cow/renders")
    mesh = load_objs_as_meshes([tutorial_data / "cow_mesh" / "cow.obj"])
    verts = mesh.verts_packed()
    centre = verts.mean(0)
    mesh = mesh.offset_verts(-centre).scale_verts(1 / float((verts - centre).abs().max()))
    R, T = r.look_at_view_transform(2.7, data["in_elev"].float(), data["in_azim"].float())
    cameras = r.FoVPerspectiveCameras(R=R, T=T)
    lights = r.PointLights(location=[[0.0, 0.0, -3.0]])
    hard = r.MeshRenderer(
        r.MeshRasterizer(cameras, r.RasterizationSettings(image_size=128)),
        r.SoftPhongShader(cameras=cameras, lights=lights),
    )(mesh.extend(3))
    different = (hard - data["out_hard"]).abs().amax(-1) > 1e-3
    assert different.sum() <= 3  # pixels on an edge that fall to the other side, of 49152
    assert (hard - data["out_hard"]).abs()[~different].max() < 1e-3
    blur = float(torch.log(torch.tensor(1 / 1e-4 - 1, dtype=torch.float64))) * 1e-4
    settings = r.RasterizationSettings(image_size=128, blur_radius=blur, faces_per_pixel=50)
    soft = r.MeshRenderer(r.MeshRasterizer(cameras, settings), r.SoftSilhouetteShader())(mesh.extend(3))
    torch.testing.assert_close(soft[..., 3], data["out_silhouette"], rtol=1e-3, atol=1e-3)
