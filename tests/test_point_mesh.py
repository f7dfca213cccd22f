"""Distances between points and the faces or edges of meshes, against looking at every pair."""

from __future__ import annotations

import pytest
import torch
from reference.neighbours import to_segment, to_triangle

from tirender.engine.point_mesh import point_triangle_distances
from tirender.loss import point_mesh_edge_distance, point_mesh_face_distance
from tirender.loss.point_mesh_distance import (
    edge_point_distance,
    face_point_distance,
    point_edge_distance,
    point_face_distance,
)
from tirender.structures import Meshes, Pointclouds
from tirender.utils import ico_sphere


def twin(points, points_first, elements, elements_first, min_area):
    """Both directions, per item; 0 where the other side is empty."""
    forth, back = [], []
    for p, e in zip(points.tensor_split(points_first[1:]), elements.tensor_split(elements_first[1:])):
        if elements.shape[1] == 3:
            dists = to_triangle(p[:, None], e[None], min_area)
        else:
            dists = to_segment(p[:, None], e[None, :, 0], e[None, :, 1])
        forth.append(dists.amin(1) if len(e) else p.new_zeros(len(p)))
        back.append(dists.amin(0) if len(p) else p.new_zeros(len(e)))
    return torch.cat(forth), torch.cat(back)


def scene(*, n_points, n_elements, corners=3, size=0.5, dtype=torch.float32):
    """Points and elements with 2 or 3 corners, in two items with an empty one between them."""
    points = torch.randn(2 * n_points, 3, dtype=dtype)
    centre = torch.randn(2 * n_elements, 1, 3, dtype=dtype)
    elements = centre + size * torch.randn(2 * n_elements, corners, 3, dtype=dtype)
    points_first = torch.tensor([0, n_points, n_points])
    elements_first = torch.tensor([0, n_elements, n_elements])
    return points.requires_grad_(), points_first, elements.requires_grad_(), elements_first


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize(("n_points", "n_elements"), [(1, 1), (300, 200), (50, 900)])
@pytest.mark.parametrize("corners", [2, 3])
@pytest.mark.parametrize(("size", "min_area"), [(0.05, 0.0), (1.0, 5e-3), (1.0, 0.5)])
def test_matches_the_twin(n_points, n_elements, corners, size, min_area):
    arguments = scene(n_points=n_points, n_elements=n_elements, corners=corners, size=size, dtype=torch.float64)
    inputs = arguments[0], arguments[2]
    ours, theirs = point_triangle_distances(*arguments, min_area), twin(*arguments, min_area)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
        up = torch.randn_like(a)
        grads = (torch.autograd.grad(d, inputs, up, retain_graph=True) for d in (a, b))
        torch.testing.assert_close(*grads, rtol=1e-7, atol=1e-7)


