"""Torus meshes."""

from __future__ import annotations

import math
from numbers import Real

import torch

from tirender.budget import spend
from tirender.checks import as_device, check_integer, fail
from tirender.structures import Meshes

BYTES_A_VERTEX = 300  # and its two faces, while they are made


def torus(r: float, R: float, sides: int, rings: int, device: torch.device | str | None = None) -> Meshes:
    """A torus around the z axis.

    Args:
        r: radius of the tube.
        R: distance from the centre of the hole to the middle of the tube.
        sides: vertices around the tube, 3 or more.
        rings: vertices around the hole, 3 or more.
        device: where the mesh lives; the CPU if None.
    Returns:
        a batch of one mesh, float32, with sides * rings vertices and twice as many faces, faces outwards.
    Raises:
        ValueError: if a radius is not positive, a count is below 3, or the torus exceeds the ``tirender.io.budget``.
    """
    for name, radius in (("r", r), ("R", R)):
        if not isinstance(radius, Real) or not 0 < radius < math.inf:
            fail(name, "a positive radius", repr(radius))
    device = as_device("device", device)
    sides, rings = check_integer("sides", sides, 3), check_integer("rings", rings, 3)
    spend("sides, rings", BYTES_A_VERTEX * sides * rings, f"a torus of {sides} x {rings} vertices")
    theta = torch.arange(sides, dtype=torch.float64) * (2 * math.pi / sides)
    phi = torch.arange(rings, dtype=torch.float64)[:, None] * (2 * math.pi / rings)
    from_axis = R + r * theta.cos()
    height = (r * theta.sin()).expand(rings, sides)
    verts = torch.stack([from_axis * phi.cos(), from_axis * phi.sin(), height], dim=-1).reshape(-1, 3)

    index = torch.arange(rings * sides).reshape(rings, sides)
    before_side, before_ring = index.roll(1, dims=1), index.roll(1, dims=0)
    before_both = before_ring.roll(1, dims=1)
    lower = torch.stack([before_both, before_side, index], dim=-1)
    upper = torch.stack([index, before_ring, before_both], dim=-1)
    faces = torch.stack([lower, upper], dim=2).reshape(-1, 3)
    return Meshes([verts.float()], [faces]).to(device)
