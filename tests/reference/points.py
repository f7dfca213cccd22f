"""Slow rasterization and compositing of points in plain torch, the oracle of the Taichi kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reference.rasterize import pixel_centres


def rasterize(
    clouds: Sequence[torch.Tensor], radius: torch.Tensor, image_size: tuple[int, int], points_per_pixel: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Dense idx, zbuf and dists (N, H, W, K), -1 where empty, of clouds (P_i, 3) with the radius of each point (P,)."""
    first, images = 0, []
    for points in clouds:
        centres = pixel_centres(*image_size, points)
        dists = (centres[:, :, None] - points[:, :2]).square().sum(-1)
        drawn = points.isfinite().all(-1) & (points[:, 2] >= 0)
        hit = (dists < radius[first : first + len(points)] ** 2) & drawn
        depth = points[:, 2].expand_as(hit)
        order = torch.where(hit, depth, torch.inf).argsort(dim=-1, stable=True)[..., :points_per_pixel]
        values = [v.gather(-1, order) for v in (torch.arange(len(points)).expand_as(hit) + first, depth, dists)]
        values = [torch.where(hit.gather(-1, order), v, -1) for v in values]
        images.append([torch.nn.functional.pad(v, (0, points_per_pixel - v.shape[-1]), value=-1) for v in values])
        first += len(points)
    idx, zbuf, dists = (torch.stack(v) for v in zip(*images))
    return idx.int(), zbuf, dists


def composite(idx: torch.Tensor, alphas: torch.Tensor, features: torch.Tensor, mode: str) -> torch.Tensor:
    """(N, C, H, W) from idx and alphas (N, K, H, W) and features (C, P)."""
    alphas = torch.where(idx >= 0, alphas, 0)
    weights = alphas
    if mode == "alpha":
        before = torch.cat([torch.ones_like(alphas[:, :1]), (1 - alphas[:, :-1]).cumprod(1)], 1)
        weights = alphas * before
    elif mode == "norm":
        weights = alphas / alphas.sum(1, keepdim=True).clamp(min=1e-4)
    seen = features.index_select(1, idx.clamp(min=0).reshape(-1).long()).view(len(features), *idx.shape)
    return (weights * seen).sum(2).transpose(0, 1)
