"""What ``pytorch3d.datasets`` has without data, against values worked out by hand."""

from __future__ import annotations

import io
import math

import pytest
import torch

from tirender.pytorch3d.shims.datasets.r2n2 import utils as r2n2
from tirender.pytorch3d.shims.datasets.shapenet_base import ShapeNetBase
from tirender.pytorch3d.shims.datasets.utils import collate_batched_meshes
from tirender.renderer import FoVPerspectiveCameras, RasterizationSettings, look_at_view_transform


def sample(n_views: int, n_verts: int = 3) -> dict:
    return {
        "verts": torch.rand(n_verts, 3),
        "faces": torch.tensor([[0, 1, 2]]),
        "label": "chair",
        "images": torch.rand(n_views, 4, 4, 3),
        "R": torch.eye(3).expand(n_views, 3, 3),
    }


def test_meshes_are_collated():
    collated = collate_batched_meshes([sample(1), sample(1, 5)])
    assert collated["label"] == ["chair", "chair"]
    assert [len(v) for v in collated["mesh"].verts_list()] == [3, 5]
    textured = collate_batched_meshes([{**sample(1), "textures": torch.rand(1, 2, 2, 3)}])
    assert textured["mesh"].textures.atlas_padded().shape == (1, 1, 2, 2, 3)
    assert collate_batched_meshes([{"label": 1}])["mesh"] is None
    assert collate_batched_meshes([]) is None


def test_views_are_stacked_where_there_are_equally_many():
    collated = r2n2.collate_batched_R2N2([sample(2), sample(2)])
    assert (collated["images"].shape, collated["R"].shape) == ((2, 2, 4, 4, 3), (2, 2, 3, 3))
    with pytest.warns(UserWarning, match="differ in their images"):
        collated = r2n2.collate_batched_R2N2([sample(2), sample(3)])
    assert [len(images) for images in collated["images"]] == [2, 3]


@pytest.mark.parametrize(("azimuth", "elevation"), [(0.0, 0.0), (90.0, 0.0), (30.0, 20.0), (200.0, -40.0)])
def test_extrinsics_look_at_the_origin(azimuth, elevation):
    matrix = r2n2.compute_extrinsic_matrix(azimuth, elevation, 1.5)
    a, e = math.radians(azimuth), math.radians(elevation)
    eye = 1.5 * torch.tensor([math.cos(a) * math.cos(e), math.sin(e), math.sin(a) * math.cos(e), 1 / 1.5])
    torch.testing.assert_close(matrix @ eye, torch.tensor([0.0, 0, 0, 1]), atol=1e-6, rtol=0)
    torch.testing.assert_close(matrix @ torch.tensor([0.0, 0, 0, 1]), torch.tensor([0, 0, -1.5, 1]))
    torch.testing.assert_close(torch.linalg.det(matrix[:3, :3]), torch.tensor(1.0))
    assert matrix[0, 1] == 0  # level
    assert matrix[1, 1] >= 0  # and upright


def test_voxel_files():
    runs = bytes([0, 5, 1, 1, 0, 2, 1, 2, 0, 17])  # voxels 5, 8 and 9 of 27
    header = b"#binvox 1\ndim 3 3 3\ntranslate 0 0 0\nscale 1\ndata\n"
    coordinates = r2n2.read_binvox_coords(io.BytesIO(header + runs))
    assert coordinates.tolist() == [[0, 2, 1], [0, 2, 2], [1, 0, 0]]  # 9 x + 3 z + y
    assert coordinates.dtype == torch.float32
    with pytest.raises(ValueError, match="runs"):
        r2n2.read_binvox_coords(io.BytesIO(header + runs[:-2]))
    with pytest.raises(ValueError, match="binvox"):
        r2n2.read_binvox_coords(io.BytesIO(b"ply\n"))


