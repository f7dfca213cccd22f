"""What PyTorch3D's modules hold beyond tirender's, against values worked out by hand."""

from __future__ import annotations

import io
import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.pytorch3d.shims import _C as compiled
from tirender.pytorch3d.shims.common import get_device, make_device
from tirender.pytorch3d.shims.common.compat import meshgrid_ij, prod
from tirender.pytorch3d.shims.common.linear_with_repeat import LinearWithRepeat
from tirender.pytorch3d.shims.common.workaround import _safe_det_3x3, symeig3x3
from tirender.pytorch3d.shims.io import mtl_io
from tirender.pytorch3d.shims.io import utils as io_utils
from tirender.pytorch3d.shims.io.pluggable_formats import endswith
from tirender.pytorch3d.shims.loss import chamfer
from tirender.pytorch3d.shims.loss import point_mesh_distance as distance
from tirender.pytorch3d.shims.ops import iou_box3d
from tirender.pytorch3d.shims.ops.knn import _KNN
from tirender.pytorch3d.shims.ops.points_alignment import _apply_similarity_transform
from tirender.pytorch3d.shims.renderer import blending, camera_conversions, cameras
from tirender.pytorch3d.shims.renderer.implicit import raysampling
from tirender.pytorch3d.shims.renderer.implicit.sample_pdf import sample_pdf_python
from tirender.pytorch3d.shims.renderer.mesh import clip
from tirender.pytorch3d.shims.renderer.mesh import rasterize_meshes as raster
from tirender.pytorch3d.shims.renderer.mesh import utils as mesh_utils
from tirender.pytorch3d.shims.renderer.mesh.shading import _apply_lighting
from tirender.pytorch3d.shims.renderer.points.compositor import _add_background_color_to_images
from tirender.pytorch3d.shims.transforms import rotation_conversions as rotations
from tirender.renderer import (
    BlendParams,
    DirectionalLights,
    FoVPerspectiveCameras,
    Materials,
    PerspectiveCameras,
    RayBundle,
)
from tirender.structures import Meshes, Pointclouds

UNIT_CUBE = torch.tensor(
    [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], dtype=torch.float32
)
A, B, C = torch.tensor([0.0, 0.0]), torch.tensor([4.0, 0.0]), torch.tensor([0.0, 3.0])  # of area 6


# --- common ---


def test_devices():
    assert make_device("cpu") == get_device([1]) == get_device(torch.zeros(1)) == torch.device("cpu")
    assert get_device(torch.zeros(1), "meta") == torch.device("meta")
    assert get_device(torch.zeros(1, device="meta")) == torch.device("meta")


def test_grids_and_products():
    rows, columns = meshgrid_ij(torch.arange(2), torch.arange(3))
    assert rows.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert columns.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert meshgrid_ij([torch.arange(2), torch.arange(3)])[0].shape == (2, 3)
    assert prod([2, 3, 4]) == 24


def test_linear_with_repeat():
    layer = LinearWithRepeat(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0, 10.0]]))
        layer.bias.fill_(0.5)
    x, y = torch.tensor([[[1.0, 1.0], [0.0, 3.0]]]), torch.tensor([[2.0]])
    assert layer((x, y)).tolist() == [[[1 + 2 + 20 + 0.5], [6 + 20 + 0.5]]]


def test_eigenvalues_and_determinants():
    matrix = torch.tensor([[[2.0, 1, 0], [1, 2, 0], [0, 0, 5]]])  # eigenvalues 2 - 1, 2 + 1 and 5
    values, vectors = symeig3x3(matrix)
    torch.testing.assert_close(values, torch.tensor([[1.0, 3, 5]]))
    torch.testing.assert_close(matrix @ vectors, vectors * values[:, None])
    assert symeig3x3(matrix, eigenvectors=False)[1] is None
    torch.testing.assert_close(_safe_det_3x3(matrix), torch.tensor([15.0]))


# --- io ---


def test_files_and_tensors(tmp_path):
    path = tmp_path / "a.txt"
    with io_utils._open_file(str(path), None, "w") as stream:
        stream.write("one")
    with io_utils._open_file(path, None) as stream:
        assert stream.read() == "one"
    given = io.StringIO("two")
    with io_utils._open_file(given, None) as stream:
        assert stream.read() == "two"
    assert not given.closed
    assert io_utils._make_tensor([], 3, torch.float32).shape == (0, 3)
    assert io_utils._make_tensor([[1, 2], [3, 4]], 2, torch.int64).tolist() == [[1, 2], [3, 4]]
    assert isinstance(path, io_utils.PathOrStr)
    assert endswith("A.PLY", (".obj", ".ply"))
    assert not endswith(given, (".ply",))


