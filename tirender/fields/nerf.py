"""The neural radiance field (Mildenhall et al. 2020) of the tutorials' section 6.3."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tirender.checks import check_choice, fail
from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels.softplus_lanes import BETA
from tirender.engine.softplus import shifted_softplus_, shifted_softplus_adjoint
from tirender.fields.harmonics import Harmonics
from tirender.fields.precision import PRECISIONS, factor_dtype

DENSITY_BIAS = -1.5  # the initial field is mostly transparent
CHUNK = 1 << 16  # points that pass through the layers at once: enough to keep a machine busy, in bounded memory


class NeuralRadianceField(nn.Module):
    """A network that maps harmonics of a point and of its ray's direction to an opacity and a colour.

    The parameters have the names of PyTorch3D's tutorial. For the backward pass the outputs of the three hidden layers
    are stored, 3 KB a point, and the rest is recomputed. Terms that depend only on the direction are computed once a
    ray.

    Args:
        n_harmonic_functions: number of frequencies that embed each coordinate, from 1 to 128.
        n_hidden_neurons: width of the hidden layers.
        omega_0: the lowest frequency, in radians per world unit.
        precision: of the products of the hidden layers: "float32", or "bf16" for bfloat16 on machines that multiply
            these faster. Hidden layers then have outputs of bfloat16; parameters and their gradients are float32.
    Raises:
        ValueError: if ``n_hidden_neurons`` is below 1, the number of frequencies is out of range, or the precision is
            none of these.
    """

    mlp: Any
    color_layer: Any
    density_layer: Any

    def __init__(
        self,
        n_harmonic_functions: int = 60,
        n_hidden_neurons: int = 256,
        omega_0: float = 0.1,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        if n_hidden_neurons < 1:
            fail("n_hidden_neurons", "a positive integer", n_hidden_neurons)
        self.precision = check_choice("precision", precision, PRECISIONS)
        self.harmonic_embedding = Harmonics(n_harmonic_functions, omega_0)
        embedding_dim = self.harmonic_embedding.get_output_dim()
        width = n_hidden_neurons
        self.mlp = nn.Sequential(
            nn.Linear(embedding_dim, width), nn.Softplus(BETA), nn.Linear(width, width), nn.Softplus(BETA)
        )
        self.color_layer = nn.Sequential(
            nn.Linear(width + embedding_dim, width), nn.Softplus(BETA), nn.Linear(width, 3), nn.Sigmoid()
        )
        self.density_layer = nn.Sequential(nn.Linear(width, 1), nn.Softplus(BETA))
        nn.init.constant_(self.density_layer[0].bias, DENSITY_BIAS)

    def forward(
        self, ray_bundle: Any, wanted: torch.Tensor | None = None, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The opacities and colours of a bundle's samples.

        Args:
            ray_bundle: ``origins`` and ``directions`` (..., 3) and ``lengths`` (..., P), in world space and in the
                dtype of the module.
            wanted: (..., P) bool, which samples are evaluated; the others get zeros. All by default.
            kwargs: ignored.
        Returns:
            densities (..., P, 1) and colours (..., P, 3), both in [0, 1]; differentiable in the parameters and the
            rays.
        """
        *shape, n_points = ray_bundle.lengths.shape
        origins, directions = ray_bundle.origins.reshape(-1, 3), ray_bundle.directions.reshape(-1, 3)
        lengths = ray_bundle.lengths.reshape(len(origins), n_points)
        width = self.mlp[0].out_features
        of_point, of_direction = self.color_layer[0].weight.split([width, self.color_layer[0].in_features - width], 1)
        embedded = self.harmonic_embedding(F.normalize(directions, dim=-1))
        shifts = F.linear(embedded, of_direction, self.color_layer[0].bias)
        if wanted is not None:
            chosen = wanted.reshape(-1).nonzero()[:, 0]
            ray = torch.div(chosen, n_points, rounding_mode="floor")
            lengths = lengths.reshape(-1, 1).index_select(0, chosen)
            origins, directions, shifts = (x.index_select(0, ray) for x in (origins, directions, shifts))
        # chunks have one size, so that each reuses the memory that the one before has freed
        n_chunks = math.ceil(lengths.numel() / CHUNK) or 1
        chunks = [
            self._sample(torch.addcmul(origin[:, None], length[..., None], direction[:, None]), shift, of_point)
            for origin, direction, length, shift in zip(
                *(x.chunk(n_chunks) for x in (origins, directions, lengths, shifts))
            )
        ]
        densities, colors = (torch.cat(parts) for parts in zip(*chunks))
        if wanted is not None:
            densities, colors = (
                x.new_zeros(wanted.numel(), x.shape[-1]).index_copy(0, chosen, x[:, 0]) for x in (densities, colors)
            )
        return densities.reshape(*shape, n_points, 1), colors.reshape(*shape, n_points, 3)

    def batched_forward(self, ray_bundle: Any, n_batches: int = 16, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """:meth:`forward` under the name that PyTorch3D's tutorial uses for many rays.

        Args:
            ray_bundle, kwargs: as for :meth:`forward`.
            n_batches: ignored. Without gradients, only the result needs memory that grows with the number of rays.
        """
        return self.forward(ray_bundle, **kwargs)

    forward_batched = batched_forward

    def opacities(self, points: torch.Tensor) -> torch.Tensor:
        """The opacities (M,) of samples at points (M, 3) in world space, whatever the direction; without gradients."""
        with torch.no_grad():
            chunks = points[:, None].split(CHUNK)
            parts = [self._density(self._features(chunk)) for chunk in chunks]
        return torch.cat(parts)[:, 0, 0]

    def _features(self, points: torch.Tensor) -> torch.Tensor:
        """(R, P, width): what the network knows of points (R, P, 3)."""
        first, _, second, _ = self.mlp
        dtype = factor_dtype(self.precision, first.weight, len(first.weight))
        features = softplus_linear(points, first.weight, first.bias, self.harmonic_embedding, dtype)
        return softplus_linear(features, second.weight, second.bias, dtype=dtype)

    def _sample(
        self, points: torch.Tensor, shift: torch.Tensor, of_point: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Densities (R, P, 1) and colours (R, P, 3) of points (R, P, 3).

        Args:
            points: (R, P, 3), world space.
            shift: (R, width), the direction's part of the colour layer's sum.
            of_point: (width, width), the colour layer's weights for the features of a point.
        """
        features = self._features(points)
        dtype = factor_dtype(self.precision, of_point, len(of_point))
        hidden = softplus_linear(features, of_point, shift[:, None], dtype=dtype)
        return self._density(features), self.color_layer[3](_linear(hidden, self.color_layer[2]))

    def _density(self, features: torch.Tensor) -> torch.Tensor:
        """(R, P, 1) the opacities of samples with features (R, P, width)."""
        return -torch.expm1(-self.density_layer[1](_linear(features, self.density_layer[0])))


@runtime.not_compiled
def softplus_linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    shift: torch.Tensor,
    embed: Harmonics | None = None,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """softplus(embed(x) W^T + shift), which stores only ``x`` and the result for the backward pass.

    Args:
        x: (R, P, K), or an input that ``embed`` maps to (R, P, K).
        weight: (L, K).
        shift: (L,) or (R, 1, L).
        embed: it is called again in the backward pass.
        dtype: of the factors of the products, and of the result; None for that of the weights.
    Returns:
        (R, P, L): log(1 + exp(10 z)) / 10; differentiable once.
    """
    if embed is not None and x.requires_grad:
        x, embed = embed(x), None
    return _SoftplusLinear.apply(x, weight, shift.view(-1, 1, len(weight)), embed, dtype or weight.dtype)


class _SoftplusLinear(FirstOrder):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        shift: torch.Tensor,
        embed: Harmonics | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            products = torch.mm(_factor(x, embed, dtype), weight.T.to(dtype))
            y = shifted_softplus_(products.view(*x.shape[:2], len(weight)), shift.to(dtype))
        ctx.embed, ctx.n_shifts = embed, len(shift)
        ctx.save_for_backward(x, weight, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad_y: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor, None, None]:
        x, weight, y = ctx.saved_tensors
        grad_z, grad_shift = shifted_softplus_adjoint(y, grad_y, ctx.n_shifts)
        grad_x = torch.matmul(grad_z, weight.to(y.dtype)).to(x.dtype) if ctx.needs_input_grad[0] else None
        grad_weight = torch.mm(_factor(x, ctx.embed, y.dtype).T, grad_z.flatten(0, 1)).T
        return grad_x, grad_weight.to(weight.dtype), grad_shift.to(weight.dtype), None, None


def _linear(x: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    """A layer, in its own type whatever that of its inputs."""
    return layer(x) if x.dtype == layer.weight.dtype else _WiderLinear.apply(x, layer.weight, layer.bias)


class _WiderLinear(FirstOrder):
    """A linear layer of bfloat16 inputs with float32 outputs, which stores nothing but the inputs."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.to(weight.dtype), weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, weight = ctx.saved_tensors
        rows = grad.flatten(0, 1)
        grad_x = torch.mm(rows, weight).to(x.dtype).view(x.shape)
        return grad_x, torch.mm(rows.T, x.flatten(0, 1).to(weight.dtype)), rows.sum(0)


def _factor(x: torch.Tensor, embed: Harmonics | None, dtype: torch.dtype) -> torch.Tensor:
    """(R P, K) the points or what ``embed`` makes of them."""
    return x.flatten(0, 1).to(dtype) if embed is None else embed.matrix(x, dtype)
