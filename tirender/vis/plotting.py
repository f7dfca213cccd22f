"""3D figures of scenes: meshes, point clouds, cameras and rays in subplots, drawn with matplotlib or plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

from tirender.checks import check_choice, fail
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.implicit.utils import RayBundle
from tirender.vis.traces import Trace, make_trace, view_direction

TRACE_COLORS = ("#8fa3bf", "#e07a3f", "#5aa469", "#b565a7", "#c9a227", "#4aa3a2")


class AxisArgs(NamedTuple):
    """How the axes of each subplot look; the fields are plotly's, matplotlib heeds those that it knows too.

    Attributes:
        showgrid, showline, showticklabels, showaxeslabels: draw them; with all four False there are no axes.
        backgroundcolor: of the planes behind the scene, once there are axes.
        zeroline, ticks: plotly only.
    """

    showgrid: bool = False
    zeroline: bool = False
    showline: bool = False
    ticks: str = ""
    showticklabels: bool = False
    backgroundcolor: str = "#fff"
    showaxeslabels: bool = False


class Lighting(NamedTuple):
    """How meshes are lit; the fields are plotly's, matplotlib heeds ``ambient`` and ``diffuse``."""

    ambient: float = 0.8
    diffuse: float = 1.0
    fresnel: float = 0.0
    specular: float = 0.0
    roughness: float = 0.5
    facenormalsepsilon: float = 1e-6
    vertexnormalsepsilon: float = 1e-12


