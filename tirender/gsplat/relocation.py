"""``gsplat.relocation``."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_tensor
from tirender.fit.growth import relocated

__all__ = ["compute_relocation"]


def compute_relocation(
    opacities: torch.Tensor, scales: torch.Tensor, ratios: torch.Tensor, binoms: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Opacities and scales of the parts of Gaussians that together look as each did (Kheradmand et al. 2024).

    Args:
        opacities: (N,).
        scales: (N, 3).
        ratios: (N,) integers, the parts of each; clamped in place to 1 and the size of ``binoms``, as in gsplat.
        binoms: (n, n); its size is the greatest number of parts, its values are not needed.
    Returns:
        (N,) and (N, 3).
    Raises:
        ValueError: if shapes do not fit.
    """
    n = len(check_tensor("opacities", opacities, ("N",), FLOATS))
    check_tensor("scales", scales, (n, 3), like=opacities)
    check_tensor("ratios", ratios, (n,))
    most = len(check_tensor("binoms", binoms, ("n", "n")))
    return relocated(opacities, scales, ratios.clamp_(1, most), most)