@pytest.mark.parametrize(("faces", "pad", "warns"), [([0, 1, 2], None, False), ([0, 1, 3], None, True)])
def test_face_indices(recwarn, faces, pad, warns):
    faces = torch.tensor([faces, [-1, -1, -1]] if pad is not None else [faces])
    assert io_utils._check_faces_indices(faces, 3, pad) is faces
    assert bool(recwarn.list) == warns


def test_face_indices_of_padding(recwarn):
    io_utils._check_faces_indices(torch.tensor([[0, 1, 2], [-1, -1, -1]]), 3, -1)
    assert not recwarn.list
    io_utils._check_faces_indices(torch.tensor([[0, 1, -1]]), 3, -1)
    assert len(recwarn.list) == 1


def test_images(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[[255, 1, 2], [3, 4, 5]]], np.uint8)).save(path)
    assert io_utils._read_image(str(path), None, "RGB").tolist() == [[[255, 1, 2], [3, 4, 5]]]
    assert io_utils._read_image(str(path), None, "BGR").tolist() == [[[2, 1, 255], [5, 4, 3]]]
    with pytest.raises(ValueError, match="format"):
        io_utils._read_image(str(path), None)


def test_materials_and_atlases(tmp_path):
    Image.fromarray(np.full((2, 2, 3), 51, np.uint8)).save(tmp_path / "grey.png")
    (tmp_path / "a.mtl").write_text("newmtl red\nKd 1 0 0\nNs 8\nnewmtl grey\nmap_Kd grey.png\nnewmtl unused\n")
    properties, images = mtl_io.load_mtl(
        str(tmp_path / "a.mtl"), material_names=["red", "grey", "lost"], data_dir=str(tmp_path)
    )
    assert {name: {key: value.tolist() for key, value in p.items()} for name, p in properties.items()} == {
        "red": {"diffuse_color": [1, 0, 0], "shininess": [8]},
        "grey": {},
    }
    torch.testing.assert_close(images, {"grey": torch.full((2, 2, 3), 0.2)})
    uvs, faces = torch.tensor([[0.0, 0], [1, 0], [0, 1]]), torch.tensor([[0, 1, 2]] * 3)
    atlas = mtl_io.make_mesh_texture_atlas(properties, images, ["grey", "red", ""], faces, uvs, 3, "repeat")
    expected = torch.tensor([[0.2, 0.2, 0.2], [1, 0, 0], [1, 1, 1]])[:, None, None].expand(3, 3, 3, 3)
    torch.testing.assert_close(atlas, expected)
    # of an image that shows u, one texel has the mean u of the face's corners
    ramp = torch.linspace(0, 1, 5).expand(2, 5)[..., None].expand(2, 5, 3)
    texels = mtl_io.make_material_atlas(ramp, uvs[faces[:1]], 1)
    torch.testing.assert_close(texels, torch.full((1, 1, 1, 3), 1 / 3))


def test_an_image_outside_the_folder_is_left_out(tmp_path):
    (tmp_path / "a.mtl").write_text("newmtl m\nmap_Kd lost.png\n")
    with pytest.warns(UserWarning, match="lost.png"):
        assert mtl_io.load_mtl(str(tmp_path / "a.mtl"), material_names=["m"], data_dir=str(tmp_path))[1] == {}


# --- loss ---


def test_chamfer_inputs():
    clouds = Pointclouds([torch.ones(2, 3), torch.ones(1, 3)])
    points, lengths, normals = chamfer._handle_pointcloud_input(clouds, None, None)
    assert (points.shape, lengths.tolist(), normals) == ((2, 2, 3), [2, 1], None)
    points, lengths, normals = chamfer._handle_pointcloud_input(torch.ones(2, 5, 3), None, torch.ones(2, 5, 3))
    assert (points.shape, lengths.tolist(), normals.shape) == ((2, 5, 3), [5, 5], (2, 5, 3))
    with pytest.raises(ValueError, match="points"):
        chamfer._handle_pointcloud_input(torch.ones(5, 3), None, None)
    chamfer._validate_chamfer_reduction_inputs("mean", "sum")
    with pytest.raises(ValueError, match="point_reduction"):
        chamfer._validate_chamfer_reduction_inputs("mean", "most")


