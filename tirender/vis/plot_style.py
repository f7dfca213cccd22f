"""What the figures of :func:`tirender.vis.plot_scene` look like, whichever library draws them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

TRACE_COLORS = ("#8fa3bf", "#e07a3f", "#5aa469", "#b565a7", "#c9a227", "#4aa3a2")


class AxisArgs(NamedTuple):
    """How the axes of each subplot look. The fields are plotly's; matplotlib uses those that it knows.

    Attributes:
        showgrid, showline, showticklabels, showaxeslabels: what to draw; with all four False there are no axes.
        backgroundcolor: of the planes behind the scene, where there are axes.
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
    """How meshes are lit. The fields are plotly's; matplotlib uses ``ambient`` and ``diffuse``."""

    ambient: float = 0.8
    diffuse: float = 1.0
    fresnel: float = 0.0
    specular: float = 0.0
    roughness: float = 0.5
    facenormalsepsilon: float = 1e-6
    vertexnormalsepsilon: float = 1e-12


class PlotStyle(NamedTuple):
    """How the traces of a figure look; the fields are arguments of :func:`tirender.vis.plot_scene`."""

    marker_size: float
    mesh_opacity: float
    ray_marker_size: float
    ray_line_width: float
    axis_args: AxisArgs
    lighting: Lighting
    axes: dict[str, Mapping[str, Any]]


class Layout(NamedTuple):
    """The rows and columns of a figure's subplots, and its width and height in pixels."""

    rows: int
    cols: int
    width: int
    height: int


def trace_color(index: int) -> str:
    """The colour of the trace with this index in its subplot; colours repeat."""
    return TRACE_COLORS[index % len(TRACE_COLORS)]
