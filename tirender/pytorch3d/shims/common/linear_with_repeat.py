"""A linear layer of points and of what they share."""

from __future__ import annotations

import torch
from torch.nn import functional as F


class LinearWithRepeat(torch.nn.Linear):
    """The linear layer of [x, y], where one y belongs to many x: y is multiplied once, not once for each x."""

    def forward(self, input: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        """Apply the layer.

        Args:
            input: x (..., P, A) and y (..., B), with A + B = ``in_features``.
        Returns:
            (..., P, out_features); differentiable.
        """
        x, y = input
        of_x, of_y = self.weight.split([x.shape[-1], y.shape[-1]], dim=1)
        return F.linear(x, of_x) + F.linear(y, of_y, self.bias)[..., None, :]
