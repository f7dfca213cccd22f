"""Light from all around: an image of the surroundings, and what rough surfaces see of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

from tirender.checks import all_finite, check_number, check_tensor, fail
from tirender.engine.cube_maps import cube_points, texel_centres
from tirender.engine.physical_shading import join_levels
from tirender.engine.texture_lookup import LookupMode, look_up, mip_levels
from tirender.renderer.reflectance import hammersley
from tirender.structures.keeping import compute_to_keep, kept_property, version_of
from tirender.transforms.math import matmul

N_ROUGHNESSES = 9  # of the maps for facets, evenly from 0 to 1; the one after them is for Lambertian surfaces
SHRINK = (1, 2, 4, 4, 8, 8, 16, 16, 16, 16)  # of each map's side
SAMPLES = (1, 64, 128, 128, 256, 256, 256, 256, 256, 256)  # of each map's texels; fewer of small cube maps
BLUR = 0.5  # levels by which samples look coarser than their share of the lobe, so that they overlap
LEAST_SIDE = 8
SIDES = (4, 1024)
CUBE = LookupMode("linear-mipmap-linear", "cube")


@dataclass(frozen=True, eq=False)
class EnvironmentMaps:
    """What surfaces see of their surroundings.

    Attributes:
        levels: cube maps (1, 6, s, s, 3) for facets of roughness 0, 1/8 ... 1, and one for Lambertian surfaces: the
            mean of the hemisphere, weighted by the cosine.
    """

    levels: tuple[torch.Tensor, ...]

    @kept_property
    def joined(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The layout of all levels, (L, 3) int32, and their texels (n, 3), as kernels read them."""
        return join_levels(self.levels)

    def read(self, directions: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """(M, 3): the light from directions (M, 3) of any length at levels (M,); differentiable in all."""
        return look_up(self.levels, directions.view(1, 1, -1, 3), None, level.view(1, 1, -1), CUBE)[0, 0]

    def mirrored(self, directions: torch.Tensor, roughness: torch.Tensor) -> torch.Tensor:
        """(M, 3): what facets of roughness (M, 1) see around directions (M, 3)."""
        return self.read(directions, roughness[:, 0].clamp(0, 1) * (N_ROUGHNESSES - 1))

    def scattered(self, normals: torch.Tensor) -> torch.Tensor:
        """(M, 3): what Lambertian surfaces with normals (M, 3) see."""
        return self.read(normals, torch.full_like(normals[:, 0], N_ROUGHNESSES))


class EnvironmentLights(nn.Module):
    """Light from surroundings that are far away, for surfaces with metallic-roughness materials.

    A white Lambertian surface in surroundings of 1 has the colour 1. What rough surfaces see is computed when it is
    first asked for, and kept until ``radiance`` changes.

    Args:
        radiance: linear light, at least 0, with no upper bound. Either a picture of all directions, (H, W, 3): its
            middle is -Z, +X lies to the right of it, and its upper edge is +Y. Or the six faces of a cube map in
            OpenGL's order and layout, (6, S, S, 3), S a power of 2. float32 or float64.
        rotation: (3, 3), turns the surroundings: a direction d of theirs lies at ``d @ rotation`` in world space.
        intensity: multiplies the light.
        size: the side of the cube map that a picture is turned into, a power of 2 from 4 to 1024. Smaller ones are
            faster to prefilter, which fits do in each step.
    Raises:
        ValueError: where a shape or number does not fit.
    """

    radiance: torch.Tensor
    rotation: torch.Tensor
    intensity: torch.Tensor

    def __init__(
        self,
        radiance: torch.Tensor,
        rotation: torch.Tensor | None = None,
        intensity: float | torch.Tensor = 1.0,
        size: int = 256,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        check_tensor("radiance", radiance)
        is_cube = radiance.dim() == 4 and radiance.shape[0] == 6 and radiance.shape[1] == radiance.shape[2]
        if radiance.shape[-1:] != (3,) or not (is_cube or radiance.dim() == 3) or 0 in radiance.shape:
            fail("radiance", "a picture (H, W, 3) or a cube map (6, S, S, 3)", f"shape {tuple(radiance.shape)}")
        if not radiance.requires_grad and not bool((radiance >= 0).all() & all_finite(radiance)):
            fail("radiance", "finite numbers of at least 0", "negative ones, NaN or infinity")
        self.size = radiance.shape[1] if is_cube else size
        check_side("size", self.size)
        if isinstance(intensity, int | float) and not (check_number("intensity", intensity) >= 0):
            fail("intensity", "a number of at least 0", intensity)
        rotation = torch.eye(3) if rotation is None else rotation
        if not isinstance(rotation, torch.Tensor) or rotation.shape != (3, 3):
            fail("rotation", "shape (3, 3)", getattr(rotation, "shape", type(rotation).__name__))
        if not all_finite(rotation):
            fail("rotation", "finite numbers", "NaN or infinity")
        self._set("radiance", radiance)
        self._set("rotation", rotation.to(radiance))
        self._set("intensity", torch.as_tensor(intensity, dtype=radiance.dtype, device=radiance.device))
        self._kept: tuple[torch.Tensor, Any, EnvironmentMaps] | None = None  # and what they were computed of
        if device is not None:
            self.to(device)

    def _set(self, name: str, value: torch.Tensor) -> None:
        """Keep a tensor, so that ``to`` moves it; parameters are found by optimisers."""
        if isinstance(value, nn.Parameter):
            self.register_parameter(name, value)
        else:
            self.register_buffer(name, value, persistent=False)

    def maps(self) -> EnvironmentMaps:
        """What surfaces see of the surroundings; differentiable in ``radiance`` and ``intensity``."""
        parts = (self.radiance, self.intensity)
        if torch.is_grad_enabled() and any(part.requires_grad for part in parts):
            return self._compute()
        radiance = self.radiance
        state = version_of(radiance), radiance.data_ptr(), radiance.dtype, radiance.device, float(self.intensity)
        if self._kept is None or self._kept[0] is not radiance or self._kept[1] != state:
            with torch.no_grad():
                self._kept = radiance, state, compute_to_keep(self._compute)
        return self._kept[2]

    def picture(self, height: int = 128) -> torch.Tensor:
        """All directions of world space, a picture (height, 2 height, 3) as ``radiance`` may be; differentiable."""
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(2 * height) + 0.5, indexing="ij")
        phi, theta = (x / height - 1) * math.pi, y / height * math.pi
        towards = torch.stack([phi.sin() * theta.sin(), theta.cos(), -phi.cos() * theta.sin()], -1).view(-1, 3)
        light = self.cube()[None]
        directions = matmul(towards.to(self.rotation), self.rotation.T)
        found = look_up([light], directions.view(1, 1, -1, 3), None, None, LookupMode("linear", "cube"))
        return found.view(height, 2 * height, 3)

    def turned(self, angle: float, axis: tuple[float, float, float] = (0.0, 1.0, 0.0)) -> EnvironmentLights:
        """The same surroundings, turned further about an axis of world space; shares all maps.

        Args:
            angle: in degrees; those above 0 turn counterclockwise for one who looks against the axis.
            axis: of any length but 0.
        """
        x, y, z = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0).tolist()
        across = torch.tensor([[0, z, -y], [-z, 0, x], [y, -x, 0]], dtype=torch.float64)  # for row vectors
        radians = math.radians(angle)
        turn = torch.eye(3, dtype=torch.float64) + math.sin(radians) * across
        turn = turn + (1 - math.cos(radians)) * across @ across
        return self.rotated(turn)

    def rotated(self, rotation: torch.Tensor) -> EnvironmentLights:
        """The same surroundings, turned further by a matrix (3, 3) for row vectors; shares all maps."""
        turned = matmul(self.rotation, rotation.to(self.rotation))
        other = EnvironmentLights(self.radiance, turned, 1.0, self.size)
        other._set("intensity", self.intensity)
        other._kept = self._kept
        return other

    def cube(self) -> torch.Tensor:
        """(6, size, size, 3): the light, before it is turned; differentiable."""
        radiance = self.radiance if self.radiance.dim() == 4 else cube_of(self.radiance, self.size)
        return radiance * self.intensity

    def _compute(self) -> EnvironmentMaps:
        cube = self.cube()
        if not all_finite(cube):
            fail("radiance", "finite light", "NaN or infinity")
        return prefilter(cube)


