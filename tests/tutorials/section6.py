"""Tutorial 6, fit a simple neural radiance field via raymarching: its code as printed, `pytorch3d` read as `tirender`.

Added: the imports, `device`, the views of 6.1. What the text describes and leaves to its notebook is written here from
that description and marked "not printed": the model of 6.3, which is tirender's, the loop of 6.4, and figure 13. The
environment variable TIRENDER_TUTORIAL_STEPS shortens the loop.
"""

import os

import matplotlib.pyplot as plt
import torch

from tirender import datasets
from tirender.fields import NeuralRadianceField
from tirender.loss import huber
from tirender.renderer import (
    EmissionAbsorptionRaymarcher,
    ImplicitRenderer,
    MonteCarloRaysampler,
    NDCMultinomialRaysampler,
)
from tirender.utils import generate_rotating_nerf, sample_images_at_mc_locs
from tirender.vis import image_grid

device = torch.device("cpu")

# 6.1 Generate images of the scene and masks, not printed --------------------------------------------------------------

target_cameras, target_images, target_silhouettes = datasets.generate_cow_renders(num_views=40, azimuth_range=180)

# 6.2 Initialize the implicit renderer ---------------------------------------------------------------------------------

# render_size describes the size of both sides of the
# rendered images in pixels. Since an advantage of
# Neural Radiance Fields are high quality renders
# with a significant amount of details, we render
# the implicit function at double the size of
# target images.
render_size = target_images.shape[1] * 2

# Our rendered scene is centered around (0,0,0)
# and is enclosed inside a bounding box
# whose side is roughly equal to 3.0 (world units).
volume_extent_world = 3.0

# 1) Instantiate the raysamplers.

# Here, NDCMultinomialRaysampler generates a rectangular image
# grid of rays whose coordinates follow the PyTorch3D
# coordinate conventions.
raysampler_grid = NDCMultinomialRaysampler(
    image_height=render_size,
    image_width=render_size,
    n_pts_per_ray=128,
    min_depth=0.1,
    max_depth=volume_extent_world,
)

# MonteCarloRaysampler generates a random subset
# of `n_rays_per_image` rays emitted from the image plane.
raysampler_mc = MonteCarloRaysampler(
    min_x = -1.0,
    max_x = 1.0,
    min_y = -1.0,
    max_y = 1.0,
    n_rays_per_image=750,
    n_pts_per_ray=128,
    min_depth=0.1,
    max_depth=volume_extent_world,
)

# 2) Instantiate the raymarcher.
# Here, we use the standard EmissionAbsorptionRaymarcher
# which marches along each ray in order to render
# the ray into a single 3D color vector
# and an opacity scalar.
raymarcher = EmissionAbsorptionRaymarcher()

# Finally, instantiate the implicit renders
# for both raysamplers.
renderer_grid = ImplicitRenderer(
    raysampler=raysampler_grid, raymarcher=raymarcher,
)
renderer_mc = ImplicitRenderer(
    raysampler=raysampler_mc, raymarcher=raymarcher,
)

# 6.3 Define the neural radiance field model, not printed --------------------------------------------------------------

# "The harmonic embeddings then enter the color and opacity branches of the NeRF model in order to label each ray point
# with a 3D vector and a 1D scalar ranging in [0-1]"
# the notebook sets a seed before it; with some others the first steps end in black and nothing moves for long
torch.manual_seed(1)
neural_radiance_field = NeuralRadianceField().to(device)

# 6.4 Fit the radiance field, not printed ------------------------------------------------------------------------------

target_cameras = target_cameras.to(device)
target_images = target_images.to(device)
target_silhouettes = target_silhouettes.to(device)

lr = 1e-3
optimizer = torch.optim.Adam(neural_radiance_field.parameters(), lr=lr)
batch_size = 6
n_iter = int(os.environ.get("TIRENDER_TUTORIAL_STEPS", 3000))
color_errors, silhouette_errors = [], []

for iteration in range(n_iter):
    if iteration == round(n_iter * 0.75):
        optimizer = torch.optim.Adam(neural_radiance_field.parameters(), lr=lr * 0.1)
    optimizer.zero_grad()

    # "we render it from the viewpoints of the target cameras"
    batch_idx = torch.randperm(len(target_cameras))[:batch_size]
    rendered_images_silhouettes, sampled_rays = renderer_mc(
        cameras=target_cameras[batch_idx], volumetric_function=neural_radiance_field
    )
    rendered_images, rendered_silhouettes = rendered_images_silhouettes.split([3, 1], dim=-1)

    # "the mean huber (smooth-l1) error between corresponding pairs of target images/rendered images and target
    # silhouettes/rendered silhouettes"
    silhouettes_at_rays = sample_images_at_mc_locs(target_silhouettes[batch_idx, ..., None], sampled_rays.xys)
    sil_err = huber(rendered_silhouettes, silhouettes_at_rays).abs().mean()
    colors_at_rays = sample_images_at_mc_locs(target_images[batch_idx], sampled_rays.xys)
    color_err = huber(rendered_images, colors_at_rays).abs().mean()
    loss = color_err + sil_err
    color_errors.append(float(color_err.detach()))
    silhouette_errors.append(float(sil_err.detach()))

    loss.backward()
    optimizer.step()

# "forward_batched would be used to render rays emitted from all pixels of an image in order to produce a full-sized
# render of a scene."
with torch.no_grad():
    rendered, _ = renderer_grid(
        cameras=target_cameras[0], volumetric_function=neural_radiance_field.forward_batched
    )
fig, ax = plt.subplots(1, 4, figsize=(20, 5))
shown = {
    "rendered image": rendered[0, ..., :3],
    "target image": target_images[0],
    "rendered silhouette": rendered[0, ..., 3],
    "target silhouette": target_silhouettes[0],
}
for ax_, (title_, image) in zip(ax, shown.items()):
    ax_.imshow(image.clamp(0.0, 1.0).cpu().numpy())
    ax_.axis("off")
    ax_.set_title(title_)
plt.show()

# Figure 13
rotating_nerf_frames = generate_rotating_nerf(
    neural_radiance_field, n_frames=3 * 5, renderer_grid=renderer_grid, cameras=target_cameras
)
image_grid(rotating_nerf_frames.cpu().numpy(), rows=3, cols=5, rgb=True, fill=True)
plt.show()
