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


def segment_distance(p, a, b):
    """Squared distances from points (P, 2) to a segment."""
    t = ((p - a) @ (b - a) / (b - a).square().sum()).clamp(0, 1)[:, None]
    return (p - a - t * (b - a)).square().sum(1)


def seen_by(p, part):
    """Whether a triangle (3, 2) holds points (P, 2), and their squared distances to its edges."""
    sides = torch.stack(
        [(b - a)[0] * (p - a)[:, 1] - (b - a)[1] * (p - a)[:, 0] for a, b in zip(part, part.roll(-1, 0))]
    )
    edges = torch.stack([segment_distance(p, a, b) for a, b in zip(part, part.roll(-1, 0))])
    return (sides > 0).all(0) | (sides < 0).all(0), edges.amin(0)


@pytest.mark.parametrize("faces_per_pixel", [1, 3, None])
def test_a_pixel_near_both_parts_of_a_face_sees_one_of_them(faces_per_pixel):
    """A face with one vertex behind is two triangles, which a blurred pixel may both be near to."""
    near, blur, size = 0.5, 0.02, 24
    verts = torch.tensor([[-0.6, -0.5, 1.5], [0.7, -0.4, 1.2], [0.2, 6.0, -6.0]])
    settings = {"image_size": size, "faces_per_pixel": faces_per_pixel, "blur_radius": blur, "z_clip_value": near}
    fragments = rasterize(Meshes([verts], [torch.tensor([[0, 1, 2]])]), r.PerspectiveCameras(), **settings)
    shares = [(verts[i, 2] - near) / (verts[i, 2] - verts[2, 2]) for i in (0, 1)]
    cut = [verts[i] + s * (verts[2] - verts[i]) for i, s in zip((0, 1), shares)]
    a, b, q, p = (v[:2] / v[2] for v in (verts[0], verts[1], cut[1], cut[0]))
    centres = 1 - (2 * torch.arange(size) + 1) / size
    pixels = torch.stack([centres.expand(size, size), centres[:, None].expand(size, size)], -1).view(-1, 2)
    for diagonal in (
        (torch.stack([a, b, q]), torch.stack([a, q, p])),
        (torch.stack([p, a, b]), torch.stack([p, b, q])),
    ):
        (in_one, to_one), (in_other, to_other) = (seen_by(pixels, part) for part in diagonal)
        inside, outside = torch.where(in_one, to_one, to_other), torch.minimum(to_one, to_other)
        signed = torch.where(in_one | in_other, -inside, outside)
        sees = signed < blur
        found = (fragments.pix_to_face >= 0).view(len(pixels), -1)
        if torch.allclose(fragments.dists.view(len(pixels), -1)[sees, 0], signed[sees], atol=1e-5):
            break
    else:
        pytest.fail("the distances are those of no division of the quadrilateral")
    assert torch.equal(found[:, 0], sees)
    assert not found[:, 1:].any()
    z = fragments.zbuf[fragments.pix_to_face >= 0]
    assert float(z.min()) > near - 1e-4
    assert float(z.max()) < 1.5 + 1e-4
    assert int((sees & ~(in_one | in_other)).sum()) > 20
    assert int((in_one | in_other).sum()) > 100


def test_soft_pictures_show_a_cut_face_once():
    """The silhouette is 1 - (1 - coverage) of the one part."""
    verts = torch.tensor([[-0.6, -0.5, 1.5], [0.7, -0.4, 1.2], [0.2, 6.0, -6.0]], requires_grad=True)
    cameras = r.PerspectiveCameras()
    settings = r.RasterizationSettings(24, 0.02, 5, z_clip_value=0.5)
    fragments = r.MeshRasterizer(cameras, settings)(Meshes([verts], [torch.tensor([[0, 1, 2]])]))
    image = r.SoftSilhouetteShader(r.BlendParams(sigma=0.01))(fragments, None)
    hit = fragments.pix_to_face[..., 0] >= 0
    expected = torch.where(hit, torch.sigmoid(-fragments.dists[..., 0] / 0.01), 0)
    torch.testing.assert_close(image[..., 3], expected, rtol=1e-4, atol=1e-5)
    assert torch.autograd.grad(image[..., 3].sum(), verts)[0].isfinite().all()