def check_side(name: str, value: Any) -> int:
    """Return ``value`` if it is a side that a cube map of surroundings may have, else raise ``ValueError``."""
    if isinstance(value, bool) or value not in [2**n for n in range(11) if SIDES[0] <= 2**n <= SIDES[1]]:
        fail(name, f"a power of 2 from {SIDES[0]} to {SIDES[1]}", value)
    return int(value)


def cube_of(picture: torch.Tensor, size: int) -> torch.Tensor:
    """The cube map (6, size, size, 3) of a picture (H, W, 3) of all directions; differentiable.

    A texel is the mean of as many samples as it covers texels of the picture.
    """
    n = min(max(math.ceil(picture.shape[1] / (4 * size)), 1), 8)
    width = picture.shape[1]
    framed = torch.cat([picture[:, -1:], picture, picture[:, :1]], 1)[None].contiguous()  # left and right ends meet
    faces = []
    for points in cube_points(texel_centres(n * size).to(picture)):  # one after the other: n may be large
        x, y, z = torch.nn.functional.normalize(points, dim=-1).unbind(-1)
        u, v = 0.5 + torch.atan2(x, -z) / (2 * math.pi), torch.acos(y.clamp(-1, 1)) / math.pi
        coords = torch.stack([(u * width + 1) / (width + 2), v], -1)
        found = look_up([framed], coords[None], None, None, LookupMode("linear", "clamp"))
        faces.append(found.view(size, n, size, n, 3).mean((1, 3)))
    return torch.stack(faces)