def test_point_mesh_distances():
    first = torch.tensor([0])
    points = torch.tensor([[0.5, 0.5, 2.0], [3.0, 0.0, 0.0]], requires_grad=True)
    triangles = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 2, 0]]])
    segments = torch.tensor([[[0.0, 0, 0], [2, 0, 0]], [[0, 0, 0], [0, 2, 0]]])
    to_faces = distance._PointFaceDistance.apply(points, first, triangles, first, 2)
    torch.testing.assert_close(to_faces, torch.tensor([4.0, 1.0]))
    to_faces[0].backward()
    assert points.grad.tolist() == [[0, 0, 4], [0, 0, 0]]  # of the squared height
    to_points = distance._FacePointDistance.apply(points, first, triangles, first, 1)
    torch.testing.assert_close(to_points, torch.tensor([1.0]))
    to_edges = distance._PointEdgeDistance.apply(points, first, segments, first, 2)
    torch.testing.assert_close(to_edges, torch.tensor([4.25, 1.0]))
    to_points = distance._EdgePointDistance.apply(points, first, segments, first, 2)
    torch.testing.assert_close(to_points, torch.tensor([1.0, 4.25]))
    assert distance._DEFAULT_MIN_TRIANGLE_AREA == 5e-3


def test_compiled_distances():
    first, second = torch.tensor([0]), torch.tensor([0])
    points = torch.tensor([[3.0, 0, 0], [0.5, 0.5, 2], [0.5, 0.5, -1]])
    triangles = torch.tensor([[[9.0, 9, 9], [9, 8, 9], [8, 9, 9]], [[0, 0, 0], [2, 0, 0], [0, 2, 0]]])
    dists, nearest = compiled.point_face_dist_forward(points, first, triangles, second, 3, 5e-3)
    assert nearest.tolist() == [1, 1, 1]
    torch.testing.assert_close(dists, torch.tensor([1.0, 4, 1]))
    dists, nearest = compiled.face_point_dist_forward(points, first, triangles, second, 2, 5e-3)
    assert nearest.tolist()[1] in (0, 2)  # both at distance 1
    torch.testing.assert_close(dists[1], torch.tensor(1.0))
    segments = triangles[:, :2]
    dists, nearest = compiled.point_edge_dist_forward(points, first, segments, second, 3)
    assert nearest.tolist() == [1, 1, 1]
    torch.testing.assert_close(dists, torch.tensor([1.0, 4.25, 1.25]))
    assert compiled.edge_point_dist_forward(points, first, segments, second, 2)[1].tolist()[1] == 0
    # of the squared height over the middle of a triangle: twice the height, and the opposite, shared by the corners
    middle = torch.tensor([[2 / 3, 2 / 3, 3.0]])
    for_points = compiled.point_face_dist_backward(middle, triangles, torch.tensor([1]), torch.tensor([0.5]))
    for_faces = compiled.face_point_dist_backward(middle, triangles[1:], torch.tensor([0]), torch.tensor([0.5]))
    for grad_points, grad_triangles in (for_points, for_faces):
        torch.testing.assert_close(grad_points, torch.tensor([[0.0, 0, 3]]), atol=1e-5, rtol=0)
        torch.testing.assert_close(grad_triangles[-1], torch.tensor([[0.0, 0, -1]] * 3), atol=1e-5, rtol=0)
    above = torch.tensor([[1.0, 0, 3]])  # over the middle of the segment from 0 to 2
    for_points = compiled.point_edge_dist_backward(above, segments, torch.tensor([1]), torch.tensor([1.0]))
    for_edges = compiled.edge_point_dist_backward(above, segments[1:], torch.tensor([0]), torch.tensor([1.0]))
    for grad_points, grad_segments in (for_points, for_edges):
        torch.testing.assert_close(grad_points, torch.tensor([[0.0, 0, 6]]))
        torch.testing.assert_close(grad_segments[-1], torch.tensor([[0.0, 0, -3]] * 2))
    with pytest.raises(ValueError, match="idxs"):
        compiled.point_edge_dist_backward(above, segments, torch.tensor([2]), torch.tensor([1.0]))


# --- ops ---


