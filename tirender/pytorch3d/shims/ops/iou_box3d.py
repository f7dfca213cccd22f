"""The sides of boxes, and their checks."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_tensor, fail
from tirender.ops.iou_box3d import _SIDES

_box_planes = [list(side) for side in _SIDES]
"""The corners of each side of a box, in cyclic order."""
_box_triangles = [[a, *half] for a, b, c, d in _SIDES for half in ([b, c], [c, d])]
"""Two triangles for each side."""


def _check_coplanar(boxes: torch.Tensor, eps: float = 1e-4) -> None:
    """Raise ``ValueError`` if a corner of boxes (B, 8, 3) is ``eps`` or farther from the plane of its side."""
    a, b, c, d = _corners(boxes)
    normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    if bool(((d - a) * normals).sum(-1).abs().ge(eps).any()):
        fail("boxes", "corners of a side in one plane", "corners that are not coplanar")


def _check_nonzero(boxes: torch.Tensor, eps: float = 1e-4) -> None:
    """Raise ``ValueError`` if a half of a side of boxes (B, 8, 3) has an area of ``eps`` or less."""
    a, b, c, d = _corners(boxes)
    for left, right in ((b, c), (c, d)):
        if bool((torch.linalg.cross(left - a, right - a).norm(dim=-1) / 2).le(eps).any()):
            fail("boxes", "sides with an area", "a side without area")


def _corners(boxes: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The first to fourth corner of each side, (B, 6, 3) each."""
    check_tensor("boxes", boxes, ("B", 8, 3), FLOATS)
    return boxes[:, torch.tensor(_box_planes, device=boxes.device)].unbind(2)
