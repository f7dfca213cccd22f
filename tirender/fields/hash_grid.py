"""A radiance field on a multiresolution hash grid, evaluated only in occupied cells (Müller et al. 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tirender.checks import check_choice, check_tensor, fail
from tirender.engine.contraction import contract, sample_contracted
from tirender.engine.emission_absorption import count_visible, emission_absorption
from tirender.engine.hash_grid import HashGridLayout, hash_encode
from tirender.engine.occupancy import RaySamples, sample_occupied
from tirender.fields.occupancy import OccupancyGrid
from tirender.fields.perceptron import Perceptron
from tirender.fields.precision import PRECISIONS, factor_dtype

MAX_LOG_DENSITY = 11.0  # a larger one is opaque at any step size, and exp could overflow
N_GEOMETRY = 15  # features that the density network passes to the colour network
N_HARMONICS = 16  # spherical harmonics of the direction
BACKGROUNDS = ("none", "learned")


@dataclass(frozen=True)
class HashGridConfig:
    """Settings of :class:`HashGridField`.

    Attributes:
        extent: side of the scene's cube, which is centred on the origin, in world units. The field is empty outside.
        unbounded: whether the field fills all of space, contracted around that cube (Barron et al. 2022): the cube is
            the inner half of the grid's side, and samples along a ray are the further apart the further out they are.
        background: "none", or "learned" for a colour that depends on the direction, behind all else.
        precision: of the products of the networks: "float32", or "bf16" for bfloat16 on machines that multiply these
            faster. Parameters and their gradients are float32.
        layout: the levels and table size of the hash grid.
        hidden: width of the networks: one hidden layer for the density, two for the colour.
        steps_per_extent: number of samples along a side of the cube.
        min_depth: least distance of a sample from its ray's origin, in world units.
        min_transmittance: samples with a lower transmittance are not evaluated.
        grid_resolution: cells a side of the occupancy grid.
    Raises:
        ValueError: if a number is out of range.
    """

    extent: float = 3.0
    layout: HashGridLayout = HashGridLayout()
    hidden: int = 64
    steps_per_extent: int = 256
    min_depth: float = 0.05
    min_transmittance: float = 1e-4
    grid_resolution: int = 64
    unbounded: bool = False
    background: str = "none"
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_choice("background", self.background, BACKGROUNDS)
        check_choice("precision", self.precision, PRECISIONS)
        for name in ("extent", "hidden", "steps_per_extent"):
            if not getattr(self, name) > 0:
                fail(name, "a number above 0", getattr(self, name))
        for name in ("min_depth", "min_transmittance"):
            if not getattr(self, name) >= 0:
                fail(name, "a number of 0 or more", getattr(self, name))


class HashGridField(nn.Module):
    """Density and colour at points, from a hash grid and two small networks.

    Args:
        config: see :class:`HashGridConfig`.
    """

    def __init__(self, config: HashGridConfig | None = None) -> None:
        super().__init__()
        self._shares: tuple[float, ...] = ()
        self.config = config = config or HashGridConfig()
        layout, hidden = config.layout, config.hidden
        self.table = nn.Parameter(torch.empty(layout.n_rows, layout.n_features).uniform_(-1e-4, 1e-4))
        self.density_net = Perceptron(layout.n_channels, hidden, 1 + N_GEOMETRY)
        self.color_net = Perceptron(N_GEOMETRY + N_HARMONICS, hidden, hidden, 3)
        if config.background == "learned":
            self.background_net = Perceptron(N_HARMONICS, hidden // 2, 3)
        # a cell is occupied if one step in it has an opacity of 1 %
        self.occupancy = OccupancyGrid(config.grid_resolution, 0.01 / self.step)

    @property
    def step(self) -> float:
        """The distance between the samples of a ray, in world units."""
        return self.config.extent / self.config.steps_per_extent

    def forward(self, ray_bundle: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate the field at the samples of rays; a volumetric function for ``ImplicitRenderer``.

        Args:
            ray_bundle: a ``RayBundle``: ``origins`` and ``directions`` (..., 3), ``lengths`` (..., P), world space.
            kwargs: ignored.
        Returns:
            densities (..., P, 1), the opacity of the interval from each sample to the next (a ray with one sample: of
            one step), and colours (..., P, 3) in [0, 1]. Both are 0 in cells that are not occupied. Differentiable in
            the field and the rays.
        """
        origins, directions, lengths = ray_bundle.origins, ray_bundle.directions, ray_bundle.lengths
        gaps = torch.full_like(lengths, self.step)
        if lengths.shape[-1] > 1:
            gaps = lengths.diff(dim=-1)
            gaps = torch.cat([gaps, gaps[..., -1:]], dim=-1) * directions.norm(dim=-1, keepdim=True)
        points = torch.addcmul(origins[..., None, :], lengths[..., None], directions[..., None, :])
        if self.config.unbounded and lengths.shape[-1] > 1:  # densities are those of contracted space
            places = contract(points * (2 / self.config.extent))
            gaps = places.diff(dim=-2).norm(dim=-1) * (self.config.extent / 2)
            gaps = torch.cat([gaps, gaps[..., -1:]], dim=-1)
        unit = self._to_unit(points.reshape(-1, 3))
        occupied = self.occupancy.contains(unit).nonzero()[:, 0]
        sigma, geometry = self._density(self._encode(unit.index_select(0, occupied)))
        opacity = -torch.expm1(-sigma * gaps.reshape(-1).index_select(0, occupied))
        harmonics = spherical_harmonics(F.normalize(directions.reshape(-1, 3), dim=-1))
        colors = self._color(geometry, harmonics.index_select(0, occupied // max(lengths.shape[-1], 1)))
        values = torch.cat([opacity[:, None], colors], dim=1)
        values = values.new_zeros(len(unit), 4).index_copy(0, occupied, values).view(*lengths.shape, 4)
        return values[..., :1], values[..., 1:]

    def render_rays(
        self,
        origins: torch.Tensor,
        directions: torch.Tensor,
        stratified: bool = False,
        max_samples: int | None = None,
    ) -> torch.Tensor:
        """Render colours and opacities of rays. Only visible samples in occupied cells are evaluated.

        Args:
            origins: (R, 3) float32, world space.
            directions: (R, 3), world space, of any length.
            stratified: shift the samples of each ray by a random fraction of a step.
            max_samples: render only the first r rays, as many as have at most this number of samples in total; None
                for all.
        Returns:
            (R, 4) or (r, 4): premultiplied colour and opacity. Differentiable in the field and the rays.
        Raises:
            ValueError: if a shape, dtype or device is wrong.
        """
        samples = self.sample_rays(origins, directions, stratified, max_samples)
        n_rays = len(samples.offsets) - 1
        return self.render_samples(origins[:n_rays], directions[:n_rays], samples)

    def sample_rays(
        self,
        origins: torch.Tensor,
        directions: torch.Tensor,
        stratified: bool = False,
        max_samples: int | None = None,
    ) -> RaySamples:
        """The samples of rays in occupied cells, the first half of :meth:`render_rays`; not differentiable."""
        rays = self._rays(origins.detach(), directions.detach())
        shifts = torch.rand_like(origins[:, 0]) if stratified else None
        nearest, step = (
            self.config.min_depth / self._side,
            self.config.extent / self._side / self.config.steps_per_extent,
        )
        sample = sample_contracted if self.config.unbounded else sample_occupied
        return sample(*rays, self.occupancy.occupied, step, nearest, shifts, max_samples)

    def render_samples(self, origins: torch.Tensor, directions: torch.Tensor, samples: RaySamples) -> torch.Tensor:
        """Render r rays from their samples, the second half of :meth:`render_rays`."""
        rays = self._rays(origins, directions)
        with torch.no_grad():
            encoding = self._encode(self._points(*rays, samples))
            sigma, geometry = self._density(encoding)
            opacity = -torch.expm1(-sigma * self.step)
            seen, index = samples.first(count_visible(samples.offsets, opacity, self.config.min_transmittance))
        if torch.is_grad_enabled():
            known = encoding.index_select(0, index)
            sigma, geometry = self._density(self._encode(self._points(*rays, seen), known))
        else:
            sigma, geometry = sigma.index_select(0, index), geometry.index_select(0, index)
        samples = seen
        harmonics = spherical_harmonics(rays[1])
        colors = self._color(geometry, harmonics.index_select(0, samples.rays))
        rendered = emission_absorption(samples.offsets, -torch.expm1(-sigma * self.step), colors)
        if self.config.background == "none":
            return rendered
        behind = torch.sigmoid(self.background_net(harmonics))
        return torch.cat([rendered[:, :3] + (1 - rendered[:, 3:]) * behind, torch.ones_like(rendered[:, 3:])], dim=1)

    def show_levels(self, share: float) -> None:
        """Use the coarser levels only: this share of all, the last of them by halves; 1 for all.

        Cameras that are fitted with the field find their places by what is coarse. Fine levels have gradients that
        change from cell to cell, and they would soon hold each photo as it is seen from the wrong place (Lin et al.,
        "BARF", 2021).
        """
        n = self.config.layout.n_levels
        shown = max(min(share, 1.0), 0.0) * n
        shares = tuple((1 - math.cos(math.pi * min(max(shown - level, 0.0), 1.0))) / 2 for level in range(n))
        self._shares = () if share >= 1 else shares

    def update_occupancy(self) -> None:
        """Update the occupancy grid from the field. Call this every few steps of a fit."""
        self.occupancy.update(lambda unit: self._density(self._encode(unit))[0])

    def _rays(self, origins: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rays in world space to those that samples are placed on, with directions of length 1."""
        check_tensor("origins", origins, ("R", 3), like=self.table)
        check_tensor("directions", directions, (len(origins), 3), like=origins)
        placed = origins * (2 / self.config.extent) if self.config.unbounded else self._to_unit(origins)
        return placed, F.normalize(directions, dim=-1)

    @property
    def _side(self) -> float:
        """World units in a unit of the space that samples are placed in."""
        return self.config.extent / 2 if self.config.unbounded else self.config.extent

    def _to_unit(self, points: torch.Tensor) -> torch.Tensor:
        """Points in world space to the cube of the grid."""
        if self.config.unbounded:
            return contract(points * (2 / self.config.extent)) / 4 + 0.5
        return points / self.config.extent + 0.5

    def _points(self, origins: torch.Tensor, directions: torch.Tensor, samples: RaySamples) -> torch.Tensor:
        """The places (M, 3) of samples in the cube of the grid."""
        start, ahead = origins.index_select(0, samples.rays), directions.index_select(0, samples.rays)
        points = torch.addcmul(start, samples.lengths[:, None], ahead)
        return contract(points) / 4 + 0.5 if self.config.unbounded else points

    def _encode(self, unit: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
        """The encoding of points in the unit cube, looked up unless it is known."""
        return hash_encode(unit, self.table, self.config.layout, known)

    def _density(self, encoding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Density per world unit (M,) and features (M, N_GEOMETRY) of points."""
        if self._shares:
            shares = encoding.new_tensor(self._shares).repeat_interleave(self.config.layout.n_features)
            encoding = encoding * shares
        raw = self._through(self.density_net, encoding)
        return torch.exp(raw[:, 0].clamp(max=MAX_LOG_DENSITY)), raw[:, 1:]

    def _color(self, geometry: torch.Tensor, harmonics: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self._through(self.color_net, torch.cat([geometry, harmonics], dim=-1)))

    def _through(self, net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """What a network makes of x, in the dtype of x."""
        dtype = factor_dtype(self.config.precision, x, self.config.hidden)
        if dtype == x.dtype:
            return net(x)
        with torch.autocast(x.device.type, dtype):
            return net(x).to(x.dtype)


def spherical_harmonics(directions: torch.Tensor) -> torch.Tensor:
    """The real spherical harmonics up to degree 3, (..., 16), of unit directions (..., 3); differentiable."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    return torch.stack(
        [
            torch.full_like(x, 0.28209479177387814),
            -0.4886025119029199 * y,
            0.4886025119029199 * z,
            -0.4886025119029199 * x,
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (3 * zz - 1),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (5 * zz - 1),
            0.3731763325901154 * z * (5 * zz - 3),
            -0.4570457994644658 * x * (5 * zz - 1),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ],
        dim=-1,
    )