def test_sides_of_boxes():
    for a, b, c, d in iou_box3d._box_planes:  # a side of the unit cube: its corners sum to four times its centre
        corners = UNIT_CUBE[[a, b, c, d]]
        assert (corners == corners[0]).all(0).sum() == 1
        torch.testing.assert_close(corners[1] - corners[0], corners[2] - corners[3])
    triangles = UNIT_CUBE[torch.tensor(iou_box3d._box_triangles)]
    a, b, c = (triangles - 0.5).unbind(1)
    torch.testing.assert_close(torch.linalg.cross(b - a, c - a).norm(dim=1) / 2, torch.full((12,), 0.5))
    volumes = (a * torch.linalg.cross(b, c)).sum(1).abs() / 6  # of the tetrahedra to the centre
    torch.testing.assert_close(volumes.sum(), torch.tensor(1.0))


def test_checks_of_boxes():
    iou_box3d._check_coplanar(UNIT_CUBE[None])
    iou_box3d._check_nonzero(UNIT_CUBE[None])
    bent, flat = UNIT_CUBE.clone(), UNIT_CUBE * torch.tensor([1, 1, 0])
    bent[6] += 0.1
    with pytest.raises(ValueError, match="plane"):
        iou_box3d._check_coplanar(bent[None])
    with pytest.raises(ValueError, match="area"):
        iou_box3d._check_nonzero(flat[None])


