"""Sets of Gaussians: both forms of their parameters, selections, joins and transforms."""

from __future__ import annotations

import math

import pytest
import torch

from tirender.structures import Gaussians, join_gaussians
from tirender.transforms import RotateAxisAngle, Transform3d, random_rotation
from tirender.transforms.harmonics import real_harmonics


def gaussians(n: int = 9, degree: int = 2, dtype: torch.dtype = torch.float32) -> Gaussians:
    return Gaussians(
        torch.randn(n, 3, dtype=dtype),
        torch.randn(n, 4, dtype=dtype),
        torch.rand(n, 3, dtype=dtype) + 0.1,
        torch.rand(n, dtype=dtype) * 0.98 + 0.01,
        torch.randn(n, (degree + 1) ** 2, 3, dtype=dtype),
    )


def raw(n: int = 9) -> Gaussians:
    return Gaussians.from_raw(
        torch.randn(n, 3), torch.randn(n, 4), torch.randn(n, 3), torch.randn(n), torch.randn(n, 4, 3)
    )


def test_each_form_from_the_other():
    g = gaussians()
    again = Gaussians.from_raw(g.means, g.quats, g.log_scales, g.logits, g.harmonics)
    torch.testing.assert_close((again.scales, again.opacities), (g.scales, g.opacities))
    given = raw()
    assert given.log_scales is given.log_scales
    assert torch.equal(given.scales, given.log_scales.exp())
    assert torch.equal(given.opacities, given.logits.sigmoid())


def test_raw_parameters_are_leaves():
    leaves = [v.requires_grad_() for v in (raw().means, raw().quats, raw().log_scales, raw().logits, raw().harmonics)]
    g = Gaussians.from_raw(*leaves)
    assert g.log_scales is leaves[2]
    grads = torch.autograd.grad(g.scales.sum() + g.opacities.sum(), leaves[2:4])
    assert all(grad.all() for grad in grads)


def test_colors_of_all_directions():
    colors = torch.rand(5, 3)
    g = Gaussians.from_colors(*(getattr(gaussians(5), k) for k in ("means", "quats", "scales", "opacities")), colors, 3)
    assert g.degree == 3
    torch.testing.assert_close(g.colors, colors)
    assert not g.harmonics[:, 1:].any()


def test_covariances():
    g = gaussians()
    values = torch.linalg.eigvalsh(g.covariances())
    torch.testing.assert_close(values, g.scales.square().sort(1).values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("index", [2, -1, slice(1, 6, 2), [0, 3, 3], torch.tensor([4, 1]), torch.arange(9) > 4])
@pytest.mark.parametrize("make", [gaussians, raw])
def test_selection(make, index):
    g = make()
    rows = torch.arange(9)[index].reshape(-1)
    for name in ("means", "quats", "scales", "log_scales", "opacities", "logits", "harmonics"):
        assert torch.equal(getattr(g[index], name), getattr(g, name)[rows])
    with pytest.raises(IndexError, match="index"):
        g[9]


def test_joined():
    a, b = gaussians(3, 1), gaussians(4, 3)
    joined = join_gaussians([a, b])
    assert len(joined) == 7
    assert joined.degree == 3
    assert torch.equal(joined.means, torch.cat([a.means, b.means]))
    assert torch.equal(joined.harmonics[:3, :4], a.harmonics)
    assert not joined.harmonics[:3, 4:].any()
    parts = [raw(2), raw(3)]
    assert torch.equal(join_gaussians(parts).logits, torch.cat([g.logits for g in parts]))
    for bad in ([], a, [a, 1], [a, gaussians(2, dtype=torch.float64)]):
        with pytest.raises(ValueError, match="gaussians"):
            join_gaussians(bad)


@pytest.mark.parametrize("mirrored", [False, True])
def test_transform(mirrored):
    g = gaussians(dtype=torch.float64)
    g.quats[0] = 0
    matrix = torch.eye(4, dtype=torch.float64)
    linear = 1.7 * random_rotation(dtype=torch.float64) * (-1 if mirrored else 1)
    matrix[:3, :3], matrix[3, :3] = linear, torch.tensor([1.0, 2, 3])
    moved = g.transform(Transform3d(matrix=matrix))
    torch.testing.assert_close(moved.means, g.means @ linear + matrix[3, :3])
    expected = linear.T @ g.covariances() @ linear
    torch.testing.assert_close(moved.covariances(), expected, rtol=1e-6, atol=1e-8)
    d = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=1)
    turned = d @ linear / 1.7
    torch.testing.assert_close(real_harmonics(turned, 2) @ moved.harmonics, real_harmonics(d, 2) @ g.harmonics)
    back = moved.transform(Transform3d(matrix=matrix).inverse())
    torch.testing.assert_close((back.means, back.harmonics), (g.means, g.harmonics))
    torch.testing.assert_close(raw().transform(RotateAxisAngle(90)).logits.shape, raw().logits.shape)


def test_transforms_that_are_refused():
    stretch = torch.diag(torch.tensor([1.0, 2, 1, 1]))
    for bad in (Transform3d(matrix=stretch), Transform3d(matrix=torch.eye(4).expand(2, 4, 4)), torch.eye(4)):
        with pytest.raises(ValueError, match="transform"):
            gaussians().transform(bad)


def test_degree():
    g = gaussians(degree=2)
    assert g.with_degree(1).harmonics.shape == (9, 4, 3)
    assert torch.equal(g.with_degree(4).with_degree(2).harmonics, g.harmonics)
    with pytest.raises(ValueError, match="degree"):
        g.with_degree(5)


def test_copies():
    g = gaussians()
    g.means.requires_grad_()
    assert not g.detach().means.requires_grad
    assert g.detach().means.data_ptr() == g.means.data_ptr()
    assert g.clone().means.data_ptr() != g.means.data_ptr()
    assert torch.equal(g.cpu().means, g.means)
    assert g.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("means", torch.zeros(9, 2)),
        ("means", torch.zeros(9, 3, dtype=torch.int64)),
        ("means", torch.full((9, 3), math.nan)),
        ("quats", torch.zeros(8, 4)),
        ("quats", torch.full((9, 4), math.inf)),
        ("scales", torch.full((9, 3), -0.1)),
        ("scales", torch.zeros(9, 3, dtype=torch.float64)),
        ("opacities", torch.full((9,), 1.1)),
        ("opacities", torch.full((9,), math.nan)),
        ("harmonics", torch.zeros(9, 5, 3)),
        ("harmonics", torch.zeros(9, 4)),
    ],
)
def test_bad_arguments(field, value):
    g = gaussians()
    given = {k: getattr(g, k) for k in ("means", "quats", "scales", "opacities", "harmonics")}
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        Gaussians(**given | {field: value})
