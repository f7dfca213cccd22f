"""Slow Gaussian splatting in plain torch, the oracle of the Taichi kernels."""

from __future__ import annotations

import math

import torch

ALPHA_MIN, TRANSMITTANCE_MIN = 1 / 255, 1e-4


def covariances(quats: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """(N, 3, 3) from rotations (N, 4), w first, and scales (N, 3)."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    half = torch.stack([torch.stack(row, -1) for row in rows], -2) * scales[:, None]
    return half @ half.mT


def project(means, covariance, viewmats, intrinsics, width, height, model="pinhole", blur=0.3):
    """means2d (I, N, 2), depths (I, N), conics (I, N, 3) and compensations (I, N) of all Gaussians."""
    rotation, translation = viewmats[:, None, :3, :3], viewmats[:, None, :3, 3]
    p = (rotation @ means[..., None])[..., 0] + translation
    focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], -1)[:, None]
    centre = intrinsics[:, None, :2, 2]
    size = torch.tensor([width, height], dtype=means.dtype)
    xy, z = p[..., :2], p[..., 2:]
    if model == "pinhole":
        means2d = focal * xy / z + centre
        low, high = -centre / focal - 0.15 * size / focal, (size - centre) / focal + 0.15 * size / focal
        t = torch.minimum(torch.maximum(xy / z, low), high)
        jacobian = torch.cat([torch.diag_embed((1 / z).expand_as(xy)), -t[..., None] / z[..., None]], -1)
    elif model == "ortho":
        means2d = focal * xy + centre
        jacobian = torch.eye(3, dtype=means.dtype)[:2].expand(*z.shape[:-1], 2, 3)
    else:  # the derivative of the position itself, by autograd
        q = p if p.requires_grad else p.detach().requires_grad_()
        with torch.enable_grad():
            radius = q[..., :2].norm(dim=-1, keepdim=True)
            at = q[..., :2] * torch.atan2(radius, q[..., 2:]) / radius
            rows = [torch.autograd.grad(at[..., k].sum(), q, create_graph=True)[0] for k in range(2)]
        means2d, jacobian = focal * at + centre, torch.stack(rows, -2)
    to_image = focal[..., None] * jacobian @ rotation
    spread = to_image @ covariance @ to_image.mT
    blurred = spread + blur * torch.eye(2, dtype=means.dtype)
    xx, xy, yy = blurred[..., 0, 0], blurred[..., 0, 1], blurred[..., 1, 1]
    det = xx * yy - xy * xy
    conics = torch.stack([yy, -xy, xx], -1) / det[..., None]
    sharp = (xx - blur) * (yy - blur) - xy * xy
    return means2d, z[..., 0], conics, (sharp / det).clamp(min=0).sqrt()


def composite(means2d, conics, colors, opacities, depths, width, height, background=None, alpha_max=0.999):
    """Colours (H, W, C), alphas (H, W) and how many Gaussians each pixel sees, of one image."""
    order = depths.argsort(stable=True)
    means2d, conics, colors, opacities = (x[order] for x in (means2d, conics, colors, opacities))
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    d = means2d - torch.stack([x, y], -1).reshape(-1, 1, 2) - 0.5
    sigma = (conics[:, 0] * d[..., 0] ** 2 + conics[:, 2] * d[..., 1] ** 2) / 2 + conics[:, 1] * d[..., 0] * d[..., 1]
    alphas = (opacities * torch.exp(-sigma)).clamp(max=alpha_max)
    alphas = torch.where(alphas >= ALPHA_MIN, alphas, 0)
    after = (1 - alphas).cumprod(1)
    is_seen = (after > TRANSMITTANCE_MIN) & (alphas > 0)
    alphas = torch.where(after > TRANSMITTANCE_MIN, alphas, 0)
    after = (1 - alphas).cumprod(1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1)
    left = after[:, -1:] if len(order) else torch.ones(height * width, 1, dtype=colors.dtype)
    image = (alphas * before) @ colors
    if background is not None:
        image = image + left * background
    return image.view(height, width, -1), 1 - left.view(height, width), is_seen.sum(1).view(height, width)


def harmonics(directions: torch.Tensor, degree: int) -> torch.Tensor:
    """(N, (degree + 1)^2) real spherical harmonics from associated Legendre polynomials, with their phase (-1)^m."""
    x, y, z = torch.nn.functional.normalize(directions, dim=-1).unbind(-1)
    legendre = {(0, 0): torch.ones_like(z)}  # divided by sin^m: polynomials of z
    for m in range(degree + 1):
        if m:
            legendre[m, m] = -(2 * m - 1) * legendre[m - 1, m - 1]
        if m < degree:
            legendre[m + 1, m] = (2 * m + 1) * z * legendre[m, m]
        for n in range(m + 2, degree + 1):
            legendre[n, m] = ((2 * n - 1) * z * legendre[n - 1, m] - (n + m - 1) * legendre[n - 2, m]) / (n - m)
    out = []
    for n in range(degree + 1):
        for m in range(-n, n + 1):
            k = abs(m)
            scale = math.sqrt((2 * n + 1) / (4 * math.pi) * math.factorial(n - k) / math.factorial(n + k))
            angular = torch.complex(x, y) ** k  # sin^m e^(i m phi)
            part = legendre[n, k] * (angular.real if m >= 0 else angular.imag)
            out.append(scale * part * (math.sqrt(2) if m else 1))
    return torch.stack(out, -1)
