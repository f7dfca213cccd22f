"""Small networks of many rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tirender.engine.first_order import FirstOrder

CHUNK = 1 << 13  # rows that pass through all layers together, so that a CPU's cache holds what lies between these


class Perceptron(nn.Sequential):
    """Linear layers without biases, with ReLUs between them.

    Args:
        widths: of the input, the hidden layers and the output.
    """

    def __init__(self, *widths: int) -> None:
        layers: list[nn.Module] = []
        for n_in, n_out in zip(widths, widths[1:]):
            layers += [nn.Linear(n_in, n_out, bias=False), nn.ReLU(inplace=True)]
        super().__init__(*layers[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output (M, L) of rows (M, K) of the parameters' type; differentiable once, but under autocast."""
        if self[0](x.detach()[:0]).dtype != x.dtype:  # under autocast
            return super().forward(x)
        if not torch.is_grad_enabled():
            return torch.cat([nn.Sequential.forward(self, rows) for rows in x.split(_chunk(x))])
        return _ThroughLayers.apply(x, *self.parameters())


class _ThroughLayers(FirstOrder):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        outputs = [x.new_empty(len(x), len(weight)) for weight in weights]
        for rows in zip(*(each.split(_chunk(x)) for each in (x, *outputs))):
            for weight, given, out in zip(weights, rows, rows[1:]):
                torch.mm(given, weight.T, out=out)
                if out is not rows[-1]:
                    out.clamp_(min=0)
        ctx.save_for_backward(*weights, x, *outputs[:-1])
        return outputs[-1]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
        n = len(ctx.saved_tensors) // 2
        weights, inputs = ctx.saved_tensors[:n], ctx.saved_tensors[n:]
        grad_weights, grad_x = [torch.zeros_like(weight) for weight in weights], torch.empty_like(inputs[0])
        chunks = zip(*(each.split(_chunk(grad)) for each in (grad, grad_x, *inputs)))
        for grad_rows, grad_x_rows, *rows in chunks:
            _go_back(weights, rows, grad_rows, grad_weights, grad_x_rows)
        return grad_x, *grad_weights


def _go_back(
    weights: Sequence[torch.Tensor],
    rows: Sequence[torch.Tensor],
    grad: torch.Tensor,
    grad_weights: Sequence[torch.Tensor],
    grad_x: torch.Tensor,
) -> None:
    """Add the gradients in the weights, and write that in the first layer's inputs; ``rows`` are all layers' inputs."""
    for i in reversed(range(len(weights))):
        grad_weights[i].addmm_(grad.T, rows[i])
        if i:
            grad = torch.mm(grad, weights[i])
            grad = torch.ops.aten.threshold_backward(grad, rows[i], 0)
    torch.mm(grad, weights[0], out=grad_x)


def _chunk(like: torch.Tensor) -> int:
    return max(len(like), 1) if like.is_cuda else CHUNK
