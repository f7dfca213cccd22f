"""Where the texels of cube maps lie, in the layout of ``kernels/cube.py``."""

from __future__ import annotations

import torch


def cube_points(coords: torch.Tensor) -> torch.Tensor:
    """Points (6, n, n, 3) on the faces of the cube from -1 to 1, at coordinates (n,) along rows and columns."""
    t, s = torch.meshgrid(coords, coords, indexing="ij")
    one = torch.ones_like(s)
    faces = ((one, -t, -s), (-one, -t, s), (s, one, t), (s, -one, -t), (s, -t, one), (-s, -t, -one))
    return torch.stack([torch.stack(face, -1) for face in faces])


def texel_centres(size: int, frame: int = 0) -> torch.Tensor:
    """Coordinates (size + 2 frame,) float64 of the centres of texels, and of ``frame`` beyond each edge."""
    return (2 * torch.arange(-frame, size + frame, dtype=torch.float64) + 1) / size - 1
