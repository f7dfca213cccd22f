"""``pytorch3d.vis``, whose figures are plotly's."""

from tirender.vis.plotly_vis import plot_batch_individually, plot_scene

__all__ = ["plot_batch_individually", "plot_scene"]
