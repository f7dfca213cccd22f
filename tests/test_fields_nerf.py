"""The tutorial's radiance field: the same values and gradients as written plainly, of any number of rays."""

import pytest
import torch
import torch.nn.functional as F

from tirender.fields import NeuralRadianceField
from tirender.fields import nerf as module
from tirender.fields.nerf import softplus_linear
from tirender.renderer import (
    EmissionAbsorptionRaymarcher,
    FoVPerspectiveCameras,
    ImplicitRenderer,
    MonteCarloRaysampler,
    RayBundle,
    look_at_view_transform,
    ray_bundle_to_ray_points,
)


def bundle(*shape: int, n_points: int = 6, dtype: torch.dtype = torch.float32) -> RayBundle:
    lengths = torch.linspace(0.1, 3, n_points, dtype=dtype).expand(*shape, n_points)
    origins, directions = torch.randn(2, *shape, 3, dtype=dtype)
    return RayBundle(origins, directions, lengths, origins[..., :2])


def plain(field: NeuralRadianceField, rays: RayBundle) -> tuple[torch.Tensor, torch.Tensor]:
    """Section 6.3's module as its notebook describes it."""
    points = ray_bundle_to_ray_points(rays)
    features = field.mlp(field.harmonic_embedding(points))
    densities = 1 - torch.exp(-field.density_layer(features))
    embedded = field.harmonic_embedding(F.normalize(rays.directions, dim=-1))[..., None, :]
    embedded = embedded.expand(*features.shape[:-1], -1)
    return densities, field.color_layer(torch.cat([features, embedded], dim=-1))


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (3, 2, 4)])
@pytest.mark.parametrize("size", [1 << 13, 60, 6])
def test_values_and_gradients(shape, size, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", size)
    field = NeuralRadianceField(n_harmonic_functions=20, n_hidden_neurons=16)
    rays = bundle(*shape)
    found, expected = field(rays), plain(field, rays)
    upstream = [torch.randn_like(values) for values in expected]
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    grads = torch.autograd.grad(found, list(field.parameters()), upstream)
    expected_grads = torch.autograd.grad(expected, list(field.parameters()), upstream)
    for a, b in zip(grads, expected_grads):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_only_the_wanted_samples_are_evaluated():
    field, rays = NeuralRadianceField(n_harmonic_functions=20, n_hidden_neurons=16), bundle(2, 7)
    wanted = torch.rand(2, 7, 6) < 0.4
    wanted[0, 3] = False
    found, expected = field(rays, wanted), [wanted[..., None] * values for values in plain(field, rays)]
    upstream = [torch.randn_like(values) for values in expected]
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    grads = torch.autograd.grad(found, list(field.parameters()), upstream)
    for a, b in zip(grads, torch.autograd.grad(expected, list(field.parameters()), upstream)):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    assert all((values == 0).all() for values in field(rays, torch.zeros_like(wanted)))


def test_opacities_are_those_of_samples():
    field, rays = NeuralRadianceField(n_harmonic_functions=20, n_hidden_neurons=16), bundle(2, 7)
    points = ray_bundle_to_ray_points(rays).flatten(0, -2)
    torch.testing.assert_close(field.opacities(points), plain(field, rays)[0].flatten().detach(), atol=1e-6, rtol=1e-5)


def test_gradients_of_rays(needs_f64):
    field = NeuralRadianceField(3, 4).double()
    rays = bundle(2, 2, n_points=3, dtype=torch.float64)

    def sample(origins: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return field(RayBundle(origins, directions, rays.lengths, rays.xys))

    inputs = rays.origins.clone().requires_grad_(), rays.directions.clone().requires_grad_()
    assert torch.autograd.gradcheck(sample, inputs)


def test_the_tutorials_settings():
    field = NeuralRadianceField()
    assert {name: tuple(p.shape) for name, p in field.state_dict().items()} == {
        "mlp.0.weight": (256, 360),
        "mlp.0.bias": (256,),
        "mlp.2.weight": (256, 256),
        "mlp.2.bias": (256,),
        "color_layer.0.weight": (256, 616),
        "color_layer.0.bias": (256,),
        "color_layer.2.weight": (3, 256),
        "color_layer.2.bias": (3,),
        "density_layer.0.weight": (1, 256),
        "density_layer.0.bias": (1,),
    }
    assert field.density_layer[0].bias.item() == -1.5
    densities, colors = field(bundle(5))
    assert 0 <= densities.min() <= densities.max() < 0.1
    assert 0 < colors.min() < colors.max() < 1


def test_direction_is_worked_out_once_per_ray(monkeypatch):
    field = NeuralRadianceField(4, 8)
    seen, harmonics = [], field.harmonic_embedding
    monkeypatch.setattr(harmonics, "forward", lambda x: seen.append(x.shape) or x.new_zeros(*x.shape[:-1], 24))
    monkeypatch.setattr(harmonics, "matrix", lambda x, dtype: seen.append(x.shape) or x.new_zeros(9 * 50, 24))
    field(bundle(9, n_points=50))
    assert seen == [(9, 3), (9, 50, 3)]


def test_batches():
    field, rays = NeuralRadianceField(4, 8), bundle(2, 3)
    for batched in (field.batched_forward(ray_bundle=rays, n_batches=4), field.forward_batched(rays)):
        for a, b in zip(batched, field(rays)):
            assert torch.equal(a, b)


def test_renders_and_is_reproducible():
    R, T = look_at_view_transform(2.7, 0, torch.tensor([0.0, 90]))
    cameras = FoVPerspectiveCameras(R=R, T=T)
    renderer = ImplicitRenderer(MonteCarloRaysampler(-1, 1, -1, 1, 40, 12, 0.1, 3.0), EmissionAbsorptionRaymarcher())
    field = NeuralRadianceField(10, 16)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        images, _ = renderer(cameras=cameras, volumetric_function=field)
        runs.append([images, *torch.autograd.grad(images.square().sum(), list(field.parameters()))])
    assert images.shape == (2, 40, 4)
    assert all(torch.equal(a, b) for a, b in zip(*runs))


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_no_rays(shape):
    densities, colors = NeuralRadianceField(2, 4)(bundle(*shape))
    assert densities.shape == (*shape, 6, 1)
    assert colors.shape == (*shape, 6, 3)


def test_no_samples_and_directions_without_length():
    field = NeuralRadianceField(2, 4)
    assert field(bundle(3, n_points=0))[1].shape == (3, 0, 3)
    rays = bundle(3)
    directions = torch.zeros(3, 3, requires_grad=True)
    densities, colors = field(rays._replace(directions=directions))
    assert colors.isfinite().all()
    (grad,) = torch.autograd.grad(densities.sum() + colors.sum(), directions)
    assert grad.isfinite().all()


def test_extreme_values_keep_finite_gradients():
    x = torch.tensor([[[-1e4], [-3.0], [0.0], [3.0], [1e4]]], requires_grad=True)
    y = softplus_linear(x, torch.ones(1, 1), torch.zeros(1))
    torch.testing.assert_close(y, F.softplus(x, 10))
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(grad, torch.sigmoid(10 * x))


def test_under_autocast():
    field, rays = NeuralRadianceField(4, 8), bundle(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        densities, colors = field(rays)
        (densities.sum() + colors.sum()).backward()
    torch.testing.assert_close(densities.float(), field(rays)[0], atol=0.02, rtol=0)
    assert all(p.grad.isfinite().all() for p in field.parameters())


def test_bad_input():
    with pytest.raises(ValueError, match="n_hidden_neurons: expected a positive integer, got 0"):
        NeuralRadianceField(n_hidden_neurons=0)
