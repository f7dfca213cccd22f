"""Ray marchers: the reference case, a loop over samples, opaque samples, bad input."""

import pytest
import torch
from conftest import load_reference

from tirender.renderer.implicit.raymarching import AbsorptionOnlyRaymarcher, EmissionAbsorptionRaymarcher


def by_loop(densities, features, surface_thickness, eps=1e-10):
    """One ray (P, 1), (P, C); products are taken anew for each sample."""
    d = densities[:, 0]
    image = 0
    for i in range(len(d)):
        transmittance = 1
        for j in range(i - surface_thickness + 1):
            transmittance = transmittance * (1 + eps - d[j])
        image = image + d[i] * transmittance * features[i]
    opacity = 1
    for density in d:
        opacity = opacity * (1 - density)
    return torch.cat([image, 1 - opacity[None]])


def test_reference():
    reference, _ = load_reference("implicit/raymarch")
    inputs = [reference["in_densities"].requires_grad_(), reference["in_features"].requires_grad_()]
    image = EmissionAbsorptionRaymarcher()(*inputs)
    torch.testing.assert_close(image, reference["out_image"])
    grads = torch.autograd.grad(image, inputs, reference["up_image"])
    torch.testing.assert_close(grads, (reference["grad_densities"], reference["grad_features"]))


@pytest.mark.parametrize("opaque", [[], [3], [0, 4], [2, 3, 6]])
@pytest.mark.parametrize("thickness", [1, 2, 5, 20])
def test_matches_the_loop_with_opaque_samples_too(thickness, opaque):
    densities = torch.rand(7, 1, dtype=torch.float64)
    densities[opaque] = 1
    densities[5] = 0
    features = torch.rand(7, 3, dtype=torch.float64, requires_grad=True)
    densities.requires_grad_()
    ours = EmissionAbsorptionRaymarcher(thickness)(densities, features)
    expected = by_loop(densities, features, thickness)
    torch.testing.assert_close(ours, expected)
    up = torch.randn(4, dtype=torch.float64)
    a, b = (torch.autograd.grad(out, (densities, features), up, retain_graph=True) for out in (ours, expected))
    torch.testing.assert_close(a, b)
    opacity = AbsorptionOnlyRaymarcher()(densities)
    torch.testing.assert_close(opacity, ours[3:])
    torch.testing.assert_close(
        torch.autograd.grad(opacity, densities)[0], torch.autograd.grad(expected[3], densities)[0]
    )


@pytest.mark.parametrize("value", [0.0, 1.0, 1 - 6e-8, 1e-38])
def test_gradients_are_finite_in_float32(value):
    densities = torch.full((2, 40, 1), value, requires_grad=True)
    features = torch.rand(2, 40, 3, requires_grad=True)
    for image in (EmissionAbsorptionRaymarcher()(densities, features), AbsorptionOnlyRaymarcher()(densities)):
        assert image.isfinite().all()
        image.sum().backward()
        assert densities.grad.isfinite().all()
        assert densities.grad.abs().max() <= 100
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(0, 4), (3, 1), (2, 5, 0), (4,)])
def test_sizes(shape):
    densities, features = torch.rand(*shape, 1, requires_grad=True), torch.rand(*shape, 2)
    image = EmissionAbsorptionRaymarcher(surface_thickness=2)(densities, features)
    assert image.shape == (*shape[:-1], 3)
    if not shape[-1]:
        assert not image.any()
    image.sum().backward()
    assert densities.grad.shape == densities.shape


def test_strided_input():
    densities, features = torch.rand(1, 9, 4).permute(2, 1, 0), torch.rand(3, 9, 4).permute(2, 1, 0)
    image = EmissionAbsorptionRaymarcher()(densities, features, rays_lengths=None)
    torch.testing.assert_close(image, EmissionAbsorptionRaymarcher()(densities.contiguous(), features.contiguous()))


def test_bad_input():
    marcher = EmissionAbsorptionRaymarcher()
    with pytest.raises(ValueError, match=r"rays_densities: expected shape \(..., P, 1\), got \(4, 2\)"):
        marcher(torch.rand(4, 2), torch.rand(4, 2))
    with pytest.raises(ValueError, match=r"rays_features: expected shape \(4, C\), got \(5, 2\)"):
        marcher(torch.rand(4, 1), torch.rand(5, 2))
    with pytest.raises(ValueError, match="rays_features: expected a tensor, got NoneType"):
        marcher(torch.rand(4, 1), None)
    with pytest.raises(ValueError, match="surface_thickness: expected an integer of 1 or more, got 0"):
        EmissionAbsorptionRaymarcher(0)
    for outside in (-0.1, 1.1):
        with pytest.warns(UserWarning, match=r"rays_densities: expected values in \[0, 1\], got some outside"):
            AbsorptionOnlyRaymarcher()(torch.tensor([[0.5], [outside]]))
    AbsorptionOnlyRaymarcher()(torch.tensor([[1 + 1e-6]]))  # rounding of an interpolation
