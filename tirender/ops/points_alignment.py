"""Alignment of point clouds by similarity transforms."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch

from tirender.checks import check_integer, check_tensor, fail
from tirender.engine.first_order import FirstOrder, refuse_transforms
from tirender.ops.knn import knn_points
from tirender.ops.utils import convert_pointclouds_to_tensor, eyes, is_pointclouds, wmean
from tirender.structures import Pointclouds
from tirender.structures.utils import list_to_padded

AMBIGUOUS_SINGULAR_VALUE = 1e-15


class SimilarityTransform(NamedTuple):
    """y = s x R + T: ``R`` (N, D, D), ``T`` (N, D), ``s`` (N,)."""

    R: torch.Tensor
    T: torch.Tensor
    s: torch.Tensor


class ICPSolution(NamedTuple):
    """The result of ``iterative_closest_point``; see there."""

    converged: bool
    rmse: torch.Tensor
    Xt: torch.Tensor | Pointclouds
    RTs: SimilarityTransform
    t_history: list[SimilarityTransform]


def iterative_closest_point(
    X: torch.Tensor | Pointclouds,
    Y: torch.Tensor | Pointclouds,
    init_transform: SimilarityTransform | None = None,
    max_iterations: int = 100,
    relative_rmse_thr: float = 1e-6,
    estimate_scale: bool = False,
    allow_reflection: bool = False,
    verbose: bool = False,
) -> ICPSolution:
    """Align X with Y by the iterative closest point method.

    Each iteration pairs each point of X with the nearest point of Y, then aligns the pairs. See Besl and McKay, "A
    method for registration of 3-D shapes", 1992.

    Args:
        X: N clouds, or (N, P1, D) float32 or float64.
        Y: N clouds, or (N, P2, D) of the same dtype and device.
        init_transform: the initial transform; None for the identity.
        max_iterations: the largest number of iterations, at least 1.
        relative_rmse_thr: stop when no cloud's error falls by more than this fraction.
        estimate_scale: whether to estimate s; otherwise it is 1.
        allow_reflection: whether R may be a reflection.
        verbose: print the error of each iteration.
    Returns:
        converged: whether it stopped before ``max_iterations``.
        rmse: (N,), the root of the mean squared distance of the pairs.
        Xt: the transformed X, clouds or a tensor as X is.
        RTs: the transform, with Xt = s X R + T.
        t_history: the transform after each iteration.
        All tensors are differentiable in X and Y; the pairs are held fixed.
    Raises:
        ValueError: if a shape, dtype or device is wrong, or max_iterations < 1.
    """
    points, num_x = convert_pointclouds_to_tensor(X)
    targets, num_y = convert_pointclouds_to_tensor(Y)
    check_tensor("Y", targets, (len(points), "P2", points.shape[2]), like=points)
    max_iterations = check_integer("max_iterations", max_iterations, 1)
    mask = _mask(points, num_x)
    transform = _identity(points) if init_transform is None else _checked(init_transform, points)
    moved = _apply(points, transform)
    history: list[SimilarityTransform] = []
    converged, previous = False, None
    for iteration in range(max_iterations):
        pairs = knn_points(moved, targets, num_x, num_y, return_nn=True).knn
        assert pairs is not None
        transform = corresponding_points_alignment(points, pairs[:, :, 0], mask, estimate_scale, allow_reflection)
        history.append(transform)
        moved = _apply(points, transform)
        rmse = _root(wmean((moved - pairs[:, :, 0]).square().sum(2, keepdim=True), mask))[:, 0, 0]
        if verbose:
            print(f"ICP iteration {iteration}: rmse {rmse.mean().item():g}")
        if previous is not None and bool((previous - rmse <= relative_rmse_thr * previous).all()):
            converged = True
            break
        previous = rmse
    return ICPSolution(converged, rmse, X.update_padded(moved) if is_pointclouds(X) else moved, transform, history)


def corresponding_points_alignment(
    X: torch.Tensor | Pointclouds,
    Y: torch.Tensor | Pointclouds,
    weights: torch.Tensor | Sequence[torch.Tensor] | None = None,
    estimate_scale: bool = False,
    allow_reflection: bool = False,
    eps: float = 1e-9,
) -> SimilarityTransform:
    """Align the points of X with those of Y that have the same index, in the least squares sense.

    See Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991.

    Args:
        X: N clouds, or (N, P, D) float32 or float64.
        Y: N clouds with the same numbers of points, or (N, P, D).
        weights: (N, P), or N tensors (P_i,), not negative. As in PyTorch3D, the means are weighted once, and both
            factors of the covariance are weighted.
        estimate_scale: whether to estimate s; otherwise it is 1.
        allow_reflection: whether R may be a reflection.
        eps: the least divisor: of a sum of weights, or of a variance.
    Returns:
        R (N, D, D), T (N, D) and s (N,), with s X R + T near Y; differentiable in X, Y and the weights. If the rotation
        is not unique, a warning is given, and no gradient passes along its free directions.
    Raises:
        ValueError: if shapes, dtypes, devices or numbers of points do not fit, or the covariance is not finite.
    """
    refuse_transforms(corresponding_points_alignment)
    points, num_points = convert_pointclouds_to_tensor(X)
    targets, num_targets = convert_pointclouds_to_tensor(Y)
    check_tensor("Y", targets, tuple(points.shape), like=points)
    if not torch.equal(num_points, num_targets):
        fail("Y", f"clouds of {num_points.tolist()} points as in X", num_targets.tolist())
    weight = _mask(points, num_points)
    if weights is not None:
        if isinstance(weights, Iterable) and not isinstance(weights, torch.Tensor):
            rows = [check_tensor(f"weights[{i}]", row, ("P",), like=points) for i, row in enumerate(weights)]
            weights = list_to_padded(rows, (points.shape[1],))
        weight = weight * check_tensor("weights", weights, points.shape[:2], like=points)

    mean_x, mean_y = wmean(points, weight, eps=eps), wmean(targets, weight, eps=eps)
    x, y = (points - mean_x) * weight[..., None], (targets - mean_y) * weight[..., None]
    total = weight.sum(1).clamp(min=eps)
    covariance = x.mT @ y / total[:, None, None]
    if not bool(covariance.isfinite().all()):
        fail("X", "points with a finite covariance with Y", "nan or inf")
    R, singular_values = _NearestRotation.apply(covariance, allow_reflection)
    _warn_if_ambiguous(num_points, singular_values)
    s = points.new_ones(len(points))
    if estimate_scale:
        s = (R * covariance).sum((1, 2)) / (x.square().sum((1, 2)) / total).clamp(min=eps)
    T = (mean_y - s[:, None, None] * (mean_x @ R))[:, 0]
    return SimilarityTransform(R, T, s)


class _NearestRotation(FirstOrder):
    """The rotation nearest to each matrix, and the singular values.

    Let M = U S V' and R = U E V', with S signed as E. A change dM changes R by U ((A - A') / (S_i + S_j)) E V', where
    A = U' dM V E. This is finite for equal singular values, where the derivatives of U and V are not.
    """

    @staticmethod
    def forward(ctx: Any, matrices: torch.Tensor, allow_reflection: bool) -> Any:
        size = matrices.abs().sum((1, 2)).clamp(min=torch.finfo(matrices.dtype).tiny)  # LAPACK fails for large numbers
        u, s, vt = torch.linalg.svd(matrices / size[:, None, None])
        s = s * size[:, None]
        signs = torch.ones_like(s)
        if not allow_reflection and s.shape[1]:
            signs[:, -1] = torch.linalg.det(u @ vt).sign()
        vt = signs[..., None] * vt
        ctx.save_for_backward(u, s * signs, vt)
        ctx.mark_non_differentiable(s)
        return u @ vt, s

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, _: Any) -> Any:
        u, s, vt = ctx.saved_tensors
        sums = s[:, :, None] + s[:, None, :]
        unique = sums > 8 * torch.finfo(s.dtype).eps * s.abs().amax(1)[:, None, None]
        inner = u.mT @ grad @ vt.mT
        turn = (inner - inner.mT) * torch.where(unique, 1 / torch.where(unique, sums, 1), 0)
        return u @ turn @ vt, None


def _warn_if_ambiguous(num_points: torch.Tensor, singular_values: torch.Tensor) -> None:
    dim = singular_values.shape[1]
    if bool((num_points <= dim).any()):
        warnings.warn(
            f"corresponding_points_alignment: a cloud of {dim} points or fewer leaves the rotation ambiguous",
            stacklevel=3,
        )
    elif bool((singular_values.abs() <= AMBIGUOUS_SINGULAR_VALUE).any()):
        warnings.warn(
            "corresponding_points_alignment: points in a line or plane leave the rotation ambiguous", stacklevel=3
        )


def _mask(points: torch.Tensor, num_points: torch.Tensor) -> torch.Tensor:
    """(N, P): 1 for points, 0 for padding."""
    return (torch.arange(points.shape[1], device=points.device) < num_points[:, None]).to(points.dtype)


def _identity(points: torch.Tensor) -> SimilarityTransform:
    n, _, dim = points.shape
    return SimilarityTransform(eyes(dim, n, points.device, points.dtype), points.new_zeros(n, dim), points.new_ones(n))


def _checked(transform: SimilarityTransform, points: torch.Tensor) -> SimilarityTransform:
    n, _, dim = points.shape
    R, T, s = transform
    check_tensor("init_transform.R", R, (n, dim, dim), like=points)
    check_tensor("init_transform.T", T, (n, dim), like=points)
    check_tensor("init_transform.s", s, (n,), like=points)
    return SimilarityTransform(R, T, s)


def _apply(points: torch.Tensor, transform: SimilarityTransform) -> torch.Tensor:
    R, T, s = transform
    return s[:, None, None] * (points @ R) + T[:, None]


def _root(x: torch.Tensor) -> torch.Tensor:
    """The square root, with gradient 0 at 0."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1).sqrt(), 0)
