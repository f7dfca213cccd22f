"""Real spherical harmonics in torch: orthonormal, in the order of the kernels, and turned."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference import splats as twin

from tirender.transforms import random_rotation
from tirender.transforms.harmonics import real_harmonics, rotate_harmonics


def directions(n: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, 3, dtype=torch.float64), dim=1)


@pytest.mark.parametrize("degree", range(6))
def test_matches_the_twin(degree):
    d = directions(30)
    torch.testing.assert_close(real_harmonics(d, degree), twin.harmonics(d, degree), rtol=1e-12, atol=1e-12)


def test_orthonormal():
    z, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(12))
    phi = torch.arange(24, dtype=torch.float64) * (2 * math.pi / 24)
    r = (1 - z * z).sqrt()[:, None]
    grid = torch.stack([r * phi.cos(), r * phi.sin(), z[:, None].expand(12, 24)], -1)
    y = real_harmonics(grid, 4)
    products = torch.einsum("i,ijk,ijl->kl", weights, y, y) * (2 * math.pi / 24)
    torch.testing.assert_close(products, torch.eye(25, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mirrored", [False, True])
def test_turned(mirrored):
    rotation = random_rotation(dtype=torch.float64) * (-1 if mirrored else 1)
    f = torch.randn(7, 25, 3, dtype=torch.float64, requires_grad=True)
    g = rotate_harmonics(f, rotation)
    d = directions(20)
    torch.testing.assert_close(real_harmonics(d, 4) @ g, real_harmonics(d @ rotation, 4) @ f, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(rotate_harmonics(g, rotation.T), f, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(g.square().sum((1, 2)), f.square().sum((1, 2)))
    single = rotate_harmonics(f.float(), rotation.float())
    torch.testing.assert_close(single, g.float(), rtol=1e-5, atol=1e-5)
