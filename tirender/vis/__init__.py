"""Figures: grids of images, textures, scenes in 3D, fits; and animations."""

from .animation import save_animation
from .camera_wireframe import get_camera_wireframe
from .fitting import compare_view, plot_losses, plot_pointcloud, visualize_prediction
from .image_grid import image_grid
from .plotting import plot_batch_individually, plot_scene
from .texture_vis import texturesuv_image_matplotlib, texturesuv_image_PIL

__all__ = [
    "compare_view",
    "get_camera_wireframe",
    "image_grid",
    "plot_batch_individually",
    "plot_losses",
    "plot_pointcloud",
    "plot_scene",
    "save_animation",
    "texturesuv_image_PIL",
    "texturesuv_image_matplotlib",
    "visualize_prediction",
]
