"""How metallic-roughness surfaces reflect light, in torch: the twin of ``engine/kernels/reflectance.py``.

The model is glTF 2.0's: a microfacet lobe with the distribution of Trowbridge and Reitz (GGX, Walter et al. 2007), the
height-correlated masking of Smith (Heitz 2014) and Fresnel's reflection after Schlick (1994), over a Lambertian base.
Light from all around is split into two factors (Karis, "Real shading in Unreal Engine 4", 2013). Light that is
scattered more than once between facets is given back as Fdez-Aguera (2019) does, and of single lamps as Turquin (2019).
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch

from tirender.structures.keeping import compute_to_keep

DIELECTRIC = 0.04  # reflected by a dielectric at normal incidence
LEAST_ROUGHNESS = 0.045  # of the highlights of lamps, which would vanish between pixels
LEAST_COSINE = 1e-4  # between the normal and the view
SHIFT = 0.7, 1.4  # of the middle of rough lobes; see mirrored_view
SIDE, SAMPLES = 32, 256  # of the table of albedos, and of each entry


class Facets(NamedTuple):
    """A surface at M points, as light meets it.

    Attributes:
        base: (M, 3), linear.
        metallic, roughness: (M, 1) in [0, 1].
        normal, view: (M, 3) unit vectors, the latter towards the camera.
    """

    base: torch.Tensor
    metallic: torch.Tensor
    roughness: torch.Tensor
    normal: torch.Tensor
    view: torch.Tensor


class Albedos(NamedTuple):
    """What a surface makes of light that comes equally from all sides, (M, 3) each.

    Attributes:
        f0: reflected by a facet at normal incidence.
        single: reflected by facets once.
        repeated: reflected by facets more than once; 0 where that is not compensated.
        base: scattered below the facets.
        boost: by what lamps' highlights are multiplied for repeated reflections; 1 where they are not compensated.
    """

    f0: torch.Tensor
    single: torch.Tensor
    repeated: torch.Tensor
    base: torch.Tensor
    boost: torch.Tensor


def albedos_of(facets: Facets, compensated: bool = True) -> Albedos:
    """What surfaces make of light that comes equally from all sides; differentiable.

    Args:
        facets: the M points.
        compensated: whether light that is reflected more than once between facets is counted.
    """
    f0 = torch.lerp(torch.full_like(facets.base, DIELECTRIC), facets.base, facets.metallic)
    cosine = (facets.normal * facets.view).sum(1, keepdim=True).clamp(LEAST_COSINE, 1)
    scale, offset = look_up_albedo(cosine, facets.roughness.clamp(0, 1))
    single = f0 * scale + offset
    lost = 1 - scale - offset
    repeated, boost = torch.zeros_like(single), torch.ones_like(single)
    if compensated:
        average = f0 + (1 - f0) / 21
        repeated = lost * single * average / (1 - average * lost)
        boost = 1 + f0 * lost / (1 - lost)
    base = facets.base * (1 - facets.metallic) * (1 - single - repeated)
    return Albedos(f0, single, repeated, base, boost)


def reflect_lamp(facets: Facets, albedos: Albedos, towards: torch.Tensor, color: torch.Tensor) -> torch.Tensor:
    """Light of a lamp that points reflect towards the camera.

    Args:
        facets, albedos: the M points.
        towards: (M, 3) unit vectors to the lamp.
        color: (1 or M, 3), linear: that of a white Lambertian surface which faces the lamp.
    Returns:
        (M, 3), differentiable.
    """
    cos_light = (facets.normal * towards).sum(1, keepdim=True)
    cos_view = (facets.normal * facets.view).sum(1, keepdim=True).clamp(LEAST_COSINE, 1)
    lit = cos_light > 0
    cos_light = torch.where(lit, cos_light, 1.0)
    half = towards + facets.view
    squared = (half * half).sum(1, keepdim=True)
    half = half / torch.where(squared > 1e-12, squared, 1.0).sqrt()
    cos_half = (facets.normal * half).sum(1, keepdim=True).clamp(0, 1)
    cos_facet = (facets.view * half).sum(1, keepdim=True).clamp(0, 1)
    square = facets.roughness.clamp(LEAST_ROUGHNESS, 1) ** 4
    density = square / (math.pi * (1 - cos_half * cos_half * (1 - square)) ** 2)
    masking = cos_light * (cos_view * cos_view * (1 - square) + square).sqrt()
    masking = masking + cos_view * (cos_light * cos_light * (1 - square) + square).sqrt()
    fresnel = albedos.f0 + (1 - albedos.f0) * (1 - cos_facet) ** 5
    lobe = density * 0.5 / masking * fresnel * albedos.boost
    return torch.where(lit, color * cos_light * (albedos.base + math.pi * lobe), 0.0)


def reflect_surroundings(
    albedos: Albedos, mirrored: torch.Tensor, scattered: torch.Tensor, occlusion: torch.Tensor
) -> torch.Tensor:
    """Light from all around that points reflect towards the camera.

    Args:
        albedos: of the M points.
        mirrored: (M, 3), the mean light that the facets' lobe sees.
        scattered: (M, 3), the mean light that the hemisphere over the point sends, weighted by the cosine.
        occlusion: (M, 1), the part of it that arrives.
    """
    return occlusion * (albedos.single * mirrored + (albedos.repeated + albedos.base) * scattered)


def mirrored_view(facets: Facets) -> torch.Tensor:
    """(M, 3): the view mirrored at the normal, of any length; for rough facets, nearer to the normal.

    There lies the middle of what they reflect. The share of the normal is a fit to lobes of this model, r^3 (0.7 + 1.4
    (1 - cosine)) for roughness r: it halves the error of the split that mirrors alone, at r = 0.6.
    """
    cosine = (facets.normal * facets.view).sum(1, keepdim=True)
    mirrored = 2 * cosine * facets.normal - facets.view
    share = facets.roughness.clamp(0, 1) ** 3 * (SHIFT[0] + SHIFT[1] * (1 - cosine))
    return torch.lerp(mirrored, facets.normal, share.clamp(0, 1))


def look_up_albedo(cosine: torch.Tensor, roughness: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The factor on f0 and the offset of what facets reflect of even light, (M, 1) each.

    Args:
        cosine: (M, 1) in (0, 1], between the normal and the view.
        roughness: (M, 1) in [0, 1].
    """
    table = albedo_table().to(cosine).flatten(0, 1)
    x, y = (SIDE - 1) * cosine.sqrt(), (SIDE - 1) * roughness
    column, row = (t.detach().floor().clamp(0, SIDE - 2) for t in (x, y))
    s, t = x - column, y - row
    first = (row * SIDE + column).long().flatten()
    a, b, c, d = (table.index_select(0, first + step) for step in (0, 1, SIDE, SIDE + 1))
    found = (1 - t) * ((1 - s) * a + s * b) + t * ((1 - s) * c + s * d)
    return found[:, :1], found[:, 1:]


