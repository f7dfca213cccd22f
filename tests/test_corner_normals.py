"""Normals of corners: kept and turned with their mesh, used by shaders, computed with creases."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

import tirender.renderer as r
from tirender.structures import Meshes, join_meshes_as_batch, join_meshes_as_scene
from tirender.structures.creases import creased_normals, has_mixed_winding, places, wound_against_others
from tirender.transforms import Rotate, RotateAxisAngle, Scale, Transform3d, Translate
from tirender.utils import ico_sphere

QUADS = torch.tensor([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
CUBE = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])
CUBE_FACES = torch.cat([QUADS[:, [0, 1, 2]], QUADS[:, [0, 2, 3]]])


def corners_of(meshes: Meshes) -> torch.Tensor:
    """(F, 3, 3): the normal of each corner."""
    values, rows = meshes.corner_normals_packed()
    return values[rows]


def cube(angle: float = 60.0) -> Meshes:
    values, rows = creased_normals(CUBE, CUBE_FACES, angle)
    textures = r.TexturesVertex([torch.ones_like(CUBE)])
    return Meshes([CUBE], [CUBE_FACES], textures, corner_normals=[values], faces_corner_normals=[rows])


def pyramid() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight sides that bend by less than 60 degrees at the upper edges, and a flat base."""
    angles = torch.arange(8) * math.pi / 4
    ring = torch.stack([angles.cos(), torch.zeros(8), angles.sin()], 1)
    verts = torch.cat([ring, torch.tensor([[0.0, 1, 0], [0, 0, 0]])])
    i, j = torch.arange(8), torch.arange(1, 9) % 8
    sides, base = torch.stack([j, i, torch.full((8,), 8)], 1), torch.stack([i, j, torch.full((8,), 9)], 1)
    return verts, torch.cat([sides, base])


class TestCreases:
    def test_a_cube_has_six_flat_sides_or_is_round(self):
        flat = corners_of(cube(60))
        by_area = corners_of(Meshes([CUBE], [CUBE_FACES]))  # vertex normals
        normals = Meshes([CUBE], [CUBE_FACES]).faces_normals_packed()
        torch.testing.assert_close(flat, normals[:, None].expand(-1, 3, -1))
        assert len(creased_normals(CUBE, CUBE_FACES, 60)[0]) == 6 * 4  # a quad's corners, two faces at two of them
        round_ = corners_of(cube(91))
        torch.testing.assert_close(round_, F.normalize(CUBE[CUBE_FACES], dim=2))
        assert not torch.allclose(by_area, round_)  # in which the diagonals show

    def test_a_pyramid_is_smooth_around_and_sharp_at_the_base(self):
        verts, faces = pyramid()
        values, rows = creased_normals(verts, faces, 60)
        normals = values[rows]
        torch.testing.assert_close(normals[8:], torch.tensor([0.0, -1, 0]).expand(8, 3, 3))
        torch.testing.assert_close(normals[:8, 2], torch.tensor([0.0, 1, 0]).expand(8, 3), atol=1e-6, rtol=0)  # the tip
        assert (normals[:8, :2, 1] > 0.3).all()
        assert len(values) == 8 + 1 + 8 + 1

    def test_seams_of_doubled_vertices_do_not_show(self):
        sphere = ico_sphere(3)
        verts, faces = sphere.verts_packed(), sphere.faces_packed()
        values, rows = creased_normals(verts[faces].reshape(-1, 3), torch.arange(faces.numel()).view(-1, 3))
        torch.testing.assert_close(values[rows], F.normalize(verts[faces], dim=2), atol=0.02, rtol=0)

    def test_zero_and_negative_zero_are_one_place(self):
        verts = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [-0.0, 0, -0.0], [1, 1, 0], [0, 1, 0.2]])
        values, rows = creased_normals(verts, torch.tensor([[0, 1, 2], [3, 4, 5]]))
        assert rows[0, 0] == rows[1, 0]
        assert rows[0, 2] == rows[1, 1]
        assert len(values) == 4

    def test_edges_of_three_faces_and_faces_without_area(self):
        verts = torch.tensor([[0.0, 0, 0], [0, 0, 1], [1, 0, 0], [-1, 0.1, 0], [0, 1, 0]])
        faces = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4], [2, 2, 3], [0, 0, 0]])
        values, rows = creased_normals(verts, faces)
        assert values.isfinite().all()
        assert rows.shape == (5, 3)
        assert int(rows.max()) < len(values)
        assert creased_normals(verts, faces[:0])[0].shape == (0, 3)

    def test_many_faces_around_one_vertex(self):
        n = 3000
        angles = torch.arange(n) * 2 * math.pi / n
        verts = torch.cat([torch.stack([angles.cos(), angles.sin(), torch.zeros(n)], 1), torch.tensor([[0.0, 0, 0.3]])])
        faces = torch.stack([torch.arange(n), torch.arange(1, n + 1) % n, torch.full((n,), n)], 1)
        values, rows = creased_normals(verts, faces)
        assert len(rows[:, 2].unique()) == 1
        torch.testing.assert_close(values[rows[0, 2]], torch.tensor([0.0, 0, 1]), atol=1e-3, rtol=0)


