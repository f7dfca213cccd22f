"""In the style of a course's starter code: a mesh and a cloud on a turntable, with cameras given as integers."""

import argparse

import numpy as np
import pytorch3d
import pytorch3d.io
import torch
from pytorch3d.renderer import (
    AlphaCompositor,
    HardPhongShader,
    MeshRasterizer,
    MeshRenderer,
    PointsRasterizationSettings,
    PointsRasterizer,
    PointsRenderer,
    RasterizationSettings,
)


def get_device():
    return torch.device("cuda:0") if torch.cuda.is_available() else torch.device("cpu")


def get_mesh_renderer(image_size, device):
    settings = RasterizationSettings(image_size=image_size, blur_radius=0.0, faces_per_pixel=1)
    return MeshRenderer(MeshRasterizer(raster_settings=settings), HardPhongShader(device=device))


def get_points_renderer(image_size, device, radius, background_color=(1, 1, 1)):
    settings = PointsRasterizationSettings(image_size=image_size, radius=radius)
    rasterizer = PointsRasterizer(raster_settings=settings)
    return PointsRenderer(rasterizer, AlphaCompositor(background_color=background_color)).to(device)


def make_tetrahedron(device):
    vertices = torch.tensor([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    faces = torch.tensor([[0, 1, 3], [0, 2, 1], [0, 3, 2], [1, 2, 3]])
    colors = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    textures = pytorch3d.renderer.TexturesVertex(colors.unsqueeze(0))
    return pytorch3d.structures.Meshes(vertices.unsqueeze(0), faces.unsqueeze(0), textures=textures).to(device)


def main(args):
    device = get_device()
    mesh = make_tetrahedron(device)
    renderer = get_mesh_renderer(args.image_size, device)
    lights = pytorch3d.renderer.PointLights(location=[[0, 0, -3]], device=device)

    # a camera of integers looks along +Z from 4 units away; what it sees is what a camera of floats sees
    whole = pytorch3d.renderer.FoVPerspectiveCameras(
        R=torch.eye(3, dtype=torch.int64).unsqueeze(0), T=torch.tensor([[0, 0, 4]]), fov=60, device=device
    )
    image = renderer(mesh, cameras=whole, lights=lights)
    same = pytorch3d.renderer.FoVPerspectiveCameras(
        R=torch.eye(3).unsqueeze(0), T=torch.tensor([[0.0, 0, 4]]), fov=60, device=device
    )
    assert torch.equal(image, renderer(mesh, cameras=same, lights=lights))
    assert image.shape == (1, args.image_size, args.image_size, 4)

    frames = []
    for angle in np.linspace(0, 360, 4, endpoint=False):
        R, T = pytorch3d.renderer.look_at_view_transform(4, 0, angle)
        camera = pytorch3d.renderer.FoVPerspectiveCameras(R=R, T=T, device=device)
        frame = renderer(mesh, cameras=camera, lights=lights)[0, ..., :3].detach().cpu().numpy()
        frames.append((frame.clip(0, 1) * 255).astype(np.uint8))
    covered = [int((frame != 255).any(-1).sum()) for frame in frames]
    assert max(covered) - min(covered) <= 0.02 * max(covered), covered  # the turns of a regular tetrahedron
    assert 0.1 < covered[0] / args.image_size**2 < 0.5

    points, normals, rgb = pytorch3d.ops.sample_points_from_meshes(
        mesh, 2000, return_normals=True, return_textures=True
    )
    clouds = pytorch3d.structures.Pointclouds(points=points, normals=normals, features=rgb)
    picture = get_points_renderer(args.image_size, device, 0.05)(clouds, cameras=whole)
    filled, silhouette = picture[0].ne(1).any(-1), image[0, ..., 3] > 0
    assert (filled & silhouette).sum() > 0.9 * silhouette.sum()
    assert torch.allclose(points.norm(dim=-1).max(), torch.tensor(3.0).sqrt(), atol=0.1)
    print("course starter: done")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--image_size", type=int, default=64)
    main(parser.parse_args())
