"""Tutorial 3, render colour point clouds: its code as printed, `pytorch3d` read as `tirender`.

Added: the imports, `device` and the cloud's place.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from tirender import datasets
from tirender.renderer import (
    AlphaCompositor,
    FoVOrthographicCameras,
    PointsRasterizationSettings,
    PointsRasterizer,
    PointsRenderer,
    look_at_view_transform,
)
from tirender.structures import Pointclouds

device = torch.device("cpu")

# 3.1 Load a point cloud and corresponding colors ---------------------------------------------------------------------

# Set paths
obj_filename = datasets.bridge()

# Load point cloud
pointcloud = np.load(obj_filename)
verts = torch.Tensor(pointcloud['verts']).to(device)
rgb = torch.Tensor(pointcloud['rgb']).to(device)
point_cloud = Pointclouds(points=[verts], features=[rgb])

# 3.2 Create a renderer -----------------------------------------------------------------------------------------------

# Initialize a camera.
R, T = look_at_view_transform(20, 10, 0)
cameras = FoVOrthographicCameras(device=device, R=R, T=T, znear=0.01)

# Define the settings for rasterization and shading. Here we set the output
# image to be of size 512x512.
# As we are rendering images for visualization purposes only we will set
# faces_per_pixel=1 and blur_radius=0.0. Refer to raster_points.py for
# explanations of these parameters.
raster_settings = PointsRasterizationSettings(
    image_size=512,
    radius = 0.003,
    points_per_pixel = 10
)

# Create a points renderer by compositing points using an alpha compositor
# (nearer points are weighted more heavily). See [1] for an explanation.
rasterizer = PointsRasterizer(cameras=cameras, raster_settings=raster_settings)
renderer = PointsRenderer(
    rasterizer=rasterizer,
    compositor=AlphaCompositor()
)

images = renderer(point_cloud)
plt.figure(figsize=(10, 10))
plt.imshow(images[0, ..., :3].cpu().numpy())
plt.axis("off");

# 3.3 Change background color -----------------------------------------------------------------------------------------

renderer = PointsRenderer(
    rasterizer=rasterizer,
    # Pass in background_color to the alpha compositor, setting the background color
    # to the 3 item tuple, representing rgb on a scale of 0 -> 1, in this case blue
    compositor=AlphaCompositor(background_color=(0, 0, 1))
)
images = renderer(point_cloud)

plt.figure(figsize=(10, 10))
plt.imshow(images[0, ..., :3].cpu().numpy())
plt.axis("off");
