"""Steps of PyTorch3D's modules that published code imports, against values worked out by hand."""

from __future__ import annotations

import io
import math

import pytest
import torch

from tirender.pytorch3d.shims.io import obj_io, ply_io
from tirender.pytorch3d.shims.ops.points_normals import _disambiguate_vector_directions
from tirender.pytorch3d.shims.ops.sample_points_from_meshes import _rand_barycentric_coords
from tirender.pytorch3d.shims.renderer.implicit import raymarching
from tirender.pytorch3d.shims.renderer.implicit.utils import _validate_ray_bundle_variables
from tirender.pytorch3d.shims.renderer.lighting import _validate_light_properties
from tirender.pytorch3d.shims.renderer.mesh.textures import _pad_texture_maps
from tirender.pytorch3d.shims.renderer.points.rasterize_points import rasterize_points_python
from tirender.pytorch3d.shims.transforms import se3, transform3d
from tirender.renderer import (
    DirectionalLights,
    Materials,
)
from tirender.structures import Pointclouds


def test_elements_of_a_ply_file():
    text = (
        b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty uchar red\n"
        b"element face 2\nproperty list uchar int vertex_index\nelement tag 1\nproperty int n\n"
        b"property list uchar float v\nend_header\n0 1 7\n2 3 8\n4 5 9\n3 0 1 2\n3 2 1 0\n5 2 0.5 1.5\n"
    )
    header, elements = ply_io._load_ply_raw(io.BytesIO(text))
    assert (header.ascii, header.big_endian) == (True, False)
    assert [(e.name, e.count) for e in header.elements] == [("vertex", 3), ("face", 2), ("tag", 1)]
    assert header.elements[1].properties == [("vertex_index", "int", "uchar")]
    assert [part.tolist() for part in elements["vertex"]] == [[[0, 1], [2, 3], [4, 5]], [[7], [8], [9]]]
    assert elements["face"].tolist() == [[0, 1, 2], [2, 1, 0]]
    ((number, values),) = elements["tag"]
    assert (number, values.tolist()) == (5, [0.5, 1.5])
    ragged = text.replace(b"3 2 1 0", b"4 2 1 0 1")
    assert [face.tolist() for (face,) in ply_io._load_ply_raw(io.BytesIO(ragged))[1]["face"]] == [
        [0, 1, 2],
        [2, 1, 0, 1],
    ]


def test_a_saved_ply_file():
    stream = io.BytesIO()
    verts, colors = torch.rand(3, 3), torch.tensor([[0.0, 0.5, 1.0]] * 3)
    faces = torch.tensor([[0, 1, 2]])
    ply_io._save_ply(
        stream, verts=verts, verts_colors=colors, verts_normals=None, faces=faces, ascii=False, colors_as_uint8=True
    )
    stream.seek(0)
    header, elements = ply_io._load_ply_raw(stream)
    assert not header.ascii
    assert elements["vertex"][0].tolist() == verts.tolist()
    assert elements["vertex"][1].tolist() == [[0, 128, 255]] * 3
    assert elements["face"].tolist() == [[0, 1, 2]]


def test_an_obj_stream_with_its_folder(tmp_path, recwarn):
    (tmp_path / "a.mtl").write_text("newmtl red\nKd 1 0 0\n")
    stream = io.StringIO("mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl red\nf 1 2 3\n")
    verts, faces, aux = obj_io._load_obj(stream, data_dir=str(tmp_path), path_manager=None)
    assert isinstance(faces, obj_io._Faces)
    assert isinstance(aux, obj_io._Aux)
    assert (verts.shape, faces.verts_idx.tolist()) == ((3, 3), [[0, 1, 2]])
    assert aux.material_colors["red"]["diffuse_color"].tolist() == [1, 0, 0]
    assert obj_io._format_faces_indices([1, 2, -1, -1, -1, -1], 5, "cpu", -1).tolist() == [[0, 1, 4], [-1, -1, -1]]
    assert not recwarn
    obj_io._format_faces_indices([[1, 2, 6]], 5, "cpu")
    assert len(recwarn) == 1


