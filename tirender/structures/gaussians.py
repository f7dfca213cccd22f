"""Gaussians: the primitives of Gaussian splatting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tirender.checks import FLOATS, all_finite, batch_index, check_kind, check_tensor, fail
from tirender.transforms.harmonics import rotate_harmonics
from tirender.transforms.rotation_conversions import matrix_to_quaternion, quaternion_multiply, quaternion_to_matrix
from tirender.transforms.transform3d import Transform3d

SQUARES = (1, 4, 9, 16, 25)
Y00 = 0.5 / math.sqrt(math.pi)  # the first harmonic
FIELDS = ("means", "quats", "scales", "opacities", "harmonics")
RAW_FIELDS = ("means", "quats", "log_scales", "logits", "harmonics")


class Gaussians:
    """N Gaussians in space, with opacities and with colours that depend on the direction of view.

    A Gaussian has the covariance R diag(scales)^2 R^T, R the rotation of its quaternion. Its colour in a direction d is
    ``max(1/2 + sum_k harmonics[k] Y_k(d), 0)``. :meth:`from_raw` takes the parameters that are optimized, and that
    files hold: logarithms of scales and logits of opacities. Each form is computed from the other when asked for.

    Args:
        means: (N, 3) float32 or float64, in world space.
        quats: (N, 4) rotations (w, x, y, z) of any length; 0 counts as no rotation.
        scales: (N, 3) standard deviations along the axes, 0 or more, in the unit of the means.
        opacities: (N,) in [0, 1].
        harmonics: (N, K, 3) coefficients of red, green and blue, K of 1, 4, 9, 16 or 25 (degrees 0 to 4).
    Raises:
        ValueError: if shapes, dtypes or devices do not fit, or a number is not finite or out of range.
    """

    means: torch.Tensor
    quats: torch.Tensor
    harmonics: torch.Tensor
    _scales: torch.Tensor | None
    _log_scales: torch.Tensor | None
    _opacities: torch.Tensor | None
    _logits: torch.Tensor | None

    def __init__(
        self,
        means: torch.Tensor,
        quats: torch.Tensor,
        scales: torch.Tensor,
        opacities: torch.Tensor,
        harmonics: torch.Tensor,
    ) -> None:
        _check(FIELDS, means, quats, scales, opacities, harmonics)
        if (scales < 0).any():
            fail("scales", "numbers of 0 or more", float(scales.min()))
        if ((opacities < 0) | (opacities > 1)).any():
            fail("opacities", "numbers in [0, 1]", [float(v) for v in torch.aminmax(opacities)])
        self._set(means, quats, harmonics, scales=scales, opacities=opacities)

    @classmethod
    def from_raw(
        cls,
        means: torch.Tensor,
        quats: torch.Tensor,
        log_scales: torch.Tensor,
        logits: torch.Tensor,
        harmonics: torch.Tensor,
    ) -> Gaussians:
        """Gaussians from the logarithms of their scales (N, 3) and the logits of their opacities (N,).

        Raises:
            ValueError: if shapes, dtypes or devices do not fit, or a number is not finite.
        """
        _check(RAW_FIELDS, means, quats, log_scales, logits, harmonics)
        gaussians = cls.__new__(cls)
        gaussians._set(means, quats, harmonics, log_scales=log_scales, logits=logits)
        return gaussians

    @classmethod
    def from_colors(
        cls,
        means: torch.Tensor,
        quats: torch.Tensor,
        scales: torch.Tensor,
        opacities: torch.Tensor,
        colors: torch.Tensor,
        degree: int = 0,
    ) -> Gaussians:
        """Gaussians with one colour (N, 3) from all sides, and harmonics of 0 up to a degree."""
        check_tensor("colors", colors, (len(means), 3), like=means)
        rest = colors.new_zeros(len(colors), (degree + 1) ** 2 - 1, 3)
        return cls(means, quats, scales, opacities, torch.cat([((colors - 0.5) / Y00)[:, None], rest], 1))

    # --- what they are ---

    def __len__(self) -> int:
        return len(self.means)

    @property
    def device(self) -> torch.device:
        """The device of all tensors."""
        return self.means.device

    @property
    def scales(self) -> torch.Tensor:
        """(N, 3) standard deviations along the axes."""
        if self._scales is None:
            assert self._log_scales is not None
            self._scales = self._log_scales.exp()
        return self._scales

    @property
    def log_scales(self) -> torch.Tensor:
        """(N, 3) the logarithms of the scales; -inf for 0."""
        if self._log_scales is None:
            assert self._scales is not None
            self._log_scales = self._scales.log()
        return self._log_scales

    @property
    def opacities(self) -> torch.Tensor:
        """(N,) in [0, 1]."""
        if self._opacities is None:
            assert self._logits is not None
            self._opacities = self._logits.sigmoid()
        return self._opacities

    @property
    def logits(self) -> torch.Tensor:
        """(N,) the logits of the opacities; infinite for 0 and 1."""
        if self._logits is None:
            assert self._opacities is not None
            self._logits = self._opacities.logit()
        return self._logits

    @property
    def degree(self) -> int:
        """The degree of the harmonics."""
        return math.isqrt(self.harmonics.shape[1]) - 1

    @property
    def colors(self) -> torch.Tensor:
        """(N, 3) the mean colours of all directions."""
        return (self.harmonics[:, 0] * Y00 + 0.5).clamp(min=0)

    def covariances(self) -> torch.Tensor:
        """(N, 3, 3)."""
        half = quaternion_to_matrix(self.quats) * self.scales[:, None]
        return half @ half.transpose(1, 2)

    # --- other Gaussians ---

    def __getitem__(self, index: int | slice | list[int] | torch.Tensor) -> Gaussians:
        """The Gaussians that an integer, a slice, a list of integers, a mask (N,) or indices (n,) select.

        Raises:
            IndexError: if an index is out of range or has another type.
        """
        rows = batch_index(index, len(self), self.device)
        return self._map(lambda values: values.index_select(0, rows))

    def transform(self, transform: Transform3d) -> Gaussians:
        """Turned, mirrored, scaled alike in all directions and moved; their colours turn with them.

        Args:
            transform: one such transform.
        Returns:
            new Gaussians; differentiable in these.
        Raises:
            ValueError: if it is not one transform, or stretches or shears.
        """
        check_kind("transform", transform, Transform3d)
        matrix = transform.get_matrix().detach().to(self.means)
        if len(matrix) != 1:
            fail("transform", "one transform", f"{len(matrix)}")
        linear = matrix[0, :3, :3].T.double()  # for column vectors
        scale = torch.linalg.det(linear).abs() ** (1 / 3)
        turn = linear / scale
        if not bool(((turn @ turn.T - torch.eye(3).to(turn)).abs() < 1e-5).all()):
            fail("transform", "a rotation, scale and translation", matrix[0].tolist())
        proper = (turn * torch.linalg.det(turn).sign()).to(self.means)  # a Gaussian is its own mirror image in a point
        turns = torch.where(self.quats.any(1, keepdim=True), self.quats, self.quats.new_tensor([1.0, 0, 0, 0]))
        quats = quaternion_multiply(matrix_to_quaternion(proper).expand_as(turns), turns)
        turned = self.__class__.__new__(self.__class__)
        turned._set(
            self.means @ matrix[0, :3, :3] + matrix[0, 3, :3],
            quats,
            rotate_harmonics(self.harmonics, turn),
            scales=None if self._scales is None else self._scales * scale.to(self.means),
            log_scales=None if self._log_scales is None else self._log_scales + scale.log().to(self.means),
            opacities=self._opacities,
            logits=self._logits,
        )
        return turned

    def with_degree(self, degree: int) -> Gaussians:
        """With harmonics of another degree: cut off, or 0 beyond their own."""
        n = (degree + 1) ** 2
        if n not in SQUARES:
            fail("degree", "0 to 4", degree)
        rest = self.harmonics.new_zeros(len(self), max(n - self.harmonics.shape[1], 0), 3)
        other = self._map(lambda values: values)
        other.harmonics = torch.cat([self.harmonics[:, :n], rest], 1)
        return other

    def clone(self) -> Gaussians:
        """A copy with its own tensors; differentiable."""
        return self._map(torch.clone)

    def detach(self) -> Gaussians:
        """The same Gaussians without gradients, sharing memory."""
        return self._map(torch.Tensor.detach)

    def to(self, device: torch.device | str) -> Gaussians:
        """These Gaussians on a device."""
        return self._map(lambda values: values.to(device))

    def cpu(self) -> Gaussians:
        """These Gaussians on the CPU."""
        return self.to("cpu")

    def cuda(self) -> Gaussians:
        """These Gaussians on the current CUDA device."""
        return self.to("cuda")

    # --- helpers ---

    def _set(
        self,
        means: torch.Tensor,
        quats: torch.Tensor,
        harmonics: torch.Tensor,
        scales: torch.Tensor | None = None,
        log_scales: torch.Tensor | None = None,
        opacities: torch.Tensor | None = None,
        logits: torch.Tensor | None = None,
    ) -> None:
        self.means, self.quats, self.harmonics = means, quats, harmonics
        self._scales, self._log_scales, self._opacities, self._logits = scales, log_scales, opacities, logits

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Gaussians:
        """Apply a function to all tensors that are there."""
        names = ("means", "quats", "harmonics", "_scales", "_log_scales", "_opacities", "_logits")
        values = [getattr(self, name) for name in names]
        mapped = self.__class__.__new__(self.__class__)
        mapped._set(*(None if v is None else function(v) for v in values))  # type: ignore[arg-type]
        return mapped


def join_gaussians(gaussians: Sequence[Gaussians]) -> Gaussians:
    """All Gaussians of several sets in one; with the greatest of their degrees.

    Raises:
        ValueError: if it is not a list of Gaussians of one dtype on one device.
    """
    if not isinstance(gaussians, list | tuple) or not gaussians or not all(isinstance(g, Gaussians) for g in gaussians):
        got: Any = type(gaussians).__name__ if gaussians else gaussians
        fail("gaussians", "a list of Gaussians", got)
    degree = max(g.degree for g in gaussians)
    is_raw = all(g._log_scales is not None and g._logits is not None for g in gaussians)
    names = RAW_FIELDS if is_raw else FIELDS
    for g in gaussians:
        check_tensor("gaussians", g.means, like=gaussians[0].means)
    parts = ([getattr(g, name) for name in names] for g in (g.with_degree(degree) for g in gaussians))
    joined = [torch.cat(values) for values in zip(*parts)]
    return Gaussians.from_raw(*joined) if is_raw else Gaussians(*joined)


def _check(names: Sequence[str], *values: torch.Tensor) -> None:
    means = check_tensor("means", values[0], ("N", 3), FLOATS)
    n = len(means)
    shapes: list[tuple[int | str, ...]] = [("N", 3), (n, 4), (n, 3), (n,), (n, "K", 3)]
    for name, value, shape in zip(names, values, shapes):
        check_tensor(name, value, shape, like=means)
        if not all_finite(value):
            fail(name, "finite numbers", "others")
    if values[4].shape[1] not in SQUARES:
        fail("harmonics", f"{', '.join(map(str, SQUARES))} coefficients a channel", values[4].shape[1])