def test_neighbours_and_similarities():
    assert _KNN(1, 2, 3)._asdict() == {"dists": 1, "idx": 2, "knn": 3}
    quarter_turn = torch.tensor([[[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]])
    moved = _apply_similarity_transform(
        torch.tensor([[[1.0, 2, 3]]]), quarter_turn, torch.tensor([[10.0, 0, 0]]), torch.tensor([2.0])
    )
    assert moved.tolist() == [[[10 - 4, 2, 6]]]


# --- renderer ---


def test_opencv_cameras():
    R, tvec = torch.eye(3)[None], torch.tensor([[0.0, 0, 4]])
    matrix, size = torch.tensor([[[100.0, 0, 60], [0, 100, 40], [0, 0, 1]]]), torch.tensor([[80, 120]])
    made = camera_conversions._cameras_from_opencv_projection(R, tvec, matrix, size)
    pixel = made.transform_points_screen(torch.tensor([[0.4, -0.2, 1.0]]))  # depth 5: 60 + 100 x / 5, 40 + 100 y / 5
    torch.testing.assert_close(pixel[..., :2], torch.tensor([[68.0, 36.0]]))
    for back, given in zip(camera_conversions._opencv_from_cameras_projection(made, size), (R, tvec, matrix)):
        torch.testing.assert_close(back, given)


def test_calibration_matrices():
    assert cameras._R.tolist() == [np.eye(3).tolist()]
    assert cameras._T.tolist() == [[0, 0, 0]]
    matrix = cameras._get_sfm_calibration_matrix(2, "cpu", torch.tensor([[2.0, 3.0]]), ((0.1, 0.2),))
    point = torch.tensor([5.0, 7, 2, 1])  # fx x / z + px, fy y / z + py, 1 / z
    x, y, z, w = (matrix[1] @ point).tolist()
    np.testing.assert_allclose([x / w, y / w, z / w], [2 * 5 / 2 + 0.1, 3 * 7 / 2 + 0.2, 1 / 2], rtol=1e-6)
    matrix = cameras._get_sfm_calibration_matrix(1, "cpu", 2.0, ((0.1, 0.2),), orthographic=True)
    torch.testing.assert_close((matrix[0] @ point), torch.tensor([10.1, 14.2, 2, 1]))


def test_blending():
    log3 = math.log(3)  # sigmoid(log 3) = 3/4
    dists = torch.tensor([[[[-log3, log3, -5.0]]]], requires_grad=True)
    alpha = blending._sigmoid_alpha(dists, torch.tensor([[[[4, 2, -1]]]]), 1.0)
    torch.testing.assert_close(alpha, torch.tensor([[[1 - 1 / 4 * 3 / 4]]]))
    alpha.sum().backward()
    # d alpha / d dist_i = -(the product of all misses) sigmoid(-dist_i)
    torch.testing.assert_close(dists.grad, torch.tensor([[[[-3 / 16 * 3 / 4, -3 / 16 / 4, 0]]]]))
    assert blending._get_background_color(BlendParams(background_color=(0, 0.5, 1)), "cpu").tolist() == [0, 0.5, 1]


def test_lighting():
    points, normals = torch.zeros(1, 2, 3), torch.tensor([[[0.0, 0, 1], [0, 0, -1]]])
    lights = DirectionalLights(
        ambient_color=((0.1, 0.2, 0.3),),
        diffuse_color=((1.0, 1, 1),),
        specular_color=((0.5, 0.5, 0.5),),
        direction=((0, 0, 1),),
    )
    camera = FoVPerspectiveCameras(T=torch.tensor([[0.0, 0, -3]]))  # at (0, 0, 3): the light is reflected into it
    ambient, diffuse, specular = _apply_lighting(points, normals, lights, camera, Materials(shininess=4))
    torch.testing.assert_close(ambient.expand(1, 2, 3)[0, 1], torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(diffuse, torch.tensor([[[1.0] * 3, [0.0] * 3]]))
    torch.testing.assert_close(specular, torch.tensor([[[0.5] * 3, [0.0] * 3]]))


def test_fragments_of_clipped_faces():
    bary = torch.tensor([[0.2, 0.3, 0.5], [-1.0, 0.5, 1.5], [-1, -1, -1]])
    expected = torch.tensor([[0.2, 0.3, 0.5], [0, 0.25, 0.75], [-1, -1, -1]])
    torch.testing.assert_close(mesh_utils._clip_barycentric_coordinates(bary), expected)
    with pytest.raises(ValueError, match="bary"):
        mesh_utils._clip_barycentric_coordinates(torch.zeros(4, 2))
    mesh = Meshes([torch.tensor([[0, 0, 10.0], [0, 0, 20], [0, 0, 40]])], [torch.tensor([[0, 1, 2]])])
    depth = mesh_utils._interpolate_zbuf(torch.tensor([[[[0, -1]]]]), bary[[0, 2]].view(1, 1, 1, 2, 3), mesh)
    torch.testing.assert_close(depth, torch.tensor([[[[2 + 6 + 20.0, -1.0]]]]))


def test_pixels_and_triangles():
    # an image of 4 x 2 pixels spans 4 x 2 in NDC: centres every 1, from -1.5
    assert [raster.pix_to_non_square_ndc(i, 4, 2) for i in range(4)] == [-1.5, -0.5, 0.5, 1.5]
    assert [raster.pix_to_non_square_ndc(i, 2, 4) for i in range(2)] == [-0.5, 0.5]
    assert raster.pix_to_non_square_ndc(torch.arange(2), 2, 2).tolist() == [-0.5, 0.5]
    p = torch.tensor([1.0, 1.0])
    assert float(raster.edge_function(C, A, B)) == -12  # counter-clockwise: minus twice the area
    coordinates = torch.stack(raster.barycentric_coordinates(p, A, B, C))
    torch.testing.assert_close(coordinates, torch.tensor([1 - 1 / 4 - 1 / 3, 1 / 4, 1 / 3]))
    clipped = torch.stack(raster.barycentric_coordinates_clip((-torch.ones(1), torch.ones(1), torch.ones(1))))
    torch.testing.assert_close(clipped[:, 0], torch.tensor([0, 0.5, 0.5]))
    torch.testing.assert_close(raster.point_line_distance(torch.tensor([6.0, 1.0]), A, B), torch.tensor(5.0))
    # the sides are y = 0, x = 0 and 3 x + 4 y = 12: from (1, 1) at distances 1, 1 and 5 / 5
    torch.testing.assert_close(raster.point_triangle_distance(p, A, B, C), torch.tensor(1.0))
    many = torch.stack([p, torch.tensor([2.0, 0.5])], 1)
    torch.testing.assert_close(
        raster.point_triangle_distance(many, A[:, None], B[:, None], C[:, None]), torch.tensor([1.0, 0.25])
    )


def test_the_slow_rasterizer_is_the_fast_one():
    mesh = Meshes([torch.tensor([[1.0, -1, 2], [-1, -1, 2], [0, 1, 2]])], [torch.tensor([[0, 1, 2]])])
    pix_to_face, zbuf, _, _ = raster.rasterize_meshes_python(mesh, 4, 0.0, 1)
    assert pix_to_face[0, 1:3, 1:3, 0].tolist() == [[0, 0], [0, 0]]
    assert zbuf.max() == 2


def test_faces_are_cut_at_a_depth():
    """A triangle whose corner at depth -1 lies below z = 1: its sides are cut at a third of the way from depth 2."""
    whole = torch.tensor([[[0.0, 0, 4], [1, 0, 4], [0, 1, 4]]])
    crossing = torch.tensor([[[0.0, 0, 2], [3, 0, 2], [0, 3, -1]]])
    behind, beside = whole - torch.tensor([0.0, 0, 5]), whole + torch.tensor([5.0, 0, 0])
    faces = torch.cat([behind, whole, crossing, beside])
    first, counts = torch.tensor([0, 2]), torch.tensor([2, 2])
    found = clip.clip_faces(faces, first, counts, clip.ClipFrustum(right=4.0, z_clip_value=1.0))
    assert found.faces_clipped_to_unclipped_idx.tolist() == [1, 2, 2]
    assert (found.mesh_to_face_first_idx.tolist(), found.num_faces_per_mesh.tolist()) == ([0, 1], [1, 2])
    assert found.clipped_faces_neighbor_idx.tolist() == [-1, 2, 1]
    torch.testing.assert_close(found.face_verts[0], whole[0])
    points = {tuple(round(float(x), 4) for x in point) for point in found.face_verts[1:].reshape(-1, 3)}
    assert points == {(0, 0, 2), (3, 0, 2), (0, 1, 1), (2, 1, 1)}
    # the middle of each triangle, as coordinates in the face, is the same point
    pixels = torch.tensor([[[[0, 1, 2, -1]]]])
    bary = torch.full((1, 1, 1, 4, 3), 1 / 3).index_fill(3, torch.tensor([3]), -1)
    face, coordinates = clip.convert_clipped_rasterization_to_original_faces(pixels, bary, found)
    assert face.tolist() == [[[[1, 2, 2, -1]]]]
    assert coordinates[0, 0, 0, 3].tolist() == [-1, -1, -1]
    middles = (coordinates[0, 0, 0, :3, :, None] * faces[[1, 2, 2]]).sum(1)
    torch.testing.assert_close(middles, found.face_verts.mean(1))


def test_cut_sides_are_straight_in_view_space():
    corners = torch.tensor([[[1.0, 0, 4], [0, 0, 4], [0, 0, -2]]])  # x_view = 4 at depth 4
    frustum = clip.ClipFrustum(perspective_correct=True, z_clip_value=1.0, cull=False)
    found = clip.clip_faces(corners, torch.tensor([0]), torch.tensor([1]), frustum)
    # at depth 1, half way to the corner at x_view = 0, x_view is 2 and so is x / z
    near = found.face_verts[found.face_verts[..., 2] < 2]
    assert near[:, 0].max() == 2
    untouched = clip.clip_faces(corners, torch.tensor([0]), torch.tensor([1]), clip.ClipFrustum(z_clip_value=-3.0))
    assert untouched.face_verts is corners
    assert untouched.faces_clipped_to_unclipped_idx is None
    pixels, bary = torch.zeros(1, 1, 1, 1, dtype=torch.int64), torch.ones(1, 1, 1, 1, 3)
    assert clip.convert_clipped_rasterization_to_original_faces(pixels, bary, untouched) == (pixels, bary)


def test_faces_given_by_their_corners():
    corners = torch.tensor([[[1.0, -1, 2], [-1, -1, 2], [0, 1, 2]], [[1.0, -1, 5], [-1, -1, 5], [0, 1, 5]]])
    first, counts, none = torch.tensor([0, 1]), torch.tensor([1, 1]), torch.tensor([-1, -1])
    pix_to_face, zbuf, bary, _ = raster._RasterizeFaceVerts.apply(corners, first, counts, none, (4, 4), 0.0, 1)
    assert pix_to_face[:, 2, 2, 0].tolist() == [0, 1]
    assert zbuf[:, 2, 2, 0].tolist() == [2, 5]
    torch.testing.assert_close(bary[:, 2, 2, 0].sum(-1), torch.ones(2))


def test_background_of_points():
    index = torch.tensor([[[[3, -1]]]])
    images = _add_background_color_to_images(index, torch.zeros(1, 4, 1, 2), (1, 0.5, 0.25))
    assert images[0, :, 0].tolist() == [[0, 1], [0, 0.5], [0, 0.25], [0, 1]]


def test_rays_through_pixels():
    camera = PerspectiveCameras(focal_length=2.0, T=torch.tensor([[0.0, 0, 3]]))
    xys = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    rays = raysampling._xy_to_ray_bundle(camera, xys, 1.0, 3.0, 3, False)
    torch.testing.assert_close(rays.origins, torch.tensor([0.0, 0, -3]).expand(1, 2, 3))
    torch.testing.assert_close(rays.directions, torch.tensor([[[0.0, 0, 1], [0.5, 0, 1]]]))
    assert rays.lengths.tolist() == [[[1, 2, 3], [1, 2, 3]]]
    unit = raysampling._xy_to_ray_bundle(camera, xys, 1.0, 3.0, 3, True)
    torch.testing.assert_close(unit.directions[0, 1], torch.tensor([0.5, 0, 1]) / math.sqrt(1.25))


def test_packed_rays():
    origins = torch.arange(12.0).view(2, 2, 3)
    rays = RayBundle(origins, origins + 1, torch.ones(2, 2, 4), torch.zeros(2, 2, 2))
    packed = raysampling._pack_ray_bundle(rays, torch.tensor([3, 5]), torch.tensor([2, 1]))
    assert packed.origins.tolist() == [[[0, 1, 2]], [[3, 4, 5]], [[6, 7, 8]]]
    assert (packed.lengths.shape, packed.camera_ids.tolist(), packed.camera_counts.tolist()) == (
        (3, 1, 4),
        [3, 5],
        [2, 1],
    )


def test_random_samples():
    moved = raysampling._jiggle_within_stratas(torch.tensor([0.0, 2, 6]).expand(1000, 3))
    low, high = torch.tensor([0.0, 1, 4]), torch.tensor([1.0, 4, 6])
    assert bool(((moved >= low) & (moved <= high)).all())
    torch.testing.assert_close(moved.mean(0), (low + high) / 2, atol=0.1, rtol=0)
    drawn = raysampling._safe_multinomial(torch.tensor([[0.0, 1, 1, 0], [0, 0, 1, 0]]), 2)
    assert drawn[0].sort().values.tolist() == [1, 2]  # without repetition
    assert drawn[1].tolist() == [2, 2]  # there is no other
    bins, weights = torch.tensor([[0.0, 1, 3]]), torch.tensor([[1.0, 3.0]])
    middle = sample_pdf_python(bins, weights, N_samples=3, det=True)[0, 1]  # a quarter lies below 1: 1 + 2 / 3
    torch.testing.assert_close(middle, torch.tensor(1 + 2 / 3), atol=1e-4, rtol=0)


# --- transforms ---


def test_rotations_about_axes():
    c, s = math.cos(0.3), math.sin(0.3)
    expected = {"X": [[1, 0, 0], [0, c, -s], [0, s, c]], "Y": [[c, 0, s], [0, 1, 0], [-s, 0, c]]}
    expected["Z"] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    for axis, matrix in expected.items():
        torch.testing.assert_close(rotations._axis_angle_rotation(axis, torch.tensor(0.3)), torch.tensor(matrix))
    assert [rotations._index_from_letter(letter) for letter in "XYZ"] == [0, 1, 2]
    for letter in ("W", "XY", ""):
        with pytest.raises(ValueError, match="letter"):
            rotations._index_from_letter(letter)


@pytest.mark.parametrize(
    "axes", [a for a in itertools.product("XYZ", repeat=3) if a[1] not in (a[0], a[2])], ids="".join
)
def test_angles_from_rows_and_columns(axes):
    first, last = 0.4, -1.1
    a, b, c = (rotations._axis_angle_rotation(x, torch.tensor(t)) for x, t in zip(axes, (first, 0.7, last)))
    matrix, differ = a @ b @ c, axes[0] != axes[2]
    column, row = matrix[:, "XYZ".index(axes[2])], matrix["XYZ".index(axes[0])]
    found = rotations._angle_from_tan(axes[0], axes[1], column, False, differ)
    torch.testing.assert_close(found, torch.tensor(first))
    found = rotations._angle_from_tan(axes[2], axes[1], row, True, differ)
    torch.testing.assert_close(found, torch.tensor(last))


def test_signs_and_roots():
    a, b = torch.tensor([1.0, -1, 2, 0]), torch.tensor([-3.0, -1, 0, -1])
    assert rotations._copysign(a, b).tolist() == [-1, -1, 2, 0]
    x = torch.tensor([4.0, 0, -1], requires_grad=True)
    root = rotations._sqrt_positive_part(x)
    root.sum().backward()
    assert root.tolist() == [2, 0, 0]
    assert x.grad.tolist() == [0.25, 0, 0]