class TestWinding:
    def test_faces_wound_against_the_others_are_found_and_do_not_crease(self):
        sphere = ico_sphere(3)
        verts, faces = sphere.verts_packed(), sphere.faces_packed()
        turned = torch.rand(len(faces), generator=torch.Generator().manual_seed(0)) < 0.4
        mixed = torch.where(turned[:, None], faces.flip(1), faces)
        assert torch.equal(wound_against_others(mixed), turned)
        values, rows = creased_normals(verts, mixed)
        torch.testing.assert_close(values[rows], F.normalize(verts[mixed], dim=2), atol=0.02, rtol=0)
        assert has_mixed_winding(mixed)
        assert not has_mixed_winding(faces)

    def test_parts_are_judged_alone_and_sheets_of_three_are_not(self):
        a = torch.tensor([[0, 1, 2], [2, 1, 3], [3, 1, 4], [4, 1, 5]])
        b = a + 6
        b[2] = b[2].flip(0)
        assert wound_against_others(torch.cat([a, b])).tolist() == [False] * 6 + [True, False]
        assert not wound_against_others(torch.cat([a, a.flip(1) + 6])).any()  # each part agrees with itself
        three = torch.tensor([[0, 1, 2], [0, 1, 3], [1, 0, 4]])  # around one edge
        assert not has_mixed_winding(three)
        assert not has_mixed_winding(torch.tensor([[0, 1, 2], [0, 1, 2]]))  # one face, doubled
        assert not has_mixed_winding(three[:0])

    def test_a_strip_of_moebius_has_no_right_winding_and_is_drawn(self):
        n = 30
        t = torch.arange(n) * 2 * math.pi / n
        across = torch.stack([(t / 2).cos() * t.cos(), (t / 2).cos() * t.sin(), (t / 2).sin()], 1) * 0.3
        middle = torch.stack([t.cos(), t.sin(), torch.zeros(n)], 1)
        verts = torch.cat([middle - across, middle + across])
        i = torch.arange(n - 1)
        faces = torch.cat([torch.stack([i, i + 1, i + n], 1), torch.stack([i + n, i + 1, i + n + 1], 1)])
        last = torch.tensor([[n - 1, n, 2 * n - 1], [2 * n - 1, n, 0]])
        values, rows = creased_normals(verts, torch.cat([faces, last]))
        torch.testing.assert_close(values[rows].norm(dim=2), torch.ones(2 * n, 3))

    def test_places(self):
        verts = torch.tensor([[0.0, 1, 2], [0.0, 1, 2], [1.0, 0, 2], [-0.0, 1, 2]])
        number = places(verts)
        assert number[0] == number[1] == number[3] != number[2]
        assert places(torch.rand(100, 3)).tolist() == list(range(100))
        many = torch.randint(0, 3, (500, 3)).float()
        assert torch.equal(places(many)[:, None] == places(many), (many[:, None] == many).all(2))


