"""The numbers and maps of materials, laid out for kernels and for torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from tirender.budget import bounded
from tirender.checks import check_integer, check_tensor, fail
from tirender.engine.kernels.texture import LEVELS, NEAREST
from tirender.engine.mesh_shading import padding_code
from tirender.renderer.mesh.material import MAPS, Material, TextureMap, roughness_of_exponent
from tirender.renderer.mesh.mipmaps import PackedMipmaps, pack_mipmaps, sample_mipmaps
from tirender.renderer.mesh.texture_maps import PackedMaps, check_padding, sample_maps
from tirender.renderer.tone_mapping import decode_srgb

COLORS = ("base_map", "emission_map")  # those that are sRGB


class MapTable(NamedTuple):
    """Numbers and maps of M materials and of the plain one after them.

    Attributes:
        maps: all maps, RGBA; each is followed by its smaller levels where there are any.
        layout: (maps, 4) int32 as kernels read it: first texel, rows, columns and code.
        map_of: (M + 1, 5) int64, the map in each of MAPS; -1 for none.
        uv_set: (M + 1, 5) int64, the set of texture coordinates that it is read at.
        transform: (M + 1, 5, 2, 3), what they are transformed by.
        base_color: (M + 1, 4); plain_color: the same for faces without coordinates for the base map.
        emission: (M + 1, 3).
        phong: (M + 1, 4): colour and exponent of highlights.
        settings: (M + 1, 4): alpha mode (0 opaque, 1 mask, 2 blend), alpha cutoff, scale of the normal map, strength of
            the occlusion map.
        metallic_roughness: (M + 1, 2); see :func:`metallic_of` and :func:`roughness_of` for what the file does not say.
        flags: (M + 1, 2) bool: double-sided (what the file does not say is), unlit.
    """

    maps: PackedMaps
    layout: torch.Tensor
    map_of: torch.Tensor
    uv_set: torch.Tensor
    transform: torch.Tensor
    base_color: torch.Tensor
    plain_color: torch.Tensor
    emission: torch.Tensor
    phong: torch.Tensor
    settings: torch.Tensor
    metallic_roughness: torch.Tensor
    flags: torch.Tensor

    @classmethod
    @bounded
    def of(
        cls, materials: Sequence[Material], device: torch.device, mipmaps: bool = False, linear: bool = False
    ) -> MapTable:
        """Decode the maps and lay out everything on a device.

        Args:
            materials: the M materials; differentiable in their numbers and maps.
            device: where everything goes.
            mipmaps: add smaller levels of all maps.
            linear: turn colours from sRGB into linear light.
        Raises:
            ValueError: an image that is no float (H, W, 3) or (H, W, 4), an ``uv_set`` below 0, or an unknown ``wrap``.
        """
        everything = [*materials, Material(name="plain")]
        slots = [[getattr(m, slot) for slot in MAPS] for m in everything]
        different: dict[tuple[Any, ...], int] = {}
        images: list[tuple[TextureMap, bool]] = []
        numbers = [
            [_number(slot, found, linear and slot in COLORS, different, images) for slot, found in zip(MAPS, row)]
            for row in slots
        ]
        maps = pack_mipmaps(
            [_rgba(m.image, decode).to(device) for m, decode in images] or [torch.ones(1, 1, 4)], mipmaps
        )
        codes = [padding_code(*check_padding("wrap", m.wrap)) + NEAREST * m.nearest for m, _ in images] or [0]
        first_level, n_smaller = maps.first_level.cpu(), maps.n_smaller.cpu()
        n_levels = first_level.diff(append=torch.tensor([len(n_smaller)]))
        padding = torch.tensor(codes).repeat_interleave(n_levels)
        of_levels = padding + LEVELS * torch.where(padding < NEAREST, n_smaller, 0)
        layout = torch.cat(
            [maps.levels.first_texel.cpu()[:, None], maps.levels.size.cpu(), of_levels[:, None]], 1
        ).int()
        numbers = [[-1 if n < 0 else int(first_level[n]) for n in row] for row in numbers]
        eye = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
        modes = ("opaque", "mask", "blend")
        base = _rows([m.base_color for m in everything], 4)
        plain = [(0.0, 0.0, 0.0) if m.unmapped_color is None else m.unmapped_color for m in everything]
        has_plain = torch.tensor([[m.unmapped_color is not None] for m in everything])
        tensors: dict[str, Any] = {
            "layout": layout,
            "map_of": torch.tensor(numbers),
            "uv_set": torch.tensor([[0 if m is None else m.uv_set for m in row] for row in slots]),
            "transform": torch.tensor(
                [[eye if m is None or m.transform is None else m.transform.tolist() for m in row] for row in slots]
            ),
            "base_color": base,
            "plain_color": torch.cat([torch.where(has_plain, _rows(plain, 3), base[:, :3]), base[:, 3:]], 1),
            "emission": _rows([(0.0, 0.0, 0.0) if m.unlit else m.emission for m in everything], 3),
            "phong": torch.tensor([(*(m.specular or (1.0,) * 3), m.shininess or 64.0) for m in everything]),
            "settings": _rows(
                [(modes.index(m.alpha_mode), m.alpha_cutoff, m.normal_scale, m.occlusion_strength) for m in everything],
                4,
            ),
            "metallic_roughness": _rows([(metallic_of(m), roughness_of(m)) for m in everything], 2),
            "flags": torch.tensor([[m.double_sided is not False, m.unlit] for m in everything]),
        }
        for name in ("base_color", "plain_color", "emission") if linear else ():
            rgb = decode_srgb(tensors[name][:, :3])
            tensors[name] = torch.cat([rgb, tensors[name][:, 3:]], 1)
        moved = {name: tensor.to(device) for name, tensor in tensors.items()}
        return cls(maps=PackedMaps(*(t.to(device) for t in maps.levels)), **moved)

    def read(self, which: torch.Tensor, uv: torch.Tensor, slopes: torch.Tensor | None = None) -> torch.Tensor:
        """(M, 4): the maps ``which`` (M,) at coordinates (M, 2); ``slopes`` (M, 2, 2) as for ``sample_mipmaps``."""
        values = uv.new_zeros(len(uv), 4)
        everything = torch.arange(len(self.layout), device=uv.device)
        mipmaps = PackedMipmaps(self.maps, everything, self.layout[:, 3].long() // LEVELS)
        codes = self.layout[which, 3] % LEVELS
        for code in codes.unique().tolist():
            points = (codes == code).nonzero()[:, 0]
            padding = next(p for p in _PAIRS if padding_code(*p) == code % NEAREST)
            if code >= NEAREST:
                read = sample_maps(self.maps, which[points], uv[points], "nearest", padding, align_corners=False)
            else:
                change = None if slopes is None else slopes[points]
                read = sample_mipmaps(mipmaps, which[points], uv[points], change, padding, align_corners=False)
            values = values.index_copy(0, points, read)
        return values


_PAIRS = [(u, v) for u in ("repeat", "reflection", "border") for v in ("repeat", "reflection", "border")]


def wants_grad(materials: Sequence[Material]) -> bool:
    """Whether a number, or a map that was read, wants a gradient."""
    for material in materials:
        for field in vars(material).values():
            values = [vars(field).get("image")] if isinstance(field, TextureMap) else field
            if any(getattr(v, "requires_grad", False) for v in (values if type(values) in (list, tuple) else [values])):
                return True
    return False


def metallic_of(material: Material) -> Any:
    """How metallic a material is; where it does not say, 1 with a map that multiplies it, else 0."""
    if material.metallic is not None:
        return material.metallic
    return 0.0 if material.metallic_roughness_map is None else 1.0


def roughness_of(material: Material) -> Any:
    """A material's roughness; where it does not say, 1 with a map that multiplies it, else that of Phong's exponent."""
    if material.roughness is not None:
        return material.roughness
    return roughness_of_exponent(material.shininess or 64.0) if material.metallic_roughness_map is None else 1.0


def _rows(rows: Sequence[Any], width: int) -> torch.Tensor:
    """(rows, width) float32 of rows of numbers and tensors; differentiable."""
    if not any(isinstance(value, torch.Tensor) for row in rows for value in (row, *row)):
        return torch.tensor(rows, dtype=torch.float32).view(-1, width)
    return torch.stack([torch.stack([torch.as_tensor(v, dtype=torch.float32).cpu() for v in row]) for row in rows])


def _number(
    name: str,
    found: TextureMap | None,
    decode: bool,
    different: dict[tuple[Any, ...], int],
    images: list[tuple[TextureMap, bool]],
) -> int:
    """Which of the different maps this is, decoded from sRGB or not; -1 for none. Kernels trust these checks."""
    if found is None:
        return -1
    check_integer(f"{name}.uv_set", found.uv_set, 0)
    image = check_tensor(f"{name}.image", found.image)
    fits = image.dim() == 3 and image.shape[-1] in (3, 4) and image.numel() and image.is_floating_point()
    if not fits:
        fail(f"{name}.image", "floats (H, W, 3) or (H, W, 4)", f"{image.dtype} of shape {tuple(image.shape)}")
    key = (id(found.image), found.wrap, found.nearest, decode)
    if key not in different:
        different[key] = len(images)
        images.append((found, decode))
    return different[key]


def _rgba(image: torch.Tensor, decode: bool) -> torch.Tensor:
    alpha = image[..., 3:] if image.shape[-1] == 4 else torch.ones_like(image[..., :1])
    if decode:
        return torch.cat([decode_srgb(image[..., :3]), alpha], -1)
    return image if image.shape[-1] == 4 else torch.cat([image, alpha], -1)
