"""Names of figures under PyTorch3D's module path; ``plot_scene(..., backend="plotly")`` draws with plotly."""

from tirender.vis.camera_wireframe import get_camera_wireframe
from tirender.vis.plot_style import AxisArgs, Lighting
from tirender.vis.plotting import plot_batch_individually, plot_scene

__all__ = ["AxisArgs", "Lighting", "get_camera_wireframe", "plot_batch_individually", "plot_scene"]