def test_exponentials_and_what_they_are_made_of():
    angle = torch.tensor([[0.0, 0, 0.5]])
    matrix, angles, cross, squared = se3._so3_exp_map(angle)
    torch.testing.assert_close(matrix[0, :2, 0], torch.tensor([math.cos(0.5), math.sin(0.5)]))
    torch.testing.assert_close(angles, torch.tensor([0.5]))
    assert cross[0, 1, 0] == 0.5
    torch.testing.assert_close(squared, cross @ cross)
    # the translation of a screw motion: a chord of the circle
    chord = se3._se3_V_matrix(*se3._get_se3_V_input(angle))[0] @ torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(chord, torch.tensor([math.sin(0.5), 1 - math.cos(0.5), 0]) / 0.5)


def test_products_and_checks_of_matrices(recwarn):
    a = torch.rand(4, 4)
    torch.testing.assert_close(transform3d._broadcast_bmm(a, torch.eye(4).expand(3, 4, 4)), a.expand(3, 4, 4))
    transform3d._check_valid_rotation_matrix(torch.eye(3)[None])
    assert not recwarn
    transform3d._check_valid_rotation_matrix(-torch.eye(3)[None])
    assert len(recwarn) == 1


def test_random_coordinates_in_triangles():
    weights = torch.stack(_rand_barycentric_coords(20, 500, torch.float64, "cpu"))
    torch.testing.assert_close(weights.sum(0), torch.ones(20, 500, dtype=torch.float64))
    assert weights.min() >= 0
    torch.testing.assert_close(weights.mean((1, 2)), torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.02, rtol=0)


def test_normals_are_turned_to_most_neighbours():
    points, up = torch.zeros(1, 1, 3), torch.tensor([[[0.0, 0, 1]]])
    neighbours = torch.tensor([[[[0.0, 0, -1], [0, 0, -2], [0, 0, 3]]]])
    assert _disambiguate_vector_directions(points, neighbours, up).tolist() == [[[0, 0, -1]]]
    assert _disambiguate_vector_directions(points, -neighbours, up).tolist() == [[[0, 0, 1]]]


def test_steps_of_raymarchers(recwarn):
    assert raymarching._shifted_cumprod(torch.tensor([2.0, 3, 5]), shift=1).tolist() == [1, 2, 6]
    assert raymarching._shifted_cumprod(torch.tensor([2.0, 3, 5]), shift=2).tolist() == [1, 1, 2]
    raymarching._check_density_bounds(torch.rand(4))
    raymarching._check_raymarcher_inputs(torch.rand(4, 5, 1), torch.rand(4, 5, 3), None, z_can_be_none=True)
    _validate_ray_bundle_variables(torch.rand(2, 4, 3), torch.rand(2, 4, 3), torch.rand(2, 4, 6))
    assert not recwarn
    raymarching._check_density_bounds(torch.tensor([1.5]))
    assert len(recwarn) == 1
    with pytest.raises(ValueError, match="rays_features"):
        raymarching._check_raymarcher_inputs(torch.rand(4, 5, 1), torch.rand(4, 6, 3), None, z_can_be_none=True)
    with pytest.raises(ValueError, match="rays_densities"):
        raymarching._check_raymarcher_inputs(torch.rand(4, 5, 2), torch.rand(4, 5, 3), None, z_can_be_none=True)
    with pytest.raises(ValueError, match="rays_lengths"):
        _validate_ray_bundle_variables(torch.rand(2, 4, 3), torch.rand(2, 4, 3), torch.rand(2, 5, 6))


def test_lights_maps_and_points():
    _validate_light_properties(DirectionalLights())
    with pytest.raises(ValueError, match="ambient_color"):
        _validate_light_properties(Materials(*[((1.0,) * 4,)] * 3))
    maps = _pad_texture_maps([torch.tensor([[[0.0], [1.0]]]), torch.ones(2, 3, 1)], align_corners=True)
    assert maps[..., 0].tolist() == [[[0, 0.5, 1]] * 2, [[1, 1, 1]] * 2]
    idx, zbuf, _ = rasterize_points_python(Pointclouds([torch.tensor([[0.0, 0, 2]])]), 1, 0.5, 1)
    assert (idx.item(), zbuf.item()) == (0, 2)
