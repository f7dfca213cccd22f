"""Random scenes made of everything that breaks renderers: values and gradients stay finite."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
import torch

import tirender.loss as loss
import tirender.renderer as r
import tirender.transforms as t
from tirender.structures import Meshes
from tirender.utils import ico_sphere


def degenerate_mesh(rng: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
    """Up to eight faces, most of them with something wrong."""
    g = torch.Generator().manual_seed(rng.randrange(2**31))
    n = rng.randrange(3, 16)
    verts = torch.randn(n, 3, generator=g)
    faces = torch.randint(0, n, (rng.randrange(1, 9), 3), generator=g)  # many with a corner used twice
    flaw = rng.choice(["none", "line", "point", "edge-on", "plane", "behind", "ties", "huge", "tiny", "needle", "eye"])
    if flaw == "line":
        verts = verts[:1] + torch.linspace(-1, 1, n)[:, None] * verts[1:2]
    elif flaw == "point":
        verts = verts[:1].expand(n, 3).clone()
    elif flaw == "edge-on":
        verts[:, 0] = verts[0, 0] * verts[:, 2]
    elif flaw == "plane":
        verts[:, 2] = torch.where(torch.rand(n, generator=g) < 0.5, -2.7, verts[:, 2])
    elif flaw == "behind":
        verts[:, 2] -= 3.0
    elif flaw == "ties":
        verts[:, 2] = 0.0
        verts[: n // 2] = verts[0]
    elif flaw in ("huge", "tiny"):
        verts *= 10.0 ** (rng.uniform(3, 12) if flaw == "huge" else rng.uniform(-12, -3))
    elif flaw == "needle":
        verts[:, 0] *= 1e-6
    elif flaw == "eye":
        verts[0] = torch.tensor([0.0, 0.0, -2.7])
    return verts, faces


def camera(rng: random.Random) -> r.CamerasBase:
    R, T = torch.eye(3)[None], torch.tensor([[0.0, 0.0, 2.7]])
    kind = rng.choice(["fov", "fov", "pinhole", "ortho", "fov ortho", "near"])
    if kind == "pinhole":
        return r.PerspectiveCameras(R=R, T=T, focal_length=rng.choice([0.1, 2.0, 50.0]))
    if kind == "ortho":
        return r.OrthographicCameras(R=R, T=T)
    if kind == "fov ortho":
        return r.FoVOrthographicCameras(R=R, T=T)
    return r.FoVPerspectiveCameras(R=R, T=T, znear=1e-5 if kind == "near" else 1.0, fov=rng.choice([10.0, 60.0, 120.0]))


def check_scene(seed: int) -> None:
    rng = random.Random(seed)
    verts, faces = degenerate_mesh(rng)
    verts.requires_grad_()
    if rng.random() < 0.5:
        leaf = torch.rand(len(verts), 3, requires_grad=True)
        textures: r.TexturesBase = r.TexturesVertex([leaf])
    else:
        leaf = torch.rand(5, 4, 3, requires_grad=True)
        uvs = torch.rand(len(verts), 2) * 4 - 2
        padding = rng.choice(["zeros", "border", "reflection"])
        textures = r.TexturesUV([leaf], [faces], [uvs], padding_mode=padding, align_corners=rng.random() < 0.5)
    meshes = Meshes([verts], [faces], textures)
    cameras = camera(rng)
    sigma = 10.0 ** rng.uniform(-7, -2)
    soft = rng.random() < 0.7
    settings = r.RasterizationSettings(
        image_size=rng.choice([6, (5, 9), 1]),
        blur_radius=math.log(1 / 1e-4 - 1) * sigma if soft else 0.0,
        faces_per_pixel=rng.choice([1, 3, 50, None]),
        perspective_correct=rng.choice([None, True, False]),
        clip_barycentric_coords=rng.choice([None, True, False]),
        cull_backfaces=rng.random() < 0.2,
    )
    location = verts[:1].detach() if rng.random() < 0.3 else torch.tensor([[0.0, 1.0, -2.0]])
    lights = r.PointLights(location=location) if rng.random() < 0.7 else r.DirectionalLights()
    blend = r.BlendParams(sigma=sigma, gamma=10.0 ** rng.uniform(-6, -1))
    shaders = [r.SoftPhongShader, r.HardFlatShader, r.HardPhongShader]
    shader = rng.choice(shaders)(cameras=cameras, lights=lights, blend_params=blend)
    fragments = r.MeshRasterizer(cameras, settings)(meshes)
    silhouette = r.SoftSilhouetteShader(blend)(fragments, meshes)[..., 3]
    image = shader(fragments, meshes)
    dense = (fragments.zbuf, fragments.bary_coords, fragments.dists)
    for name, value in [("image", image), ("silhouette", silhouette), *zip(("zbuf", "bary", "dists"), dense)]:
        assert value.isfinite().all(), f"seed {seed}: {name}"
    for name, value in (("image", image), ("silhouette", silhouette)):
        for grad in torch.autograd.grad(value.sum(), (verts, leaf), allow_unused=True, retain_graph=True):
            assert grad is None or grad.isfinite().all(), f"seed {seed}: gradient of the {name}"
    # the largest depths overflow when summed with an upstream gradient of 1 each: scale them
    scale = 1 / max(float(verts.detach().abs().max()), 1.0)
    total = sum((value * scale).sum() for value in dense)
    assert torch.autograd.grad(total, verts)[0].isfinite().all(), f"seed {seed}: gradient of the fragments"


def test_two_hundred_degenerate_scenes():
    for seed in range(200):
        check_scene(seed)


@pytest.mark.long
@pytest.mark.parametrize("block", range(10))
def test_ten_thousand_degenerate_scenes(block):
    for seed in range(1000 * block, 1000 * (block + 1)):
        check_scene(seed)


def areas(meshes: Meshes) -> torch.Tensor:
    return meshes.faces_areas_packed().sum()


LOSSES = (loss.mesh_edge_loss, loss.mesh_laplacian_smoothing, loss.mesh_normal_consistency)
LARGEST = 1e9  # what the README promises of coordinates


@pytest.mark.parametrize("scale", [1 / LARGEST, LARGEST])
@pytest.mark.parametrize(
    "of", [loss.mesh_edge_loss, loss.mesh_laplacian_smoothing, loss.mesh_normal_consistency, areas]
)
def test_losses_at_the_border_of_what_is_promised(of: Callable[[Meshes], torch.Tensor], scale: float) -> None:
    ball = ico_sphere(2)
    verts = (scale * ball.verts_packed()).requires_grad_()
    value = of(Meshes([verts], ball.faces_list()))
    (grad,) = torch.autograd.grad(value, verts)
    assert grad.isfinite().all()
    if scale > 1:
        exact = of(Meshes([verts.detach().double()], ball.faces_list()))
        torch.testing.assert_close(value.detach().double(), exact, rtol=1e-5, atol=0)


def test_distances_at_the_border_of_what_is_promised() -> None:
    x, y = (LARGEST * torch.rand(2, 1, 50, 3, generator=torch.Generator().manual_seed(0))).unbind(0)
    x.requires_grad_()
    value, _ = loss.chamfer_distance(x, y)
    (grad,) = torch.autograd.grad(value, x)
    assert grad.isfinite().all()

    exact, _ = loss.chamfer_distance(x.detach().double(), y.double())
    torch.testing.assert_close(value.detach().double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("convert", [t.axis_angle_to_matrix, t.axis_angle_to_quaternion, t.so3_exp_map])
def test_angles_at_the_border_of_what_is_promised(convert: Callable[[torch.Tensor], torch.Tensor]) -> None:
    vectors = torch.tensor([[1e18, 1.0, 0.0], [-5e17, 5e17, 5e17]], requires_grad=True)
    (grad,) = torch.autograd.grad(convert(vectors).sum(), vectors)
    assert convert(vectors).isfinite().all()
    assert grad.isfinite().all()
