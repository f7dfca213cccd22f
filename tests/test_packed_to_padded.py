"""Packed and padded tensors."""

import pytest
import torch

from tirender.ops.packed_to_padded import packed_to_padded, padded_to_packed

FIRST = torch.tensor([0, 3, 3, 4])  # items of 3, 0, 1 and 2 rows


@pytest.mark.parametrize("tail", [(), (2,), (2, 3)])
def test_values(tail):
    packed = torch.rand(6, *tail)
    padded = packed_to_padded(packed, FIRST, 3)
    assert padded.shape == (4, 3, *tail)
    assert torch.equal(padded[0], packed[:3])
    assert torch.equal(padded[2, :1], packed[3:4])
    assert torch.equal(padded[3, :2], packed[4:])
    assert (padded[1] == 0).all()
    assert (padded[3, 2:] == 0).all()
    assert torch.equal(padded_to_packed(padded, FIRST, 6), packed)
    if tail:
        assert torch.equal(padded_to_packed(padded.transpose(1, 2), FIRST, 6, max_size_dim=2), packed)


def test_gradients():
    packed = torch.rand(6, 2, dtype=torch.float64, requires_grad=True)
    padded = torch.rand(4, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: packed_to_padded(x, FIRST, 3), packed)
    assert torch.autograd.gradcheck(lambda x: padded_to_packed(x, FIRST, 6), padded)


@pytest.mark.parametrize("n_items", [0, 2])
def test_empty(n_items):
    first = torch.zeros(n_items, dtype=torch.int64)
    assert packed_to_padded(torch.rand(0, 3), first, 2).tolist() == [[[0.0] * 3] * 2] * n_items
    assert padded_to_packed(torch.rand(n_items, 2, 3), first, 0).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: packed_to_padded(torch.rand(6), FIRST, 2), "max_size: expected at least 3, the longest item, got 2"),
        (lambda: packed_to_padded(torch.rand(6), FIRST.flip(0), 3), "first_idxs: expected ascending indices, from 0"),
        (lambda: packed_to_padded(torch.rand(3), FIRST, 3), "first_idxs: expected ascending indices, from 0"),
        (lambda: packed_to_padded(torch.rand(6), FIRST[1:], 3), "first_idxs: expected ascending indices, from 0"),
        (lambda: packed_to_padded(torch.rand(6), FIRST.float(), 3), "first_idxs: expected int32 or int64"),
        (lambda: padded_to_packed(torch.rand(3, 3), FIRST, 6), r"first_idxs: expected shape \(3\), got \(4,\)"),
        (lambda: padded_to_packed(torch.rand(4, 3), FIRST, 6, 2), "max_size_dim: expected a dimension of inputs"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