def prefilter(radiance: torch.Tensor) -> EnvironmentMaps:
    """What facets and Lambertian surfaces see of a cube map (6, S, S, 3), S a power of 2; differentiable.

    A texel is a weighted mean of samples of the lobe of light around its direction. Each reads the level of the cube
    map whose texels are as large as the part of the lobe that it stands for (Krivanek and Colbert, "Real-time shading
    with filtered importance sampling", 2008).
    """
    size = radiance.shape[1]
    texture = radiance[None]
    smaller = mip_levels(texture, None)
    levels = [texture]
    for index in range(1, N_ROUGHNESSES + 1):
        side = max(size // SHRINK[index], min(LEAST_SIDE, size))
        samples = _lobe(index, size, side)
        directions, level, weight = (t.to(radiance) for t in samples)
        level = level.expand(1, len(directions), -1)
        found = look_up([texture, *smaller], directions[None], None, level, CUBE, gathered=True)[0]
        levels.append((weight[:, None] * found).sum(1).view(1, 6, side, side, 3))
    return EnvironmentMaps(tuple(levels))


@cache
def cube_directions(size: int) -> torch.Tensor:
    """Unit vectors (6 size^2, 3) float64 to the centres of the texels of a cube map; see ``engine/kernels/cube.py``."""
    return torch.nn.functional.normalize(cube_points(texel_centres(size)).view(-1, 3), dim=1)


def _lobe(index: int, size: int, side: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where a map's texels look, at which level of the cube map, and with which weights.

    Args:
        index: of the map; roughness is ``index / (N_ROUGHNESSES - 1)``, and the last is Lambertian.
        size, side: of the cube map, and of this map.
    Returns:
        (6 side^2, n, 3), (n,) and (n,).
    """
    n = min(SAMPLES[index], max(32, size * size // 2))
    u, turn = hammersley(n)
    if index < N_ROUGHNESSES:
        square = (index / (N_ROUGHNESSES - 1)) ** 4
        cos_half = ((1 - u) / (1 + (square - 1) * u)).sqrt()
        density = square / (math.pi * (1 - cos_half**2 * (1 - square)) ** 2) / 4  # of directions
        height = 2 * cos_half**2 - 1
    else:
        height = (1 - u).sqrt()
        density = height / math.pi
    is_above = height > 0
    height, turn, density = height[is_above], 2 * math.pi * turn[is_above], density[is_above]
    weight = torch.ones_like(height)
    if index < N_ROUGHNESSES:  # masking, for a view along the normal
        weight = 2 / (1 + ((square + (1 - square) * height**2).sqrt() / height))
    texel = 4 * math.pi / (6 * size * size)
    level = (0.5 * torch.log2(1 / (n * density * texel)) + BLUR).clamp(min=0)
    radius = (1 - height**2).clamp(min=0).sqrt()
    local = torch.stack([radius * turn.cos(), radius * turn.sin(), height], 1)
    towards = cube_directions(side)
    helper = torch.where(towards[:, 2:].abs() < 0.9, towards.new_tensor([0.0, 0, 1]), towards.new_tensor([1.0, 0, 0]))
    across = torch.linalg.cross(helper, towards)
    across = across / across.norm(dim=1, keepdim=True)
    frame = torch.stack([across, torch.linalg.cross(towards, across), towards], 1)
    return (local @ frame).float(), level.float(), (weight / weight.sum()).float()
