"""Graph convolution over the edges of a mesh."""

from __future__ import annotations

import torch
from torch import nn

from tirender.checks import INTEGERS, check_choice, check_tensor, fail

INIT_STD = 0.01


class GraphConv(nn.Module):
    """A graph convolution: f'_i = W0 f_i + sum over neighbours j of W1 f_j, each W with a bias.

    See Wang et al., "Pixel2Mesh", 2018.

    Args:
        input_dim: number of input features of a vertex.
        output_dim: number of output features.
        init: ``"normal"`` (weights normal with standard deviation 0.01, biases 0) or ``"zero"``.
        directed: whether features flow along an edge only from its second vertex to its first.
    Raises:
        ValueError: if ``init`` is unknown.
    """

    def __init__(self, input_dim: int, output_dim: int, init: str = "normal", directed: bool = False) -> None:
        super().__init__()
        check_choice("init", init, ("normal", "zero"))
        self.input_dim, self.output_dim, self.directed = input_dim, output_dim, directed
        self.w0, self.w1 = nn.Linear(input_dim, output_dim), nn.Linear(input_dim, output_dim)
        for layer in (self.w0, self.w1):
            nn.init.normal_(layer.weight, std=INIT_STD) if init == "normal" else nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, verts: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        """Apply the convolution.

        Args:
            verts: (V, input_dim) features, in the dtype of the weights. An empty tensor may have any shape.
            edges: (E, 2) integer vertex indices, each edge once.
        Returns:
            (V, output_dim); differentiable.
        Raises:
            ValueError: if a shape or dtype is wrong, or an index is out of range.
        """
        if not check_tensor("verts", verts).numel():
            verts, edges = verts.reshape(0, self.input_dim), edges.reshape(0, 2).long()
        check_tensor("verts", verts, ("V", self.input_dim), like=self.w0.weight)
        return self.w0(verts) + gather_scatter(self.w1(verts), edges, self.directed)

    def __repr__(self) -> str:
        return f"GraphConv({self.input_dim} -> {self.output_dim}, directed={self.directed})"


def gather_scatter(
    input: torch.Tensor, edges: torch.Tensor, directed: bool = False, backward: bool = False
) -> torch.Tensor:
    """Sum features over the neighbours of each vertex.

    Args:
        input: (V, D) features.
        edges: (E, 2) integer vertex indices, each edge once.
        directed: add the features of an edge's second vertex to the first, but not those of the first to the second.
        backward: with ``directed``, add the features of the first vertex to the second instead.
    Returns:
        (V, D); differentiable.
    Raises:
        ValueError: if a shape is wrong, or an index is out of range.
    """
    check_tensor("input", input, ("V", "D"))
    check_tensor("edges", edges, ("E", 2), INTEGERS)
    if len(edges) and not 0 <= int(edges.min()) <= int(edges.max()) < len(input):
        fail("edges", f"vertex indices from 0 to {len(input) - 1}", f"{int(edges.min())} to {int(edges.max())}")
    to, source = edges.flip(1).unbind(1) if backward else edges.unbind(1)
    if not directed:
        to, source = torch.cat([to, source]), torch.cat([source, to])
    return torch.zeros_like(input).index_add(0, to, input.index_select(0, source))
