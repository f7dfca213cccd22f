"""Rendering of Gaussians."""

from tirender.renderer.gaussians.renderer import GaussiansRasterizationSettings, GaussiansRenderer, RenderedGaussians

__all__ = ["GaussiansRasterizationSettings", "GaussiansRenderer", "RenderedGaussians"]
