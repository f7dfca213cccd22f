"""Public functions and tensors that do not fit: an error in the library's wording, or a finite result; nothing else.

Each is called with arguments that fit, but one: a tensor that hypothesis has changed in its shape, its dtype, or a
value, or something of another kind altogether.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tirender.loss as loss
import tirender.ops as ops
import tirender.renderer as r
import tirender.transforms as t
from tirender.structures import (
    Meshes,
    Pointclouds,
    Volumes,
    join_meshes_as_batch,
    join_meshes_as_scene,
    join_pointclouds_as_batch,
    join_pointclouds_as_scene,
)
from tirender.utils import generate_rotating_volume, ico_sphere, torus

WORDING = re.compile(r"[\w\[\]., ']+: expected .+, got .+", re.DOTALL)
DTYPES = (torch.float64, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64)
VALUES = (0.0, -1.0, 1e-30, 1e30, float("inf"), float("nan"))
OTHERS = (None, "text", b"bytes", object(), {}, [1, "a"], np.zeros(3), float("nan"), -1, 2.5, True)
INDICES = (-1, -(2**31), 99, 2**40)

G = torch.Generator().manual_seed(0)


def f(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=G)


FACES = torch.tensor([[0, 1, 2], [2, 1, 3]])
EDGES = torch.tensor([[0, 1], [1, 2], [2, 3]])
ROTATIONS = t.random_rotations(2)
BOXES = torch.tensor([[[x, y, z] for x, y, z in zip((0, 1, 1, 0) * 2, (0, 0, 1, 1) * 2, (0,) * 4 + (1,) * 4)]]).float()

Call = tuple[Callable[..., Any], dict[str, Any]]
CALLS: list[Call] = [
    (ops.ball_query, {"p1": f(2, 4, 3), "p2": f(2, 5, 3), "lengths1": torch.tensor([4, 2]), "K": 3, "radius": 0.5}),
    (ops.box3d_overlap, {"boxes1": BOXES, "boxes2": BOXES + 0.5, "eps": 1e-4}),
    (ops.cot_laplacian, {"verts": f(4, 3), "faces": FACES}),
    (ops.cubify, {"voxels": f(1, 3, 3, 3), "thresh": 0.5, "feats": f(1, 2, 3, 3, 3), "align": "corner"}),
    (ops.corresponding_points_alignment, {"X": f(2, 5, 3), "Y": f(2, 5, 3), "weights": f(2, 5)}),
    (ops.efficient_pnp, {"x": f(1, 6, 3), "y": f(1, 6, 2), "weights": f(1, 6)}),
    (ops.estimate_pointcloud_normals, {"pointclouds": f(1, 9, 3), "neighborhood_size": 4}),
    (
        ops.get_point_covariances,
        {"points_padded": f(1, 5, 3), "num_points_per_cloud": torch.tensor([5]), "neighborhood_size": 3},
    ),
    (
        ops.interpolate_face_attributes,
        {
            "pix_to_face": torch.zeros(1, 2, 2, 1, dtype=torch.int64),
            "barycentric_coords": f(1, 2, 2, 1, 3),
            "face_attributes": f(2, 3, 4),
        },
    ),
    (ops.iterative_closest_point, {"X": f(1, 5, 3), "Y": f(1, 6, 3), "max_iterations": 2}),
    (
        ops.knn_gather,
        {"x": f(2, 5, 3), "idx": torch.zeros(2, 4, 2, dtype=torch.int64), "lengths": torch.tensor([5, 3])},
    ),
    (ops.knn_points, {"p1": f(2, 4, 3), "p2": f(2, 5, 3), "lengths1": torch.tensor([4, 2]), "K": 3, "norm": 1}),
    (ops.laplacian, {"verts": f(4, 3), "edges": EDGES}),
    (ops.mesh_face_areas_normals, {"verts": f(4, 3), "faces": FACES}),
    (ops.norm_laplacian, {"verts": f(4, 3), "edges": EDGES, "eps": 1e-12}),
    (ops.packed_to_padded, {"inputs": f(5, 2), "first_idxs": torch.tensor([0, 3]), "max_size": 3}),
    (ops.padded_to_packed, {"inputs": f(2, 3, 2), "first_idxs": torch.tensor([0, 3]), "num_inputs": 5}),
    (ops.sample_farthest_points, {"points": f(2, 5, 3), "lengths": torch.tensor([5, 3]), "K": 2}),
    (ops.vert_align, {"feats": f(1, 2, 3, 3), "verts": f(1, 4, 3), "interp_mode": "nearest"}),
    (ops.wmean, {"x": f(1, 5, 3), "weight": f(1, 5), "dim": 1, "eps": 1e-9}),
    (loss.chamfer_distance, {"x": f(2, 4, 3), "y": f(2, 5, 3), "x_lengths": torch.tensor([4, 2]), "weights": f(2)}),
    (loss.huber, {"x": f(3), "y": f(3)}),
    (t.acos_linear_extrapolation, {"x": f(3), "bounds": (-0.5, 0.5)}),
    (t.axis_angle_to_matrix, {"axis_angle": f(2, 3)}),
    (t.axis_angle_to_quaternion, {"axis_angle": f(2, 3)}),
    (t.euler_angles_to_matrix, {"euler_angles": f(2, 3), "convention": "XYZ"}),
    (t.matrix_to_axis_angle, {"matrix": ROTATIONS}),
    (t.matrix_to_euler_angles, {"matrix": ROTATIONS, "convention": "XYZ"}),
    (t.matrix_to_quaternion, {"matrix": ROTATIONS}),
    (t.matrix_to_rotation_6d, {"matrix": ROTATIONS}),
    (t.quaternion_apply, {"quaternion": f(2, 4), "point": f(2, 3)}),
    (t.quaternion_invert, {"quaternion": f(2, 4)}),
    (t.quaternion_multiply, {"a": f(2, 4), "b": f(2, 4)}),
    (t.quaternion_to_axis_angle, {"quaternions": f(2, 4)}),
    (t.quaternion_to_matrix, {"quaternions": f(2, 4)}),
    (t.rotation_6d_to_matrix, {"d6": f(2, 6)}),
    (t.se3_exp_map, {"log_transform": f(2, 6)}),
    (t.so3_exp_map, {"log_rot": f(2, 3)}),
    (t.so3_log_map, {"R": ROTATIONS}),
    (t.so3_relative_angle, {"R1": ROTATIONS, "R2": ROTATIONS}),
    (t.Rotate, {"R": ROTATIONS}),
    (t.Scale, {"x": f(2), "y": f(2), "z": f(2)}),
    (t.Translate, {"x": f(2, 3)}),
    (r.look_at_view_transform, {"dist": f(2), "elev": f(2), "azim": f(2)}),
    (r.look_at_rotation, {"camera_position": f(2, 3), "at": f(2, 3), "up": f(2, 3)}),
    (r.FoVPerspectiveCameras, {"znear": 1.0, "fov": 60.0, "R": ROTATIONS, "T": f(2, 3)}),
    (r.PerspectiveCameras, {"focal_length": f(2), "principal_point": f(2, 2), "R": ROTATIONS, "T": f(2, 3)}),
    (r.PointLights, {"location": f(2, 3), "ambient_color": f(2, 3)}),
    (r.DirectionalLights, {"direction": f(2, 3)}),
    (r.Materials, {"shininess": 64, "ambient_color": f(2, 3)}),
    (r.TexturesVertex, {"verts_features": [f(4, 3)]}),
    (r.TexturesUV, {"maps": [f(4, 4, 3)], "faces_uvs": [FACES], "verts_uvs": [f(4, 2)]}),
    (r.TexturesAtlas, {"atlas": [f(2, 2, 2, 3)]}),
    (Meshes, {"verts": [f(4, 3)], "faces": [FACES]}),
    (Pointclouds, {"points": [f(4, 3)], "features": [f(4, 3)]}),
    (Volumes, {"densities": f(1, 1, 2, 3, 4), "features": f(1, 2, 2, 3, 4), "voxel_size": 0.1}),
]
WITHOUT_TENSORS: list[Call] = [
    (ops.eyes, {"dim": 2, "N": 2, "device": "cpu", "dtype": torch.float64}),
    (t.random_quaternions, {"n": 2, "dtype": torch.float64, "device": "cpu"}),
    (t.random_rotations, {"n": 2, "dtype": torch.float64, "device": "cpu"}),
    (torus, {"r": 0.3, "R": 1.0, "sides": 3, "rings": 4, "device": "cpu"}),
    (ico_sphere, {"level": 1, "device": "cpu"}),
]


@st.composite
def changed(draw: st.DrawFn, value: torch.Tensor) -> torch.Tensor:
    """A tensor with one flaw."""
    kind, at = draw(st.sampled_from(("size", "more", "fewer", "scalar", "dtype", "value"))), draw(st.integers(0, 9))
    shape = list(value.shape)
    if kind == "dtype":
        return value.to(draw(st.sampled_from(DTYPES)))
    if kind == "value":
        value = value.clone()
        flaw = draw(st.sampled_from(VALUES if value.is_floating_point() else INDICES))
        value.view(-1)[at % value.numel()] = flaw
        return value
    if kind == "size":
        shape[at % len(shape)] = draw(st.sampled_from((0, 1, 2, 7)))
    elif kind == "more":
        shape.insert(at % (len(shape) + 1), draw(st.sampled_from((1, 2))))
    elif kind == "fewer":
        shape.pop(at % len(shape))
    else:
        shape = []
    return value.new_ones(shape)


def tensors(result: Any) -> Iterator[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        yield result.coalesce().values() if result.is_sparse else result
    elif isinstance(result, tuple | list):
        for part in result:
            yield from tensors(part)


def attempt(function: Callable[..., Any], args: dict[str, Any]) -> tuple[Any, str]:
    """The result of a call, or the message of its error."""
    try:
        return function(**args), ""
    except (ValueError, TypeError) as error:
        return None, str(error)


@pytest.mark.filterwarnings("ignore:corresponding_points_alignment")
@pytest.mark.parametrize(("function", "args"), CALLS, ids=lambda x: getattr(x, "__name__", ""))
@settings(max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_tensor_that_does_not_fit(function: Callable[..., Any], args: dict[str, Any], data: st.DataObject) -> None:
    names = [name for name, value in args.items() if isinstance(value, torch.Tensor | list)]
    name = data.draw(st.sampled_from(names))
    old = args[name]
    new = data.draw(changed(old)) if isinstance(old, torch.Tensor) else [data.draw(changed(old[0]))]
    is_tame = all(x.is_complex() or bool((x.double().abs() < 1e6).all()) for x in tensors(new))
    result, message = attempt(function, {**args, name: new})
    assert not message or WORDING.match(message), f"{name} of {function.__name__}: {message}"
    assert not is_tame or all(x.isfinite().all() for x in tensors(result)), f"{name} of {function.__name__}"


@pytest.mark.filterwarnings("ignore:corresponding_points_alignment")
@pytest.mark.parametrize(("function", "args"), [*CALLS, *WITHOUT_TENSORS], ids=lambda x: getattr(x, "__name__", ""))
def test_an_argument_of_another_kind(function: Callable[..., Any], args: dict[str, Any]) -> None:
    for name, old in args.items():
        without_numbers = (old.to("meta"), old.to_sparse()) if isinstance(old, torch.Tensor) else ()
        for other in (*OTHERS, *without_numbers):
            result, message = attempt(function, {**args, name: other})
            assert not message or WORDING.match(message), f"{name}={other!r} of {function.__name__}: {message}"
            is_tame = not (isinstance(other, float) and math.isnan(other))
            assert not is_tame or all(x.isfinite().all() for x in tensors(result)), f"{name}={other!r}"


def structured_calls() -> Iterator[tuple[Callable[..., Any], dict[str, Any]]]:
    """Calls with batches of meshes, clouds, volumes and cameras."""
    meshes = ico_sphere(0)
    meshes.textures = r.TexturesVertex(torch.rand(1, len(meshes.verts_packed()), 3))
    clouds = Pointclouds([torch.rand(10, 3)], features=[torch.rand(10, 3)])
    volumes = Volumes(torch.rand(1, 1, 4, 4, 4), torch.rand(1, 3, 4, 4, 4))
    cameras = r.FoVPerspectiveCameras()
    draw_mesh = r.MeshRasterizer(cameras, r.RasterizationSettings(8))
    draw_points = r.PointsRasterizer(cameras, r.PointsRasterizationSettings(8, 0.1, 2))
    rays = r.NDCMultinomialRaysampler(image_width=4, image_height=4, n_pts_per_ray=3, min_depth=0.5, max_depth=2.0)
    marcher = r.EmissionAbsorptionRaymarcher()
    fragments, bundle = draw_mesh(meshes), rays(cameras)
    lit = {"fragments": fragments, "lights": r.PointLights(), "materials": r.Materials(), "meshes": meshes}
    texels = torch.rand(1, 8, 8, 1, 3)
    for penalty in (loss.mesh_edge_loss, loss.mesh_laplacian_smoothing, loss.mesh_normal_consistency):
        yield penalty, {"meshes": meshes}
    for distance in (loss.point_mesh_edge_distance, loss.point_mesh_face_distance):
        yield distance, {"meshes": meshes, "pcls": clouds}
    yield loss.chamfer_distance, {"x": clouds, "y": clouds}
    yield ops.add_pointclouds_to_volumes, {"pointclouds": clouds, "initial_volumes": volumes}
    for align in (ops.corresponding_points_alignment, ops.iterative_closest_point):
        yield align, {"X": clouds, "Y": clouds}
    yield ops.estimate_pointcloud_normals, {"pointclouds": clouds, "neighborhood_size": 5}
    for operation in (ops.SubdivideMeshes(), ops.sample_points_from_meshes, ops.taubin_smoothing, r.rasterize_meshes):
        yield operation, {"meshes": meshes}
    yield r.rasterize_points, {"pointclouds": clouds}
    for shader in (r.HardPhongShader, r.HardDepthShader, r.HardFlatShader, r.HardGouraudShader):
        yield r.MeshRenderer(draw_mesh, shader(cameras=cameras)), {"meshes_world": meshes, "cameras": cameras}
        yield shader(cameras=cameras), {"fragments": fragments, "meshes": meshes, "cameras": cameras}
    yield r.SoftSilhouetteShader(), {"fragments": fragments, "meshes": meshes}
    yield r.SplatterPhongShader(cameras=cameras), {"fragments": fragments, "meshes": meshes, "cameras": cameras}
    for shading in (r.phong_shading, r.flat_shading):
        yield shading, {**lit, "cameras": cameras, "texels": texels}
    yield r.gouraud_shading, {**lit, "cameras": cameras}
    for renderer in (draw_points, r.PointsRenderer(draw_points, r.AlphaCompositor())):
        yield renderer, {"point_clouds": clouds, "cameras": cameras}
    for sampler in (rays, r.MonteCarloRaysampler(-1, 1, -1, 1, 4, 3, 0.5, 2.0)):
        yield sampler, {"cameras": cameras}
    yield r.VolumeRenderer(rays, marcher), {"cameras": cameras, "volumes": volumes}
    yield r.VolumeSampler(volumes), {"ray_bundle": bundle}
    yield r.ray_bundle_to_ray_points, {"ray_bundle": bundle}
    for join in (join_meshes_as_batch, join_meshes_as_scene):
        yield join, {"meshes": [meshes]}
    for join in (join_pointclouds_as_batch, join_pointclouds_as_scene):
        yield join, {"pointclouds": [clouds]}
    yield r.join_cameras_as_batch, {"cameras_list": [cameras]}
    yield ops.corresponding_cameras_alignment, {"cameras_src": cameras, "cameras_tgt": cameras}
    yield generate_rotating_volume, {"volume_model": lambda _: texels[..., 0, :], "n_frames": 1, "cameras": cameras}


@pytest.mark.filterwarnings("ignore:corresponding_points_alignment")
def test_a_structure_of_another_kind() -> None:
    calls = [*structured_calls()]
    kinds = (Meshes, Pointclouds, Volumes, r.FoVPerspectiveCameras, r.RayBundle, list)
    structures = {type(value): value for _, args in calls for value in args.values() if isinstance(value, kinds)}
    others = ("x", None, 3, torch.rand(2, 3), [3], {}, *structures.values())
    for function, args in calls:
        called = getattr(function, "__name__", type(function).__name__)
        function(**args)
        for name, old in args.items():
            for other in others if isinstance(old, kinds) else ():
                if type(other) is not type(old):
                    _, message = attempt(function, {**args, name: other})
                    assert not message or WORDING.match(message), f"{name}={other!r} of {called}: {message}"
