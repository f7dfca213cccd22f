"""Metallic-roughness reflection: energy, limits, tone mapping, and gradients."""

from __future__ import annotations

import math

import pytest
import torch

from tirender.renderer.reflectance import Facets, albedo_table, albedos_of, hammersley, mirrored_view, reflect_lamp
from tirender.renderer.tone_mapping import compress_neutral, decode_srgb, encode_srgb, tone_map


def facets(base: float, metallic: float, roughness: float, cosine: float, n: int = 1) -> Facets:
    """A surface with normal +Z, seen under an angle, n times."""
    view = torch.tensor([[math.sqrt(1 - cosine**2), 0.0, cosine]], dtype=torch.float64)
    normal = torch.tensor([[0.0, 0, 1]], dtype=torch.float64)
    one = torch.ones(n, 1, dtype=torch.float64)
    return Facets(base * one.expand(n, 3), metallic * one, roughness * one, normal.expand(n, 3), view.expand(n, 3))


def sphere(n: int) -> torch.Tensor:
    u, v = hammersley(n)
    z, phi = 1 - 2 * u, 2 * math.pi * v
    return torch.stack([(1 - z * z).sqrt() * phi.cos(), (1 - z * z).sqrt() * phi.sin(), z], 1)


@pytest.mark.parametrize("metallic", [0.0, 1.0])
@pytest.mark.parametrize("roughness", [0.2, 0.4, 0.6, 0.8, 1.0])
def test_many_lamps_around_a_white_surface_make_it_white(roughness, metallic):
    """A furnace of lamps: what the table says must be the integral of the lobe."""
    n = 10_000 if roughness > 0.3 else 40_000
    for cosine in (0.15, 0.5, 1.0):
        surface = facets(1.0, metallic, roughness, cosine, n)
        light = reflect_lamp(surface, albedos_of(surface), sphere(n), torch.full((1, 3), 4 / n, dtype=torch.float64))
        assert abs(float(light.sum(0)[0]) - 1) < 0.02, (cosine, float(light.sum(0)[0]))


def test_without_compensation_rough_metal_loses_light():
    rough = albedos_of(facets(1.0, 1.0, 1.0, 0.5), compensated=False)
    assert 0.4 < float(rough.single[0, 0]) < 0.8
    assert not rough.repeated.any()
    whole = albedos_of(facets(1.0, 1.0, 1.0, 0.5))
    assert torch.allclose(whole.single + whole.repeated + whole.base, torch.ones(1, 3, dtype=torch.float64))


def test_a_mirror_reflects_as_fresnel_says():
    for cosine in (0.2, 0.7, 1.0):
        found = albedos_of(facets(0.5, 1.0, 0.0, cosine)).single[0, 0]
        assert abs(float(found) - (0.5 + 0.5 * (1 - cosine) ** 5)) < 5e-3
    table = albedo_table()
    assert table.min() >= 0
    assert table.sum(-1).max() <= 1 + 1e-6


def test_a_lamp_on_a_dull_dielectric_is_nearly_lambertian():
    surface = facets(0.5, 0.0, 1.0, 1.0)
    light = reflect_lamp(surface, albedos_of(surface), surface.normal, torch.ones(1, 3).double())
    assert abs(float(light[0, 0]) - 0.5) < 0.03
    assert not reflect_lamp(surface, albedos_of(surface), -surface.normal, torch.ones(1, 3).double()).any()


def test_smooth_surfaces_mirror_and_rough_ones_look_along_the_normal():
    smooth, rough = facets(1.0, 1.0, 0.0, 0.6), facets(1.0, 1.0, 1.0, 0.6)
    assert torch.allclose(mirrored_view(smooth), smooth.view * smooth.view.new_tensor([-1.0, -1, 1]))
    assert torch.allclose(mirrored_view(rough), rough.normal)


def test_gradients_of_lamps_and_albedos():
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    n = 5
    inputs = [random(n, 3), random(n, 1), 0.2 + 0.7 * random(n, 1), random(n, 3) + 0.2, random(n, 3), random(n, 3)]
    for t in inputs:
        t.requires_grad_()

    def shade(base, metallic, roughness, normal, view, towards):
        normal, view, towards = (t / t.norm(dim=1, keepdim=True) for t in (normal, view, towards))
        surface = Facets(base, metallic, roughness, normal, view)
        albedos = albedos_of(surface)
        light = reflect_lamp(surface, albedos, towards, torch.ones(1, 3).double())
        return light, albedos.single, albedos.repeated, albedos.base, mirrored_view(surface)

    assert torch.autograd.gradcheck(shade, inputs)


@pytest.mark.parametrize("roughness", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("cosine", [-0.5, 0.0, 1e-9, 1.0])
def test_finite_values_and_gradients_everywhere(roughness, cosine):
    surface = facets(1.0, 1.0, roughness, cosine)
    leaves = [t.clone().requires_grad_() for t in surface]
    surface = Facets(*leaves)
    towards = torch.stack(
        [surface.normal[0], -surface.view[0], surface.view[0], surface.normal.new_tensor([1.0, 0, 0])]
    )
    many = Facets(*(t.expand(4, -1) for t in surface))
    albedos = albedos_of(many)
    light = reflect_lamp(many, albedos, towards.detach(), torch.ones(1, 3).double())
    total = light.sum() + albedos.single.sum() + albedos.base.sum() + mirrored_view(many).sum()
    total.backward()
    assert all(bool(t.isfinite().all()) for t in (light, *albedos, *(leaf.grad for leaf in leaves)))


def test_tones():
    levels = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None].expand(-1, 3)
    assert torch.allclose(decode_srgb(encode_srgb(levels)), levels)
    assert abs(float(encode_srgb(torch.tensor(0.5))) - 0.7354) < 1e-4
    assert torch.equal(tone_map(3 * levels, "linear"), 3 * levels)
    assert torch.equal(tone_map(levels * 2, "srgb"), encode_srgb((levels * 2).clamp(0, 1)))
    # of grey x, Khronos's curve takes 0.04 off, and beyond 0.8 it approaches 1
    grey = compress_neutral(torch.tensor([[0.5] * 3, [0.8] * 3, [100.0] * 3]))
    assert torch.allclose(grey[0], torch.tensor(0.46))
    assert torch.allclose(grey[1], torch.tensor(0.76))
    assert 0.99 < float(grey[2, 0]) < 1
    rising = compress_neutral(levels * 5)[:, 0]
    assert (rising.diff() > 0).all()
    with pytest.raises(ValueError, match="tone_mapping"):
        tone_map(levels, "filmic")
    x = (torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2).requires_grad_()
    assert torch.autograd.gradcheck(compress_neutral, x)
    assert torch.autograd.gradcheck(encode_srgb, x)
