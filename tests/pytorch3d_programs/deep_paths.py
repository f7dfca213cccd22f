"""In the style of code that has grown over years: every import by the deepest path there is."""

import numpy as np
import pytorch3d.common.compat as compat
import pytorch3d.ops.knn
import pytorch3d.renderer.cameras as cam
import pytorch3d.structures.utils as struct_utils
import torch
from pytorch3d.common.datatypes import Device, get_device, make_device
from pytorch3d.datasets.r2n2.utils import collate_batched_R2N2
from pytorch3d.io.experimental_gltf_io import MeshGlbFormat
from pytorch3d.io.obj_io import load_obj, save_obj
from pytorch3d.io.pluggable import IO
from pytorch3d.io.utils import PathOrStr, _make_tensor, _open_file
from pytorch3d.loss.point_mesh_distance import _DEFAULT_MIN_TRIANGLE_AREA, _PointFaceDistance
from pytorch3d.ops.iou_box3d import _box_triangles, box3d_overlap
from pytorch3d.ops.laplacian_matrices import laplacian
from pytorch3d.ops.mesh_face_areas_normals import mesh_face_areas_normals
from pytorch3d.ops.packed_to_padded import packed_to_padded
from pytorch3d.ops.points_alignment import _apply_similarity_transform, corresponding_points_alignment
from pytorch3d.renderer.blending import BlendParams, _sigmoid_alpha
from pytorch3d.renderer.camera_conversions import _cameras_from_opencv_projection
from pytorch3d.renderer.cameras import _R, _T, _get_sfm_calibration_matrix
from pytorch3d.renderer.implicit.raysampling import _jiggle_within_stratas, _xy_to_ray_bundle
from pytorch3d.renderer.implicit.utils import ray_bundle_to_ray_points
from pytorch3d.renderer.lighting import PointLights
from pytorch3d.renderer.materials import Materials
from pytorch3d.renderer.mesh.rasterize_meshes import barycentric_coordinates, pix_to_non_square_ndc
from pytorch3d.renderer.mesh.rasterizer import Fragments, MeshRasterizer, RasterizationSettings
from pytorch3d.renderer.mesh.shading import _apply_lighting
from pytorch3d.renderer.mesh.textures import TexturesVertex
from pytorch3d.renderer.mesh.utils import _clip_barycentric_coordinates, _interpolate_zbuf
from pytorch3d.structures.meshes import Meshes, join_meshes_as_scene
from pytorch3d.transforms.rotation_conversions import _angle_from_tan, _axis_angle_rotation, _index_from_letter
from pytorch3d.transforms.so3 import hat, so3_exp_map
from pytorch3d.transforms.transform3d import Transform3d
from pytorch3d.utils.ico_sphere import ico_sphere

DEVICE: Device = make_device("cpu")


def pick(mesh: Meshes, path: PathOrStr) -> torch.Tensor:
    """Save a mesh, load it again, and return its vertices."""
    save_obj(path, mesh.verts_packed(), mesh.faces_packed())
    with _open_file(path, None) as stream:
        assert stream.read(1) == "v"
    return load_obj(path)[0]


def fragments_of(mesh: Meshes, camera: cam.FoVPerspectiveCameras) -> Fragments:
    settings = RasterizationSettings(image_size=(12, 16), faces_per_pixel=2)
    return MeshRasterizer(camera, settings)(mesh)


