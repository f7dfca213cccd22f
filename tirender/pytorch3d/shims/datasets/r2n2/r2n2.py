"""Numbers of the R2N2 dataset."""

import torch

MAX_CAMERA_DISTANCE = 1.75
"""The largest distance of a camera from the origin."""
VOXEL_SIZE = 128
"""Voxels along each axis."""
BLENDER_INTRINSIC = torch.tensor(
    [
        [2.1875, 0.0, 0.0, 0.0],
        [0.0, 2.1875, 0.0, 0.0],
        [0.0, 0.0, -1.002002, -0.2002002],
        [0.0, 0.0, -1.0, 0.0],
    ]
)
"""The projection of Blender's cameras: focal length 35 mm on 32 mm, planes at 0.1 and 100."""
