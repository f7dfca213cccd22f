from __future__ import annotations

import pytest
import torch

from tirender.renderer.blending import BlendParams
from tirender.renderer.cameras import FoVPerspectiveCameras
from tirender.renderer.splatter_blend import SplatterBlender, _surface_layer

H, W = 5, 7
RED, GREEN = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
PARAMS = BlendParams(sigma=0.5, background_color=(0.0, 0.0, 1.0))


def camera():
    return FoVPerspectiveCameras(R=torch.eye(3)[None], T=torch.zeros(1, 3), fov=90.0)


def points_at(depth, shift=(0.0, 0.0)):
    """World points (1, H, W, 3) that project onto the pixel centres, moved by ``shift`` pixels right and down."""
    row, column = torch.meshgrid(torch.arange(H) + 0.5 + shift[1], torch.arange(W) + 0.5 + shift[0], indexing="ij")
    x, y = (W / 2 - column) / (min(H, W) / 2), (H / 2 - row) / (min(H, W) / 2)
    return torch.stack((x * depth, y * depth, torch.full_like(x, depth)), -1)[None]


def blend(layers, params=PARAMS):
    """Layers, nearest first, of (depth, colour, mask (H, W), shift)."""
    points = torch.stack([points_at(depth, shift) for depth, _, _, shift in layers], 3)
    colors = torch.stack([color.expand(1, H, W, 3) for _, color, _, _ in layers], 3)
    mask = torch.stack([m for _, _, m, _ in layers], -1)[None]
    blender = SplatterBlender((1, H, W, len(layers)), "cpu")
    return blender(colors, points, camera(), ~mask, params)[0]


def everywhere():
    return torch.ones(H, W, dtype=torch.bool)


def left(columns):
    return (torch.arange(W) < columns).expand(H, W)


def test_one_surface_everywhere_keeps_its_colour():
    image = blend([(2.0, RED, everywhere(), (0.0, 0.0))])
    inner = image[1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.tensor([1.0, 0.0, 0.0, 1.0]).expand_as(inner))


def test_nothing_is_background():
    image = blend([(2.0, RED, ~everywhere(), (0.0, 0.0))])
    torch.testing.assert_close(image, torch.tensor([0.0, 0.0, 1.0, 0.0]).expand_as(image))


def test_a_silhouette_is_soft_for_one_pixel():
    image = blend([(2.0, RED, left(3), (0.0, 0.0))])[2]
    alpha = image[:, 3]
    assert alpha[1] == 1
    assert 0.5 < alpha[2] < 1  # lost something to the pixel outside
    assert 0 < alpha[3] < 0.5  # got something from within
    assert not alpha[4:].any()
    torch.testing.assert_close(image[:, 0], alpha)
    torch.testing.assert_close(image[:, 2], 1 - alpha)


def test_a_tiny_sigma_is_a_hard_blend():
    image = blend([(2.0, RED, left(3), (0.0, 0.0))], PARAMS._replace(sigma=0.05))
    expected = torch.where(left(3)[..., None], torch.tensor([1.0, 0, 0, 1]), torch.tensor([0.0, 0, 1, 0]))
    torch.testing.assert_close(image, expected)


def test_the_front_surface_hides_what_its_neighbours_splat_from_behind():
    """Red before green on the left: green beside it does not shine through, red spills onto green."""
    image = blend([(2.0, RED, left(3), (0.0, 0.0)), (4.0, GREEN, everywhere(), (0.0, 0.0))])
    assert image.shape == (H, W, 4)
    torch.testing.assert_close(image[2, 1], torch.tensor([1.0, 0.0, 0.0, 1.0]))


def test_layers_are_matched_by_depth():
    def layer(target, source):
        shape = (1, 1, 1, -1)
        return int(_surface_layer(torch.tensor(target).view(shape), torch.tensor(source).view(shape)))

    assert layer([1.0, 5.0, 9.0], [1.1, 5.0, 9.0]) == 0  # the same surface
    assert layer([5.0, 9.0, 9.0], [1.0, 5.1, 9.0]) == 1  # something before it in the source
    assert layer([1.0, 5.0, 9.0], [5.1, 9.0, 9.0]) == -1  # the source continues the target's second surface


@pytest.mark.parametrize(("shift", "pixel", "sign"), [((1.0, 0.0), (2, 3), 1), ((0.0, 1.0), (3, 1), 1)])
def test_gradients_move_the_silhouette(shift, pixel, sign):
    """Moving the surface outward raises the alpha just outside it: the gradient agrees with the picture."""
    mask = left(3) if shift[0] else (torch.arange(H) < 3)[:, None].expand(H, W)
    move = torch.zeros((), requires_grad=True)
    points = (points_at(2.0) + move * (points_at(2.0, shift) - points_at(2.0)))[..., None, :]
    colors = RED.expand(1, H, W, 1, 3)
    image = SplatterBlender((1, H, W, 1))(colors, points, camera(), ~mask[None, ..., None], PARAMS)[0]
    (grad,) = torch.autograd.grad(image[(*pixel, 3)], move)
    step = 1e-2
    moved = [blend([(2.0, RED, mask, (s * shift[0], s * shift[1]))])[(*pixel, 3)] for s in (step, -step)]
    torch.testing.assert_close(grad, (moved[0] - moved[1]) / (2 * step), rtol=1e-2, atol=1e-3)
    assert grad * sign > 0.1


def test_gradients_are_finite_for_a_camera_in_the_world_origin():
    """Empty slots hold the point 0, which is the camera's centre here."""
    points = points_at(2.0)[..., None, :].where(left(3)[None, ..., None, None], 0).clone().requires_grad_()
    colors = RED.expand(1, H, W, 1, 3).clone().requires_grad_()
    image = SplatterBlender((1, H, W, 1))(colors, points, camera(), ~left(3)[None, ..., None], PARAMS)
    for grad in torch.autograd.grad(image.square().sum(), (points, colors)):
        assert grad.isfinite().all()
        assert grad.any()


def test_empty_batch():
    out = SplatterBlender((0, H, W, 2))(
        torch.zeros(0, H, W, 2, 3), torch.zeros(0, H, W, 2, 3), camera(), torch.zeros(0, H, W, 2).bool(), PARAMS
    )
    assert out.shape == (0, H, W, 4)


def test_bad_input():
    blender = SplatterBlender((1, H, W, 1))
    colors, mask = torch.zeros(1, H, W, 1, 3), torch.zeros(1, H, W, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"colors: expected shape \(1, 5, 7, 1, 3\), got \(1, 5, 7, 2, 3\)"):
        blender(torch.zeros(1, H, W, 2, 3), colors, camera(), mask, PARAMS)
    with pytest.raises(ValueError, match="background_mask: expected bool, got torch.float32"):
        blender(colors, colors, camera(), mask.float(), PARAMS)
    with pytest.raises(ValueError, match="sigma: expected a number of pixels above 0, got 0"):
        blender(colors, colors, camera(), mask, BlendParams(sigma=0))
