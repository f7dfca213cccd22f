"""Figures under PyTorch3D's module path, drawn with plotly: ``pip install 'tirender[plotly]'``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any

from tirender.vis import plotting
from tirender.vis.camera_wireframe import get_camera_wireframe
from tirender.vis.plot_style import AxisArgs, Lighting

__all__ = ["AxisArgs", "Lighting", "get_camera_wireframe", "plot_batch_individually", "plot_scene"]


@wraps(plotting.plot_scene, assigned=())
def plot_scene(plots: Mapping[str, Mapping[str, Any]], **kwargs: Any) -> Any:
    """:func:`tirender.vis.plot_scene`, whose ``backend`` is here "plotly" by default."""
    return plotting.plot_scene(plots, **{"backend": "plotly", **kwargs})


@wraps(plotting.plot_batch_individually, assigned=())
def plot_batch_individually(batched_structs: Any, **kwargs: Any) -> Any:
    """:func:`tirender.vis.plot_batch_individually`, whose ``backend`` is here "plotly" by default."""
    return plotting.plot_batch_individually(batched_structs, **{"backend": "plotly", **kwargs})
