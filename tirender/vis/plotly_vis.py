"""Figures of scenes with plotly, for ``plot_scene(..., backend="plotly")``; scripts may import the names from here."""

from __future__ import annotations

from typing import Any

import numpy as np

from tirender.vis.camera_wireframe import get_camera_wireframe
from tirender.vis.plotting import TRACE_COLORS, AxisArgs, Lighting, Looks, plot_batch_individually, plot_scene
from tirender.vis.traces import Trace

__all__ = ["AxisArgs", "Lighting", "get_camera_wireframe", "plot_batch_individually", "plot_scene", "plotly_figure"]

EYE_DISTANCE = 1.8  # in plotly's units, where the scene's box has side 1


def plotly_figure(
    scenes: dict[str, list[Trace]],
    views: list[tuple[np.ndarray, np.ndarray]] | None,
    grid: tuple[int, int],
    size: tuple[int, int],
    looks: Looks,
) -> Any:
    """Draw traces into a ``plotly.graph_objects.Figure``; arguments as :func:`tirender.vis.plot_scene` prepares them.

    Raises:
        ImportError: plotly is not installed.
    """
    try:
        from plotly.subplots import make_subplots
    except ImportError as error:
        raise ImportError("backend='plotly' needs plotly: pip install 'tirender[plotly]'") from error

    rows, cols = grid
    figure = make_subplots(
        rows, cols, subplot_titles=list(scenes), specs=[[{"type": "scene"}] * cols for _ in range(rows)]
    )
    for n, traces in enumerate(scenes.values()):
        row, col = n // cols + 1, n % cols + 1
        for i, trace in enumerate(traces):
            color = TRACE_COLORS[i % len(TRACE_COLORS)]
            figure.add_trace(_graph_object(trace, color, looks), row, col)
        towards_eye, up = views[n] if views else (np.array([0.47, 0.34, -0.81]), np.array([0.0, 1.0, 0.0]))
        camera = {"eye": dict(zip("xyz", (EYE_DISTANCE * towards_eye).tolist())), "up": dict(zip("xyz", up.tolist()))}
        axes = {f"{name}axis": {**_axis(name, looks.axis_args), **looks.axes.get(name, {})} for name in "xyz"}
        figure.update_scenes(aspectmode="data", camera=camera, **axes, row=row, col=col)
    figure.update_layout(width=size[0], height=size[1])
    return figure


def _graph_object(trace: Trace, color: str, looks: Looks) -> Any:
    import plotly.graph_objects as go

    colors = (
        None if trace.colors is None else [f"rgb({r},{g},{b})" for r, g, b in np.rint(255 * trace.colors).astype(int)]
    )
    if trace.kind == "triangles":
        x, y, z = trace.positions.reshape(-1, 3).T
        i, j, k = np.arange(len(x)).reshape(-1, 3).T
        paint = {"color": color} if colors is None else {"facecolor": colors}
        light, opacity = looks.lighting._asdict(), looks.mesh_opacity
        return go.Mesh3d(
            x=x, y=y, z=z, i=i, j=j, k=k, name=trace.name, opacity=opacity, flatshading=True, lighting=light, **paint
        )
    if trace.kind == "points":
        x, y, z = trace.positions.T
        marker = {"size": looks.marker_size, "color": color if colors is None else colors}
        return go.Scatter3d(x=x, y=y, z=z, name=trace.name, mode="markers", marker=marker)
    gap = np.full((len(trace.positions), 1, 3), np.nan)  # lifts the pen between strokes
    x, y, z = np.concatenate([trace.positions, gap], axis=1).reshape(-1, 3).T
    if trace.kind == "rays":
        line, marker = {"color": color, "width": looks.ray_line_width}, {"color": color, "size": looks.ray_marker_size}
        return go.Scatter3d(x=x, y=y, z=z, name=trace.name, mode="lines+markers", line=line, marker=marker)
    return go.Scatter3d(x=x, y=y, z=z, name=trace.name, mode="lines", line={"color": color})


def _axis(name: str, axis_args: AxisArgs) -> dict[str, Any]:
    looks = axis_args._asdict()
    show_label = looks.pop("showaxeslabels")
    return {**looks, "title": {"text": name if show_label else ""}}
