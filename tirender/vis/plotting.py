"""3D figures of scenes: meshes, point clouds, cameras and rays in subplots, drawn with matplotlib or plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tirender.checks import check_choice, fail
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.implicit.utils import RayBundle
from tirender.vis.plot_style import AxisArgs, Layout, Lighting, PlotStyle
from tirender.vis.traces import make_trace, view_direction

SUBPLOT_SIZE = 500  # pixels


def plot_scene(
    plots: Mapping[str, Mapping[str, Any]],
    *,
    viewpoint_cameras: CamerasBase | None = None,
    ncols: int = 1,
    camera_scale: float = 0.3,
    pointcloud_max_points: int = 20000,
    pointcloud_marker_size: float = 1,
    raybundle_max_rays: int = 20000,
    raybundle_max_points_per_ray: int = 1000,
    raybundle_ray_point_marker_size: float = 1,
    raybundle_ray_line_width: float = 1,
    mesh_opacity: float = 1.0,
    axis_args: AxisArgs | None = None,
    lighting: Lighting | None = None,
    xaxis: Mapping[str, Any] | None = None,
    yaxis: Mapping[str, Any] | None = None,
    zaxis: Mapping[str, Any] | None = None,
    width: int | None = None,
    height: int | None = None,
    backend: str = "matplotlib",
) -> Any:
    """Draw scenes side by side, in world space with +Y up and equal axes.

    Faces of meshes have the texture's colour at their centre; points have the colours of their features. Cameras are
    wireframes. Rays are lines from the first sample to the last, with markers at the samples.

    Args:
        plots: {subplot title: {trace name: Meshes, Pointclouds, cameras or a RayBundle}}; a batch is one trace.
        viewpoint_cameras: one camera, or one a subplot: the direction to look from. The distance is chosen so that
            everything fits. Default: from the front (-Z), a little above and from the side.
        ncols: subplots in a row.
        camera_scale: size of a camera's wireframe, in world units.
        pointcloud_max_points: a larger cloud is reduced to this many random points.
        pointcloud_marker_size: diameter of a point, in points (matplotlib) or pixels (plotly).
        raybundle_max_rays: a larger bundle is reduced to this many random rays.
        raybundle_max_points_per_ray: a longer ray is reduced to this many evenly spaced samples.
        raybundle_ray_point_marker_size, raybundle_ray_line_width: of samples and rays, in the units of clouds.
        mesh_opacity: from 0, invisible, to 1.
        axis_args, lighting: see :class:`AxisArgs` and :class:`Lighting`.
        xaxis, yaxis, zaxis: plotly's options for single axes; matplotlib uses ``range`` and ``title``.
        width, height: of the figure in pixels; by default 500 for each subplot.
        backend: "matplotlib", or "plotly" for a figure that turns in the browser (``pip install 'tirender[plotly]'``).
    Returns:
        A ``matplotlib.figure.Figure``, registered with pyplot, or a ``plotly.graph_objects.Figure``.
    Raises:
        ValueError: nothing to plot, something that cannot be plotted, or a wrong number of cameras.
        ImportError: plotly is asked for and not installed.
    """
    check_choice("backend", backend, ("matplotlib", "plotly"))
    _check_plots(plots, viewpoint_cameras, ncols)
    trace = partial(
        make_trace,
        camera_scale=camera_scale,
        max_points=pointcloud_max_points,
        max_rays=raybundle_max_rays,
        max_points_per_ray=raybundle_max_points_per_ray,
    )
    style = PlotStyle(
        marker_size=pointcloud_marker_size,
        mesh_opacity=mesh_opacity,
        ray_marker_size=raybundle_ray_point_marker_size,
        ray_line_width=raybundle_ray_line_width,
        axis_args=axis_args or AxisArgs(),
        lighting=lighting or Lighting(),
        axes={name: options for name, options in zip("xyz", (xaxis, yaxis, zaxis)) if options},
    )
    cols = min(ncols, len(plots))
    rows = -(-len(plots) // cols)
    layout = Layout(rows, cols, width or SUBPLOT_SIZE * cols, height or SUBPLOT_SIZE * rows)
    scenes = {title: [trace(name, struct) for name, struct in scene.items()] for title, scene in plots.items()}
    cameras = viewpoint_cameras
    views = None if cameras is None else [view_direction(cameras[i % len(cameras)]) for i in range(len(plots))]
    if backend == "plotly":
        from tirender.vis.plotly_figure import plotly_figure

        return plotly_figure(scenes, views, layout, style)
    from tirender.vis.matplotlib_figure import matplotlib_figure

    return matplotlib_figure(scenes, views, layout, style)


def plot_batch_individually(
    batched_structs: Any,
    *,
    viewpoint_cameras: CamerasBase | None = None,
    ncols: int = 1,
    extend_struct: bool = True,
    subplot_titles: Sequence[str] | None = None,
    **kwargs: Any,
) -> Any:
    """Draw each element of a batch in a subplot of its own.

    Args:
        batched_structs: Meshes, Pointclouds, cameras or a RayBundle, or a sequence of them. Subplot n shows the n-th
            element of each. Batches have the same length, or length 1.
        viewpoint_cameras, ncols: see :func:`plot_scene`.
        extend_struct: draw a batch of length 1 in every subplot; else in the first only.
        subplot_titles: one for each element of the batch.
        **kwargs: more of :func:`plot_scene`'s arguments.
    Returns:
        What :func:`plot_scene` returns.
    Raises:
        ValueError: as :func:`plot_scene` does; batches of different lengths, only empty batches, or titles that do
            not fit.
    """
    is_one = isinstance(batched_structs, RayBundle) or not isinstance(batched_structs, list | tuple)
    structs = [batched_structs] if is_one else list(batched_structs)
    lengths = [len(struct.origins) if isinstance(struct, RayBundle) else len(struct) for struct in structs]
    n_subplots = max(lengths, default=0)
    if n_subplots == 0 or any(length not in (1, n_subplots) for length in lengths):
        fail("batched_structs", "batches of one length, or length 1", lengths)
    if subplot_titles is not None and len(subplot_titles) != n_subplots:
        fail("subplot_titles", f"{n_subplots} titles", len(subplot_titles))
    titles = subplot_titles or [f"subplot {n + 1}" for n in range(n_subplots)]
    if len(set(titles)) != n_subplots:
        fail("subplot_titles", "different titles", list(titles))

    plots: dict[str, dict[str, Any]] = {}
    for n, title in enumerate(titles):
        plots[title] = {
            f"trace {n + 1}-{i + 1}": _element(struct, n if length > 1 else 0)
            for i, (struct, length) in enumerate(zip(structs, lengths))
            if n < length or extend_struct
        }
    return plot_scene(plots, viewpoint_cameras=viewpoint_cameras, ncols=ncols, **kwargs)


def _check_plots(plots: Mapping[str, Any], cameras: CamerasBase | None, ncols: int) -> None:
    if not plots or not all(plots.values()):
        fail("plots", "{title: {name: structure}} with at least one structure a title", dict(plots))
    if cameras is not None and len(cameras) not in (1, len(plots)):
        fail("viewpoint_cameras", f"1 or {len(plots)} cameras", len(cameras))
    if ncols < 1:
        fail("ncols", "at least 1", ncols)


def _element(struct: Any, n: int) -> Any:
    """The n-th element of a batch, a batch of one."""
    return RayBundle(*(values[n : n + 1] for values in struct)) if isinstance(struct, RayBundle) else struct[n]
