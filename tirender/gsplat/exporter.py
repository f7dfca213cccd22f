"""``gsplat.exporter``: Gaussians as files."""

from __future__ import annotations

import os

import torch

from tirender.checks import check_choice, fail
from tirender.io.files import write_file
from tirender.io.gaussians_io import gaussian_chunks
from tirender.structures import Gaussians

__all__ = ["export_splats"]

ENDINGS = {"ply": ".ply", "splat": ".splat", "ply_compressed": ".compressed.ply"}
LEAST_OPACITY = 1 / 255  # that the compressed kind keeps


@torch.no_grad()
def export_splats(
    means: torch.Tensor,
    scales: torch.Tensor,
    quats: torch.Tensor,
    opacities: torch.Tensor,
    sh0: torch.Tensor,
    shN: torch.Tensor,
    format: str = "ply",
    save_to: str | os.PathLike[str] | None = None,
) -> bytes:
    """Return the contents of a file of Gaussians, and save them if a place is given.

    Args:
        means: (N, 3) in world space.
        scales: (N, 3) logarithms of standard deviations.
        quats: (N, 4) rotations (w, x, y, z) of any length.
        opacities: (N,) logits.
        sh0: (N, 1, 3) harmonics of degree 0.
        shN: (N, K, 3) the others; K is 0, 3, 8, 15 or 24.
        format: ``"ply"`` (the original's), ``"splat"``, or ``"ply_compressed"`` (PlayCanvas's, without Gaussians of an
            opacity below 1/255).
        save_to: the file to write.
    Raises:
        ValueError: a shape or a format that is not one of these.
    """
    check_choice("format", format, tuple(ENDINGS))
    n = len(means)
    for name, tensor, shape in (("sh0", sh0, (n, 1, 3)), ("shN", shN, (n, *shN.shape[1:2], 3))):
        if tensor.shape != shape:
            fail(name, f"shape {shape}", tuple(tensor.shape))
    harmonics = torch.cat([sh0, shN], 1)
    given = (means, quats, scales, opacities, harmonics)
    kept = torch.stack([x.reshape(n, x[0].numel() if n else 0).isfinite().all(1) for x in given]).all(0)
    if format == "ply_compressed":
        kept &= opacities.sigmoid() > LEAST_OPACITY
    gaussians = Gaussians.from_raw(*(x[kept] for x in given))
    parts = gaussian_chunks(gaussians, ENDINGS[format])
    if save_to is not None:
        write_file(save_to, parts)
    return b"".join(parts)
