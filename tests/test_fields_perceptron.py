"""Small networks, layer by layer in chunks of rows, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tirender.fields import perceptron
from tirender.fields.perceptron import Perceptron


@pytest.mark.parametrize("n", [0, 1, 16, 37])
@pytest.mark.parametrize("widths", [(5, 3), (5, 8, 3), (5, 8, 8, 1)])
def test_chunks_make_no_difference(monkeypatch, n, widths):
    monkeypatch.setattr(perceptron, "CHUNK", 16)
    net = Perceptron(*widths).double()
    x, upstream = torch.randn(n, 5, dtype=torch.float64, requires_grad=True), torch.randn(n, widths[-1]).double()
    ours, theirs = net(x), nn.Sequential.forward(net, x)
    torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        torch.testing.assert_close(net(x), theirs)
    leaves = [x, *net.parameters()]
    a, b = (torch.autograd.grad(y, leaves, upstream, retain_graph=True) for y in (ours, theirs))
    torch.testing.assert_close(a, b)


def test_second_derivatives_are_refused():
    x = torch.randn(4, 5, requires_grad=True)
    (grad,) = torch.autograd.grad(Perceptron(5, 8, 1)(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="first-order gradients only"):
        grad.square().sum().backward()


def test_autocast_is_obeyed():
    net, x = Perceptron(5, 8, 2), torch.randn(4, 5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x)
    assert y.dtype == torch.bfloat16
    (grad,) = torch.autograd.grad(y.float().sum(), x)
    assert grad.abs().sum() > 0
