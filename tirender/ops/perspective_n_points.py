"""A camera's pose from points in the world and their projections (EPnP)."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import torch

from tirender.checks import FLOATS, check_tensor, fail

_PAIRS = tuple(combinations(range(4), 2))
_DESCENT_STEPS = 20
_DEPTH_EPS = 1e-9

# Each set lists the products of coefficients that a linearization solves for; the other products are neglected.
_PRODUCTS = (
    ((0, 0), (0, 1), (0, 2), (0, 3)),
    ((0, 0), (0, 1), (1, 1)),
    ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2)),
)


class EpnpSolution(NamedTuple):
    """The poses of B cameras: a world point x is projected to (x', y') / z' with (x', y', z') = x R + T."""

    x_cam: torch.Tensor  # (B, N, 3), the points in view space by the linear system, before the pose is fitted
    R: torch.Tensor  # (B, 3, 3)
    T: torch.Tensor  # (B, 3)
    err_2d: torch.Tensor  # (B,), mean distance between the given projections and those of the pose
    err_3d: torch.Tensor  # (B,), mean squared distance between x_cam and x R + T


@torch.no_grad()
def efficient_pnp(
    x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None = None, skip_quadratic_eq: bool = False
) -> EpnpSolution:
    """Estimate camera poses from points and their projections by EPnP (Lepetit et al., IJCV 2009).

    Each point is a combination of four control points. A linear system determines their positions in view space up to a
    few coefficients, and the distances between the control points determine these. Computed in float64.

    Args:
        x: (B, N, 3) points in world space, float32 or float64; 4 or more, not all on one line.
        y: (B, N, 2) their projections (x' / z', y' / z') in view space, of the same dtype.
        weights: (B, N), 0 or more; None for equal weights.
        skip_quadratic_eq: use only the best solution of the linear system. This is faster, and sufficient for 6 or more
            points that are not in a plane.
    Returns:
        the poses; not differentiable.
    Raises:
        ValueError: if a shape or dtype is wrong, there are fewer than 4 points, a value is not finite, or a weight is
            negative.
    """
    check_tensor("x", x, ("B", "N", 3), FLOATS)
    check_tensor("y", y, (x.shape[0], x.shape[1], 2), like=x)
    if x.shape[1] < 4:
        fail("x", "4 points or more", x.shape[1])
    if weights is not None:
        check_tensor("weights", weights, x.shape[:2], like=x)
    points, seen = x.double(), y.double()
    w = torch.ones_like(points[..., 0]) if weights is None else weights.double()
    if not all(bool(values.isfinite().all()) for values in (points, seen, w)):
        fail("x, y, weights", "finite numbers", "infinity or NaN")
    if bool((w < 0).any()):
        fail("weights", "numbers of 0 or more", float(w.min()))
    w = w / w.sum(1, keepdim=True).clamp(min=torch.finfo(w.dtype).tiny)

    control, alphas = _control_points(points, w)
    kernel = _kernel(alphas, seen, w)
    candidates = [_pose(c, points, seen, alphas, kernel, w) for c in _coefficients(control, kernel, skip_quadratic_eq)]
    best = torch.stack([c.err_2d for c in candidates]).argmin(0)
    rows = torch.arange(len(best), device=best.device)
    return EpnpSolution(*(torch.stack(field)[best, rows].to(x.dtype) for field in zip(*candidates)))


def _control_points(points: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The control points (B, 4, 3), three around the mean and the mean, and each point's weights (B, N, 4)."""
    mean = (w[..., None] * points).sum(1, keepdim=True)
    variance = (w[..., None] * (points - mean).square()).sum((1, 2), keepdim=True)
    size = torch.where(variance > 0, variance, 1).sqrt()
    axes = torch.eye(3, dtype=points.dtype, device=points.device) * size
    alphas = (points - mean) / size
    return torch.cat([mean + axes, mean], 1), torch.cat([alphas, 1 - alphas.sum(2, keepdim=True)], 2)


