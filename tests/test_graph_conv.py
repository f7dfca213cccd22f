"""Graph convolution, against dense adjacency matrices."""

import pytest
import torch

from tirender.ops.graph_conv import GraphConv, gather_scatter

EDGES = torch.tensor([[0, 1], [0, 2], [3, 1]])
ADJACENCY = torch.zeros(5, 5, dtype=torch.float64).index_put(tuple(EDGES.t()), torch.ones(3, dtype=torch.float64))
FEATS = torch.arange(10.0, dtype=torch.float64).reshape(5, 2)


@pytest.mark.parametrize(
    ("directed", "backward", "matrix"),
    [(True, False, ADJACENCY), (True, True, ADJACENCY.t()), (False, False, ADJACENCY + ADJACENCY.t())],
)
def test_gather_scatter(directed, backward, matrix):
    assert torch.equal(gather_scatter(FEATS, EDGES, directed, backward), matrix @ FEATS)


@pytest.mark.parametrize("directed", [False, True])
def test_layer(directed):
    layer = GraphConv(2, 3, directed=directed).double()
    assert layer.w0.weight.std() < 0.05
    assert not layer.w0.bias.any()
    with torch.no_grad():
        layer.w1.bias += 1
    matrix = ADJACENCY if directed else ADJACENCY + ADJACENCY.t()
    expected = FEATS @ layer.w0.weight.t() + matrix @ (FEATS @ layer.w1.weight.t() + 1)
    torch.testing.assert_close(layer(FEATS, EDGES), expected)
    assert torch.autograd.gradcheck(lambda f: layer(f, EDGES), FEATS.clone().requires_grad_())


def test_zero_init_and_empty():
    assert not GraphConv(2, 3, init="zero").double()(FEATS, EDGES).any()
    layer = GraphConv(2, 3)
    empty = layer(torch.zeros(0, 2), EDGES[:0])
    assert empty.shape == (0, 3)
    empty.sum().backward()


def test_refuses():
    with pytest.raises(ValueError, match="init: expected 'normal' or 'zero', got 'ones'"):
        GraphConv(2, 3, init="ones")
    with pytest.raises(ValueError, match=r"verts: expected shape \(V, 2\), got \(5, 3\)"):
        GraphConv(2, 3)(torch.rand(5, 3), EDGES)
    with pytest.raises(ValueError, match="edges: expected vertex indices from 0 to 1, got 0 to 3"):
        gather_scatter(torch.rand(2, 2), EDGES)
