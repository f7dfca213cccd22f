"""Tutorial 2, render textured meshes: its code as printed, `pytorch3d` read as `tirender`.

Added: the imports, `device`, the cow's place, and what the text describes without printing it (marked "not printed").
"""

import matplotlib.pyplot as plt
import torch

from tirender import datasets
from tirender.io import load_objs_as_meshes
from tirender.renderer import (
    FoVPerspectiveCameras,
    MeshRasterizer,
    MeshRenderer,
    PointLights,
    RasterizationSettings,
    SoftPhongShader,
    look_at_view_transform,
)
from tirender.vis import image_grid, texturesuv_image_matplotlib

device = torch.device("cpu")

# 2.1 Load a mesh and texture file ------------------------------------------------------------------------------------

# Set paths
obj_filename = datasets.cow()

# Load obj file
mesh = load_objs_as_meshes([obj_filename], device=device)
plt.figure(figsize=(7,7))
texturesuv_image_matplotlib(mesh.textures, subsample=None)
plt.axis("off");

# 2.2 Create a renderer -----------------------------------------------------------------------------------------------

# Initialize a camera.
# With world coordinates +Y up, +X left and +Z in, the front of the cow is
# facing the -Z direction.
# So we move the camera by 180 in the azimuth direction so it is facing the
# front of the cow.
R, T = look_at_view_transform(2.7, 0, 180)
cameras = FoVPerspectiveCameras(device=device, R=R, T=T)

# Define the settings for rasterization and shading. Here we set the output
# image to be of size 512x512.
# As we are rendering images for visualization purposes only we will set
# faces_per_pixel=1 and blur_radius=0.0.
# We also set bin_size and max_faces_per_bin to None which ensure that
# the faster coarse-to-fine rasterization method is used.
raster_settings = RasterizationSettings(
    image_size=512,
    blur_radius=0.0,
    faces_per_pixel=1,
)

# Place a point light in front of the object. As mentioned above, the front
# of the cow is facing the -z direction.
lights = PointLights(device=device, location=[[0.0, 0.0, -3.0]])

# Create a Phong renderer by composing a rasterizer and a shader. The textured
# Phong shader will interpolate the texture uv coordinates for each vertex,
# sample from a texture image and apply the Phong lighting model
renderer = MeshRenderer(
    rasterizer=MeshRasterizer(
        cameras=cameras,
        raster_settings=raster_settings
    ),
    shader=SoftPhongShader(
        device=device,
        cameras=cameras,
        lights=lights
    )
)

# 2.3 Render the mesh -------------------------------------------------------------------------------------------------

images = renderer(mesh)
plt.figure(figsize=(10, 10))
plt.imshow(images[0, ..., :3].cpu().numpy())
plt.axis("off");

# Figure 5b, not printed: "we can simply update the location of the lights and pass them into the call to the renderer"
lights.location = torch.tensor([[0.0, 0.0, +1.0]], device=device)
images = renderer(mesh, lights=lights)
plt.figure(figsize=(10, 10))
plt.imshow(images[0, ..., :3].cpu().numpy())
plt.axis("off");

# 2.4 Batched rendering -----------------------------------------------------------------------------------------------

# Set batch size - this is the number of different viewpoints from which we
# want to render the mesh.
batch_size = 20

# Create a batch of meshes by repeating the cow mesh and associated textures.
# Meshes has a useful `extend` method which allows us do this very easily.
# This also extends the textures.
meshes = mesh.extend(batch_size)

# Get a batch of viewing angles.
elev = torch.linspace(0, 180, batch_size)
azim = torch.linspace(-180, 180, batch_size)

# All the cameras helper methods support mixed type inputs and broadcasting. So we can
# view the camera from the same distance and specify dist=2.7 as a float,
# and then specify elevation and azimuth angles for each viewpoint as tensors.
R, T = look_at_view_transform(dist=2.7, elev=elev, azim=azim)
cameras = FoVPerspectiveCameras(device=device, R=R, T=T)

# Move the light back in front of the cow which is facing the -z direction.
lights.location = torch.tensor([[0.0, 0.0, -3.0]], device=device)
# We can pass arbitrary keyword arguments to the rasterizer/shader via the renderer
# so the renderer does not need to be reinitialized if any of the settings change.
images = renderer(meshes, cameras=cameras, lights=lights)
image_grid(images.cpu().numpy(), rows=4, cols=5, rgb=True)
