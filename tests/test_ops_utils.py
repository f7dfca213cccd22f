"""Helpers of the operators on points."""

from __future__ import annotations

import pytest
import torch

from tirender.ops.utils import (
    convert_pointclouds_to_tensor,
    eyes,
    get_point_covariances,
    is_pointclouds,
    masked_gather,
    wmean,
)
from tirender.structures import Pointclouds


def test_wmean():
    x, weight = torch.randn(2, 5, 3), torch.rand(2, 5)
    expected = (x * weight[..., None]).sum(1, keepdim=True) / weight.sum(1)[:, None, None]
    torch.testing.assert_close(wmean(x, weight), expected)
    torch.testing.assert_close(wmean(x, weight, keepdim=False), expected[:, 0])
    torch.testing.assert_close(wmean(x), x.mean(1, keepdim=True))
    torch.testing.assert_close(wmean(x, weight[:1]), wmean(x, weight[:1].expand(2, 5)) * 1)
    torch.testing.assert_close(
        wmean(x, weight, dim=(0, 1), keepdim=False), (x * weight[..., None]).sum((0, 1)) / weight.sum()
    )
    assert not wmean(x, 0 * weight).any()
    with pytest.raises(ValueError, match=r"weight: expected a shape that broadcasts with \(2, 5\), got \(2, 4\)"):
        wmean(x, weight[:, :4])


def test_weights_broadcast_from_the_right():
    x, few, many = torch.rand(2, 4, 3), torch.rand(4), torch.rand(5, 2, 4)
    expected = torch.einsum("npd,p->nd", x, few) / few.sum()
    torch.testing.assert_close(wmean(x, few, keepdim=False), expected)
    expected = torch.einsum("npd,bnp->bnd", x, many) / many.sum(-1)[..., None]
    torch.testing.assert_close(wmean(x, many, keepdim=False), expected)


def test_eyes():
    batch = eyes(3, 2, dtype=torch.float64)
    assert torch.equal(batch, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    batch[0] += 1
    assert torch.equal(batch[1], torch.eye(3, dtype=torch.float64))


def test_convert_pointclouds():
    parts = [torch.randn(4, 3), torch.randn(2, 3)]
    clouds = Pointclouds(parts)
    assert is_pointclouds(clouds)
    assert not is_pointclouds(parts[0])
    points, lengths = convert_pointclouds_to_tensor(clouds)
    assert lengths.tolist() == [4, 2]
    assert torch.equal(points[1, :2], parts[1])
    points, lengths = convert_pointclouds_to_tensor(parts[0][None])
    assert lengths.tolist() == [4]
    with pytest.raises(ValueError, match="pcl: expected a tensor, got list"):
        convert_pointclouds_to_tensor(parts)


def test_masked_gather():
    points = torch.randn(2, 5, 3)
    idx = torch.tensor([[0, 4, -1], [-1, 2, 2]])
    picked = masked_gather(points, idx)
    assert torch.equal(picked[0, :2], points[0, [0, 4]])
    assert not picked[0, 2].any()
    assert torch.equal(masked_gather(points, idx[..., None])[:, :, 0], picked)
    with pytest.raises(ValueError, match=r"idx: expected shape \(2, K\) or \(2, P1, K\)"):
        masked_gather(points, idx[:1])


def test_covariances():
    points = torch.randn(1, 9, 3)
    covariances, neighbours = get_point_covariances(points, torch.tensor([9]), 4)
    assert torch.equal(neighbours[0, :, 0], points[0])
    expected = torch.stack([torch.cov(n.t(), correction=0) for n in neighbours[0]])
    torch.testing.assert_close(covariances[0], expected)
