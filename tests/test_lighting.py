from __future__ import annotations

import pytest
import torch

from tirender.renderer import (
    FoVPerspectiveCameras,
    HardGouraudShader,
    HardPhongShader,
    MeshRasterizer,
    RasterizationSettings,
    TexturesVertex,
)
from tirender.renderer.lighting import AmbientLights, DirectionalLights, PointLights, diffuse, specular, unit_vectors
from tirender.renderer.materials import Materials
from tirender.structures import Meshes


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def test_diffuse_by_hand():
    """A light 60 degrees off the normal gives half its colour; one behind the surface none."""
    normals = row(0, 0, 2).expand(2, 3)
    direction = torch.tensor([[3**0.5, 0, 1], [0, 0, -1]], dtype=torch.float64)
    out = diffuse(normals, row(1, 0.5, 0), direction)
    torch.testing.assert_close(out, torch.tensor([[0.5, 0.25, 0], [0, 0, 0]], dtype=torch.float64))


def test_specular_by_hand():
    """Seen 45 degrees off the mirror direction: cos(45)^4 = 1/4; the highlight needs the light before the surface."""
    points, normals = torch.zeros(3, 3, dtype=torch.float64), row(0, 1, 0).expand(3, 3)
    direction = torch.tensor([[1, 1, 0], [1, 1, 0], [1, -1, 0]], dtype=torch.float64)
    camera = torch.tensor([[0, 3, 0], [1, 1, 0], [-1, -1, 0]], dtype=torch.float64)
    out = specular(points, normals, direction, row(1, 1, 2), camera, torch.tensor([4.0]))
    torch.testing.assert_close(out, row(0.25, 0.25, 0.5) * torch.tensor([[1], [0], [0]]), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", [PointLights, DirectionalLights])
@pytest.mark.parametrize("n_lights", [1, 2])
@pytest.mark.parametrize("between", [(), (4,), (3, 4, 2)])
def test_any_leading_shape(kind, n_lights, between):
    """Images of points give what each point gives alone."""
    points, normals = random(2, *between, 3), random(2, *between, 3, seed=1)
    place = "location" if kind is PointLights else "direction"
    values = {place: random(n_lights, 3, seed=2), "diffuse_color": random(n_lights, 3, seed=3).abs()}
    lights, camera, shininess = kind(**values), random(2, 3, seed=4), torch.tensor([3.0, 5.0])
    together = (
        lights.diffuse(normals=normals, points=points),
        lights.specular(normals=normals, points=points, camera_position=camera, shininess=shininess),
    )
    for i in (0, 1):
        own = kind(**{k: v[[i % n_lights]] for k, v in values.items()})
        flat_points, flat_normals = points[i].reshape(-1, 3), normals[i].reshape(-1, 3)
        alone = (
            own.diffuse(normals=flat_normals, points=flat_points),
            own.specular(flat_normals, flat_points, camera[i : i + 1], shininess[i : i + 1]),
        )
        for a, b in zip(together, alone):
            assert a.shape == points.shape
            torch.testing.assert_close(a[i].reshape(-1, 3), b)


def test_gathered_lights_fit_packed_points():
    lights = PointLights(location=random(3, 3), diffuse_color=random(3, 3, seed=1).abs())
    index = torch.tensor([2, 0, 0, 1, 2])
    points, normals = random(5, 3, seed=2), random(5, 3, seed=3)
    gathered = lights.clone().gather_props(index).diffuse(normals, points)
    for i, n in enumerate(index.tolist()):
        own = PointLights(location=lights.location[n : n + 1], diffuse_color=lights.diffuse_color[n : n + 1])
        torch.testing.assert_close(gathered[i : i + 1], own.diffuse(normals[i : i + 1], points[i : i + 1]))
    assert lights.location.shape == (3, 3)


def test_ambient_lights_of_any_channels():
    lights = AmbientLights(ambient_color=[[0.1, 0.2, 0.3, 0.4]])
    points = random(2, 5, 3)
    assert lights.diffuse(points, points).shape == (2, 5, 4)
    assert not lights.specular(points, points, points, torch.tensor([1.0])).any()
    assert AmbientLights().ambient_color.tolist() == [[1, 1, 1]]


def test_defaults():
    assert PointLights().location.tolist() == [[0, 1, 0]]
    assert DirectionalLights().direction.tolist() == [[0, 1, 0]]
    for lights in (PointLights(), DirectionalLights()):
        torch.testing.assert_close(lights.ambient_color, torch.full((1, 3), 0.5))
        torch.testing.assert_close(lights.diffuse_color, torch.full((1, 3), 0.3))
        torch.testing.assert_close(lights.specular_color, torch.full((1, 3), 0.2))
    assert Materials().shininess.tolist() == [64]
    assert Materials().diffuse_color.tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("make", [PointLights, DirectionalLights, AmbientLights, Materials])
def test_clone_is_independent(make):
    original = make()
    clone = original.clone()
    assert type(clone) is make
    clone.ambient_color += 1
    assert (original.ambient_color != clone.ambient_color).all()


def test_a_location_may_be_assigned():
    lights = PointLights()
    lights.location = torch.tensor([[0.0, 0.0, -3.0]])
    normals, points = torch.tensor([[0.0, 0.0, -1.0]]), torch.zeros(1, 3)
    torch.testing.assert_close(lights.diffuse(normals, points), torch.full((1, 3), 0.3))


def test_gradcheck():
    points, normals, direction = random(6, 3), random(6, 3, seed=1), random(6, 3, seed=2)
    color, camera = random(6, 3, seed=3).abs(), random(1, 3, seed=4) * 3
    shininess = torch.tensor([2.5], dtype=torch.float64)
    inputs = tuple(t.requires_grad_() for t in (points, normals, direction, color, camera, shininess))
    assert torch.autograd.gradcheck(specular, inputs)
    assert torch.autograd.gradcheck(diffuse, (normals, color, direction))
    assert specular(*inputs).abs().max() > 0.1


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-7])
def test_short_vectors_have_no_gradient(scale):
    vectors = torch.full((1, 3), scale, requires_grad=True)
    out = unit_vectors(vectors)
    torch.testing.assert_close(out, vectors.detach() / 1e-6)
    (grad,) = torch.autograd.grad(out.sum(), vectors)
    assert not grad.any()


