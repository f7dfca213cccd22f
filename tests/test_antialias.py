"""Anti-aliased outlines, against a twin in torch, and gradients against differences of finer pictures."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import random_scene, rounding
from mesh_cases import degenerate_meshes
from reference.antialias import antialias as slow_antialias

import tirender.renderer as r
from tirender.engine.edge_partners import edge_partners
from tirender.structures import Meshes
from tirender.utils import ico_sphere

SIZE = (14, 19)


def fragments_of(meshes: Meshes, size=SIZE, **settings) -> r.mesh.Fragments:
    return r.MeshRasterizer(r.FoVOrthographicCameras(), r.RasterizationSettings(size, **settings))(meshes)


def meshes_of(name: str, dtype: torch.dtype = torch.float32) -> Meshes:
    if name == "separate triangles":
        verts, faces, _ = random_scene(12, n_images=1, dtype=dtype, size=1.6)
        return Meshes(verts[None], faces.long()[None])
    verts, faces = ico_sphere(2).get_mesh_verts_faces(0)
    verts = verts.to(dtype) * 0.8 + 0.05 * torch.randn(len(verts), 3, dtype=dtype)
    if name == "narrow faces":
        verts = verts * torch.tensor([1.0, 0.2, 1.0])
    if name == "seams":
        verts, faces = verts[faces.flatten()], torch.arange(len(faces) * 3).view(-1, 3)
    verts = verts + torch.tensor([0.013, 0.017, 3.0])
    return Meshes([verts, verts + 0.1], [faces, faces])


SCENES = ["separate triangles", "closed surface", "narrow faces", "seams"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scene", SCENES)
def test_matches_the_twin(scene, dtype, request):
    if dtype == torch.float64:
        request.getfixturevalue("needs_f64")
    meshes = meshes_of(scene, dtype)
    meshes.verts_packed().requires_grad_()
    fragments = fragments_of(meshes)
    picture = fragments.rasterization.picture
    images = torch.rand(len(meshes), *SIZE, 3, dtype=dtype, requires_grad=True)
    ours = r.antialias(images, fragments)
    shape = (len(meshes), *SIZE)
    nearest, depth = picture.triangles.view(shape).long(), picture.depths.view(shape)
    assert torch.equal(nearest, fragments.pix_to_face[..., 0])
    theirs = slow_antialias(images, nearest, depth, picture.faces.long(), picture.partners.long(), picture.verts)
    assert (ours != images).any()
    tolerance = {"rtol": 1e-5 * rounding(), "atol": 1e-5 * rounding()}
    torch.testing.assert_close(ours, theirs, **tolerance)
    up = torch.randn_like(ours)
    leaves = (images, meshes.verts_packed())
    for a, b in zip(*(torch.autograd.grad(out, leaves, up, retain_graph=True) for out in (ours, theirs)), strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-4 * rounding(), atol=1e-5 * rounding() * float(b.abs().max()))


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("scene", SCENES[:3])
def test_gradcheck(scene):
    meshes = meshes_of(scene, torch.float64)
    images = torch.rand(len(meshes), *SIZE, 2, dtype=torch.float64, requires_grad=True)

    def blend(images, verts):
        return r.antialias(images, fragments_of(meshes.update_padded(verts)))

    inputs = (images, meshes.verts_padded().requires_grad_())
    assert torch.autograd.gradcheck(blend, inputs, eps=1e-7, atol=1e-6, fast_mode=True)


def test_an_edge_between_two_columns():
    """A half plane that ends at a place between pixel centres: its shares are those of the covered widths."""
    size = 8
    for edge in (0.0, 0.03, 0.09, 0.1249):  # from the border between columns 3 and 4, to the left
        x = torch.tensor([-4.0, edge, edge, -4.0])
        verts = torch.stack([x, torch.tensor([-4.0, -4, 4, 4]), torch.ones(4)], 1)
        mesh = Meshes([verts.requires_grad_()], [torch.tensor([[0, 1, 2], [0, 2, 3]])])
        fragments = fragments_of(mesh, size)
        alpha = r.HardSilhouetteShader()(fragments, mesh)[0, ..., 3]
        expected = torch.tensor([0.0, 0, 0, edge * size / 2, 1, 1, 1, 1])
        torch.testing.assert_close(alpha, expected.expand(size, size), rtol=0, atol=1e-5)
        (grad,) = torch.autograd.grad(alpha.sum(), verts)
        assert float(grad[1:3, 0].sum()) == pytest.approx(size * size / 2, rel=1e-4)
        assert float(grad[:, 1].abs().max()) < 1e-4


def test_what_lies_within_the_surface_stays():
    plane = torch.cartesian_prod(torch.linspace(-2, 2, 9), torch.linspace(-2, 2, 9))
    verts = torch.cat([plane, torch.ones(81, 1)], 1)
    index = torch.arange(81).view(9, 9)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = torch.cat([torch.stack(corners, -1).view(-1, 3) for corners in ((a, b, c), (a, c, d))])
    mesh = Meshes([verts], [faces])
    images = torch.rand(1, 16, 16, 3)
    assert torch.equal(r.antialias(images, fragments_of(mesh, 16)), images)


def test_partners_of_edges():
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [4, 5, 6], [0, 0, 7]])  # 4, 5 lie where 2, 3 lie; 0-0 has no length
    places = torch.tensor([[0.0], [1], [2], [3], [2], [3], [9], [8]])
    partners = edge_partners(faces, places)
    assert partners.tolist() == [[5, -1, -1], [-1, 8, 0], [-1, -1, 4], [10, 9, -1]]
    fan = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    assert edge_partners(fan, torch.arange(5.0)[:, None])[:, 2].tolist() == [5, 8, 2]
    assert edge_partners(fan[:0], torch.zeros(0, 3)).shape == (0, 3)


def test_partners_are_those_of_each_copy():
    meshes = meshes_of("seams")
    many = meshes.extend(3)
    copied = many.topology.edge_partners(many.verts_packed())
    found = edge_partners(
        many.faces_packed(), torch.cat([many.verts_packed(), many.verts_packed_to_mesh_idx()[:, None]], 1)
    )
    assert torch.equal(copied, found)
    assert (copied >= 0).all()


def test_cut_at_the_near_plane():
    sphere = ico_sphere(3)
    cameras = r.FoVPerspectiveCameras(T=torch.tensor([[0.0, 0.3, 1.05]]), znear=0.2)
    verts = sphere.verts_packed().clone().requires_grad_()
    mesh = Meshes([verts], [sphere.faces_packed()])
    fragments = r.MeshRasterizer(cameras, r.RasterizationSettings(48, cull_backfaces=True))(mesh)
    assert fragments.rasterization.clipping is not None
    alpha = r.HardSilhouetteShader()(fragments, mesh)[..., 3]
    assert ((alpha > 0) & (alpha < 1)).any()
    (grad,) = torch.autograd.grad(alpha.sum(), verts)
    assert grad.isfinite().all()
    assert grad.abs().max() > 0


def test_degenerate_meshes_have_finite_gradients():
    for meshes in degenerate_meshes():
        moved = meshes.offset_verts(meshes.verts_packed().new_tensor([0.1, 0.1, 2.0]).expand_as(meshes.verts_packed()))
        alpha = r.HardSilhouetteShader()(fragments_of(moved), moved)
        assert alpha.isfinite().all()
        if alpha.requires_grad:
            (grad,) = torch.autograd.grad(alpha.sum(), meshes.verts_packed())
            assert grad.isfinite().all()


def test_empty_batches_and_sizes():
    for meshes in (Meshes([], []), Meshes([torch.zeros(0, 3)], [torch.zeros(0, 3).long()])):
        fragments = fragments_of(meshes)
        images = torch.rand(len(meshes), *SIZE, 2)
        assert torch.equal(r.antialias(images, fragments), images)


def test_soft_fragments_show_the_face_in_front():
    meshes = meshes_of("closed surface")
    hard, soft = fragments_of(meshes), fragments_of(meshes, faces_per_pixel=5, blur_radius=0.01)
    images = torch.rand(len(meshes), *SIZE, 2)
    assert torch.equal(r.antialias(images, hard), r.antialias(images, soft))


def test_hard_shaders_blend_what_they_show():
    meshes = meshes_of("closed surface")
    meshes.textures = r.TexturesVertex(torch.rand(2, meshes.verts_padded().shape[1], 3))
    cameras = r.FoVOrthographicCameras()
    fragments = fragments_of(meshes)
    for kind in (r.HardPhongShader, r.HardFlatShader, r.HardGouraudShader, r.HardDepthShader, r.HardNormalShader):
        image = kind(cameras=cameras)(fragments, meshes)
        blended = kind(cameras=cameras, antialias=True)(fragments, meshes)
        assert torch.equal(blended, r.antialias(image, fragments))
        assert not torch.equal(blended, image)
    with pytest.raises(ValueError, match="antialias: expected False for a shader whose edges are soft"):
        r.SoftPhongShader(antialias=True)


def test_masks_and_integers_are_cast():
    fragments = fragments_of(meshes_of("closed surface"))
    mask = torch.rand(2, *SIZE, 1) > 0.5
    assert torch.equal(r.antialias(mask, fragments), r.antialias(mask.float(), fragments))
    assert torch.equal(r.antialias(mask.int(), fragments), r.antialias(mask.float(), fragments))


def test_bad_arguments():
    fragments = fragments_of(meshes_of("closed surface"))
    with pytest.raises(ValueError, match="images: expected shape"):
        r.antialias(torch.zeros(2, 5, 5, 3), fragments)
    with pytest.raises(ValueError, match="fragments: expected those of a MeshRasterizer"):
        r.antialias(torch.zeros(2, *SIZE, 3), fragments.detach())


def test_repeats_are_equal_to_the_bit():
    meshes = meshes_of("closed surface")
    meshes.verts_packed().requires_grad_()
    runs = []
    for _ in range(3):
        alpha = r.HardSilhouetteShader()(fragments_of(meshes), meshes)
        runs.append((alpha, torch.autograd.grad(alpha.cos().sum(), meshes.verts_packed())[0]))
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


# --- what the gradients are worth ---


def smooth_noise(size: int, seed: int) -> torch.Tensor:
    noise = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(size, size), mode="bicubic", align_corners=True)[0, 0]


def weighted_area(verts, faces, cameras, weights) -> float:
    """The weighted sum of a silhouette of 64 samples a pixel."""
    size = len(weights)
    mesh = Meshes([verts], [faces])
    fine = r.HardSilhouetteShader(antialias=False)
    alpha = fine(r.MeshRasterizer(cameras, r.RasterizationSettings(8 * size))(mesh), mesh)[0, ..., 3]
    return float((F.avg_pool2d(alpha[None], 8)[0].double() * weights.double()).sum())


def slopes(verts, faces, cameras, weights, moves) -> tuple[torch.Tensor, torch.Tensor]:
    """Derivatives along moves (M, V, 3): ours, and central differences."""
    leaf = verts.clone().requires_grad_()
    mesh = Meshes([leaf], [faces])
    alpha = r.HardSilhouetteShader()(r.MeshRasterizer(cameras, r.RasterizationSettings(len(weights)))(mesh), mesh)
    (grad,) = torch.autograd.grad((alpha[0, ..., 3] * weights).sum(), leaf)
    ours = [float((grad * move).sum()) for move in moves]
    ends = [[weighted_area(verts + s * move, faces, cameras, weights) for s in (0.5, -0.5)] for move in moves]
    return torch.tensor(ours), torch.tensor([plus - minus for plus, minus in ends])


def check_slopes(ours: torch.Tensor, theirs: torch.Tensor, correlation: float, bias: float) -> None:
    assert float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1]) > correlation
    assert abs(float((ours * theirs).sum() / theirs.square().sum()) - 1) < bias


def test_gradients_of_triangles_are_those_of_finer_pictures():
    size, ours, theirs = 128, [], []
    for seed in range(8):
        g = torch.Generator().manual_seed(seed)
        verts = torch.cat([torch.rand(3, 2, generator=g) * 1.6 - 0.8, torch.full((3, 1), 2.0)], 1)
        moves = torch.zeros(6, 3, 3)
        moves[torch.arange(6), torch.arange(6) // 2, torch.arange(6) % 2] = 1 / size  # half a pixel, from end to end
        found = slopes(verts, torch.tensor([[0, 1, 2]]), r.FoVOrthographicCameras(), smooth_noise(size, seed), moves)
        ours.append(found[0]), theirs.append(found[1])
    check_slopes(torch.cat(ours), torch.cat(theirs), correlation=0.99, bias=0.03)


@pytest.mark.long
def test_gradients_of_the_creature_are_those_of_finer_pictures():
    from tirender.io import load_objs_as_meshes

    mesh = load_objs_as_meshes(["assets/creature/creature.obj"])
    verts, faces = mesh.get_mesh_verts_faces(0)
    verts = (verts - verts.mean(0)) / (verts - verts.mean(0)).abs().max()
    R, T = r.look_at_view_transform(1.3, 10, 30)
    cameras, size, ours, theirs = r.FoVPerspectiveCameras(R=R, T=T), 256, [], []
    ndc = cameras.transform_points_ndc(verts)[:, :2]
    edges = mesh.edges_packed()
    length = (ndc[edges[:, 0]] - ndc[edges[:, 1]]).norm(dim=1) * size / 2
    shortest = torch.full((len(verts),), math.inf)
    shortest.scatter_reduce_(0, edges.flatten(), length.repeat_interleave(2), "amin")
    weights = smooth_noise(size, 0)
    leaf = verts.clone().requires_grad_()
    moved = Meshes([leaf], [faces])
    alpha = r.HardSilhouetteShader()(r.MeshRasterizer(cameras, r.RasterizationSettings(size))(moved), moved)
    (grad,) = torch.autograd.grad((alpha[0, ..., 3] * weights).sum(), leaf)
    outline = ((grad.norm(dim=1) > 0) & (shortest >= 4)).nonzero()[:, 0]
    outline = outline[torch.randperm(len(outline))[:60]]
    for vertex in outline.tolist():
        depth = float(cameras.get_world_to_view_transform().transform_points(verts[vertex : vertex + 1])[0, 2])
        moves = torch.zeros(2, *verts.shape)
        moves[:, vertex] = R[0].T[:2] / size * depth * math.tan(math.radians(30))
        found = slopes(verts, faces, cameras, weights, moves)
        ours.append(found[0]), theirs.append(found[1])
    check_slopes(torch.cat(ours), torch.cat(theirs), correlation=0.95, bias=0.05)


def test_detached_fragments_are_named():
    fragments = fragments_of(ico_sphere(0)).detach()
    with pytest.raises(ValueError, match="fragments: expected those of a MeshRasterizer, got .*, or detached"):
        r.antialias(torch.zeros(1, *SIZE, 3), fragments)
