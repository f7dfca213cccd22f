"""Faces cut at the near plane: they show exactly what lies in front of it, with gradients."""

from __future__ import annotations

import pytest
import torch

import tirender.renderer as r
from tirender.engine.near_clipping import clip_near
from tirender.structures import Meshes

QUAD = torch.tensor([[-3.0, -1.0, -5.0], [3.0, -1.0, -5.0], [3.0, -1.0, 5.0], [-3.0, -1.0, 5.0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def camera(**kwargs):
    return r.FoVPerspectiveCameras(R=torch.eye(3)[None], T=torch.zeros(1, 3), **kwargs)


def rasterize(meshes, cameras, **settings):
    settings = {"image_size": 64, "faces_per_pixel": 2} | settings
    return r.MeshRasterizer(cameras, r.RasterizationSettings(**settings))(meshes)


def subdivided(verts, faces, times):
    for _ in range(times):
        a, b, c = (verts[faces[:, i]] for i in range(3))
        n = len(faces)
        verts = torch.cat([a, b, c, (a + b) / 2, (b + c) / 2, (c + a) / 2])
        i = torch.arange(n)
        a, b, c, ab, bc, ca = (i + k * n for k in range(6))
        faces = torch.cat([torch.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return verts, faces


def test_a_floor_under_the_camera_shows_its_visible_part():
    """The floor y = -1 from behind the camera to z = 5: every pixel below the horizon sees it at z = -1 / tan(...)."""
    fragments = rasterize(Meshes([QUAD], [FACES]), camera(znear=0.5))
    z = fragments.zbuf[0, ..., 0]
    y = 1 - (2 * torch.arange(64) + 1) / 64
    expected = -1.7320508 / y  # z = -1 / (y tan 30)
    rows = (expected > 0.26) & (expected < 4.9)
    assert rows.sum() > 20
    centre = z[:, 31][rows]
    torch.testing.assert_close(centre, expected[rows], rtol=1e-4, atol=1e-4)
    assert (fragments.pix_to_face[0, ~rows & (y > -0.3)] == -1).all()
    # coordinates are those in the whole face: they give back the point seen
    hit = fragments.pix_to_face[0, ..., 0] >= 0
    corners = QUAD[FACES[fragments.pix_to_face[0, ..., 0][hit]]]
    point = (fragments.bary_coords[0, ..., 0, :][hit][..., None] * corners).sum(1)
    torch.testing.assert_close(point[:, 1], torch.full_like(point[:, 1], -1), rtol=0, atol=1e-4)
    torch.testing.assert_close(point[:, 2], z[hit], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shader", ["HardPhongShader", "HardFlatShader", "HardGouraudShader"])
@pytest.mark.parametrize("kind", ["vertex", "uv", "atlas"])
def test_a_cut_mesh_looks_like_a_fine_one(shader, kind):
    """Fine triangles straddle the plane only in a thin strip, so that the picture is the same but there."""
    if shader == "HardGouraudShader" and kind != "vertex":
        pytest.skip("Gouraud shading takes vertex colours")
    cameras = camera(znear=1.0)
    lights = r.AmbientLights() if shader != "HardPhongShader" else r.PointLights(location=[[0.0, 1.0, 1.0]])

    def image(verts, faces):
        n = len(faces)
        uv = verts[:, [0, 2]] / 10 + 0.5
        if kind == "vertex":
            textures = r.TexturesVertex((verts[None] + 5) / 10)
        elif kind == "uv":
            maps = torch.linspace(0, 1, 16 * 16 * 3).view(1, 16, 16, 3)
            textures = r.TexturesUV(maps, [faces], [uv], align_corners=True)
        else:
            textures = r.TexturesAtlas([torch.full((n, 2, 2, 3), 0.4)])
        meshes = Meshes([verts], [faces], textures)
        fragments = rasterize(meshes, cameras, faces_per_pixel=1)
        return getattr(r, shader)(cameras=cameras, lights=lights)(fragments, meshes)

    coarse, fine = image(QUAD, FACES), image(*subdivided(QUAD, FACES, 5))
    assert (coarse[..., 3] != fine[..., 3]).sum() <= 4
    same = (coarse[..., 3] > 0) & (fine[..., 3] > 0)
    assert same.sum() > 800
    # uv and colour are linear over the floor, light is not: the fine mesh samples it at more vertices
    torch.testing.assert_close(coarse[same], fine[same], rtol=0, atol=2e-2 if shader == "HardPhongShader" else 2e-3)


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("shader", ["SoftPhongShader", "SoftSilhouetteShader"])
def test_gradients_of_cut_faces_match_finite_differences(shader):
    cameras = camera(znear=1.0).to("cpu")
    verts = QUAD.double() + torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    colors = torch.rand(4, 3, dtype=torch.float64)
    weights = torch.rand(1, 8, 8, 4, dtype=torch.float64)
    blend = r.BlendParams(sigma=1e-1, gamma=1e-1)
    module = (
        r.SoftSilhouetteShader(blend) if "Sil" in shader else r.SoftPhongShader(cameras=cameras, blend_params=blend)
    )

    def loss(v):
        meshes = Meshes([v], [FACES], r.TexturesVertex([colors]))
        return (module(rasterize(meshes, cameras, image_size=8), meshes) * weights).sum()

    assert torch.autograd.gradcheck(loss, (verts.requires_grad_(),), eps=1e-6, atol=1e-3, rtol=1e-2)


def test_what_is_wholly_behind_is_not_drawn_and_gets_no_gradient():
    verts = (QUAD - torch.tensor([0.0, 0.0, 10.0])).requires_grad_()
    fragments = rasterize(Meshes([verts], [FACES]), camera())
    assert (fragments.pix_to_face == -1).all()
    assert not torch.autograd.grad(fragments.zbuf.sum(), verts)[0].any()


def test_vertices_on_the_camera_plane_have_finite_gradients():
    verts = torch.tensor([[0.0, 0.1, 0.0], [0.5, -0.5, 2.0], [-0.5, -0.5, 2.0], [0.0, 0.5, 1e-20]], requires_grad=True)
    meshes = Meshes([verts], [torch.tensor([[0, 1, 2], [3, 1, 2]])])
    for cameras in (camera(), r.PerspectiveCameras(), r.FoVOrthographicCameras()):
        fragments = rasterize(meshes, cameras, blur_radius=0.01)
        values = (fragments.zbuf, fragments.bary_coords, fragments.dists)
        assert all(v.isfinite().all() for v in values)
        assert torch.autograd.grad(sum(v.sum() for v in values), verts)[0].isfinite().all()


def test_cut_near_cuts_one_or_two_corners_and_keeps_the_orientation():
    z = torch.tensor([0.0, 2.0, 2.0, 0.5])
    faces = torch.tensor([[0, 1, 2], [1, 2, 1], [3, 0, 1]], dtype=torch.int32)
    cut = clip_near(z, faces, 1.0)
    assert cut.face.tolist() == [0, 0, 1, 2]
    values, rows = cut.apply(z[:, None], faces)
    depths = values[:, 0][rows.long()]
    assert (depths >= 1 - 1e-6).all()
    coords = cut.barycentric(3)
    torch.testing.assert_close(coords.sum(2), torch.ones(4, 3))
    assert (torch.linalg.det(coords)[:2] > 0).all()  # the parts of a face turn the way it does
    assert clip_near(z, faces, -1.0) is None
