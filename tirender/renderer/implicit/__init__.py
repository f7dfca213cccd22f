"""Rendering along rays: samplers, marchers, and renderers of volumes and implicit functions."""

from tirender.renderer.implicit.harmonic_embedding import HarmonicEmbedding
from tirender.renderer.implicit.raymarching import AbsorptionOnlyRaymarcher, EmissionAbsorptionRaymarcher
from tirender.renderer.implicit.raysampling import (
    GridRaysampler,
    MonteCarloRaysampler,
    MultinomialRaysampler,
    NDCGridRaysampler,
    NDCMultinomialRaysampler,
)
from tirender.renderer.implicit.renderer import ImplicitRenderer, VolumeRenderer, VolumeSampler
from tirender.renderer.implicit.utils import (
    HeterogeneousRayBundle,
    RayBundle,
    ray_bundle_to_ray_points,
    ray_bundle_variables_to_ray_points,
)

__all__ = [
    "AbsorptionOnlyRaymarcher",
    "EmissionAbsorptionRaymarcher",
    "GridRaysampler",
    "HarmonicEmbedding",
    "HeterogeneousRayBundle",
    "ImplicitRenderer",
    "MonteCarloRaysampler",
    "MultinomialRaysampler",
    "NDCGridRaysampler",
    "NDCMultinomialRaysampler",
    "RayBundle",
    "VolumeRenderer",
    "VolumeSampler",
    "ray_bundle_to_ray_points",
    "ray_bundle_variables_to_ray_points",
]
