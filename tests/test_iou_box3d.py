"""Overlap of boxes, against formulas and against counting points."""

import pytest
import torch

from tirender.ops.iou_box3d import box3d_overlap
from tirender.transforms import axis_angle_to_matrix, random_rotations

UNIT = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]).double()


def overlap(first, second):
    vol, iou = box3d_overlap(first[None], second[None])
    return vol.item(), iou.item()


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (UNIT, 1),  # all sides in common
        (UNIT + 0.25, 0.75**3),
        (UNIT + torch.tensor([0.5, 0, 0]), 0.5),  # four sides in common
        (UNIT + torch.tensor([1.0, 0, 0]), 0),  # touching
        (UNIT + torch.tensor([1.0, 1, 1]), 0),  # at a corner
        (UNIT + 5, 0),
        (UNIT * 0.5 + 0.25, 0.125),  # inside
        (UNIT * 0.5, 0.125),  # inside, at a corner
        (UNIT * 3 - 1, 1),  # around
        (UNIT * torch.tensor([9.0, 0.5, 9]) - torch.tensor([4, 0, 4]), 0.5),  # a slab
    ],
)
def test_aligned_boxes(second, expected):
    volume2 = torch.linalg.det(torch.stack([second[1] - second[0], second[3] - second[0], second[4] - second[0]]))
    for first, other in ((UNIT, second), (second, UNIT)):
        vol, iou = overlap(first, other)
        assert vol == pytest.approx(expected, abs=1e-12)
        assert iou == pytest.approx(expected / (1 + volume2.item() - expected), abs=1e-12)


def test_rotated_by_an_eighth():
    """Two cubes turned by 45 degrees about an axis share a regular octagonal prism."""
    centred = UNIT - 0.5
    turned = centred @ axis_angle_to_matrix(torch.tensor([0, 0, torch.pi / 4], dtype=torch.float64)).t()
    assert overlap(centred, turned)[0] == pytest.approx(2 * (2**0.5 - 1), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearly_equal_boxes_in_any_pose(dtype):
    """Sides that coincide but for rounding."""
    rotation, shift = random_rotations(200, dtype=dtype), torch.randn(200, 1, 3, dtype=dtype)
    boxes = UNIT.to(dtype) @ rotation + shift
    other = UNIT.to(dtype)[[4, 5, 1, 0, 7, 6, 2, 3]] @ rotation + shift  # other corner first
    noise = torch.finfo(dtype).eps * torch.randn_like(other)
    for second in (boxes, other, boxes + noise):
        vol, iou = box3d_overlap(boxes, second)
        torch.testing.assert_close(vol.diagonal(), torch.ones(200, dtype=dtype), atol=2e-5, rtol=0)
        assert ((iou >= 0) & (iou <= 1 + 1e-5)).all()
    touching = boxes + rotation[:, :1]  # one beside the other
    vol, _ = box3d_overlap(boxes, touching)
    assert vol.diagonal().abs().max() < 1e-5


def test_matches_counting_points():
    scale = torch.rand(5, 1, 3, dtype=torch.float64) + 0.5
    boxes = (UNIT - 0.5) * scale @ random_rotations(5, dtype=torch.float64) + 0.3 * torch.randn(5, 1, 3).double()
    vol, iou = box3d_overlap(boxes[:2], boxes[2:])
    assert vol.shape == iou.shape == (2, 3)
    points = torch.rand(400_000, 3, dtype=torch.float64) * 3 - 1.5
    within = torch.stack([inside(points, box) for box in boxes]).double()
    expected = within[:2] @ within[2:].t() / len(points) * 27
    torch.testing.assert_close(vol, expected, atol=0.015, rtol=0)
    assert vol.max() > 0.2
    torch.testing.assert_close(box3d_overlap(boxes[2:], boxes[:2])[0], vol.t(), atol=1e-12, rtol=0)


def inside(points, box):
    axes = torch.stack([box[1] - box[0], box[3] - box[0], box[4] - box[0]])
    coords = (points - box[0]) @ torch.linalg.inv(axes)
    return ((coords >= 0) & (coords <= 1)).all(1)


def test_frustum():
    """Not a box, but convex with planar sides; corners in mirrored order."""
    frustum = UNIT.clone()
    frustum[4:, :2] = frustum[4:, :2] * 0.5 + 0.25
    vol, _ = box3d_overlap(frustum[None], UNIT[None])
    assert vol.item() == pytest.approx((1 + 0.25 + 0.5) / 3)
    mirrored = frustum * torch.tensor([-1.0, 1, 1])
    assert overlap(mirrored, mirrored)[1] == pytest.approx(1)


def test_empty():
    vol, iou = box3d_overlap(UNIT[None][:0], UNIT[None])
    assert vol.shape == iou.shape == (0, 1)


def test_refuses():
    with pytest.raises(ValueError, match=r"boxes1: expected shape \(N, 8, 3\), got \(8, 3\)"):
        box3d_overlap(UNIT, UNIT[None])
    bent = UNIT.clone()
    bent[0] -= 0.1
    with pytest.raises(
        ValueError, match=r"boxes2\[1\]: expected sides planar to 0.0001, got a corner at 0.* from side 0"
    ):
        box3d_overlap(UNIT[None], torch.stack([UNIT, bent]))
    with pytest.raises(ValueError, match=r"boxes1\[0\]: expected half sides of an area above 0.0001, got 0"):
        box3d_overlap((UNIT * torch.tensor([1.0, 1, 0]))[None], UNIT[None])