class TestMeshes:
    def test_without_them_corners_have_the_vertex_normals(self):
        sphere = ico_sphere(1)
        assert torch.equal(corners_of(sphere), sphere.verts_normals_packed()[sphere.faces_packed()])

    def test_rotation_and_scaling_turn_them_as_the_surface_turns(self):
        turn = RotateAxisAngle(40, "Y").compose(RotateAxisAngle(25, "X"))
        for transform in (turn, Scale(1.0, 3.0, 0.5), turn.compose(Scale(2.0, 1, 1)).compose(Translate(5.0, 6, 7))):
            moved = cube().transform_verts(transform)
            torch.testing.assert_close(moved.verts_packed(), transform.transform_points(CUBE))
            torch.testing.assert_close(corners_of(moved), moved.faces_normals_packed()[:, None].expand(-1, 3, -1))

    def test_given_vertex_normals_turn_too(self):
        normals = F.normalize(torch.rand(8, 3) - 0.5, dim=1)
        mesh = Meshes([CUBE], [CUBE_FACES], verts_normals=[normals])
        rotation = Rotate(torch.linalg.qr(torch.rand(3, 3))[0][None])
        expected = rotation.transform_normals(normals)
        torch.testing.assert_close(mesh.transform_verts(rotation).verts_normals_packed(), expected)
        scaled = mesh.scale_verts(torch.tensor([[2.0, 1.0, 4.0]])).verts_normals_packed()
        torch.testing.assert_close(scaled, F.normalize(normals / torch.tensor([2.0, 1.0, 4.0]), dim=1))

    def test_shifts_and_factors_keep_them_and_other_offsets_drop_them(self):
        mesh, expected = cube(), corners_of(cube())
        assert torch.equal(corners_of(mesh.offset_verts(torch.tensor([1.0, 2, 3]))), expected)
        assert torch.equal(corners_of(mesh.scale_verts(0.1)), expected)
        deformed = mesh.offset_verts(torch.zeros(8, 3))
        assert torch.equal(corners_of(deformed), corners_of(Meshes([CUBE], [CUBE_FACES])))

    def test_batches_parts_and_scenes_keep_them(self):
        both = join_meshes_as_batch([cube(), ico_sphere(0)], include_textures=False)
        expected = [corners_of(cube()), corners_of(ico_sphere(0))]
        torch.testing.assert_close(corners_of(both), torch.cat(expected))
        torch.testing.assert_close(corners_of(both[1]), expected[1])
        torch.testing.assert_close(corners_of(both.extend(2)), torch.cat([expected[0]] * 2 + [expected[1]] * 2))
        assert len(both.extend(3).corner_normals_packed()[0]) == len(both.corner_normals_packed()[0])  # shared
        torch.testing.assert_close(corners_of(join_meshes_as_scene(both)), torch.cat(expected))
        ids = torch.tensor([3, 0])
        torch.testing.assert_close(corners_of(both.submeshes([[ids], []])), expected[0][ids])
        torch.testing.assert_close(corners_of(both.clone().detach()), torch.cat(expected))

    @pytest.mark.parametrize(
        ("values", "rows", "message"),
        [
            (torch.rand(2, 3), torch.full((12, 3), 2), r"faces_corner_normals\[0\]: expected indices of the 2 rows"),
            (torch.rand(2, 2), torch.zeros(12, 3).long(), r"corner_normals\[0\]: expected shape \(n, 3\)"),
            (torch.rand(2, 3), torch.zeros(11, 3).long(), r"faces_corner_normals\[0\]: expected shape \(12, 3\)"),
        ],
    )
    def test_what_does_not_fit_is_an_error(self, values, rows, message):
        with pytest.raises(ValueError, match=message):
            Meshes([CUBE], [CUBE_FACES], corner_normals=[values], faces_corner_normals=[rows])
        with pytest.raises(ValueError, match="corner_normals: expected tensors of 1 meshes"):
            Meshes([CUBE], [CUBE_FACES], corner_normals=[values])
        matrix = torch.eye(4)
        matrix[0, 3] = 1.0
        with pytest.raises(ValueError, match="transform: expected an affine transform, got one that divides"):
            cube().transform_verts(Transform3d(matrix=matrix))


@pytest.mark.parametrize("znear", [0.1, 4.2])
def test_shaders_light_faces_by_them(znear):
    """Of a cube with creases each side has one colour, in the fused kernel and in torch, also where it is cut."""
    R, T = r.look_at_view_transform(3.5, 30, 30)
    cameras = r.FoVPerspectiveCameras(R=R, T=T, znear=znear)
    lights = r.DirectionalLights([[0.1] * 3], [[0.9] * 3], [[0.0] * 3], [[1.0, 2.0, 3.0]])
    fragments = r.MeshRasterizer(cameras, r.RasterizationSettings(64))(cube())
    assert (fragments.rasterization.clipping is not None) == (znear > 1)
    shader = r.HardPhongShader(cameras=cameras, lights=lights)
    by_hand = type(fragments)(fragments.pix_to_face, fragments.zbuf, fragments.bary_coords, fragments.dists)
    for seen in (fragments, by_hand):
        image = shader(seen, cube())[0]
        colors = image[image[..., 3] > 0][:, 0]
        expected = 0.1 + 0.9 * torch.tensor([0.0, 1.0, 2.0, 3.0]) / 14**0.5  # 0 where the inside is seen
        assert ((colors[:, None] - expected).abs().amin(1) < 1e-4).all()
        assert len(colors) > 300
