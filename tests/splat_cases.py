"""Random Gaussians before cameras, and the reference cases of gsplat 1.5."""

from __future__ import annotations

import ast

import numpy as np
import torch
from conftest import REFERENCE

from tirender.engine.composite_gaussians import Canvas, composite_gaussians
from tirender.engine.gaussian_tiles import Gaussians2D
from tirender.engine.project_gaussians import Projection, project_gaussians
from tirender.engine.spherical_harmonics import view_colors

CASES = ("antialiased", "colors", "depth", "fisheye", "ortho", "sh0", "sh1_many", "sh3")


def load_case(name: str, dtype: torch.dtype) -> tuple[dict, dict, dict[str, torch.Tensor]]:
    """Inputs, which want gradients where the case has them; meta; and everything else, in float64."""
    with np.load(REFERENCE / "splats" / f"{name}.npz") as data:
        arrays = {k: torch.from_numpy(data[k]) for k in data.files if k != "meta"}
        meta = ast.literal_eval(str(data["meta"]))
    inputs = {k[3:]: arrays.pop(k).to(dtype) for k in list(arrays) if k.startswith("in_")}
    for k, leaf in inputs.items():
        leaf.requires_grad_(f"grad_{k}" in arrays and arrays[f"grad_{k}"].numel() > 0)
    return inputs, meta, arrays


def world(n: int, dtype: torch.dtype = torch.float32, seed: int = 0, size: float = 0.15) -> dict[str, torch.Tensor]:
    """Gaussians around (0, 0, 4): means, quats, scales, opacities, colors (n, 3)."""
    g = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.rand(*shape, generator=g, dtype=dtype)  # noqa: E731
    return {
        "means": (rand(n, 3) * 2 - 1) * torch.tensor([2.0, 1.5, 1.0], dtype=dtype) + 4 * torch.eye(3, dtype=dtype)[2],
        "quats": rand(n, 4) * 2 - 1,
        "scales": size * (0.1 + rand(n, 3)),
        "opacities": 0.05 + 0.9 * rand(n),
        "colors": rand(n, 3),
    }


def views(n: int, width: int, height: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """View matrices (n, 4, 4), a little turned, and intrinsics (n, 3, 3)."""
    g = torch.Generator().manual_seed(1)
    skew = torch.rand(n, 3, 3, generator=g, dtype=torch.float64) * 0.2
    viewmats = torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)
    viewmats[:, :3, :3] = torch.linalg.matrix_exp(skew - skew.mT)
    viewmats[:, :3, 3] = torch.rand(n, 3, generator=g, dtype=torch.float64) * 0.3
    intrinsics = torch.tensor([[0.9 * width, 0, 0.45 * width], [0, 0.8 * width, 0.55 * height], [0, 0, 1.0]])
    return viewmats.to(dtype), intrinsics.to(dtype).repeat(n, 1, 1)


def flat(
    means2d: torch.Tensor,
    conics: torch.Tensor,
    colors: torch.Tensor,
    opacities: torch.Tensor,
    depths: torch.Tensor,
    drawn: torch.Tensor | None = None,
) -> Gaussians2D:
    """The Gaussians (I, N, ...) of images, one after the other."""
    n_images, n = depths.shape
    image = torch.arange(n_images, dtype=torch.int32).repeat_interleave(n)
    drawn = torch.ones(n_images, n, 1, dtype=torch.int32) if drawn is None else drawn
    return Gaussians2D(
        means2d.reshape(-1, 2),
        conics.reshape(-1, 3),
        colors.reshape(n_images * n, colors.shape[-1]),
        opacities.reshape(-1),
        image,
        depths.detach().reshape(-1),
        drawn.view(n_images * n, drawn.shape[-1]),
    )


def render(inputs: dict[str, torch.Tensor], meta: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours and alphas of the inputs of a reference case."""
    width, height, antialiased = meta["width"], meta["height"], meta["rasterize_mode"] == "antialiased"
    projection = Projection(width, height, meta["camera_model"], compensated=antialiased)
    shapes = [inputs[k] for k in ("means", "quats", "scales", "opacities", "viewmats", "Ks")]
    means2d, depths, conics, compensations, radii = project_gaussians(*shapes, projection)
    colors, opacities = inputs["colors"], inputs["opacities"].expand(depths.shape)
    if meta["sh_degree"] is not None:
        centres = torch.inverse(inputs["viewmats"])[:, :3, 3]
        colors = view_colors(inputs["means"], centres, colors, meta["sh_degree"], radii)
    colors = colors.expand(*depths.shape, 3)
    if antialiased:
        opacities = opacities * compensations
    if meta["render_mode"] == "RGB+ED":
        colors = torch.cat([colors, depths[..., None]], -1)
    background = inputs["backgrounds"] if meta["backgrounds"] else None
    gaussians = flat(means2d, conics, colors, opacities, depths, radii)
    image, alphas = composite_gaussians(gaussians, background, Canvas(height, width, len(depths)))
    if meta["render_mode"] == "RGB+ED":
        image = torch.cat([image[..., :3], image[..., 3:] / alphas.clamp(min=1e-10)], -1)
    return image, alphas
