"""What structures and cameras say of themselves."""

from __future__ import annotations

import torch

from tirender.renderer import (
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    PerspectiveCameras,
    TexturesVertex,
    look_at_view_transform,
)
from tirender.structures import Meshes, Pointclouds, Volumes, join_meshes_as_batch
from tirender.utils import ico_sphere, torus


def test_meshes() -> None:
    mesh = ico_sphere(1)
    mesh.textures = TexturesVertex(mesh.verts_padded())
    assert repr(mesh) == "Meshes(1 mesh, 42 vertices, 80 faces, TexturesVertex, cpu)"
    both = join_meshes_as_batch([ico_sphere(1), torus(0.1, 1.0, 5, 6)])
    assert repr(both) == "Meshes(2 meshes, 30 to 42 vertices, 60 to 80 faces, no textures, cpu)"
    assert repr(Meshes([], [])) == "Meshes(0 meshes, 0 vertices, 0 faces, no textures, cpu)"


def test_clouds_and_volumes() -> None:
    clouds = Pointclouds([torch.rand(5, 3), torch.rand(7, 3)], features=[torch.rand(5, 4), torch.rand(7, 4)])
    assert repr(clouds) == "Pointclouds(2 clouds, 5 to 7 points, 4 features, cpu)"
    assert repr(Volumes(torch.rand(2, 1, 3, 4, 5))) == "Volumes(2 volumes, 3 x 4 x 5 voxels, no features, cpu)"


def test_cameras() -> None:
    R, T = look_at_view_transform(2.7, 0, torch.arange(4.0))
    cameras = FoVPerspectiveCameras(R=R, T=T, fov=torch.tensor([30.0, 60, 45, 60], requires_grad=True))
    expected = "4 cameras, znear 1, zfar 100, aspect_ratio 1, fov 30 to 60, cpu"
    assert repr(cameras) == f"FoVPerspectiveCameras({expected})"
    in_pixels = PerspectiveCameras(image_size=((480, 640),), in_ndc=False)
    assert repr(in_pixels).endswith("focal_length 1 x 1, principal_point 0 x 0, image_size 480 x 640, cpu)")
    assert repr(FoVOrthographicCameras()).startswith("FoVOrthographicCameras(1 camera, znear 1, ")
