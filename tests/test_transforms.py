"""Rotation conversions, SO(3) and SE(3) maps, and 4x4 transforms."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tirender import transforms
from tirender.transforms import Rotate, RotateAxisAngle, Scale, Transform3d, Translate
from tirender.transforms.so3 import hat, hat_inv

REFERENCE = Path(__file__).parent / "data" / "reference" / "transforms" / "rotations.npz"
CONVENTIONS = ["".join(c) for c in itertools.product("XYZ", repeat=3) if c[0] != c[1] and c[1] != c[2]]
PI = math.pi


@pytest.fixture(scope="module")
def reference() -> dict[str, torch.Tensor]:
    with np.load(REFERENCE) as data:
        return {name: torch.from_numpy(data[name]) for name in data.files if name != "meta"}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def rotations(n: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return transforms.random_rotations(n, dtype=dtype)


# --- PyTorch3D's results ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("quaternion_to_matrix", "in_quaternion"),
        ("matrix_to_quaternion", "out_quaternion_to_matrix"),
        ("matrix_to_axis_angle", "out_quaternion_to_matrix"),
        ("axis_angle_to_matrix", "out_matrix_to_axis_angle"),
        ("matrix_to_rotation_6d", "out_quaternion_to_matrix"),
        ("so3_exp_map", "in_log_rot"),
        ("so3_log_map", "out_so3_exp_map"),
        ("se3_exp_map", "in_se3_log"),
    ],
)
def test_conversion_matches_pytorch3d(reference, name, given):
    result = getattr(transforms, name)(reference[given])
    torch.testing.assert_close(result, reference[f"out_{name}"], rtol=1e-6, atol=1e-6)


def test_euler_angles_match_pytorch3d(reference):
    angles = transforms.matrix_to_euler_angles(reference["out_quaternion_to_matrix"], "XYZ")
    torch.testing.assert_close(angles, reference["out_matrix_to_euler_angles_XYZ"], rtol=1e-6, atol=1e-6)


def test_composed_transform_matches_pytorch3d(reference):
    transform = Transform3d().scale(2.0).rotate(reference["out_quaternion_to_matrix"][0]).translate(0.1, 0.2, 0.3)
    torch.testing.assert_close(transform.get_matrix(), reference["out_transform3d"])


# --- conversions are inverses of each other ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (2, 3), ()])
def test_conversions_keep_the_leading_shape(shape):
    matrix = rotations(max(math.prod(shape), 1))[: math.prod(shape)].reshape(*shape, 3, 3)
    quaternion = transforms.matrix_to_quaternion(matrix)
    axis_angle = transforms.matrix_to_axis_angle(matrix)
    assert quaternion.shape == (*shape, 4)
    assert axis_angle.shape == (*shape, 3)
    for back in (
        transforms.quaternion_to_matrix(quaternion),
        transforms.axis_angle_to_matrix(axis_angle),
        transforms.quaternion_to_matrix(transforms.axis_angle_to_quaternion(axis_angle)),
        transforms.euler_angles_to_matrix(transforms.matrix_to_euler_angles(matrix, "ZYX"), "ZYX"),
        transforms.rotation_6d_to_matrix(transforms.matrix_to_rotation_6d(matrix)),
    ):
        torch.testing.assert_close(back, matrix)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("angle", [1e-30, 1e-12, 1e-6, 1e-3, 0.0999, 0.1001, 1.0, 3.0, PI - 1e-6, 5.0, 2 * PI - 1e-3])
def test_axis_angle_round_trip_at_any_angle(angle, dtype):
    axis = torch.tensor([[0.6, 0.0, 0.8], [0.0, -1.0, 0.0]], dtype=torch.float64)
    axis_angle = (angle * axis).to(dtype)
    back = transforms.quaternion_to_axis_angle(transforms.axis_angle_to_quaternion(axis_angle))
    # Near a full turn the axis comes from a vector of length sin(angle / 2).
    tolerance = 8 * torch.finfo(dtype).eps * max(angle, angle / abs(math.sin(angle / 2)) if angle > PI else 0)
    torch.testing.assert_close(back, axis_angle, rtol=0, atol=tolerance)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_euler_round_trip_in_and_out_of_gimbal_lock(convention):
    locked = 0.0 if convention[0] == convention[2] else PI / 2
    angles = torch.tensor([[0.3, locked, 0.9], [0.3, locked + PI, 0.9]], dtype=torch.float64)
    # float32 lies within a rounding error of gimbal lock, where the first angle alone is anyone's guess
    near = torch.tensor([[0.3, locked + d, 0.9] for d in (1e-8, -3e-7, 1e-6, 1e-3)])
    for matrix in (
        rotations(20),
        transforms.euler_angles_to_matrix(angles, convention),
        transforms.euler_angles_to_matrix(near, convention),
    ):
        matrix.requires_grad_()
        result = transforms.matrix_to_euler_angles(matrix, convention)
        middle = result[:, 1] if convention[0] == convention[2] else result[:, 1] + PI / 2
        assert ((middle >= -1e-6) & (middle <= PI + 1e-6)).all()
        tolerance = 8 * torch.finfo(matrix.dtype).eps  # the input is itself orthonormal to a few eps
        torch.testing.assert_close(
            transforms.euler_angles_to_matrix(result, convention), matrix, rtol=0, atol=tolerance
        )
        result.sum().backward()
        assert matrix.grad.isfinite().all()


def test_euler_angles_multiply_as_the_convention_reads():
    a, b, c = torch.rand(3, 1, dtype=torch.float64)
    x, y, z = (RotateAxisAngle(v, axis, degrees=False).get_matrix() for v, axis in zip((a, b, c), "XYZ"))
    columns = [m[:, :3, :3].transpose(1, 2) for m in (x, y, z)]
    torch.testing.assert_close(
        transforms.euler_angles_to_matrix(torch.stack([a, b, c], -1), "XYZ"), columns[0] @ columns[1] @ columns[2]
    )


def test_quaternion_algebra():
    a, b = (transforms.random_quaternions(5, dtype=torch.float64) for _ in range(2))
    point = torch.randn(5, 3, dtype=torch.float64)
    matrix_a, matrix_b = transforms.quaternion_to_matrix(a), transforms.quaternion_to_matrix(b)
    product = transforms.quaternion_multiply(a, b)
    assert (product[:, 0] >= 0).all()
    torch.testing.assert_close(transforms.quaternion_to_matrix(product), matrix_a @ matrix_b)
    torch.testing.assert_close(transforms.standardize_quaternion(transforms.quaternion_raw_multiply(a, b)), product)
    torch.testing.assert_close(transforms.quaternion_apply(a, point), (matrix_a @ point[..., None])[..., 0])
    torch.testing.assert_close(
        transforms.quaternion_multiply(a, transforms.quaternion_invert(a)),
        torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64).expand(5, 4),
    )
    torch.testing.assert_close(  # one quaternion, many points
        transforms.quaternion_apply(a[0], point), point @ matrix_a[0].T
    )


def test_quaternions_of_any_length_are_rotations():
    quaternion = transforms.random_quaternions(4)
    torch.testing.assert_close(
        transforms.quaternion_to_matrix(quaternion * 50), transforms.quaternion_to_matrix(quaternion)
    )
    torch.testing.assert_close(
        transforms.quaternion_to_axis_angle(quaternion * 50), transforms.quaternion_to_axis_angle(quaternion)
    )


def test_random_rotations_are_uniform_rotations():
    matrices = transforms.random_rotations(4000, dtype=torch.float64)
    identity = torch.eye(3, dtype=torch.float64).expand(4000, 3, 3)
    torch.testing.assert_close(matrices @ matrices.transpose(1, 2), identity)
    assert (torch.linalg.det(matrices) > 0).all()
    assert matrices.mean(0).abs().max() < 0.05  # each entry has mean 0 and variance 1/3: five standard errors
    assert transforms.random_rotation().shape == (3, 3)
    assert transforms.random_quaternions(2, dtype=torch.float64).dtype == torch.float64
    assert (transforms.random_quaternions(50)[:, 0] >= 0).all()


# --- SO(3) and SE(3) --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.0, 1e-20, 1e-7, 1e-3, 0.5, 3.0, PI])
def test_maps_are_exact_at_any_angle(angle):
    axis = torch.nn.functional.normalize(torch.randn(4, 3, dtype=torch.float64), dim=-1)
    log_rot = angle * axis
    R = transforms.so3_exp_map(log_rot)
    torch.testing.assert_close(R, torch.linalg.matrix_exp(hat(log_rot)))
    torch.testing.assert_close(transforms.so3_exp_map(transforms.so3_log_map(R)), R)
    angles = transforms.so3_rotation_angle(R, cos_bound=0)
    torch.testing.assert_close(angles, torch.full((4,), angle, dtype=R.dtype))

    log_transform = torch.cat([torch.randn(4, 3, dtype=torch.float64), log_rot], -1)
    motion = transforms.se3_exp_map(log_transform)
    generator = torch.zeros(4, 4, 4, dtype=torch.float64)
    generator[:, :3, :3], generator[:, :3, 3] = hat(log_rot), log_transform[:, :3]
    torch.testing.assert_close(motion.transpose(1, 2), torch.linalg.matrix_exp(generator))
    torch.testing.assert_close(transforms.se3_exp_map(transforms.se3_log_map(motion)), motion)
    if angle < PI:  # a half-turn has two logarithms
        torch.testing.assert_close(transforms.se3_log_map(motion), log_transform)


def test_angles_between_rotations():
    R = rotations(3)
    turn = transforms.so3_exp_map(torch.tensor([[0.0, 0.0, 0.7]], dtype=torch.float64))
    angle = torch.full((3,), 0.7, dtype=torch.float64)
    torch.testing.assert_close(transforms.so3_relative_angle(turn @ R, R), angle)
    torch.testing.assert_close(transforms.so3_relative_angle(turn @ R, R, cos_angle=True), angle.cos())
    assert transforms.so3_exponential_map is transforms.so3_exp_map


def test_hat_is_the_cross_product():
    u, v = torch.randn(2, 4, 3)
    torch.testing.assert_close((hat(u) @ v[..., None])[..., 0], torch.linalg.cross(u, v))
    assert torch.equal(hat_inv(hat(u)), u)


def test_acos_is_continued_by_its_tangents():
    x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 0.95, 1.5], dtype=torch.float64, requires_grad=True)
    bounds = (-0.9, 0.9)
    y = transforms.acos_linear_extrapolation(x, bounds)
    slope = -1 / math.sqrt(1 - 0.81)
    torch.testing.assert_close(y[1:4], x[1:4].acos())
    torch.testing.assert_close(y[4], math.acos(0.9) + slope * (x[4] - 0.9))
    torch.testing.assert_close(y[0], math.acos(-0.9) + slope * (x[0] + 0.9))
    assert torch.autograd.gradcheck(lambda x: transforms.acos_linear_extrapolation(x, bounds), x)
    edge = torch.tensor([-1.0, 1.0], requires_grad=True)
    transforms.acos_linear_extrapolation(edge).sum().backward()
    assert edge.grad.isfinite().all()


# --- gradients --------------------------------------------------------------------------------------------------------


def rotation_of(axis_angle: torch.Tensor) -> torch.Tensor:
    return transforms.axis_angle_to_matrix(axis_angle)


@pytest.mark.parametrize(
    ("name", "function", "size"),
    [
        ("quaternion_to_matrix", transforms.quaternion_to_matrix, 4),
        ("quaternion_to_axis_angle", transforms.quaternion_to_axis_angle, 4),
        ("axis_angle_to_quaternion", transforms.axis_angle_to_quaternion, 3),
        ("axis_angle_to_matrix", transforms.axis_angle_to_matrix, 3),
        ("rotation_6d_to_matrix", transforms.rotation_6d_to_matrix, 6),
        ("euler_angles_to_matrix", lambda x: transforms.euler_angles_to_matrix(x, "YXZ"), 3),
        ("matrix_to_quaternion", lambda x: transforms.matrix_to_quaternion(rotation_of(x)), 3),
        ("matrix_to_axis_angle", lambda x: transforms.matrix_to_axis_angle(rotation_of(x)), 3),
        ("matrix_to_euler_angles", lambda x: transforms.matrix_to_euler_angles(rotation_of(x), "ZXZ"), 3),
        ("se3_exp_map", transforms.se3_exp_map, 6),
        ("se3_log_map", lambda x: transforms.se3_log_map(transforms.se3_exp_map(x)), 6),
        ("so3_rotation_angle", lambda x: transforms.so3_rotation_angle(rotation_of(x)), 3),
    ],
)
def test_gradcheck(name, function, size):
    x = torch.randn(3, size, dtype=torch.float64)
    x.requires_grad_()
    assert torch.autograd.gradcheck(function, x)


@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-3, 0.09999999, 0.1000001])
def test_gradcheck_where_the_series_take_over(length):
    log = torch.tensor([[1.0, 2.0, 3.0, 0.6, 0.0, 0.8]], dtype=torch.float64)
    log[:, 3:] *= length
    log.requires_grad_()
    assert torch.autograd.gradcheck(transforms.se3_exp_map, log)
    assert torch.autograd.gradcheck(lambda x: transforms.axis_angle_to_quaternion(x[:, 3:]), log)
    assert torch.autograd.gradcheck(lambda x: transforms.se3_log_map(transforms.se3_exp_map(x)), log)


def half_turn(x: float, y: float, z: float) -> torch.Tensor:
    axis = torch.tensor([x, y, z], dtype=torch.float32)
    axis = axis / axis.norm()
    return 2 * torch.outer(axis, axis) - torch.eye(3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "matrix",
    [
        torch.eye(3),
        half_turn(1, 0, 0),
        half_turn(0, 1, 0),
        half_turn(0, 0, 1),
        half_turn(1, 1, 0),
        half_turn(1, -1, 1),
        torch.zeros(3, 3),
    ],
)
def test_gradients_of_matrices_are_finite_and_small(matrix, dtype):
    motion = torch.eye(4, dtype=dtype)[None].clone()
    motion[0, :3, :3], motion[0, 3, :3] = matrix.to(dtype), torch.tensor([1, 2, 3])
    functions = [
        lambda m: transforms.matrix_to_quaternion(m[:, :3, :3]),
        lambda m: transforms.matrix_to_axis_angle(m[:, :3, :3]),
        lambda m: transforms.so3_log_map(m[:, :3, :3]),
        lambda m: transforms.so3_rotation_angle(m[:, :3, :3]),
        lambda m: transforms.so3_relative_angle(m[:, :3, :3], m[:, :3, :3]),
        transforms.se3_log_map,
        *(lambda m, c=c: transforms.matrix_to_euler_angles(m[:, :3, :3], c) for c in ("XYZ", "ZXZ")),
    ]
    for function in functions:
        leaf = motion.clone().requires_grad_()
        result = function(leaf)
        result.sum().backward()
        assert result.isfinite().all()
        assert leaf.grad.isfinite().all()
        assert leaf.grad.abs().max() < 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-10, 1e3, 1e10])
def test_gradients_of_vectors_are_finite(scale, dtype):
    for function, size in (
        (transforms.quaternion_to_matrix, 4),
        (transforms.quaternion_to_axis_angle, 4),
        (transforms.axis_angle_to_quaternion, 3),
        (transforms.axis_angle_to_matrix, 3),
        (transforms.rotation_6d_to_matrix, 6),
        (transforms.so3_exp_map, 3),
        (transforms.se3_exp_map, 6),
    ):
        leaf = (scale * torch.randn(5, size, dtype=dtype)).requires_grad_()
        result = function(leaf)
        result.sum().backward()
        assert result.isfinite().all()
        assert leaf.grad.isfinite().all()
        if scale < 1e-6 and size != 4:  # a quaternion's imaginary part over its tiny real part may be any angle
            assert leaf.grad.abs().max() < 1e2


def test_gradient_of_a_full_turn_and_of_parallel_rows_is_finite():
    turn = torch.tensor([[-1.0, 0, 0, 0], [-1, 1e-12, 0, 0], [1, 0, 0, 0]], requires_grad=True)
    axis_angle = transforms.quaternion_to_axis_angle(turn)
    axis_angle.sum().backward()
    assert axis_angle.abs().max() < 1e-5
    assert turn.grad.isfinite().all()
    assert turn.grad.abs().max() < 1e2
    rows = torch.tensor([[1.0, 2, 3, 2, 4, 6], [1, 0, 0, 0, 0, 0]], requires_grad=True)
    transforms.rotation_6d_to_matrix(rows).sum().backward()
    assert rows.grad.isfinite().all()


def test_exponential_map_has_its_textbook_gradient_at_zero():
    leaf = torch.zeros(1, 3, requires_grad=True)
    transforms.so3_exp_map(leaf)[0, 1, 0].backward()  # R is about 1 + hat(v), whose entry (1, 0) is v_z
    assert torch.equal(leaf.grad, torch.tensor([[0.0, 0.0, 1.0]]))


# --- Transform3d ------------------------------------------------------------------------------------------------------


def random_transform(n: int = 3) -> Transform3d:
    return (
        Transform3d(dtype=torch.float64)
        .rotate(rotations(n))
        .scale(torch.rand(n, 3, dtype=torch.float64) + 0.5)
        .translate(torch.randn(n, 3, dtype=torch.float64))
    )


def test_transforms_apply_to_row_vectors_in_the_order_written():
    points = torch.tensor([[1.0, 2.0, 3.0]])
    torch.testing.assert_close(Translate(1, 2, 3).scale(2).transform_points(points), torch.tensor([[4.0, 8, 12]]))
    torch.testing.assert_close(Scale(2).translate(1, 2, 3).transform_points(points), torch.tensor([[3.0, 6, 9]]))
    torch.testing.assert_close(
        RotateAxisAngle(90, "Z").transform_points(points), torch.tensor([[-2.0, 1, 3]]), atol=1e-6, rtol=0
    )
    R = rotations(1, torch.float32)
    torch.testing.assert_close(Rotate(R).transform_points(points), points @ R[0])
    torch.testing.assert_close(Scale(1, 2, 3).transform_points(points), torch.tensor([[1.0, 4, 9]]))
    torch.testing.assert_close(
        Transform3d().rotate_axis_angle(PI / 2, axis="x", degrees=False).transform_points(points),
        torch.tensor([[1.0, -3, 2]]),
        atol=1e-6,
        rtol=0,
    )


@pytest.mark.parametrize("invert_composed", [False, True])
def test_inverse(invert_composed):
    transform = random_transform()
    points = torch.randn(3, 5, 3, dtype=torch.float64)
    inverse = transform.inverse(invert_composed)
    torch.testing.assert_close(inverse.transform_points(transform.transform_points(points)), points)
    torch.testing.assert_close(inverse.inverse().get_matrix(), transform.get_matrix())


@pytest.mark.parametrize(
    "transform",
    [Translate(1.0, 2.0, 3.0), Scale(2.0, 3.0, 4.0), RotateAxisAngle([30.0, 60.0][0], "Y"), Transform3d()],
)
def test_inverse_of_the_elementary_transforms(transform):
    identity = transform.compose(transform.inverse()).get_matrix()
    torch.testing.assert_close(identity, torch.eye(4)[None])


@pytest.mark.parametrize(("n", "batch"), [(1, 1), (3, 1), (1, 3), (3, 3)])
def test_batches_of_one_broadcast(n, batch):
    transform = random_transform(n)
    points = torch.randn(batch, 4, 3, dtype=torch.float64)
    result = transform.transform_points(points)
    assert result.shape == (max(n, batch), 4, 3)
    matrix = transform.get_matrix()
    expected = points @ matrix[:, :3, :3] + matrix[:, 3:, :3]
    torch.testing.assert_close(result, expected)


def test_shapes_of_unbatched_points():
    points = torch.randn(4, 3, dtype=torch.float64)
    assert random_transform(1).transform_points(points).shape == (4, 3)
    assert random_transform(3).transform_points(points).shape == (3, 4, 3)
    assert random_transform(1).transform_normals(points).shape == (4, 3)
    assert random_transform(2).transform_points(points[:0]).shape == (2, 0, 3)
    assert random_transform(0).transform_points(points).shape == (0, 4, 3)


def test_normals_stay_at_right_angles():
    transform = random_transform()
    tangents = torch.randn(2, 3, 5, 3, dtype=torch.float64)
    normals = torch.linalg.cross(*tangents)
    moved = tangents @ transform.get_matrix()[:, :3, :3]
    torch.testing.assert_close(
        (transform.transform_normals(normals) * moved).sum(-1), torch.zeros(2, 3, 5, dtype=torch.float64)
    )


def test_division_by_w_is_clamped_with_eps():
    matrix = torch.eye(4)
    matrix[:, 3] = torch.tensor([0.0, 0.0, 1.0, 0.0])  # w = z
    points = torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 1e-9], [1.0, 2.0, -1e-9], [1.0, 2.0, 4.0]], requires_grad=True)
    result = Transform3d(matrix=matrix).transform_points(points, eps=1e-2)
    torch.testing.assert_close(result[:, 0], torch.tensor([100.0, 100.0, -100.0, 0.25]))
    result[:, :2].sum().backward()
    assert points.grad.isfinite().all()
    assert (points.grad[:3, 2] == 0).all()
    torch.testing.assert_close(points.grad[3], torch.tensor([0.25, 0.25, -3 / 16]))


def test_compose_stack_index_clone_and_to():
    a, b, c = random_transform(3), random_transform(1), random_transform(3)
    matrices = [t.get_matrix() for t in (a, b, c)]
    composed = a.compose(b, c)
    torch.testing.assert_close(composed.get_matrix(), matrices[0] @ matrices[1] @ matrices[2])
    torch.testing.assert_close(a.get_matrix(), matrices[0])  # compose returns a new transform
    assert len(a.stack(b, c)) == 7
    torch.testing.assert_close(a.stack(b)[3].get_matrix(), matrices[1])
    for index, rows in (
        (1, [1]),
        (-1, [2]),
        (slice(1, None), [1, 2]),
        ([2, 0], [2, 0]),
        (torch.tensor([1, 1]), [1, 1]),
        (torch.tensor([True, False, True]), [0, 2]),
    ):
        assert torch.equal(a[index].get_matrix(), matrices[0][rows])
    clone = a.clone()
    clone.get_matrix().zero_()
    assert torch.equal(a.get_matrix(), matrices[0])
    assert a.to("cpu") is a
    assert a.cpu() is a
    assert a.to("cpu", copy=True) is not a
    assert a.to("cpu", dtype=torch.float32).get_matrix().dtype == torch.float32


def test_logarithm_of_a_rigid_motion():
    log = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
    torch.testing.assert_close(Transform3d(matrix=transforms.se3_exp_map(log)).get_se3_log(), log)


def test_dtypes_are_kept_and_the_wider_wins():
    double, single = torch.ones(2, 3, dtype=torch.float64), torch.ones(2, 3)
    assert Translate(double).dtype == torch.float64
    assert Scale(double[:, 0]).get_matrix().dtype == torch.float64
    assert Translate(torch.ones(2, 3, dtype=torch.int64)).dtype == torch.float32
    assert Translate(1, 2, 3).dtype == torch.float32
    assert Rotate(rotations(1)).dtype == torch.float64
    assert RotateAxisAngle(torch.tensor(30.0, dtype=torch.float64)).dtype == torch.float64
    assert Translate(double, dtype=torch.float32).dtype == torch.float32
    mixed = Translate(double).compose(Translate(single))
    assert mixed.dtype == mixed.get_matrix().dtype == torch.float64
    assert Translate(single).transform_points(double).dtype == torch.float64


def test_autocast_leaves_geometry_alone():
    R, points = rotations(1, torch.float32), torch.randn(5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        moved = Rotate(R).transform_points(points)
        exponential = transforms.so3_exp_map(points)
    torch.testing.assert_close(moved, Rotate(R).transform_points(points))
    torch.testing.assert_close(exponential, transforms.so3_exp_map(points))


def test_non_contiguous_input():
    points = torch.randn(3, 7, 2).permute(2, 1, 0)
    R = rotations(2, torch.float32).transpose(1, 2)
    torch.testing.assert_close(
        Rotate(R).transform_points(points), Rotate(R.contiguous()).transform_points(points.contiguous())
    )
    torch.testing.assert_close(transforms.matrix_to_quaternion(R), transforms.matrix_to_quaternion(R.contiguous()))


def test_transform_gradcheck():
    xyz = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    log_rot = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    size = torch.rand(2, 3, dtype=torch.float64).add(0.5).requires_grad_()
    points = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)

    def function(xyz, log_rot, size, points):
        transform = Rotate(transforms.so3_exp_map(log_rot)).scale(size).translate(xyz)
        return transform.inverse().transform_points(points), transform.transform_normals(points)

    assert torch.autograd.gradcheck(function, (xyz, log_rot, size, points))


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transforms.quaternion_to_matrix(torch.zeros(2, 3)), r"quaternions: expected shape \(\.\.\., 4\)"),
        (lambda: transforms.matrix_to_quaternion(torch.zeros(3, 4)), r"matrix: expected shape \(\.\.\., 3, 3\)"),
        (lambda: transforms.axis_angle_to_matrix([0, 0, 1]), "axis_angle: expected a tensor, got list"),
        (lambda: transforms.axis_angle_to_matrix(torch.zeros(3, dtype=torch.int64)), "axis_angle: expected float32"),
        (lambda: transforms.rotation_6d_to_matrix(torch.zeros(5)), r"d6: expected shape \(\.\.\., 6\)"),
        (lambda: transforms.euler_angles_to_matrix(torch.zeros(3), "XXZ"), "convention: expected three letters"),
        (lambda: transforms.matrix_to_euler_angles(torch.eye(3), "xyz"), "convention: expected three letters"),
        (lambda: transforms.matrix_to_euler_angles(torch.eye(3), "XY"), "got 'XY'"),
        (lambda: transforms.so3_exp_map(torch.zeros(3)), r"log_rot: expected shape \(N, 3\), got \(3,\)"),
        (lambda: transforms.so3_log_map(3 * torch.eye(3)[None]), r"R: expected rotation matrices, with traces in"),
        (lambda: transforms.so3_relative_angle(torch.eye(3), torch.eye(3)), r"R1: expected shape \(N, 3, 3\)"),
        (lambda: transforms.se3_exp_map(torch.zeros(2, 5)), r"log_transform: expected shape \(N, 6\)"),
        (lambda: transforms.se3_log_map(torch.ones(1, 4, 4)), "transform: expected a last column"),
        (lambda: transforms.acos_linear_extrapolation(torch.zeros(1), (0.5, -0.5)), "bounds: expected -1 < lower"),
        (lambda: transforms.acos_linear_extrapolation(torch.zeros(1), (-1.0, 0.5)), "bounds: expected -1 < lower"),
        (lambda: hat_inv(torch.ones(1, 3, 3)), "h: expected skew-symmetric"),
        (lambda: Transform3d(matrix=torch.eye(3)), r"matrix: expected shape \(\.\.\., 4, 4\), got \(3, 3\)"),
        (lambda: Transform3d(matrix=torch.eye(4)[None, None]), "matrix: expected shape"),
        (lambda: Translate(torch.zeros(2, 2)), r"Translate x: expected shape \(N, 3\), got \(2, 2\)"),
        (lambda: Translate(torch.zeros(2, 3), 1), "Translate y, z: expected None"),
        (lambda: Translate(1.0), "Translate y, z: expected numbers"),
        (
            lambda: Translate(torch.zeros(2), torch.zeros(3), 0),
            r"expected lengths that are equal or 1, got \[2, 3, 1\]",
        ),
        (lambda: Scale(torch.zeros(1, 1, 1)), "Scale x: expected a number or shape"),
        (lambda: Rotate(torch.eye(4)), "R: expected shape"),
        (lambda: RotateAxisAngle(30, "W"), "axis: expected 'X' or 'Y' or 'Z', got 'W'"),
        (lambda: RotateAxisAngle(torch.zeros(2, 3)), "angle: expected a number or shape"),
        (lambda: Transform3d().transform_points(torch.zeros(2, 2)), "points: expected shape"),
        (lambda: Transform3d().transform_points(torch.zeros(1, 1, 1, 3)), "points: expected shape"),
        (lambda: Transform3d().transform_normals(torch.zeros(3)), "normals: expected shape"),
        (lambda: random_transform(2).transform_points(torch.zeros(3, 1, 3)), "points: expected a batch of 1 or 2"),
        (lambda: random_transform(2).compose(random_transform(3)).get_matrix(), "batches of one size or of 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("index", [1.5, True, "0", [True], torch.zeros(1), (0, 1)])
def test_bad_index(index):
    with pytest.raises(IndexError, match="index: expected"):
        Transform3d()[index]


def test_index_out_of_range_and_foreign_compose():
    with pytest.raises(IndexError):
        Transform3d()[1]
    with pytest.raises(ValueError, match="others: expected Transform3d, got Tensor"):
        Transform3d().compose(torch.eye(4))
