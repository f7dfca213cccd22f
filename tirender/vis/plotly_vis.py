"""Figures that turn in the browser, under PyTorch3D's module path: plotly's, unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tirender.vis import plotting
from tirender.vis.camera_wireframe import get_camera_wireframe
from tirender.vis.plot_style import AxisArgs, Lighting

__all__ = ["AxisArgs", "Lighting", "get_camera_wireframe", "plot_batch_individually", "plot_scene"]


def plot_scene(plots: Mapping[str, Mapping[str, Any]], *, backend: str = "plotly", **kwargs: Any) -> Any:
    """Draw scenes side by side; see :func:`tirender.vis.plot_scene`."""
    return plotting.plot_scene(plots, backend=backend, **kwargs)


def plot_batch_individually(batched_structs: Any, *, backend: str = "plotly", **kwargs: Any) -> Any:
    """Draw each element of a batch in a subplot of its own; see :func:`tirender.vis.plot_batch_individually`."""
    return plotting.plot_batch_individually(batched_structs, backend=backend, **kwargs)
