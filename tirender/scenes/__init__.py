"""Things to look at, whatever their representation: ``load_scene(path).render(cameras)``."""

from tirender.scenes.base import Look, Scene
from tirender.scenes.cloud import CloudScene
from tirender.scenes.field import FieldScene
from tirender.scenes.fitted import fitted_scene
from tirender.scenes.gaussians import GaussianScene
from tirender.scenes.load import load_scene, make_scene
from tirender.scenes.mesh import MeshScene
from tirender.scenes.volume import VolumeScene

__all__ = [
    "CloudScene",
    "FieldScene",
    "GaussianScene",
    "Look",
    "MeshScene",
    "Scene",
    "VolumeScene",
    "fitted_scene",
    "load_scene",
    "make_scene",
]
