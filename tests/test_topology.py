"""Gathers and sums over the corners of faces, and their adjoints."""

import pytest
import torch

from tirender.structures.topology import Topology

FACES = torch.tensor([[0, 1, 2], [2, 1, 3], [0, 0, 3], [0, 2, 1]])  # two meshes: 5 and 4 vertices, 3 and 1 faces


@pytest.fixture
def topology():
    return Topology(FACES, [5, 4], [3, 1])


def test_vertex_corners(topology):
    indices, offsets = topology.vertex_corners
    assert indices.dtype == offsets.dtype == torch.int32
    assert offsets.tolist() == [0, 3, 5, 7, 9, 9, 10, 11, 12, 12]
    assert indices.tolist() == [0, 6, 7, 1, 4, 2, 3, 5, 8, 9, 11, 10]


def test_faces_int32(topology):
    assert topology.faces_int32.dtype == torch.int32
    assert topology.faces_int32.is_contiguous()
    assert torch.equal(topology.faces_int32.long(), topology.faces_packed)
    assert topology.faces_int32 is topology.faces_int32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gather_corners(topology, dtype):
    values = torch.rand(9, 2, dtype=dtype)
    assert torch.equal(topology.gather_corners(values), values[topology.faces_packed.t()])


def test_sum_faces_at_vertices(topology):
    values = torch.rand(4, 2)
    expected = torch.zeros(9, 2)
    for corner in range(3):
        expected.index_add_(0, topology.faces_packed[:, corner], values)
    torch.testing.assert_close(topology.sum_faces_at_vertices(values), expected)


def test_edges_at_vertices(topology):
    assert topology.edges.tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3], [5, 6], [5, 7], [6, 7]]
    assert topology.degree.tolist() == [5, 3, 3, 3, 0, 2, 2, 2, 0]
    indices, offsets = topology.vertex_neighbours
    bags = [sorted(indices[a:b].tolist()) for a, b in zip(offsets[:-1], offsets[1:])]
    assert bags == [[0, 0, 1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [], [6, 7], [5, 7], [5, 6], []]
    values = torch.rand(9, 2)
    assert torch.equal(topology.gather_ends(values), values[topology.edges.t()])
    torch.testing.assert_close(topology.sum_neighbours(values), torch.stack([values[bag].sum(0) for bag in bags]))
    ends = torch.rand(2, 10, 2)
    expected = torch.zeros(9, 2).index_add(0, topology.edges.t().reshape(-1), ends.flatten(0, 1))
    torch.testing.assert_close(topology.sum_ends_at_vertices(ends), expected)


def test_face_pairs(topology):
    """Face 0 and 1 share an edge; face 2 = (0, 0, 3) meets itself along (0, 3)."""
    assert sorted(topology.face_pairs.tolist()) == [[0, 1], [2, 2]]
    assert topology.num_pairs_per_mesh.tolist() == [2, 0]
    assert topology.pair_signs[topology.face_pairs[:, 0] == 0].tolist() == [1]
    values = torch.rand(4, 2)
    expected = torch.stack([values[1] / 2, values[0] / 2])
    torch.testing.assert_close(topology.sum_face_neighbours(values)[:2], expected)


def test_faces_on_one_edge_pair_up():
    topology = Topology(torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]]), [5], [3])
    assert sorted(map(sorted, topology.face_pairs.tolist())) == [[0, 1], [0, 2], [1, 2]]
    signs = {tuple(sorted(p)): s for p, s in zip(topology.face_pairs.tolist(), topology.pair_signs.tolist())}
    assert signs == {(0, 1): 1, (1, 2): 1, (0, 2): -1}


def test_adjoints(topology):
    verts = torch.rand(9, 2, dtype=torch.float64, requires_grad=True)
    faces = torch.rand(4, 2, dtype=torch.float64, requires_grad=True)
    ends = torch.rand(2, 10, 2, dtype=torch.float64, requires_grad=True)
    for function, values in (
        (topology.gather_corners, verts),
        (topology.sum_faces_at_vertices, faces),
        (topology.gather_ends, verts),
        (topology.sum_ends_at_vertices, ends),
        (topology.sum_neighbours, verts),
        (topology.sum_face_neighbours, faces),
    ):
        assert torch.autograd.gradcheck(function, values)
        assert torch.autograd.gradgradcheck(function, values)
    strided = torch.rand(2, 9, dtype=torch.float64).t().requires_grad_()
    assert torch.autograd.gradcheck(topology.gather_corners, strided)


@pytest.mark.parametrize(("n_verts", "n_faces"), [(0, 0), (3, 0), (3, 1)])
def test_small(n_verts, n_faces):
    topology = Topology(torch.tensor([[0, 1, 2]])[:n_faces], [n_verts], [n_faces])
    values = torch.rand(n_verts, 3, requires_grad=True)
    gathered = topology.gather_corners(values)
    assert gathered.shape == (3, n_faces, 3)
    summed = topology.sum_faces_at_vertices(gathered.sum(0))
    assert summed.shape == (n_verts, 3)
    summed.sum().backward()
    assert torch.equal(values.grad, torch.full((n_verts, 3), 3.0 * n_faces))
    assert topology.sum_neighbours(values).shape == (n_verts, 3)
    assert topology.sum_ends_at_vertices(topology.gather_ends(values)).shape == (n_verts, 3)
    assert topology.sum_face_neighbours(values[:n_faces]).tolist() == [[0.0, 0.0, 0.0]] * n_faces


def test_derived_quantities_are_computed_once(topology):
    for name in ("faces_packed", "faces_padded", "edges", "faces_to_edges", "vert_to_mesh", "vertex_corners"):
        assert getattr(topology, name) is getattr(topology, name)
    assert topology.laplacian(torch.float32) is topology.laplacian(torch.float32)
    assert topology.extend(3) is topology.extend(3)
    assert topology.to(topology.device) is topology