def test_float32():
    arguments = scene(n_points=200, n_elements=300)
    for a, b in zip(point_triangle_distances(*arguments, 5e-3), twin(*arguments, 5e-3)):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_few_triangles_as_large_as_the_cloud():
    points = torch.randn(3000, 3)
    triangles = 5 * torch.randn(8, 3, 3)
    first = torch.tensor([0])
    for a, b in zip(
        point_triangle_distances(points, first, triangles, first, 0.0), twin(points, first, triangles, first, 0.0)
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("corners", [2, 3])
def test_gradcheck(corners):
    points, points_first, elements, elements_first = scene(
        n_points=3, n_elements=4, corners=corners, size=1.0, dtype=torch.float64
    )

    def distances(p, e):
        return tuple(point_triangle_distances(p, points_first, e, elements_first, 1e-3))

    assert torch.autograd.gradcheck(distances, (points, elements))


DEGENERATE = {
    "a point": [[0.0, 0, 0]] * 3,
    "a line": [[0.0, 0, 0], [1, 1, 1], [3, 3, 3]],
    "two equal corners": [[0.0, 0, 0], [0, 0, 0], [0, 1, 0]],
    "almost a line": [[0.0, 0, 0], [1, 0, 0], [2, 1e-9, 0]],
    "tiny": [[0.0, 0, 0], [1e-20, 0, 0], [0, 1e-20, 0]],
}


@pytest.mark.parametrize("corners", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("min_area", [0.0, 5e-3])
def test_degenerate_triangles_are_finite_and_exact(corners, min_area):
    triangle = torch.tensor([corners], requires_grad=True)
    points = torch.tensor([[0.0, 0, 0], [2, -1, 0], [1e-10, 0, 0], [5, 5, 5]], requires_grad=True)
    first = torch.tensor([0])
    a, b, c = triangle[0].detach()
    expected = torch.stack([to_segment(points, a, b), to_segment(points, b, c), to_segment(points, c, a)]).amin(0)
    forth, back = point_triangle_distances(points, first, triangle, first, min_area)
    torch.testing.assert_close(forth, expected, rtol=1e-5, atol=1e-12)
    assert back == forth.min()
    grads = torch.autograd.grad(forth.sum() + back.sum(), (points, triangle))
    assert all(g.isfinite().all() for g in grads)


def test_small_triangles_count_by_their_outline():
    triangle = torch.tensor([[[0.0, 0, 1], [0.1, 0, 1], [0, 0.08, 1]]])  # area 4e-3
    point, first = torch.tensor([[0.02, 0.02, 0]]), torch.tensor([0])
    assert point_face_distance(point, first, triangle, first, 1) == pytest.approx(1 + 0.02**2)
    assert point_face_distance(point, first, triangle, first, 1, min_triangle_area=1e-3) == pytest.approx(1)


def test_nan_and_no_partner():
    points, triangles = torch.randn(6, 3), torch.randn(5, 3, 3)
    points[1, 0] = triangles[3, 2, 1] = torch.nan
    points.requires_grad_()
    first = torch.tensor([0])
    forth, back = point_triangle_distances(points, first, triangles, first, 0.0)
    good = torch.tensor([0, 2, 3, 4, 5])
    expected = twin(points[good], first, triangles[[0, 1, 2, 4]], first, 0.0)
    assert forth[1].isnan()
    assert back[3].isnan()
    torch.testing.assert_close(forth[good], expected[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(back[[0, 1, 2, 4]], expected[1], rtol=1e-4, atol=1e-6)
    empty = point_triangle_distances(points, first, triangles[:0], first, 0.0)
    assert not empty[0].any()
    assert not torch.autograd.grad(empty[0].sum(), points)[0].any()
    assert not point_triangle_distances(points[:0], first, triangles, first, 0.0)[1].any()


def batch(dtype=torch.float64):
    spheres = [ico_sphere(1), ico_sphere(0)]
    verts = [s.verts_packed().to(dtype) * (i + 1) for i, s in enumerate(spheres)]
    verts = [v.clone().requires_grad_() for v in verts]
    points = [torch.randn(n, 3, dtype=dtype, requires_grad=True) for n in (30, 50)]
    return verts, [s.faces_packed() for s in spheres], points


@pytest.mark.parametrize("loss", [point_mesh_face_distance, point_mesh_edge_distance])
def test_losses_weigh_every_item_alike(loss):
    verts, faces, points = batch()
    ours = loss(Meshes(verts, faces), Pointclouds(points))
    expected = 0
    for v, f, p in zip(verts, faces, points):
        if loss is point_mesh_face_distance:
            dists = to_triangle(p[:, None], v[f][None], 5e-3)
        else:
            edges = v[Meshes([v], [f]).edges_packed()]
            dists = to_segment(p[:, None], edges[None, :, 0], edges[None, :, 1])
        expected = expected + (dists.amin(1).mean() + dists.amin(0).mean()) / 2
    torch.testing.assert_close(ours, expected)
    inputs = (*verts, *points)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs), torch.autograd.grad(expected, inputs))


@pytest.mark.parametrize("loss", [point_mesh_face_distance, point_mesh_edge_distance])
def test_losses_of_empty_items_and_batches(loss):
    verts, faces, points = batch(torch.float32)
    both = loss(Meshes(verts, [faces[0], faces[1][:0]]), Pointclouds([points[0], points[1]]))
    alone = loss(Meshes(verts[:1], faces[:1]), Pointclouds(points[:1]))
    torch.testing.assert_close(both, alone / 2)
    none = loss(Meshes(verts[:1], faces[:1]), Pointclouds([points[0][:0]]))
    assert none == 0
    assert not torch.autograd.grad(none, verts[0])[0].any()
    assert loss(Meshes([], []), Pointclouds(torch.zeros(0, 0, 3))) == 0


def test_packed_functions():
    points, points_first, faces, faces_first = scene(n_points=9, n_elements=7)
    arguments = points, points_first, faces, faces_first
    forth, back = twin(*arguments, 5e-3)
    torch.testing.assert_close(point_face_distance(*arguments, 9), forth, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(face_point_distance(*arguments, 7), back, rtol=1e-4, atol=1e-6)
    segments = faces[:, :2]
    forth, back = twin(points, points_first, segments, faces_first, 0.0)
    torch.testing.assert_close(point_edge_distance(points, points_first, segments, faces_first, 9), forth)
    torch.testing.assert_close(edge_point_distance(points, points_first, segments, faces_first, 7), back)


def test_repeats_are_equal_to_the_bit():
    arguments = scene(n_points=2000, n_elements=100, size=0.3)
    runs = []
    for _ in range(3):
        dists = torch.cat(point_triangle_distances(*arguments, 0.0))
        runs.append((dists, *torch.autograd.grad(dists.cos().sum(), (arguments[0], arguments[2]))))
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run))


def test_bad_input():
    verts, faces, points = batch(torch.float32)
    with pytest.raises(ValueError, match="pcls: expected as many clouds as meshes, 2, got 1"):
        point_mesh_face_distance(Meshes(verts, faces), Pointclouds(points[:1]))
    with pytest.raises(ValueError, match=r"pcls: expected torch.float32 on cpu, got torch.float64"):
        point_mesh_edge_distance(Meshes(verts[:1], faces[:1]), Pointclouds([points[0].double()]))
    p, first = torch.zeros(4, 3), torch.tensor([0])
    with pytest.raises(ValueError, match=r"tris: expected shape \(n, 3, 3\), got \(4, 2, 3\)"):
        point_face_distance(p, first, torch.zeros(4, 2, 3), first, 4)
    with pytest.raises(ValueError, match="points_first_idx: expected indices ascending from 0 to at most 4"):
        point_face_distance(p, torch.tensor([0, 5]), torch.zeros(4, 3, 3), torch.tensor([0, 2]), 4)
    with pytest.raises(ValueError, match=r"segms_first_idx: expected shape \(1\)"):
        edge_point_distance(p, first, torch.zeros(4, 2, 3), torch.tensor([0, 2]), 4)


def test_a_nan_from_above_is_passed_on():
    points, triangles, first = torch.randn(6, 3, requires_grad=True), torch.randn(5, 3, 3), torch.tensor([0])
    forth, _ = point_triangle_distances(points, first, triangles, first, 0.0)
    up = torch.tensor([0.0, torch.nan, 0, 0, 0, 0])
    assert torch.autograd.grad(forth, points, up)[0].isnan().any(1).tolist() == up.isnan().tolist()
