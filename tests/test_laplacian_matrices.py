"""Laplacian matrices against their definitions, one edge and one angle at a time."""

import pytest
import torch

from tirender.ops.laplacian_matrices import cot_laplacian, laplacian, norm_laplacian

FACES = torch.tensor([[0, 1, 2], [2, 1, 3]])
EDGES = torch.tensor([[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]])


def random_verts(requires_grad=False):
    """Four vertices with faces and one without."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(5, 3, dtype=torch.float64, generator=generator).requires_grad_(requires_grad)


def cotangent(corner, first, second):
    a, b = first - corner, second - corner
    return a.dot(b) / torch.linalg.cross(a, b).norm()


def test_uniform():
    third = 1 / 3
    expected = torch.tensor(
        [
            [-1, 0.5, 0.5, 0, 0],
            [third, -1, third, third, 0],
            [third, third, -1, third, 0],
            [0, 0.5, 0.5, -1, 0],
            [0, 0, 0, 0, -1],
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(laplacian(random_verts(), EDGES).to_dense(), expected)


def test_inverse_lengths():
    verts = random_verts()
    expected = torch.zeros(5, 5, dtype=torch.float64)
    for i, j in EDGES.tolist():
        expected[i, j] = expected[j, i] = 1 / (verts[i] - verts[j]).norm()
    torch.testing.assert_close(norm_laplacian(verts, EDGES).to_dense(), expected)


def test_cotangents():
    verts = random_verts()
    expected, areas = torch.zeros(5, 5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    for face in FACES.tolist():
        for k in range(3):
            opposite, i, j = face[k], face[k - 1], face[k - 2]
            weight = cotangent(verts[opposite], verts[i], verts[j])
            expected[i, j] += weight
            expected[j, i] += weight
            areas[opposite] += torch.linalg.cross(verts[i] - verts[opposite], verts[j] - verts[opposite]).norm() / 2
    matrix, inv_areas = cot_laplacian(verts, FACES)
    torch.testing.assert_close(matrix.to_dense(), expected)
    torch.testing.assert_close(inv_areas[:4, 0], 1 / areas[:4])
    assert inv_areas[4] == 0


def test_gradients():
    verts = random_verts(requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: norm_laplacian(v, EDGES).to_dense(), verts)
    assert torch.autograd.gradcheck(
        lambda v: (cot_laplacian(v, FACES)[0].to_dense(), cot_laplacian(v, FACES)[1]), verts
    )


def test_gradients_are_finite_without_area():
    for verts in (torch.zeros(5, 3), torch.arange(5.0)[:, None].repeat(1, 3)):
        verts.requires_grad_()
        matrix, inv_areas = cot_laplacian(verts, FACES)
        loss = matrix.to_dense().sum() + inv_areas.sum() + norm_laplacian(verts, EDGES).to_dense().sum()
        loss.backward()
        assert loss.isfinite()
        assert verts.grad.isfinite().all()


def test_empty():
    none = torch.zeros(0, 2, dtype=torch.int64)
    assert laplacian(torch.zeros(0, 3), none).shape == (0, 0)
    assert norm_laplacian(torch.rand(2, 3), none).to_dense().tolist() == [[0, 0], [0, 0]]
    matrix, inv_areas = cot_laplacian(torch.rand(2, 3), torch.zeros(0, 3, dtype=torch.int64))
    assert matrix.to_dense().tolist() == [[0, 0], [0, 0]]
    assert inv_areas.tolist() == [[0], [0]]


@pytest.mark.parametrize("function", [laplacian, norm_laplacian])
def test_refuses(function):
    with pytest.raises(ValueError, match=r"verts: expected shape \(V, 3\), got \(5, 2\)"):
        function(torch.rand(5, 2), EDGES)
    with pytest.raises(ValueError, match=r"edges: expected shape \(n, 2\), got \(2, 3\)"):
        function(torch.rand(5, 3), FACES)
    with pytest.raises(ValueError, match="faces: expected int64, got torch.float32"):
        cot_laplacian(torch.rand(5, 3), FACES.float())
