"""Fits: a loop, models to fit, and the ready-made fits of the tutorials: meshes, volumes and radiance fields."""

from tirender.captures import Capture, load_capture
from tirender.fit.callbacks import Checkpoint, Every, Figures
from tirender.fit.captured_views import load_views
from tirender.fit.checkpoint import load_checkpoint, save_checkpoint
from tirender.fit.distributed import process_group
from tirender.fit.extract import cameras_around, extract_mesh
from tirender.fit.held_out import HeldOut
from tirender.fit.loop import fit
from tirender.fit.material import MaterialConfig, MaterialModel, fit_material, render_lit_views
from tirender.fit.mesh import MeshConfig, fit_mesh, surface_chamfer
from tirender.fit.models import DeformedMesh, TextureMap, VertexColors
from tirender.fit.nerf import NerfConfig, fit_nerf
from tirender.fit.nerf_model import NerfModel
from tirender.fit.preview import Preview
from tirender.fit.rendering import ImageConfig, SilhouetteConfig, fit_images, fit_silhouettes
from tirender.fit.run import Callback, FitConfig, FitRun, NonFiniteLoss
from tirender.fit.shape import normalized
from tirender.fit.splats import SplatConfig, SplatModel, fit_splats
from tirender.fit.views import Views, render_views, render_views_between
from tirender.fit.volume import VolumeConfig, fit_volume

__all__ = [
    "HeldOut",
    "Callback",
    "Capture",
    "Checkpoint",
    "DeformedMesh",
    "Every",
    "Figures",
    "FitConfig",
    "FitRun",
    "ImageConfig",
    "MaterialConfig",
    "MaterialModel",
    "MeshConfig",
    "NerfConfig",
    "NerfModel",
    "NonFiniteLoss",
    "Preview",
    "SilhouetteConfig",
    "SplatConfig",
    "SplatModel",
    "TextureMap",
    "VertexColors",
    "Views",
    "VolumeConfig",
    "cameras_around",
    "extract_mesh",
    "fit",
    "fit_images",
    "fit_material",
    "fit_mesh",
    "fit_nerf",
    "fit_silhouettes",
    "fit_splats",
    "fit_volume",
    "load_capture",
    "load_checkpoint",
    "load_views",
    "normalized",
    "process_group",
    "render_lit_views",
    "render_views",
    "render_views_between",
    "save_checkpoint",
    "surface_chamfer",
]