@cache
def albedo_table() -> torch.Tensor:
    """(SIDE, SIDE, 2) float32: the factor on f0 and the offset, of roughness (rows) and square root of the cosine.

    Each entry is a mean over facets that are seen (Heitz, "Sampling the GGX distribution of visible normals", 2018).
    """
    return compute_to_keep(_albedo_table)


@torch.no_grad()
def _albedo_table() -> torch.Tensor:
    steps = torch.linspace(0, 1, SIDE, dtype=torch.float64)
    alpha = (steps**2).clamp(min=1e-4)[:, None, None]
    cosine = (steps**2).clamp(min=LEAST_COSINE)[None, :, None]
    u, turn = hammersley(SAMPLES)
    view = torch.stack(torch.broadcast_tensors((1 - cosine**2).sqrt(), 0 * cosine, cosine), -1)
    stretched = torch.stack(torch.broadcast_tensors(alpha * view[..., 0], 0 * alpha, view[..., 2]), -1)
    stretched = stretched / stretched.norm(dim=-1, keepdim=True)
    across = torch.stack([-stretched[..., 2], 0 * stretched[..., 0], stretched[..., 0]], -1)  # x is ahead, y beside
    r, phi = u.sqrt(), 2 * math.pi * turn
    beside, along = r * phi.cos(), r * phi.sin()
    share = 0.5 * (1 + stretched[..., 2])
    along = (1 - share) * (1 - beside**2).sqrt() + share * along
    depth = (1 - beside**2 - along**2).clamp(min=0).sqrt()
    y = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    half = beside[..., None] * y + along[..., None] * across + depth[..., None] * stretched
    half = torch.cat([alpha[..., None] * half[..., :2], half[..., 2:].clamp(min=1e-9)], -1)
    half = half / half.norm(dim=-1, keepdim=True)
    facet = (half * view).sum(-1).clamp(0, 1)
    light = 2 * facet * half[..., 2] - view[..., 2]
    square = alpha**2

    def hidden(c: torch.Tensor) -> torch.Tensor:
        return ((c * c * (1 - square) + square).sqrt() / c.clamp(min=1e-9) - 1) / 2

    lit = light > 0
    seen = (1 + hidden(cosine)) / (1 + hidden(cosine) + hidden(light))
    seen = torch.where(lit, seen, 0.0)
    edge = (1 - facet) ** 5
    return torch.stack([(seen * (1 - edge)).mean(-1), (seen * edge).mean(-1)], -1).float()


@cache
def hammersley(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (n,), (n,) float64 that fill the unit square evenly (Hammersley 1960)."""
    index = torch.arange(n)
    bits = sum(((index >> bit) & 1).double() / 2 ** (bit + 1) for bit in range(max(n - 1, 1).bit_length()))
    return (index + 0.5) / n, bits + 0.5 / n  # type: ignore[return-value]
