"""Gaussians projected to images, against slow torch."""

from __future__ import annotations

import pytest
import torch
from reference import splats as twin
from splat_cases import views, world

from tirender.engine import runtime
from tirender.engine.project_gaussians import Projection, project_gaussians

MODELS = ("pinhole", "ortho", "fisheye")
NAMES = ("means", "quats", "scales")
SIZE = (48, 40)


def upper(covariances: torch.Tensor) -> torch.Tensor:
    return covariances[..., [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]


def settings(model: str, **more: object) -> Projection:
    return Projection(*SIZE, model, near=0.5, **more)  # type: ignore[arg-type]


def cameras(model: str, n: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Views from which the scene fills the image."""
    viewmats, intrinsics = views(n, *SIZE, dtype)
    if model == "ortho":
        intrinsics[:, :2, :2] /= 4
    return viewmats, intrinsics


def drawn_only(values: tuple[torch.Tensor, ...], radii: torch.Tensor) -> list[torch.Tensor]:
    drawn = radii[..., 0] > 0
    return [torch.where(drawn.view(*drawn.shape, *[1] * (v.dim() - 2)), v, 0) for v in values]


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("covariances", [False, True])
def test_values_and_gradients_match_the_twin(model, covariances):
    scene = world(300, torch.float64)
    scene["means"] *= 2  # some outside of the image, some of these where the Jacobian is held
    viewmats, intrinsics = cameras(model, 2, torch.float64)
    leaves = [scene["means"].requires_grad_(), viewmats.requires_grad_()]
    if covariances:
        given = twin.covariances(scene["quats"], scene["scales"])
        leaves.append(given.requires_grad_())
        shapes = (None, upper(given))
    else:
        leaves += [scene["quats"].requires_grad_(), scene["scales"].requires_grad_()]
        given, shapes = twin.covariances(scene["quats"], scene["scales"]), (scene["quats"], scene["scales"])
    *ours, radii = project_gaussians(
        scene["means"], *shapes, scene["opacities"], viewmats, intrinsics, settings(model, radius_clip=2.0)
    )
    theirs = drawn_only(twin.project(scene["means"], given, viewmats, intrinsics, *SIZE, model), radii)
    assert 50 < int((radii[..., 0] > 0).sum()) < 550
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if model == "fisheye" else {"rtol": 1e-9, "atol": 1e-9}  # eps at the axis
    torch.testing.assert_close(ours, theirs, **tolerance)
    up = [torch.rand_like(v) for v in ours]
    a, b = (torch.autograd.grad(v, leaves, up) for v in (ours, theirs))
    if covariances:  # the twin reads both halves of a covariance
        a, b = ([*g[:2], g[2] + g[2].mT] for g in (a, b))
    torch.testing.assert_close(a, b, rtol=tolerance["rtol"], atol=100 * tolerance["atol"])


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("model", MODELS)
def test_gradcheck(model):
    scene = world(6, torch.float64)
    scene["means"][0] = torch.tensor([9.0, 9.0, 4.0])
    scene["scales"][0] = 4.0  # reaches the image from where the Jacobian is held
    viewmats, intrinsics = cameras(model, 2, torch.float64)
    leaves = [*(scene[k].requires_grad_() for k in NAMES), viewmats.requires_grad_()]

    def values(means, quats, scales, views):
        return project_gaussians(means, quats, scales, None, views, intrinsics, settings(model))[:4]

    assert (values(*leaves)[3] > 0).all()
    assert torch.autograd.gradcheck(values, leaves)


def test_radii_bound_what_is_seen():
    scene = world(200)
    viewmats, intrinsics = views(1, *SIZE)
    given = [scene[k] for k in (*NAMES, "opacities")]
    means2d, _, conics, _, radii = project_gaussians(*given, viewmats, intrinsics, settings("pinhole"))
    y, x = torch.meshgrid(torch.arange(-200.0, 240), torch.arange(-200.0, 240), indexing="ij")
    for n in (radii[0, :, 0] > 0).nonzero()[:20, 0].tolist():
        d = torch.stack([x, y], -1) + 0.5 - means2d[0, n]
        a, b, c = conics[0, n]
        alpha = scene["opacities"][n] * torch.exp(-(a * d[..., 0] ** 2 + c * d[..., 1] ** 2) / 2 - b * d.prod(-1))
        seen = d[alpha >= 1 / 255].abs()
        reach = seen.amax(0) if len(seen) else torch.zeros(2)
        assert (reach <= radii[0, n]).all()
        assert (reach > radii[0, n] - 2.5).all()


def test_what_is_not_drawn():
    far = [0.0, 0.0, 20.0]
    cases = {  # mean, scale, opacity
        "drawn": ([0.0, 0.0, 4.0], 0.1, 0.5),
        "behind": ([0.0, 0.0, -4.0], 0.1, 0.5),
        "nearer than near": ([0.0, 0.0, 0.4], 0.1, 0.5),
        "at the camera": ([0.0, 0.0, 0.0], 0.1, 0.5),
        "further than far": (far, 0.1, 0.5),
        "left": ([-9.0, 0.0, 4.0], 0.1, 0.5),
        "below": ([0.0, 9.0, 4.0], 0.1, 0.5),
        "transparent": ([0.0, 0.0, 4.0], 0.1, 0.003),
        "clear": ([0.0, 0.0, 4.0], 0.1, 0.0),
        "huge": ([0.0, 0.0, 4.0], 1e30, 0.5),
    }
    means, scales, opacities = (torch.tensor(v) for v in zip(*cases.values()))
    quats = torch.tensor([[1.0, 0, 0, 0]]).expand(len(means), 4)
    leaves = [means.requires_grad_(), quats.clone().requires_grad_(), scales[:, None].repeat(1, 3).requires_grad_()]
    *values, radii = project_gaussians(
        *leaves, opacities, torch.eye(4)[None], views(1, *SIZE)[1], settings("pinhole", far=10.0)
    )
    assert {name for name, r in zip(cases, radii[0, :, 0]) if r > 0} == {"drawn"}
    for v in values:
        assert not v[0, 1:].any()
    for grad in torch.autograd.grad(values, leaves, [torch.ones_like(v) for v in values]):
        assert grad.isfinite().all()
        assert not grad[1:].any()


def test_degenerate_shapes_are_finite():
    scales = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1e-30, 1.0, 1e-3], [1e4, 1e-4, 1e-4], [0.1, 0.1, 0.1]])
    quats = torch.tensor([[1.0, 2, 3, 4], [0.3, 0, 1, 0], [1e-20, 0, 0, 0], [0.1, 0.5, 0.3, -1], [0.0, 0, 0, 0]])
    means = torch.tensor([[0.1, 0.0, 2.0]]).repeat(5, 1)
    leaves = [x.requires_grad_() for x in (means, quats, scales)]
    for model in MODELS:
        for view in (torch.eye(4)[None], torch.eye(4)[None] + torch.tensor([-0.1, 0, 0, 0]).diag_embed().roll(3, -1)):
            *values, radii = project_gaussians(*leaves, None, view, views(1, *SIZE)[1], settings(model))
            grads = torch.autograd.grad(values, leaves, [torch.rand_like(v) for v in values])
            assert all(v.isfinite().all() for v in (*values, *grads))
            assert radii[0, :, 0].gt(0).sum() >= 4


def test_a_needle_keeps_its_width():
    """What the determinant from the covariance loses in float32: here it would be off by more than itself."""
    given = (torch.tensor([[0.0, 0, 4]]), torch.tensor([[1.0, 0.2, -0.3, 0.4]]), torch.tensor([[30.0, 1e-3, 1e-3]]))
    viewmats, intrinsics = torch.eye(4)[None], views(1, *SIZE)[1]
    projection = settings("pinhole", blur=0.0)
    ours = project_gaussians(*given, None, viewmats, intrinsics, projection)
    exact = (x.double() for x in (given[0], twin.covariances(given[1].double(), given[2].double()), viewmats))
    theirs = twin.project(*exact, intrinsics.double(), *SIZE, "pinhole", 0.0)
    torch.testing.assert_close(ours[2].double(), theirs[2], rtol=1e-4, atol=0)


@pytest.mark.parametrize(("n", "n_views"), [(0, 2), (1, 1), (5, 0), (700, 3)])
def test_sizes_and_repeats(n, n_views):
    scene = world(n)
    viewmats, intrinsics = views(n_views, *SIZE)
    leaves = [*(scene[k].requires_grad_() for k in NAMES), viewmats.requires_grad_()]

    def run():
        *values, radii = project_gaussians(*leaves[:3], scene["opacities"], viewmats, intrinsics, settings("pinhole"))
        assert radii.shape == (n_views, n, 2)
        return *values, *torch.autograd.grad([v.sum() for v in values], leaves)

    first, second = run(), run()
    if runtime.arch() == "cpu":
        assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_views_of_one_call_are_those_of_many():
    scene = world(50)
    viewmats, intrinsics = views(3, *SIZE)
    given = [scene[k].requires_grad_() for k in NAMES]
    together = project_gaussians(*given, None, viewmats, intrinsics, settings("pinhole"))
    alone = [project_gaussians(*given, None, view[None], intrinsics[:1], settings("pinhole")) for view in viewmats]
    for a, b in zip(together, zip(*alone)):
        torch.testing.assert_close(a, torch.cat(b))
    a = torch.autograd.grad(sum(v.sum() for v in together[:4]), given)
    b = torch.autograd.grad(sum(v.sum() for values in alone for v in values[:4]), given)
    torch.testing.assert_close(a, b)
