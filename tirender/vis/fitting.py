"""Figures of a fit in progress, under their names in the tutorials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from tirender.checks import check_tensor, fail
from tirender.ops import sample_points_from_meshes
from tirender.structures import Meshes

N_POINTS = 5000


def plot_pointcloud(mesh: Meshes, title: str = "") -> None:
    """Draw points sampled from a mesh in 3D, in a new pyplot figure, which becomes the current one (``plt.gcf()``).

    The random generators are left as they are.

    Args:
        mesh: a batch of meshes with faces, drawn together.
        title: of the figure.
    Raises:
        ValueError: there are no faces, or vertices are not finite.
    """
    import matplotlib.pyplot as plt

    with torch.no_grad(), torch.random.fork_rng():
        points: Any = sample_points_from_meshes(mesh, N_POINTS)
    x, y, z = points.reshape(-1, 3).cpu().unbind(1)
    axes: Any = plt.figure(figsize=(5, 5)).add_subplot(projection="3d")
    axes.scatter(x, z, -y, s=4)
    axes.set(xlabel="x", ylabel="z", zlabel="y", title=title, aspect="equal")
    axes.locator_params(nbins=4)
    axes.locator_params("x", nbins=2)  # few, as this axis is seen nearly end-on and its labels would overlap
    axes.tick_params(labelsize=8)
    axes.view_init(190, 30)  # upright: the vertical axis shows -y, which points down


def visualize_prediction(
    predicted_mesh: Meshes,
    renderer: Callable[[Meshes], torch.Tensor],
    target_image: torch.Tensor,
    title: str = "",
    silhouette: bool = False,
) -> None:
    """Draw a rendered mesh beside its target, in a new pyplot figure, which becomes the current one (``plt.gcf()``).

    Args:
        predicted_mesh: one mesh.
        renderer: returns RGBA images (1, H, W, 4) of it, as ``MeshRenderer`` does.
        target_image: (H, W, 3) colours, or (H, W) a silhouette; values in [0, 1].
        title: of the figure.
        silhouette: show the prediction's alpha instead of its colours.
    Raises:
        ValueError: the target has another shape.
    """
    import matplotlib.pyplot as plt

    if target_image.dim() not in (2, 3) or target_image.shape[2:] not in ((), (3,)):
        fail("target_image", "shape (H, W, 3) or (H, W)", tuple(target_image.shape))
    with torch.no_grad():
        predicted = check_tensor("renderer's image", renderer(predicted_mesh), ("N", "H", "W", 4))[0]
    figure, axes = plt.subplots(1, 2, figsize=(12, 6), layout="constrained")
    predicted_image = predicted[..., 3] if silhouette else predicted[..., :3]
    for axis, image, name in zip(axes, (predicted_image, target_image), ("predicted", "target")):
        axis.imshow(image.detach().clamp(0, 1).cpu().numpy(), vmin=0, vmax=1)
        axis.set_title(name)
        axis.axis("off")
    figure.suptitle(title)


def compare_view(
    rendered: torch.Tensor, target_image: torch.Tensor, target_silhouette: torch.Tensor | None, title: str = ""
) -> None:
    """Draw a rendered view's colours and opacity beside their targets, as section 5.4 of the tutorials does.

    The new pyplot figure becomes the current one (``plt.gcf()``).

    Args:
        rendered: (H, W, 4).
        target_image: (H, W, 3), in [0, 1].
        target_silhouette: (H, W), in [0, 1]; None to compare colours alone.
        title: of the figure.
    Raises:
        ValueError: the shapes do not fit together.
    """
    import matplotlib.pyplot as plt

    height, width, _ = check_tensor("rendered", rendered, ("H", "W", 4)).shape
    check_tensor("target_image", target_image, (height, width, 3))
    shown = {"rendered image": rendered[..., :3], "target image": target_image}
    if target_silhouette is not None:
        check_tensor("target_silhouette", target_silhouette, (height, width))
        shown |= {"rendered silhouette": rendered[..., 3], "target silhouette": target_silhouette}
    tall = 10.0 if len(shown) > 2 else 1 + 5 * min(height / width, 3)
    figure, axes = plt.subplots(len(shown) // 2, 2, figsize=(10, tall), layout="constrained")
    for axis, (name, image) in zip(axes.ravel(), shown.items()):
        axis.imshow(image.detach().clamp(0, 1).cpu().numpy(), vmin=0, vmax=1)
        axis.set_title(name)
        axis.axis("off")
    figure.suptitle(title)


def plot_losses(losses: Mapping[str, Mapping[str, Sequence[float]] | Sequence[float]]) -> None:
    """Draw the curves of losses in a new pyplot figure, which becomes the current one (``plt.gcf()``).

    Args:
        losses: by name, the loss of each step; or {"values": the loss of each step}, as in the tutorials.
    """
    import matplotlib.pyplot as plt

    axes = plt.figure(figsize=(13, 5)).gca()
    for name, loss in losses.items():
        axes.plot(loss["values"] if isinstance(loss, Mapping) else loss, label=f"{name} loss")
    axes.set(xlabel="iteration", ylabel="loss", title="Loss vs iterations")
    if losses:
        axes.legend(fontsize=16, loc="upper right")  # matplotlib's search for the best place is slow for long curves
