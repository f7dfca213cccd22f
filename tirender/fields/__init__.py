"""Scene models with parameters to fit: voxel grids and radiance fields."""

from tirender.fields.hash_grid import HashGridConfig, HashGridField
from tirender.fields.nerf import NeuralRadianceField
from tirender.fields.occupancy import OccupancyGrid
from tirender.fields.volume import VolumeModel

__all__ = ["HashGridConfig", "HashGridField", "NeuralRadianceField", "OccupancyGrid", "VolumeModel"]