def _kernel(alphas: torch.Tensor, seen: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """(B, 4, 4, 3): the four sets of control points in view space that fit the projections best."""
    n_batch, n = w.shape
    equations = alphas.new_zeros(n_batch, n, 2, 4, 3)  # x' - u z' = 0 and y' - v z' = 0 for each point
    equations[:, :, 0, :, 0] = equations[:, :, 1, :, 1] = alphas
    equations[..., 2] = -seen[..., None] * alphas[:, :, None]
    equations = (equations * w.sqrt()[:, :, None, None, None]).reshape(n_batch, 2 * n, 12)
    _, vectors = torch.linalg.eigh(equations.transpose(1, 2) @ equations)
    return vectors[:, :, :4].transpose(1, 2).reshape(n_batch, 4, 4, 3)


def _coefficients(control: torch.Tensor, kernel: torch.Tensor, only_first: bool) -> list[torch.Tensor]:
    """Candidates (B, 4) for the coefficients of the kernel's sets; they preserve distances between control points."""
    a, b = torch.tensor(_PAIRS, device=control.device).unbind(1)
    lengths = (control[:, a] - control[:, b]).square().sum(2)  # (B, 6), squared
    spans = kernel[:, :, a] - kernel[:, :, b]  # (B, 4, 6, 3)
    alone = spans.square().sum(3)
    scale = (alone * lengths[:, None]).sqrt().sum(2) / alone.sum(2).clamp(min=torch.finfo(alone.dtype).tiny)
    candidates = [axis * scale for axis in torch.eye(4, dtype=scale.dtype, device=scale.device)]
    if only_first:
        return candidates[:1]
    candidates += [_linearised(products, spans, lengths) for products in _PRODUCTS]
    return [_descend(c, spans, lengths) for c in candidates]


def _linearised(products: tuple[tuple[int, int], ...], spans: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Coefficients (B, 4) from a linear system for their products, which are treated as independent unknowns."""
    columns = [(1 if i == j else 2) * (spans[:, i] * spans[:, j]).sum(2) for i, j in products]
    system = torch.stack(columns, dim=2)
    solved = (torch.linalg.pinv(system) @ lengths[..., None])[..., 0]
    by_product = {product: solved[:, k] for k, product in enumerate(products)}
    head = by_product[0, 0].abs().sqrt()
    sign = torch.where(by_product[0, 0] < 0, -1.0, 1.0)
    safe = torch.where(head > 0, head, 1)
    rest = [sign * by_product.get((0, i), torch.zeros_like(head)) / safe for i in (1, 2, 3)]
    return torch.stack([head, *rest], dim=1)


def _descend(coefficients: torch.Tensor, spans: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Refine coefficients by Levenberg-Marquardt steps on the squared distances."""
    damping = torch.full_like(lengths[:, :1, None], 1e-3)
    eye = torch.eye(4, dtype=spans.dtype, device=spans.device)
    for _ in range(_DESCENT_STEPS):
        residual, span = _residual(coefficients, spans, lengths)
        jacobian = 2 * (spans * span[:, None]).sum(3).transpose(1, 2)  # (B, 6, 4)
        normal = jacobian.transpose(1, 2) @ jacobian
        ridge = damping * normal.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-300)[:, None, None]
        step = torch.linalg.solve(normal + ridge * eye, jacobian.transpose(1, 2) @ residual[..., None])[..., 0]
        trial = coefficients - step
        better = _residual(trial, spans, lengths)[0].square().sum(1) < residual.square().sum(1)
        coefficients = torch.where(better[:, None], trial, coefficients)
        damping = torch.where(better[:, None, None], damping / 10, damping * 10).clamp(1e-12, 1e12)
    return coefficients


def _residual(
    coefficients: torch.Tensor, spans: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The errors (B, 6) of the squared distances, and the vectors (B, 6, 3) between control points."""
    span = (coefficients[:, :, None, None] * spans).sum(1)
    return span.square().sum(2) - lengths, span


def _pose(
    coefficients: torch.Tensor,
    points: torch.Tensor,
    seen: torch.Tensor,
    alphas: torch.Tensor,
    kernel: torch.Tensor,
    w: torch.Tensor,
) -> EpnpSolution:
    """The pose for given coefficients (B, 4), with its errors."""
    x_cam = alphas @ (coefficients[:, :, None, None] * kernel).sum(1)
    in_front = (w * x_cam[..., 2]).sum(1) > 0
    x_cam = torch.where(in_front[:, None, None], x_cam, -x_cam)
    rotation, translation = _rigid_fit(points, x_cam, w)
    moved = points @ rotation + translation[:, None]
    depth = moved[..., 2:]
    depth = torch.where(depth.abs() < _DEPTH_EPS, _DEPTH_EPS, depth)
    err_2d = (w * (moved[..., :2] / depth - seen).norm(dim=2)).sum(1)
    err_3d = (w * (moved - x_cam).square().sum(2)).sum(1)
    return EpnpSolution(x_cam, rotation, translation, err_2d, err_3d)


def _rigid_fit(points: torch.Tensor, targets: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The R and T that move points closest to their targets (Kabsch); if they are not unique, one solution."""
    weight = w[..., None]
    mean, target_mean = (weight * points).sum(1, keepdim=True), (weight * targets).sum(1, keepdim=True)
    u, _, vt = torch.linalg.svd((points - mean).mT @ (weight * (targets - target_mean)))
    vt[:, -1] *= torch.linalg.det(u @ vt).sign()[:, None]
    rotation = u @ vt
    return rotation, (target_mean - mean @ rotation)[:, 0]
