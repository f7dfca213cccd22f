"""Figures of scenes with matplotlib."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

from tirender.vis.plot_style import Layout, PlotStyle, trace_color
from tirender.vis.traces import Trace

FRONT = 20.0, 150.0, 0.0  # the default view: elevation, azimuth and roll in degrees
TITLE = 30  # pixels above each row


def matplotlib_figure(
    scenes: dict[str, list[Trace]],
    views: list[tuple[np.ndarray, np.ndarray]] | None,
    layout: Layout,
    style: PlotStyle,
) -> Any:
    """Draw traces into a ``matplotlib.figure.Figure``, which pyplot knows.

    Args:
        scenes: the traces of each subplot, by its title.
        views: of each subplot, unit vectors (3,) in world space: towards the eye, and up in the picture. None for a
            view from the front.
        layout, style: see there.
    """
    figure = plt.figure(figsize=(layout.width / 100, layout.height / 100), dpi=100)
    margin = TITLE / layout.height * layout.rows  # by hand: automatic layouts fail on 3D axes in matplotlib 3.10
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1 - margin / layout.rows, wspace=0, hspace=margin)
    for n, (title, traces) in enumerate(scenes.items()):
        axes: Any = figure.add_subplot(layout.rows, layout.cols, n + 1, projection="3d")
        axes.set_title(title)
        elev, azim, roll = _view_angles(*views[n]) if views else FRONT
        axes.view_init(elev, azim, roll, vertical_axis="y")
        to_light = _towards(elev + 25, azim + 25)  # over the viewer's shoulder
        for i, trace in enumerate(traces):
            _draw(axes, trace, trace_color(i), to_light, style)
        _frame(axes, traces, style)
        if len(traces) > 1:
            axes.legend(handles=[_legend_handle(trace, trace_color(i)) for i, trace in enumerate(traces)])
    return figure


def _draw(axes: Any, trace: Trace, color: str, to_light: np.ndarray, style: PlotStyle) -> None:
    lighting, opacity = style.lighting, style.mesh_opacity
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
        axes.scatter(*trace.positions.T, c=colors, s=style.marker_size**2, linewidths=0, depthshade=False)
    else:
        width = style.ray_line_width if trace.kind == "rays" else 1
        axes.add_collection3d(Line3DCollection(trace.positions, colors=color, linewidths=width), autolim=False)
        if trace.kind == "rays":
            samples = trace.positions.reshape(-1, 3).T
            axes.scatter(*samples, c=color, s=style.ray_marker_size**2, linewidths=0, depthshade=False)


def _frame(axes: Any, traces: list[Trace], style: PlotStyle) -> None:
    """Equal axes around everything, labelled as asked."""
    axis_args = style.axis_args
    points = np.concatenate([trace.positions.reshape(-1, 3) for trace in traces])
    low, high = (points.min(0), points.max(0)) if len(points) else (-np.ones(3), np.ones(3))
    centre, half = (low + high) / 2, max((high - low).max() / 2, 1e-6)
    axes.set(**{f"{x}lim": (m - half, m + half) for x, m in zip("xyz", centre)})
    for name, options in style.axes.items():
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
