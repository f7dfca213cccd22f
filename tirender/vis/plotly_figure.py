"""Figures of scenes with plotly."""

from __future__ import annotations

from typing import Any

import numpy as np

from tirender.vis.plot_style import AxisArgs, Layout, PlotStyle, trace_color
from tirender.vis.traces import Trace

EYE_DISTANCE = 1.8  # in plotly's units, where the scene's box has side 1
FRONT = np.array([0.47, 0.34, -0.81]), np.array([0.0, 1.0, 0.0])  # the default view: towards the eye, and up


def plotly_figure(
    scenes: dict[str, list[Trace]],
    views: list[tuple[np.ndarray, np.ndarray]] | None,
    layout: Layout,
    style: PlotStyle,
) -> Any:
    """Draw traces into a ``plotly.graph_objects.Figure``.

    Args:
        scenes: the traces of each subplot, by its title.
        views: of each subplot, unit vectors (3,) in world space: towards the eye, and up in the picture. None for a
            view from the front.
        layout, style: see there.
    Raises:
        ImportError: plotly is not installed.
    """
    try:
        from plotly.subplots import make_subplots
    except ImportError as error:
        raise ImportError("backend='plotly' needs plotly: pip install 'tirender[plotly]'") from error

    specs = [[{"type": "scene"}] * layout.cols for _ in range(layout.rows)]
    figure = make_subplots(layout.rows, layout.cols, subplot_titles=list(scenes), specs=specs)
    for n, traces in enumerate(scenes.values()):
        row, col = n // layout.cols + 1, n % layout.cols + 1
        for i, trace in enumerate(traces):
            figure.add_trace(_graph_object(trace, trace_color(i), style), row, col)
        towards_eye, up = views[n] if views else FRONT
        camera = {"eye": dict(zip("xyz", (EYE_DISTANCE * towards_eye).tolist())), "up": dict(zip("xyz", up.tolist()))}
        axes = {f"{name}axis": {**_axis(name, style.axis_args), **style.axes.get(name, {})} for name in "xyz"}
        figure.update_scenes(aspectmode="data", camera=camera, **axes, row=row, col=col)
    figure.update_layout(width=layout.width, height=layout.height)
    return figure


def _graph_object(trace: Trace, color: str, style: PlotStyle) -> Any:
    import plotly.graph_objects as go

    colors = (
        None if trace.colors is None else [f"rgb({r},{g},{b})" for r, g, b in np.rint(255 * trace.colors).astype(int)]
    )
    if trace.kind == "triangles":
        x, y, z = trace.positions.reshape(-1, 3).T
        i, j, k = np.arange(len(x)).reshape(-1, 3).T
        paint = {"color": color} if colors is None else {"facecolor": colors}
        light, opacity = style.lighting._asdict(), style.mesh_opacity
        return go.Mesh3d(
            x=x, y=y, z=z, i=i, j=j, k=k, name=trace.name, opacity=opacity, flatshading=True, lighting=light, **paint
        )
    if trace.kind == "points":
        x, y, z = trace.positions.T
        marker = {"size": style.marker_size, "color": color if colors is None else colors}
        return go.Scatter3d(x=x, y=y, z=z, name=trace.name, mode="markers", marker=marker)
    gap = np.full((len(trace.positions), 1, 3), np.nan)  # lifts the pen between strokes
    x, y, z = np.concatenate([trace.positions, gap], axis=1).reshape(-1, 3).T
    if trace.kind == "rays":
        line, marker = {"color": color, "width": style.ray_line_width}, {"color": color, "size": style.ray_marker_size}
        return go.Scatter3d(x=x, y=y, z=z, name=trace.name, mode="lines+markers", line=line, marker=marker)
    return go.Scatter3d(x=x, y=y, z=z, name=trace.name, mode="lines", line={"color": color})


def _axis(name: str, axis_args: AxisArgs) -> dict[str, Any]:
    options = axis_args._asdict()
    show_label = options.pop("showaxeslabels")
    return {**options, "title": {"text": name if show_label else ""}}
