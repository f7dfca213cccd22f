"""Multiresolution hash encoding, against the slow twin; ``test_archs.py`` compares archs and numbers of threads."""

from __future__ import annotations

import pytest
import torch
from reference import hash_grid as twin

from tirender.engine.hash_grid import HashGridLayout, hash_encode

# two levels with a row for each corner, three hashed ones
LAYOUT = HashGridLayout(n_levels=5, n_features=2, log2_rows=9, base_resolution=4, finest_resolution=60)


def inputs(n=50, layout=LAYOUT, dtype=torch.float32):
    points = torch.rand(n, 3, dtype=dtype) * 1.2 - 0.1  # some outside
    table = torch.randn(layout.n_rows, layout.n_features, dtype=dtype)
    return points.requires_grad_(), table.requires_grad_()


def test_layout():
    assert LAYOUT.resolutions[0] == 4
    assert LAYOUT.resolutions[-1] == 60
    assert LAYOUT.n_rows == 5**3 + 3 * 2**9 + min((LAYOUT.resolutions[1] + 1) ** 3, 2**9)
    assert LAYOUT.n_channels == 10
    assert [hashed >= 0 for _, _, hashed in LAYOUT.levels] == [False, LAYOUT.resolutions[1] > 7, True, True, True]
    assert HashGridLayout(n_levels=1).resolutions == [16]


@pytest.mark.parametrize("n_features", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 300])
def test_matches_the_twin(n, n_features):
    layout = HashGridLayout(5, n_features, 9, 4, 60)
    points, table = inputs(n, layout)
    ours, expected = (f(points, table, layout) for f in (hash_encode, twin.hash_encode))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    up = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad(out, (points, table), up) for out in (ours, expected))):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


def test_the_finest_grids_have_no_overflow():
    layout = HashGridLayout(n_levels=3, log2_rows=8, base_resolution=1000, finest_resolution=1 << 20)
    points, table = inputs(40, layout, torch.float64)
    torch.testing.assert_close(hash_encode(points, table, layout), twin.hash_encode(points, table, layout))


def test_gradcheck():
    points, table = inputs(3, dtype=torch.float64)
    points = (0.8 * points.detach() + 0.1).requires_grad_()  # within the cube
    assert torch.autograd.gradcheck(lambda p, t: hash_encode(p, t, LAYOUT), (points, table), fast_mode=True)


def test_a_linear_function_is_interpolated_exactly():
    layout = HashGridLayout(n_levels=1, n_features=1, log2_rows=12, base_resolution=8, finest_resolution=8)
    z, y, x = torch.meshgrid(*[torch.linspace(0, 1, 9)] * 3, indexing="ij")
    table = (x + 2 * y - 3 * z).reshape(-1, 1)
    points = torch.rand(100, 3, requires_grad=True)
    out = hash_encode(points, table, layout)
    torch.testing.assert_close(out[:, 0], points @ torch.tensor([1.0, 2, -3]), rtol=0, atol=1e-6)
    grad = torch.autograd.grad(out.sum(), points)[0]
    torch.testing.assert_close(grad, torch.tensor([1.0, 2, -3]).expand(100, 3), rtol=0, atol=1e-5)


def test_points_outside_count_as_the_nearest_and_have_no_gradient_across():
    _, table = inputs()
    points = torch.tensor([[-3.0, 0.37, 2.0], [0.0, 0.37, 1.0]], requires_grad=True)
    out = hash_encode(points, table, LAYOUT)
    assert torch.equal(out[0], out[1])
    grad = torch.autograd.grad(out.sum(), points)[0]
    assert (grad[0] != 0).tolist() == [False, True, False]


def test_what_is_known_is_not_computed_again_and_has_the_same_gradients():
    points, table = inputs(24)
    expected = hash_encode(points, table, LAYOUT)
    known = expected.detach().clone()
    found = hash_encode(points, table, LAYOUT, known)
    assert found.data_ptr() == known.data_ptr()
    up = torch.randn_like(expected)
    grads = [torch.autograd.grad(out, (points, table), up) for out in (found, expected)]
    assert all(map(torch.equal, *grads))
    with pytest.raises(ValueError, match="known"):
        hash_encode(points, table, LAYOUT, known[1:])


def test_any_shape_of_points_non_contiguous_used_twice():
    points, table = inputs(24)
    expected = hash_encode(points, table, LAYOUT)
    strided = torch.stack([points.detach(), points.detach()], dim=1)[:, 0].view(2, 3, 4, 3)
    out = hash_encode(strided, table.detach().t().contiguous().t().requires_grad_(), LAYOUT)
    assert out.shape == (2, 3, 4, 10)
    assert torch.equal(out.reshape(-1, 10), expected)
    up = torch.randn_like(expected)
    single = torch.autograd.grad(expected, (points, table), up)
    twice = torch.autograd.grad(sum(hash_encode(points, table, LAYOUT) for _ in range(2)), (points, table), up)
    for a, b in zip(single, twice):
        torch.testing.assert_close(2 * a, b)


def test_no_points():
    points, table = inputs(0)
    out = hash_encode(points, table, LAYOUT)
    assert out.shape == (0, 10)
    grads = torch.autograd.grad(out.sum(), (points, table))
    assert grads[0].shape == (0, 3)
    assert not grads[1].any()


def test_points_that_are_no_numbers_do_no_harm():
    _, table = inputs()
    points = torch.tensor([[float("nan"), 0.5, 0.5], [float("inf"), -float("inf"), 0.5], [0.5, 0.5, 0.5]])
    assert hash_encode(points, table, LAYOUT)[1:].isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_levels": 0}, "n_levels: expected an integer from 1 to 64, got 0"),
        ({"n_features": 9}, "n_features: expected an integer from 1 to 8, got 9"),
        ({"log2_rows": 2}, "log2_rows: expected an integer from 3 to 24, got 2"),
        ({"base_resolution": 0}, "base_resolution: expected an integer from 1"),
        ({"base_resolution": 1.5}, "base_resolution: expected an integer from 1"),
        ({"finest_resolution": 15}, "finest_resolution: expected an integer from 16"),
        (
            {"n_levels": 64, "n_features": 8, "log2_rows": 24, "base_resolution": 4000, "finest_resolution": 4000},
            "2\\^31",
        ),
    ],
)
def test_bad_layouts(change, message):
    with pytest.raises(ValueError, match=message):
        HashGridLayout(**change)


def test_bad_input():
    points, table = inputs()
    with pytest.raises(ValueError, match=r"points: expected shape \(\.\.\., 3\), got \(50, 2\)"):
        hash_encode(points[:, :2], table, LAYOUT)
    with pytest.raises(ValueError, match=r"table: expected shape \(\d+, 2\)"):
        hash_encode(points, table[1:], LAYOUT)
    with pytest.raises(ValueError, match="table: expected torch.float32"):
        hash_encode(points, table.double(), LAYOUT)
    with pytest.raises(ValueError, match="points: expected float32 or float64, got torch.int64"):
        hash_encode(points.long(), table, LAYOUT)