def test_boxes_projections_and_voxels():
    points = torch.tensor([[0.0, 0, 0], [1, 2, 4], [0.5, 1, 1]])
    box = torch.tensor([[1.0, 1, 1], [2, 3, 5]])
    aligned = r2n2.align_bbox(points, box)
    torch.testing.assert_close(aligned, torch.tensor([[1.0, 1, 1], [2, 3, 5], [1.5, 2, 2]]))
    projection = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]])
    divided = r2n2.project_verts(torch.tensor([[1.0, 2, 4], [1, 2, 0], [1, 2, -0.01]]), projection)
    torch.testing.assert_close(divided, torch.tensor([[0.25, 0.5, 1], [10, 20, 0], [-10, -20, 0.1]]))
    seen = torch.tensor([[0.5, -0.5, 0.68], [-0.9, 0.9, 0.91], [0, 0, 1.5]])
    voxels = r2n2.voxelize(seen, torch.eye(4), 10)
    assert voxels.nonzero().tolist() == [[0, 2, 2], [9, 9, 9]]


def test_cameras_have_any_projection():
    K = torch.arange(16.0).view(1, 4, 4)
    camera = r2n2.BlenderCamera(T=torch.tensor([[0.0, 0, 5]]), K=K)
    point = torch.tensor([1.0, 2, 3])
    x, y, z, w = K[0] @ torch.tensor([1.0, 2, 8, 1])
    torch.testing.assert_close(camera.transform_points(point[None])[0], torch.stack([x, y, z]) / w)
    assert len(r2n2.BlenderCamera()) == 1


class Triangles(ShapeNetBase):
    """Five models: two tables and three cars."""

    def __init__(self) -> None:
        super().__init__()
        self.synset_ids, self.model_ids = ["0", "0", "1", "1", "1"], list("abcde")
        self.synset_inv = {"table": "0", "car": "1"}
        self.synset_start_idxs, self.synset_num_models = {"0": 0, "1": 2}, {"0": 2, "1": 3}
        self.load_textures = False

    def __getitem__(self, idx):
        verts = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]]) * (1 + idx)
        return {**self._get_item_ids(idx), "verts": verts, "faces": torch.tensor([[0, 1, 2]])}


def test_models_are_selected():
    data = Triangles()
    assert len(data) == 5
    assert data[3]["model_id"] == "d"
    assert data._handle_render_inputs(model_ids=["e", "a"], idxs=[1]) == [4, 0]
    assert data._handle_render_inputs(idxs=[1, 3]) == [1, 3]
    drawn = data._handle_render_inputs(categories=["car", "0"], sample_nums=[3, 1])
    assert sorted(drawn[:3]) == [2, 3, 4]
    assert drawn[3] in (0, 1)
    assert {*data._handle_render_inputs(categories=["table"], sample_nums=[9])} <= {0, 1}
    assert sorted(data._handle_render_inputs(sample_nums=[5])) == [0, 1, 2, 3, 4]
    for bad in ({"model_ids": ["z"]}, {"categories": ["z"]}, {"categories": ["car"], "sample_nums": [1, 2]}):
        with pytest.raises(ValueError, match="expected"):
            data._handle_render_inputs(**bad)
    with pytest.raises(IndexError):
        data._handle_render_inputs(idxs=[5])
    with pytest.raises(NotImplementedError):
        ShapeNetBase()[0]


def test_models_are_loaded_and_rendered(tmp_path):
    (tmp_path / "model.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    verts, faces, textures = ShapeNetBase()._load_mesh(tmp_path / "model.obj")
    assert (verts.shape, faces.tolist(), textures.shape) == ((3, 3), [[0, 1, 2]], (1, 4, 4, 3))
    R, T = look_at_view_transform(5.0)
    view = {"cameras": FoVPerspectiveCameras(R=R, T=T), "raster_settings": RasterizationSettings(image_size=8)}
    images = Triangles().render(idxs=[0, 1], **view)
    assert images.shape == (2, 8, 8, 4)
    assert images[1, ..., 3].sum() > images[0, ..., 3].sum() > 0  # the second is larger


def test_voxels_are_rendered():
    R, T = look_at_view_transform(4.0, 0.0, 0.0)
    view = {"cameras": FoVPerspectiveCameras(R=R, T=T), "raster_settings": RasterizationSettings(image_size=8)}
    voxels = torch.zeros(1, 4, 4, 4)
    voxels[0, 1:3, 1:3, 1:3] = 0.5
    images = r2n2.render_cubified_voxels(voxels, **view)
    assert images.shape == (1, 8, 8, 4)
    assert 0 < int((images[..., 3] > 0).sum()) < 64
