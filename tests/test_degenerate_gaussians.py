"""Gaussians with everything that breaks splatting, through gsplat's function: values and gradients are finite."""

from __future__ import annotations

import random

import pytest
import torch
from splat_cases import views

from tirender.gsplat import rasterization

N, SIZE = 12, (40, 24)
FLAWS = ("none", "no size", "huge", "needle", "disc", "no rotation", "at the camera", "behind", "grazing", "ties")


def degenerate(rng: random.Random) -> dict[str, torch.Tensor]:
    """Gaussians of which some have something wrong."""
    g = torch.Generator().manual_seed(rng.randrange(2**31))
    means = torch.randn(N, 3, generator=g) + torch.tensor([0.0, 0.0, 4.0])
    quats, scales = torch.randn(N, 4, generator=g), 10 ** (torch.rand(N, 3, generator=g) * 2 - 2)
    opacities = torch.rand(N, generator=g)
    for i in range(N):
        flaw = rng.choice(FLAWS)
        if flaw == "no size":
            scales[i] = 0
        elif flaw == "huge":
            scales[i] = 10.0 ** rng.uniform(2, 30)
        elif flaw in ("needle", "disc"):
            scales[i] = torch.tensor([1e3, 0.0, 1e-9]) if flaw == "needle" else torch.tensor([2.0, 2.0, 0.0])
        elif flaw == "no rotation":
            quats[i] = rng.choice([0.0, 1e-20, 1e-38])
        elif flaw == "at the camera":
            means[i] = rng.choice([0.0, 1e-30])
        elif flaw == "behind":
            means[i, 2] *= -1
        elif flaw == "grazing":
            means[i] = torch.tensor([rng.uniform(-1e6, 1e6), 0.0, 0.02])
        elif flaw == "ties":
            means[i] = torch.tensor([0.0, 0.0, 3.0])
        opacities[i] = rng.choice([float(opacities[i]), 0.0, 1.0, 1e-30, 1 / 255])
    return {"means": means, "quats": quats, "scales": scales, "opacities": opacities}


def check_scene(seed: int) -> None:
    rng = random.Random(seed)
    world = degenerate(rng)
    viewmats, intrinsics = views(2, *SIZE)
    if rng.random() < 0.5:
        viewmats[:] = torch.eye(4)  # so that what is to be at the camera is there
    degree = rng.choice([None, 0, 3])
    colors = torch.rand(N, 3) if degree is None else torch.randn(N, (degree + 1) ** 2, 3)
    leaves = [x.requires_grad_() for x in (*world.values(), colors, viewmats)]
    images, alphas, meta = rasterization(
        *leaves,
        intrinsics,
        *SIZE,
        near_plane=rng.choice([0.01, 1e-20]),
        sh_degree=degree,
        packed=rng.random() < 0.5,
        render_mode=rng.choice(["RGB", "RGB+ED", "RGB+D"]),
        rasterize_mode=rng.choice(["classic", "antialiased"]),
        camera_model=rng.choice(["pinhole", "ortho", "fisheye"]),
    )
    for name, value in (
        ("image", images),
        ("alphas", alphas),
        ("means2d", meta["means2d"]),
        ("conics", meta["conics"]),
    ):
        assert value.isfinite().all(), f"seed {seed}: {name}"
    for leaf, grad in zip((*world, "colors", "viewmats"), torch.autograd.grad(images.sum() + alphas.sum(), leaves)):
        assert grad.isfinite().all(), f"seed {seed}: gradient in {leaf}"


def test_fifty_degenerate_scenes() -> None:
    for seed in range(50):
        check_scene(seed)


@pytest.mark.long
@pytest.mark.parametrize("block", range(5))
def test_five_thousand_degenerate_scenes(block: int) -> None:
    for seed in range(1000 * (block + 1), 1000 * (block + 2)):
        check_scene(seed)