@pytest.mark.parametrize("shininess", [0.0, 0.5, 1.0, 64.0])
def test_gradients_stay_finite_where_nothing_has_a_direction(shininess):
    """Zero normals, the light and the camera at the point itself, and light from behind."""
    zero, up = torch.zeros(1, 3), torch.tensor([[0.0, 1.0, 0.0]])
    for points, normals, light, camera in [
        (zero, zero, up, up),
        (zero, up, zero, up),
        (zero, up, up, zero),
        (zero, up, -up, up),
        (zero, up, up, -up),
        (zero, up, torch.tensor([[1.0, 0.0, 0.0]]), up),
    ]:
        inputs = [t.clone().requires_grad_() for t in (points, normals, light, camera)]
        exponent = torch.tensor([shininess], requires_grad=True)
        lights = PointLights(location=inputs[2])
        out = lights.diffuse(inputs[1], inputs[0]) + lights.specular(inputs[1], inputs[0], inputs[3], exponent)
        for grad in torch.autograd.grad(out.sum(), (*inputs, exponent)):
            assert grad.isfinite().all()
            assert grad.abs().max() < 1e3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PointLights(location=[0.0, 0.0, -3.0]), r"location: expected shape \(N, 3\), got \(3,\)"),
        (lambda: PointLights(diffuse_color=[[1.0, 1.0]]), r"diffuse_color: expected shape \(N, 3\), got \(1, 2\)"),
        (lambda: DirectionalLights(direction=[[1.0, 1.0]]), r"direction: expected shape \(N, 3\), got \(1, 2\)"),
        (lambda: AmbientLights(ambient_color=[0.5]), r"ambient_color: expected shape \(N, C\), got \(1,\)"),
        (lambda: Materials(specular_color=[[1.0]]), r"specular_color: expected shape \(N, 3\), got \(1, 1\)"),
        (lambda: Materials(shininess=torch.ones(2, 1)), r"shininess: expected shape \(N\), got \(2, 1\)"),
        (
            lambda: diffuse(torch.zeros(2, 4, 3), torch.zeros(1, 3), torch.zeros(3, 3)),
            r"direction: expected shape \(1, C\), \(2, C\) or that of the points \(2, 4, 3\), got",
        ),
        (
            lambda: diffuse(torch.zeros(2, 3), torch.zeros(3, 3), torch.zeros(1, 3)),
            "color: expected 1 or 2 rows, got 3",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("shape", [(2, 1, 3), (2, 1, 1, 1, 3)])
@pytest.mark.parametrize("kind", [PointLights, DirectionalLights])
def test_properties_may_have_dimensions_of_one_between(kind, shape):
    colors, where = torch.rand(2, 3), torch.randn(2, 3)
    vector = "location" if kind is PointLights else "direction"
    plain = kind(diffuse_color=colors, specular_color=colors, ambient_color=colors, **{vector: where})
    names = ("ambient_color", "diffuse_color", "specular_color", vector)
    spread = kind(**{name: getattr(plain, name).view(shape) for name in names})
    assert getattr(spread, vector).shape == shape
    points, normals, camera = torch.randn(2, 4, 5, 1, 3), torch.randn(2, 4, 5, 1, 3), torch.zeros(1, 3)
    assert torch.equal(spread.diffuse(normals, points), plain.diffuse(normals, points))
    exponent = torch.tensor([8.0])
    ours, expected = (light.specular(normals, points, camera, exponent) for light in (spread, plain))
    assert torch.equal(ours, expected)
    mesh = Meshes(
        torch.rand(2, 3, 3) - 0.5, torch.tensor([[[0, 1, 2]]]).expand(2, 1, 3), TexturesVertex(torch.rand(2, 3, 3))
    )
    cameras = FoVPerspectiveCameras(T=torch.tensor([[0.0, 0.0, 2.0]]))
    fragments = MeshRasterizer(cameras, RasterizationSettings(16))(mesh)
    for shader in (HardPhongShader, HardGouraudShader):
        images = [shader(cameras=cameras, lights=light)(fragments, mesh) for light in (spread, plain)]
        assert torch.equal(*images)
        images = [shader(cameras=cameras, lights=light)(fragments.detach(), mesh) for light in (spread, plain)]
        assert torch.equal(*images)
