"""Rasterizers and cameras that users derive, with projections of their own."""

from __future__ import annotations

import pytest
import torch

import tirender.renderer as r
from tirender.structures import Meshes, Pointclouds
from tirender.transforms import Transform3d
from tirender.utils import ico_sphere

CAMERA = r.FoVPerspectiveCameras(T=torch.tensor([[0.0, 0, 3]]))
SETTINGS = r.RasterizationSettings(image_size=16, faces_per_pixel=2)
TO_THE_LEFT = torch.tensor([0.25, 0, 0])  # two pixels of 16


class ShiftedMeshes(r.MeshRasterizer):
    def transform(self, meshes_world, **kwargs):
        return super().transform(meshes_world, **kwargs).offset_verts(TO_THE_LEFT)


class ShiftedPoints(r.PointsRasterizer):
    def transform(self, point_clouds, **kwargs):
        return super().transform(point_clouds, **kwargs).offset(TO_THE_LEFT)


class ByItself(r.MeshRasterizer):
    """Projects as ``MeshRasterizer`` does, step by step."""

    def transform(self, meshes_world, **kwargs):
        cameras = kwargs.get("cameras", self.cameras)
        view = cameras.get_world_to_view_transform(**kwargs).transform_points(meshes_world.verts_padded())
        ndc = cameras.get_projection_transform(**kwargs).transform_points(view)
        return meshes_world.update_padded(torch.cat([ndc[..., :2], view[..., 2:]], -1))


class TwoMatrices(r.FoVPerspectiveCameras):
    """A camera of two matrices, whose methods take no arguments."""

    def __init__(self, view: torch.Tensor, projection: torch.Tensor) -> None:
        super().__init__()
        self.view, self.projection = view, projection

    def get_world_to_view_transform(self):
        transform = Transform3d()
        transform._matrix = self.view
        return transform

    def get_projection_transform(self):
        transform = Transform3d()
        transform._matrix = self.projection
        return transform


@pytest.mark.parametrize("meshes", [ico_sphere(1), Meshes([torch.rand(5, 3)] * 2, [torch.tensor([[0, 1, 2]])] * 2)])
def test_the_projection_of_a_derived_mesh_rasterizer_is_used(meshes):
    plain = r.MeshRasterizer(CAMERA, SETTINGS)(meshes)
    shifted = ShiftedMeshes(CAMERA, SETTINGS)(meshes)
    torch.testing.assert_close(shifted.pix_to_face[:, :, :14], plain.pix_to_face[:, :, 2:])
    torch.testing.assert_close(shifted.zbuf[:, :, :14], plain.zbuf[:, :, 2:])


def test_the_projection_of_a_derived_points_rasterizer_is_used():
    clouds = Pointclouds([torch.rand(50, 3) - 0.5])
    settings = r.PointsRasterizationSettings(image_size=16, radius=0.1)
    plain = r.PointsRasterizer(CAMERA, settings)(clouds)
    shifted = ShiftedPoints(CAMERA, settings)(clouds)
    torch.testing.assert_close(shifted.idx[:, :, :14], plain.idx[:, :, 2:])


@pytest.mark.parametrize("kwargs", [{}, {"cameras": r.FoVPerspectiveCameras(T=torch.tensor([[0.1, 0.2, 4]]))}])
def test_an_equal_projection_gives_equal_fragments_and_gradients(kwargs):
    verts = ico_sphere(1).verts_packed().clone().requires_grad_()
    weights = torch.rand(1, 16, 16, 2, 3)
    gradients = []
    for rasterizer in (r.MeshRasterizer, ByItself):
        fragments = rasterizer(CAMERA, SETTINGS)(Meshes([verts], ico_sphere(1).faces_list()), **kwargs)
        loss = (fragments.bary_coords * weights).sum() + (fragments.zbuf * weights[..., 0]).sum()
        gradients.append((fragments.pix_to_face, torch.autograd.grad(loss, verts)[0]))
    (faces, gradient), (own_faces, own_gradient) = gradients
    assert torch.equal(faces, own_faces)
    torch.testing.assert_close(own_gradient, gradient, atol=1e-4, rtol=1e-4)


def test_cameras_whose_methods_take_no_arguments():
    view = CAMERA.get_world_to_view_transform().get_matrix()
    camera = TwoMatrices(view, CAMERA.get_projection_transform().get_matrix())
    own, plain = (r.MeshRasterizer(c, SETTINGS)(ico_sphere(1)) for c in (camera, CAMERA))
    assert torch.equal(own.pix_to_face, plain.pix_to_face)
    points = r.PointsRasterizationSettings(image_size=16, radius=0.1)
    cloud = Pointclouds([torch.rand(9, 3)])
    own, plain = (r.PointsRasterizer(c, points)(cloud) for c in (camera, CAMERA))
    assert torch.equal(own.idx, plain.idx)
