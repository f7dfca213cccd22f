"""List, padded and packed layouts."""

import pytest
import torch

from tirender.structures import list_to_packed, list_to_padded, packed_to_list, padded_to_list
from tirender.structures.utils import padded_to_packed


def test_list_to_padded():
    items = [torch.rand(2, 4), torch.rand(0, 4), torch.rand(3, 2)]
    padded = list_to_padded(items, pad_value=-1)
    assert padded.shape == (3, 3, 4)
    assert torch.equal(padded[0, :2], items[0])
    assert torch.equal(padded[2, :, :2], items[2])
    assert (padded[0, 2:] == -1).all()
    assert (padded[1] == -1).all()
    assert (padded[2, :, 2:] == -1).all()


def test_list_to_padded_size_dtype_and_gradient():
    items = [torch.rand(2, 3, dtype=torch.float64, requires_grad=True), torch.rand(1, 3, dtype=torch.float64)]
    padded = list_to_padded(items, (4, 5))
    assert padded.shape == (2, 4, 5)
    assert padded.dtype == torch.float64
    padded.sum().backward()
    assert (items[0].grad == 1).all()
    assert list_to_padded([torch.tensor([1, 2]), torch.tensor([3])]).tolist() == [[1, 2], [3, 0]]
    assert list_to_padded([torch.tensor([]), torch.rand(2, 3)]).shape == (2, 2, 3)
    assert list_to_padded([torch.rand(2, 3)] * 2, equisized=True).shape == (2, 2, 3)


def test_padded_to_list():
    padded = torch.rand(2, 3, 4)
    assert [t.shape for t in padded_to_list(padded)] == [(3, 4), (3, 4)]
    by_row = padded_to_list(padded, [2, 0])
    assert torch.equal(by_row[0], padded[0, :2])
    assert by_row[1].shape == (0, 4)
    by_both = padded_to_list(padded, [(2, 1), (3, 4)])
    assert torch.equal(by_both[0], padded[0, :2, :1])
    assert torch.equal(by_both[1], padded[1])


def test_padded_and_list_round_trip():
    items = [torch.rand(n, 2) for n in (3, 0, 1)]
    assert all(torch.equal(a, b) for a, b in zip(padded_to_list(list_to_padded(items), [3, 0, 1]), items))


def test_list_to_packed_and_back():
    items = [torch.rand(n, 2) for n in (3, 0, 1)]
    packed, num_items, first, owners = list_to_packed(items)
    assert torch.equal(packed, torch.cat(items))
    assert num_items.tolist() == [3, 0, 1]
    assert first.tolist() == [0, 3, 3]
    assert owners.tolist() == [0, 0, 0, 2]
    assert all(torch.equal(a, b) for a, b in zip(packed_to_list(packed, [3, 0, 1]), items))
    assert [len(part) for part in packed_to_list(packed, 3)] == [3, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: list_to_padded([]), "x: expected at least one tensor, got none"),
        (lambda: list_to_padded([torch.rand(2), torch.rand(2, 2)]), "x: expected tensors of equally many dimensions"),
        (lambda: list_to_padded([torch.rand(2, 2)], (2,)), r"pad_size: expected 2 sizes, got \(2,\)"),
        (lambda: list_to_padded([torch.rand(3, 2)], (2, 2)), r"pad_size: expected at least \(3, 2\), got \(2, 2\)"),
        (lambda: padded_to_list(torch.rand(2, 3), [1]), "split_size: expected 2 entries as in x, got 1"),
        (lambda: list_to_packed([]), "x: expected at least one tensor, got none"),
        (lambda: packed_to_list(torch.rand(3, 2), [1, 1]), r"split_size: expected sizes that sum to 3, got \[1, 1\]"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_padded_to_packed():
    x = torch.arange(12.0).reshape(2, 3, 2)
    assert torch.equal(padded_to_packed(x), x.reshape(6, 2))
    expected = torch.tensor([[0.0, 1.0], [6.0, 7.0], [8.0, 9.0]])
    assert torch.equal(padded_to_packed(x, [1, 2]), expected)
    assert torch.equal(padded_to_packed(x, 1), expected[:2])
    x[0, 1:], x[1, 2:] = -1, -1
    assert torch.equal(padded_to_packed(x, pad_value=-1), expected)
    for arguments, message in (
        ((x, [1, 2], -1), "split_size, pad_value: expected at most one"),
        ((x, [1, 4]), "split_size: expected 2 sizes from 0 to 3"),
        ((x, [1]), "split_size: expected 2 sizes"),
        ((x[0],), r"x: expected shape \(N, M, K\)"),
    ):
        with pytest.raises(ValueError, match=message):
            padded_to_packed(*arguments)
