"""What a file says of a surface, for any renderer: materials and the images that they lay on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tirender.checks import check_choice, check_kind, check_number, check_tensor, fail
from tirender.structures.keeping import kept_property

ALPHA_MODES = ("opaque", "mask", "blend")
MAPS = ("base_map", "emission_map", "normal_map", "occlusion_map", "metallic_roughness_map")
"""The attributes of ``Material`` that are maps."""
_COLORS = {"base_color": 4, "unmapped_color": 3, "emission": 3, "specular": 3}
_NUMBERS = ("alpha_cutoff", "normal_scale", "occlusion_strength", "metallic", "roughness", "shininess")


@dataclass(frozen=True, eq=False)
class TextureMap:
    """An image, decoded when it is first asked for, and how it is laid on a surface.

    Attributes:
        read: ``image``, or what returns it; ValueError, naming the file, where that is damaged.
        uv_set: which of the mesh's texture coordinates it uses.
        wrap: what lies outside [0, 1] along u and along v: "repeat", "mirror" or "clamp".
        transform: (2, 3); u and v are first turned into ``transform @ (u, v, 1)``, v pointing up; None leaves them.
        nearest: whether texels are not to be interpolated.
        stored: returns the bytes of the image file that ``read`` decodes and changes no further; None for other images.
    """

    read: Callable[[], torch.Tensor] | torch.Tensor
    uv_set: int = 0
    wrap: tuple[str, str] = ("repeat", "repeat")
    transform: np.ndarray | None = None
    nearest: bool = False
    stored: Callable[[], bytes] | None = None

    @kept_property
    def image(self) -> torch.Tensor:
        """Float32 (H, W, 3), or (H, W, 4) with alpha, in [0, 1] as stored: colours are sRGB, data plain numbers."""
        return self.read if isinstance(self.read, torch.Tensor) else self.read()


@dataclass(frozen=True, eq=False)
class Material:
    """A surface: a factor a quantity, and a map that multiplies it where there is one.

    Numbers that ``PBRShader`` reads, and images of maps, may be tensors with gradients; ``base_color`` and ``emission``
    are then (4,) and (3,).

    Attributes:
        name: as in the file.
        base_color: RGBA, sRGB like the images.
        base_map: RGB or RGBA.
        unmapped_color: RGB, sRGB, of faces that have no texture coordinates for ``base_map``, where it is not
            ``base_color``: MTL's Kd, which by custom does not multiply its map.
        alpha_mode: "opaque" (alpha is ignored), "mask" (nothing is drawn where alpha lies below ``alpha_cutoff``) or
            "blend".
        alpha_cutoff: see there.
        emission: RGB, sRGB; its light is added, and may exceed 1. Unlit materials have none.
        emission_map: RGB.
        normal_map: RGB, tangent space, (0.5, 0.5, 1) straight up, x along u and y along v pointing up.
        normal_scale: of the map's x and y.
        occlusion_map: its red channel is the part of the ambient light that arrives.
        occlusion_strength: how far it is followed, from 0 to 1.
        metallic, roughness: from 0 to 1; None where the file says nothing: 1 with their map.
        metallic_roughness_map: roughness in green, metallic in blue.
        specular: RGB of Phong's highlights, or None.
        shininess: Phong's exponent, or None.
        double_sided: whether back faces are drawn and lit from their own side; None where the file says nothing.
        unlit: whether the base colour is shown as it is, without light.
    Raises:
        ValueError: where a colour, number, map or mode does not fit.
    """

    name: str = ""
    base_color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    base_map: TextureMap | None = None
    unmapped_color: tuple[float, float, float] | None = None
    alpha_mode: str = "opaque"
    alpha_cutoff: float = 0.5
    emission: tuple[float, float, float] = (0.0, 0.0, 0.0)
    emission_map: TextureMap | None = None
    normal_map: TextureMap | None = None
    normal_scale: float = 1.0
    occlusion_map: TextureMap | None = None
    occlusion_strength: float = 1.0
    metallic: float | None = None
    roughness: float | None = None
    metallic_roughness_map: TextureMap | None = None
    specular: tuple[float, float, float] | None = None
    shininess: float | None = None
    double_sided: bool | None = None
    unlit: bool = False

    def __post_init__(self) -> None:
        check_choice("alpha_mode", self.alpha_mode, ALPHA_MODES)
        for name, width in _COLORS.items():
            _check_numbers(name, getattr(self, name), width)
        for name in _NUMBERS:
            _check_numbers(name, getattr(self, name))
        for name in MAPS:
            if getattr(self, name) is not None:
                check_kind(name, getattr(self, name), TextureMap)

    def maps(self) -> list[TextureMap]:
        """The maps that it has, in the order of ``MAPS``."""
        return [found for found in (getattr(self, name) for name in MAPS) if found is not None]


def roughness_of_exponent(shininess: float) -> float:
    """The roughness whose highlight is as wide as that of Phong's exponent n: alpha^2 = 2 / (n + 2), Walter 2007."""
    return float((2.0 / (max(shininess, 0.0) + 2.0)) ** 0.25)


def _check_numbers(name: str, value: Any, width: int | None = None) -> None:
    """Raise ``ValueError`` unless this is None, finite numbers, or a tensor of them, which may be on a device."""
    if isinstance(value, torch.Tensor):
        check_tensor(name, value, () if width is None else (width,))
    elif width is not None and value is not None:
        if not isinstance(value, tuple | list | np.ndarray) or len(value) != width:
            fail(name, f"{width} numbers", repr(value)[:80])
        for number in value:
            _check_numbers(name, number)
    elif value is not None:
        check_number(name, value)