def main(folder: str) -> None:
    sphere = ico_sphere(2, DEVICE)
    assert get_device(sphere.verts_packed()) == DEVICE
    torch.testing.assert_close(pick(sphere, f"{folder}/sphere.obj"), sphere.verts_packed(), atol=1e-5, rtol=0)

    areas, normals = mesh_face_areas_normals(sphere.verts_packed(), sphere.faces_packed())
    assert 0.95 < areas.sum() / (4 * np.pi) < 1
    assert laplacian(sphere.verts_packed(), sphere.edges_packed()).to_dense().sum(1).abs().max() < 1e-5
    first = sphere.mesh_to_faces_packed_first_idx()
    assert packed_to_padded(areas[:, None], first, len(areas)).shape == (1, len(areas), 1)
    tris = sphere.verts_packed()[sphere.faces_packed()]
    points = torch.tensor([[0.0, 0, 3], [0, 2, 0]])
    dists = _PointFaceDistance.apply(points, first, tris, first, 2, _DEFAULT_MIN_TRIANGLE_AREA)
    torch.testing.assert_close(dists.sqrt(), torch.tensor([2.0, 1.0]), atol=0.02, rtol=0)

    # a camera at distance 3 sees the sphere's pole at depth 2, where the picture's centre is
    camera = cam.FoVPerspectiveCameras(R=_R, T=_T + torch.tensor([0, 0, 3]))
    fragments = fragments_of(sphere, camera)
    near = _interpolate_zbuf(
        fragments.pix_to_face, fragments.bary_coords, sphere.offset_verts(torch.tensor([0.0, 0, 3]))
    )
    filled = fragments.pix_to_face >= 0
    torch.testing.assert_close(near[filled], fragments.zbuf[filled], atol=1e-4, rtol=0)
    assert 2 < near[filled].min() < 2.1
    alpha = _sigmoid_alpha(fragments.dists, fragments.pix_to_face, BlendParams().sigma)
    assert 0.95 < alpha[0, 6, 8] <= 1
    clipped = _clip_barycentric_coordinates(fragments.bary_coords[filled])
    torch.testing.assert_close(clipped.sum(-1), torch.ones(len(clipped)))
    x, y = (pix_to_non_square_ndc(i, a, b) for i, a, b in ((8, 16, 12), (6, 12, 16)))
    assert abs(x - 1 / 12) < 1e-9  # half a pixel right of the centre, and pixels are square
    assert abs(y - x) < 1e-9
    corners = torch.tensor([[0.0, 0], [1, 0], [0, 1]])
    assert abs(float(barycentric_coordinates(torch.tensor([x, y]), *corners)[1]) - x) < 1e-6

    pole = torch.tensor([[[0.0, 0, -1]]])
    light = PointLights(location=((0, 0, -5),))
    ambient, diffuse, _ = _apply_lighting(pole, pole, light, camera, Materials())
    torch.testing.assert_close(ambient.flatten(), torch.full((3,), 0.5))
    torch.testing.assert_close(diffuse.flatten(), torch.full((3,), 0.3))

    matrix = torch.tensor([[[20.0, 0, 8], [0, 20, 6], [0, 0, 1]]])
    seen = _cameras_from_opencv_projection(torch.eye(3)[None], torch.zeros(1, 3), matrix, torch.tensor([[12, 16]]))
    pixel = seen.transform_points_screen(torch.tensor([[0.1, 0.2, 1.0]]))[0, :2]
    torch.testing.assert_close(pixel, torch.tensor([10.0, 10.0]), atol=1e-4, rtol=0)
    assert _get_sfm_calibration_matrix(2, DEVICE, 2.0, ((0.0, 0.0),)).shape == (2, 4, 4)
    rays = _xy_to_ray_bundle(camera, torch.zeros(1, 1, 2), 1.0, 2.0, 2, True)
    torch.testing.assert_close(ray_bundle_to_ray_points(rays)[0, 0, :, 2], torch.tensor([-2.0, -1.0]))
    assert _jiggle_within_stratas(rays.lengths).shape == (1, 1, 2)

    turn = _axis_angle_rotation("Y", torch.tensor([0.3]))
    torch.testing.assert_close(turn, so3_exp_map(torch.tensor([[0.0, 0.3, 0]])))
    torch.testing.assert_close(
        _angle_from_tan("Y", "X", turn[..., _index_from_letter("Z")], False, True), torch.tensor([0.3])
    )
    assert hat(torch.tensor([[1.0, 2, 3]]))[0, 1, 2] == -1
    found = corresponding_points_alignment(points[None].repeat(1, 3, 1) + torch.randn(1, 6, 3), torch.randn(1, 6, 3))
    assert _apply_similarity_transform(points[None], *found).shape == (1, 2, 3)
    transform = Transform3d()
    transform._matrix = torch.eye(4)[None] * torch.tensor([2.0, 2, 2, 1])
    assert transform.transform_points(points).max() == 6

    box = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1.0]])
    volume, iou = box3d_overlap(box[None], box[None] + 0.5)
    torch.testing.assert_close((volume, iou), (torch.full((1, 1), 0.125), torch.full((1, 1), 0.125 / 1.875)))
    boxes = Meshes([box, box + 3], [_make_tensor(_box_triangles, 3, torch.int64)] * 2)
    scene = join_meshes_as_scene(boxes)
    scene.textures = TexturesVertex(torch.ones_like(scene.verts_padded()))
    assert (scene._N, scene._V, scene._F) == (1, 16, 24)
    assert struct_utils.list_to_padded(boxes._verts_list).shape == (2, 8, 3)
    assert pytorch3d.ops.knn.knn_points(box[None], box[None] + 0.1, K=1).idx[0, :, 0].tolist() == list(range(8))
    assert [len(axis) for axis in compat.meshgrid_ij(torch.arange(2), torch.arange(3))] == [2, 2]

    reader = IO()
    reader.register_meshes_format(MeshGlbFormat())
    reader.save_mesh(sphere, f"{folder}/sphere.ply")
    assert reader.load_mesh(f"{folder}/sphere.ply").num_faces_per_mesh().tolist() == [320]
    batch = collate_batched_R2N2([{"verts": box, "faces": boxes._faces_list[0], "images": torch.rand(2, 4, 4, 3)}] * 2)
    assert (len(batch["mesh"]), batch["images"].shape) == (2, (2, 2, 4, 4, 3))
    print("deep paths: done")


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