class Looks(NamedTuple):
    """What the traces of a figure look like; see :func:`plot_scene`."""

    marker_size: float
    mesh_opacity: float
    ray_marker_size: float
    ray_line_width: float
    axis_args: AxisArgs
    lighting: Lighting
    axes: dict[str, Mapping[str, Any]]


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

    Meshes are coloured by face (the texture at its centre), point clouds by their features; cameras are wireframes,
    rays are lines from the first sample to the last, with the samples on them.

    Args:
        plots: {subplot title: {trace name: Meshes, Pointclouds, cameras or a RayBundle}}; a batch is one trace.
        viewpoint_cameras: one camera, or one a subplot, whose direction the scene is seen from. The distance is chosen
            so that everything is seen. Default: from the front (-Z), a little above and aside.
        ncols: subplots in a row.
        camera_scale: size of a camera's wireframe, in world units.
        pointcloud_max_points: of larger clouds so many points are drawn, chosen at random.
        pointcloud_marker_size: diameter of a point, in points (matplotlib) or pixels (plotly).
        raybundle_max_rays: of more rays so many are drawn, chosen at random.
        raybundle_max_points_per_ray: of more samples so many are drawn, evenly chosen.
        raybundle_ray_point_marker_size, raybundle_ray_line_width: of samples and rays, as for clouds.
        mesh_opacity: from 0, invisible, to 1.
        axis_args, lighting: looks, see there.
        xaxis, yaxis, zaxis: plotly's options for single axes; matplotlib heeds ``range``.
        width, height: of the figure, in pixels; by default 500 each for a subplot.
        backend: "matplotlib", or "plotly" for a figure to turn in the browser (``pip install 'tirender[plotly]'``).
    Returns:
        A ``matplotlib.figure.Figure``, registered with pyplot, or a ``plotly.graph_objects.Figure``.
    Raises:
        ValueError: nothing to plot, something that cannot be plotted, or a number of cameras that does not fit.
        ImportError: plotly is asked for and not installed.
    """
    check_choice("backend", backend, ("matplotlib", "plotly"))
    if not plots or not all(plots.values()):
        fail("plots", "{title: {name: structure}} with at least one structure a title", dict(plots))
    if viewpoint_cameras is not None and len(viewpoint_cameras) not in (1, len(plots)):
        fail("viewpoint_cameras", f"1 or {len(plots)} cameras", len(viewpoint_cameras))
    if ncols < 1:
        fail("ncols", "at least 1", ncols)

    scenes = {
        title: [
            make_trace(
                name, struct, camera_scale, pointcloud_max_points, raybundle_max_rays, raybundle_max_points_per_ray
            )
            for name, struct in scene.items()
        ]
        for title, scene in plots.items()
    }
    views = None
    if viewpoint_cameras is not None:
        views = [view_direction(viewpoint_cameras[i % len(viewpoint_cameras)]) for i in range(len(plots))]
    ncols = min(ncols, len(plots))
    nrows = -(-len(plots) // ncols)
    size = (width or 500 * ncols, height or 500 * nrows)
    looks = Looks(
        pointcloud_marker_size,
        mesh_opacity,
        raybundle_ray_point_marker_size,
        raybundle_ray_line_width,
        axis_args or AxisArgs(),
        lighting or Lighting(),
        {name: options for name, options in (("x", xaxis), ("y", yaxis), ("z", zaxis)) if options},
    )
    if backend == "plotly":
        from tirender.vis.plotly_vis import plotly_figure

        return plotly_figure(scenes, views, (nrows, ncols), size, looks)
    return _matplotlib_figure(scenes, views, (nrows, ncols), size, looks)


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
        batched_structs: Meshes, Pointclouds, cameras or a RayBundle, or a sequence of them, whose batches have the
            same length or length 1: the subplot n shows the n-th element of each.
        viewpoint_cameras, ncols: see :func:`plot_scene`.
        extend_struct: a batch of length 1 is drawn in every subplot; else in the first only.
        subplot_titles: one for each element of the batch.
        **kwargs: more of :func:`plot_scene`'s arguments.
    Returns:
        What :func:`plot_scene` returns.
    Raises:
        ValueError: as :func:`plot_scene` does; batches of different lengths, all empty, or titles that do not fit.
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


def _element(struct: Any, n: int) -> Any:
    """The n-th element of a batch, a batch of one."""
    return RayBundle(*(values[n : n + 1] for values in struct)) if isinstance(struct, RayBundle) else struct[n]


def _matplotlib_figure(
    scenes: dict[str, list[Trace]],
    views: list[tuple[np.ndarray, np.ndarray]] | None,
    grid: tuple[int, int],
    size: tuple[int, int],
    looks: Looks,
) -> Any:
    figure = plt.figure(figsize=(size[0] / 100, size[1] / 100), dpi=100)
    margin = 30 / size[1] * grid[0]  # 30 pixels above each row; an automatic layout fails on 3D axes in matplotlib 3.10
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1 - margin / grid[0], wspace=0, hspace=margin)
    for n, (title, traces) in enumerate(scenes.items()):
        axes: Any = figure.add_subplot(*grid, n + 1, projection="3d")
        axes.set_title(title)
        elev, azim, roll = _view_angles(*views[n]) if views else (20.0, 150.0, 0.0)
        axes.view_init(elev, azim, roll, vertical_axis="y")
        to_light = _towards(elev + 25, azim + 25)  # over the viewer's shoulder
        for i, trace in enumerate(traces):
            _draw(axes, trace, TRACE_COLORS[i % len(TRACE_COLORS)], to_light, looks)
        _frame(axes, traces, looks)
        if len(traces) > 1:
            axes.legend(handles=[_legend_handle(t, TRACE_COLORS[i % len(TRACE_COLORS)]) for i, t in enumerate(traces)])
    return figure


def _draw(axes: Any, trace: Trace, color: str, to_light: np.ndarray, looks: Looks) -> None:
    lighting, opacity = looks.lighting, looks.mesh_opacity
    if trace.kind == "triangles":
        a, b, c = trace.positions.transpose(1, 0, 2)
        normals = np.cross(b - a, c - a)
        facing = np.abs(normals @ to_light) / np.maximum(np.linalg.norm(normals, axis=-1), 1e-12)
        shade = (lighting.ambient + lighting.diffuse * facing) / max(lighting.ambient + lighting.diffuse, 1e-12)
        base = np.array(to_rgb(color)) if trace.colors is None else trace.colors
        rgba = np.concatenate([base * shade[:, None], np.full((len(shade), 1), opacity)], axis=1)
        seam = 0.3 if opacity == 1 else 0  # hides the hairlines between opaque faces
        axes.add_collection3d(
            Poly3DCollection(trace.positions, facecolors=rgba, edgecolors=rgba, linewidths=seam), autolim=False
        )
    elif trace.kind == "points":
        colors = color if trace.colors is None else trace.colors
        axes.scatter(*trace.positions.T, c=colors, s=looks.marker_size**2, linewidths=0, depthshade=False)
    else:
        width = looks.ray_line_width if trace.kind == "rays" else 1
        axes.add_collection3d(Line3DCollection(trace.positions, colors=color, linewidths=width), autolim=False)
        if trace.kind == "rays":
            samples = trace.positions.reshape(-1, 3).T
            axes.scatter(*samples, c=color, s=looks.ray_marker_size**2, linewidths=0, depthshade=False)


def _frame(axes: Any, traces: list[Trace], looks: Looks) -> None:
    """Equal axes around everything, labelled as asked."""
    axis_args = looks.axis_args
    points = np.concatenate([trace.positions.reshape(-1, 3) for trace in traces])
    low, high = (points.min(0), points.max(0)) if len(points) else (-np.ones(3), np.ones(3))
    centre, half = (low + high) / 2, max((high - low).max() / 2, 1e-6)
    axes.set(**{f"{x}lim": (m - half, m + half) for x, m in zip("xyz", centre)})
    for name, options in looks.axes.items():
        axes.set(
            **{f"{name}{to}": options[key] for key, to in (("range", "lim"), ("title", "label")) if key in options}
        )
    shown = axis_args.showgrid or axis_args.showline or axis_args.showticklabels or axis_args.showaxeslabels
    axes.set_box_aspect((1, 1, 1), zoom=0.9 if shown else 1.3)  # labels need room
    if not shown:
        axes.set_axis_off()
        return
    axes.grid(axis_args.showgrid)
    for name, axis in zip("xyz", (axes.xaxis, axes.yaxis, axes.zaxis)):
        axis.set_pane_color(axis_args.backgroundcolor)
        axis.line.set_visible(axis_args.showline)
        if not axis_args.showticklabels:
            axis.set_ticklabels([])
        if axis_args.showaxeslabels:
            axis.set_label_text(name)


def _legend_handle(trace: Trace, color: str) -> Any:
    shown = color if trace.colors is None or not len(trace.colors) else trace.colors.mean(0)
    if trace.kind == "triangles":
        return Patch(color=shown, label=trace.name)
    marker: dict[str, Any] = {"marker": "o", "linestyle": "none"} if trace.kind == "points" else {}
    return Line2D([], [], color=shown, label=trace.name, **marker)


def _view_angles(towards_eye: np.ndarray, up: np.ndarray) -> tuple[float, float, float]:
    """Matplotlib's elevation, azimuth and roll in degrees, with +Y up: azimuth counts from +Z towards +X."""
    elev = np.clip(np.degrees(np.arcsin(np.clip(towards_eye[1], -1, 1))), -89.9, 89.9)
    azim = np.degrees(np.arctan2(towards_eye[0], towards_eye[2]))
    up_unrolled = _towards(elev + 90, azim)
    roll = np.arctan2(np.cross(up_unrolled, up) @ towards_eye, up_unrolled @ up)
    return float(elev), float(azim), float(-np.degrees(roll))


def _towards(elev: float, azim: float) -> np.ndarray:
    """Unit vector (3,) at an elevation and an azimuth in degrees."""
    e, a = np.radians([elev, azim])
    return np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
