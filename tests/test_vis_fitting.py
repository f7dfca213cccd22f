"""The figures of fits: what is drawn, and that drawing changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from tirender.utils import ico_sphere
from tirender.vis import compare_view, plot_losses, plot_pointcloud, visualize_prediction


@pytest.fixture(autouse=True)
def _offscreen() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_plot_pointcloud_draws_points_of_the_surface() -> None:
    state = torch.get_rng_state()
    plot_pointcloud(ico_sphere(2).offset_verts(torch.tensor([0.0, 5, 0])), title="iter: 3")
    assert torch.equal(torch.get_rng_state(), state)
    (axes,) = plt.gcf().axes
    assert axes.get_title() == "iter: 3"
    x, z, down = axes.collections[0]._offsets3d
    assert len(x) == 5000
    radii = np.sqrt(np.square(x) + np.square(z) + np.square(np.asarray(down) + 5))
    assert radii.min() > 0.93
    assert radii.max() < 1.001
    plt.gcf().canvas.draw()


def test_plot_pointcloud_of_a_mesh_being_fitted() -> None:
    """The same points are drawn as of a mesh without gradients, and the graph is untouched."""
    sphere = ico_sphere(1)
    offsets = torch.full_like(sphere.verts_packed(), 0.5, requires_grad=True)
    moving, drawn = sphere.offset_verts(offsets), []
    for mesh in (moving, moving.detach()):
        plot_pointcloud(mesh)
        plt.gcf().canvas.draw()
        drawn.append(plt.gcf().axes[-1].collections[-1]._offsets3d)
        plt.close("all")
    np.testing.assert_array_equal(*drawn)
    (grad,) = torch.autograd.grad(moving.verts_packed().sum(), offsets)
    assert torch.equal(grad, torch.ones_like(grad))


@pytest.mark.parametrize("silhouette", [False, True])
def test_visualize_prediction_draws_both(silhouette: bool) -> None:
    image = torch.rand(1, 4, 6, 4, requires_grad=True)
    target = torch.rand(4, 6) if silhouette else torch.rand(4, 6, 3)
    visualize_prediction(ico_sphere(0), lambda mesh: image * len(mesh), target, title="iter: 1", silhouette=silhouette)
    predicted, shown = (axes.get_images()[0].get_array() for axes in plt.gcf().axes)
    np.testing.assert_array_equal(predicted, image[0, ..., 3].detach() if silhouette else image[0, ..., :3].detach())
    np.testing.assert_array_equal(shown, target)
    assert plt.gcf().get_suptitle() == "iter: 1"


def test_visualize_prediction_checks_its_arguments() -> None:
    sphere, image = ico_sphere(0), torch.rand(1, 4, 4, 4)
    with pytest.raises(ValueError, match=r"target_image: expected shape \(H, W, 3\) or \(H, W\), got \(4, 4, 4\)"):
        visualize_prediction(sphere, lambda mesh: image, torch.rand(4, 4, 4))
    with pytest.raises(ValueError, match=r"renderer's image: expected shape \(N, H, W, 4\)"):
        visualize_prediction(sphere, lambda mesh: image[..., :3], torch.rand(4, 4))


@pytest.mark.parametrize("wrap", [list, lambda values: {"weight": 2.0, "values": values}])
def test_plot_losses_draws_each_curve(wrap) -> None:
    plot_losses({"edge": wrap([3.0, 2.0, 1.0]), "normal": wrap([0.5])})
    (axes,) = plt.gcf().axes
    curves = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert curves == {"edge loss": [3, 2, 1], "normal loss": [0.5]}
    assert axes.get_legend() is not None


def test_plot_losses_of_none() -> None:
    plot_losses({})
    assert plt.gcf().axes[0].get_lines() == []


@pytest.mark.parametrize(("height", "width"), [(12, 8), (8, 12)])
def test_compare_view_without_a_silhouette_shows_colours_alone(height: int, width: int) -> None:
    rendered, target = torch.rand(height, width, 4), torch.rand(height, width, 3)
    compare_view(rendered, target, None, "iter: 7")
    axes = plt.gcf().axes
    assert [axis.get_title() for axis in axes] == ["rendered image", "target image"]
    torch.testing.assert_close(torch.as_tensor(axes[1].images[0].get_array()), target)
    compare_view(rendered, target, torch.ones(height, width))
    assert len(plt.gcf().axes) == 4
