"""Scene models that can be fitted: voxel grids and radiance fields."""

from tirender.fields.nerf import NeuralRadianceField
from tirender.fields.volume import VolumeModel

__all__ = ["NeuralRadianceField", "VolumeModel"]
