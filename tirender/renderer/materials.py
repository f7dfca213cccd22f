"""How a surface answers to light."""

from __future__ import annotations

from typing import ClassVar

import torch

from tirender.checks import check_tensor
from tirender.renderer.lighting import Color, check_rows
from tirender.renderer.utils import TensorProperties


class Materials(TensorProperties):
    """Reflectances of the Phong model, multiplied with the lights' colours.

    Args:
        ambient_color, diffuse_color, specular_color: (N, C) or N tuples: RGB, or as many channels as the light and the
            texture have. All three have the same C.
        shininess: the exponent of the highlight: one number, or (N,). With 0, ``specular_color`` is added everywhere.
        device: where the tensors live.
    Raises:
        ValueError: where a shape does not fit.
    """

    ambient_color: torch.Tensor
    diffuse_color: torch.Tensor
    specular_color: torch.Tensor
    shininess: torch.Tensor

    widths: ClassVar[dict[str, int | None]] = {
        "ambient_color": None,
        "diffuse_color": None,
        "specular_color": None,
        "shininess": 1,
    }

    def __init__(
        self,
        ambient_color: Color = ((1, 1, 1),),
        diffuse_color: Color = ((1, 1, 1),),
        specular_color: Color = ((1, 1, 1),),
        shininess: float | torch.Tensor = 64,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            device=device,
            ambient_color=ambient_color,
            diffuse_color=diffuse_color,
            specular_color=specular_color,
            shininess=shininess,
        )
        check_rows(self, "ambient_color", channels=None)
        check_rows(self, "diffuse_color", "specular_color", channels=self.ambient_color.shape[1])
        check_tensor("shininess", self.shininess, ("N",))
