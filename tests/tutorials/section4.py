"""Tutorial 4, fit a mesh via rendering: its code as printed, `pytorch3d` read as `tirender`.

Added: the imports, `device`, the cow's place. What the text describes and leaves to its notebook is written here from
that description and marked "not printed": loading the mesh (as 1.1), the silhouettes of 4.2, and the loops of 4.3 and
4.4. The environment variable TIRENDER_TUTORIAL_STEPS shortens the loops.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from tqdm import tqdm

from tirender import datasets
from tirender.io import load_objs_as_meshes
from tirender.loss import mesh_edge_loss, mesh_laplacian_smoothing, mesh_normal_consistency
from tirender.renderer import (
    BlendParams,
    MeshRasterizer,
    MeshRenderer,
    OpenGLPerspectiveCameras,
    PointLights,
    RasterizationSettings,
    SoftPhongShader,
    SoftSilhouetteShader,
    TexturesVertex,
    look_at_view_transform,
)
from tirender.utils import ico_sphere
from tirender.vis import image_grid, plot_losses, visualize_prediction

device = torch.device("cpu")

# 4.1 Load and normalize data, not printed ----------------------------------------------------------------------------

mesh = load_objs_as_meshes([datasets.cow()], device=device)
verts = mesh.verts_packed()
center = verts.mean(0)
scale = max((verts - center).abs().max(0)[0])
mesh.offset_verts_(-center)
mesh.scale_verts_((1.0 / float(scale)))

# 4.2 Dataset creation ------------------------------------------------------------------------------------------------

# the number of different viewpoints from which we want to render the mesh.
num_views = 20

# Get a batch of viewing angles.
elev = torch.linspace(0, 360, num_views)
azim = torch.linspace(-180, 180, num_views)

# Place a point light in front of the object. As mentioned above, the front of
# the cow is facing the -z direction.
lights = PointLights(device=device, location=[[0.0, 0.0, -3.0]])

# Initialize an OpenGL perspective camera that represents a batch of different
# viewing angles. All the cameras helper methods support mixed type inputs and
# broadcasting. So we can view the camera from the a distance of dist=2.7, and
# then specify elevation and azimuth angles for each viewpoint as tensors.
R, T = look_at_view_transform(dist=2.7, elev=elev, azim=azim)
cameras = OpenGLPerspectiveCameras(device=device, R=R, T=T)

# We arbitrarily choose one particular view that will be used to visualize
# results
camera = OpenGLPerspectiveCameras(device=device, R=R[None, 1, ...],
                                   T=T[None, 1, ...])

# Define the settings for rasterization and shading. Here we set the output
# image to be of size 128X128. As we are rendering images for visualization
# purposes only we will set faces_per_pixel=1 and blur_radius=0.0. Refer to
# rasterize_meshes.py for explanations of these parameters. We also leave
# bin_size and max_faces_per_bin to their default values of None, which sets
# their values using heuristics and ensures that the faster coarse-to-fine
# rasterization method is used. Refer to docs/notes/renderer.md for an
# explanation of the difference between naive and coarse-to-fine rasterization.
raster_settings = RasterizationSettings(
    image_size=128,
    blur_radius=0.0,
    faces_per_pixel=1,
)

# Create a Phong renderer by composing a rasterizer and a shader. The textured
# Phong shader will interpolate the texture uv coordinates for each vertex,
# sample from a texture image and apply the Phong lighting model
renderer = MeshRenderer(
    rasterizer=MeshRasterizer(
        cameras=camera,
        raster_settings=raster_settings
    ),
    shader=SoftPhongShader(
        device=device,
        cameras=camera,
        lights=lights
    )
)

# Create a batch of meshes by repeating the cow mesh and associated textures.
# Meshes has a useful `extend` method which allows us do this very easily.
# This also extends the textures.
meshes = mesh.extend(num_views)

# Render the cow mesh from each viewing angle
target_images = renderer(meshes, cameras=cameras, lights=lights)

# Our multi-view cow dataset will be represented by these 2 lists of tensors,
# each of length num_views.
target_rgb = [target_images[i, ..., :3] for i in range(num_views)]
target_cameras = [OpenGLPerspectiveCameras(device=device, R=R[None, i, ...],
                                           T=T[None, i, ...]) for i in range(num_views)]

# RGB images
image_grid(target_images.cpu().numpy(), rows=4, cols=5, rgb=True)
plt.show()

# The silhouettes of figure 8, not printed: "we construct a soft silhouette shader to render this alpha channel"
sigma = 1e-4
raster_settings_silhouette = RasterizationSettings(
    image_size=128,
    blur_radius=np.log(1. / 1e-4 - 1.)*sigma,
    faces_per_pixel=50,
)
renderer_silhouette = MeshRenderer(
    rasterizer=MeshRasterizer(
        cameras=camera,
        raster_settings=raster_settings_silhouette
    ),
    shader=SoftSilhouetteShader(blend_params=BlendParams(sigma=sigma))
)
silhouette_images = renderer_silhouette(meshes, cameras=cameras, lights=lights)
target_silhouette = [silhouette_images[i, ..., 3] for i in range(num_views)]
image_grid(silhouette_images.cpu().numpy(), rows=4, cols=5, rgb=False)
plt.show()

# 4.3 Mesh prediction via silhouette rendering, not printed -----------------------------------------------------------

Niter = int(os.environ.get("TIRENDER_TUTORIAL_STEPS", 2000))
num_views_per_iteration = 2
plot_period = 250
np.random.seed(0)


def shape_losses(mesh):
    return {
        "edge": mesh_edge_loss(mesh),
        "normal": mesh_normal_consistency(mesh),
        "laplacian": mesh_laplacian_smoothing(mesh, method="uniform"),
    }


# "squared L2 distance between the predicted and the target silhouette", and losses that keep the mesh smooth
losses = {
    "silhouette": {"weight": 1.0, "values": []},
    "edge": {"weight": 1.0, "values": []},
    "normal": {"weight": 0.01, "values": []},
    "laplacian": {"weight": 1.0, "values": []},
}

src_mesh = ico_sphere(4, device)
deform_verts = torch.full(src_mesh.verts_packed().shape, 0.0, device=device, requires_grad=True)
optimizer = torch.optim.SGD([deform_verts], lr=1.0, momentum=0.9)

loop = tqdm(range(Niter))
for i in loop:
    optimizer.zero_grad()
    new_src_mesh = src_mesh.offset_verts(deform_verts)
    loss = {"silhouette": 0.0, **shape_losses(new_src_mesh)}
    for j in np.random.permutation(num_views).tolist()[:num_views_per_iteration]:
        predicted = renderer_silhouette(new_src_mesh, cameras=target_cameras[j], lights=lights)
        difference = (predicted[..., 3] - target_silhouette[j]) ** 2
        loss["silhouette"] += difference.mean() / num_views_per_iteration
    sum_loss = sum(value * losses[name]["weight"] for name, value in loss.items())
    for name, value in loss.items():
        losses[name]["values"].append(float(value.detach()))
    loop.set_description("total_loss = %.6f" % sum_loss.detach())
    if i % plot_period == 0:
        visualize_prediction(new_src_mesh, renderer_silhouette, target_silhouette[1], "iter: %d" % i, silhouette=True)
    sum_loss.backward()
    optimizer.step()

visualize_prediction(new_src_mesh, renderer_silhouette, target_silhouette[1], silhouette=True)
plot_losses(losses)
silhouette_mesh, silhouette_losses = new_src_mesh.detach(), losses

# 4.4 Mesh and texture prediction via textured rendering --------------------------------------------------------------

raster_settings_soft = RasterizationSettings(
    image_size=128,
    blur_radius=np.log(1. / 1e-4 - 1.)*sigma,
    faces_per_pixel=50,
    perspective_correct=False
)

# The rest of this section is not printed.
renderer_textured = MeshRenderer(
    rasterizer=MeshRasterizer(
        cameras=camera,
        raster_settings=raster_settings_soft
    ),
    shader=SoftPhongShader(
        device=device,
        cameras=camera,
        lights=lights
    )
)

losses = {
    "rgb": {"weight": 1.0, "values": []},
    "silhouette": {"weight": 1.0, "values": []},
    "edge": {"weight": 1.0, "values": []},
    "normal": {"weight": 0.01, "values": []},
    "laplacian": {"weight": 1.0, "values": []},
}

# "We learn both translational offsets and RGB texture colors for each vertex in the sphere mesh."
deform_verts = torch.full(src_mesh.verts_packed().shape, 0.0, device=device, requires_grad=True)
sphere_verts_rgb = torch.full([1, *src_mesh.verts_packed().shape], 0.5, device=device, requires_grad=True)
optimizer = torch.optim.SGD([deform_verts, sphere_verts_rgb], lr=1.0, momentum=0.9)

loop = tqdm(range(Niter))
for i in loop:
    optimizer.zero_grad()
    new_src_mesh = src_mesh.offset_verts(deform_verts)
    new_src_mesh.textures = TexturesVertex(verts_features=sphere_verts_rgb)
    loss = {"rgb": 0.0, "silhouette": 0.0, **shape_losses(new_src_mesh)}
    for j in np.random.permutation(num_views).tolist()[:num_views_per_iteration]:
        predicted = renderer_textured(new_src_mesh, cameras=target_cameras[j], lights=lights)
        difference = (predicted[..., 3] - target_silhouette[j]) ** 2
        loss["silhouette"] += difference.mean() / num_views_per_iteration
        difference = (predicted[..., :3] - target_rgb[j]) ** 2
        loss["rgb"] += difference.mean() / num_views_per_iteration
    sum_loss = sum(value * losses[name]["weight"] for name, value in loss.items())
    for name, value in loss.items():
        losses[name]["values"].append(float(value.detach()))
    loop.set_description("total_loss = %.6f" % sum_loss.detach())
    if i % plot_period == 0:
        visualize_prediction(new_src_mesh, renderer_textured, target_rgb[1], "iter: %d" % i, silhouette=False)
    sum_loss.backward()
    optimizer.step()

visualize_prediction(new_src_mesh, renderer_textured, target_rgb[1], silhouette=False)
plot_losses(losses)
