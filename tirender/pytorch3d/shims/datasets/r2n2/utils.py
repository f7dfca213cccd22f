"""Cameras, voxels and batches of the R2N2 dataset (Choy et al. 2016)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import IO, Any

import torch

from tirender.checks import FLOATS, check_tensor, fail
from tirender.ops import cubify
from tirender.pytorch3d.shims.common.datatypes import Device
from tirender.pytorch3d.shims.datasets.shapenet_base import render_meshes
from tirender.pytorch3d.shims.datasets.utils import collate_batched_meshes
from tirender.renderer import HardPhongShader, TexturesVertex
from tirender.renderer.cameras_base import IDENTITY_R, ZERO_T, CamerasBase
from tirender.transforms import Transform3d

SHAPENET_MIN_ZMIN, SHAPENET_MAX_ZMAX = 0.67, 0.92
"""The nearest and the farthest depth of all models, seen by all cameras of the dataset."""
CUBIFY_THRESH = 0.2
"""A voxel is occupied from this value on."""
_IDENTITY_K = (((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0)),)


def collate_batched_R2N2(batch: Sequence[dict[str, Any]] | None) -> dict[str, Any] | None:
    """As :func:`collate_batched_meshes`, with images, cameras and voxels stacked.

    "images", "R", "T", "K" and "voxels" have one entry a view. They stay lists, with a warning, if models differ in the
    number of views.
    """
    collated = collate_batched_meshes(batch) or {}
    views = {key: collated[key] for key in ("images", "R", "T", "K", "voxels") if key in collated}
    uneven = [key for key, values in views.items() if len({value.shape for value in values}) > 1]
    if uneven:
        warnings.warn(f"the models differ in their {', '.join(uneven)}, which stay lists", stacklevel=2)
    collated.update({key: torch.stack(values) for key, values in views.items() if key not in uneven})
    return collated or None


def compute_extrinsic_matrix(azimuth: float, elevation: float, distance: float) -> torch.Tensor:
    """The matrix (4, 4) from world to view space, for column vectors, of Blender's camera that looks at the origin.

    Args:
        azimuth: in degrees, from +X at 0 to +Z at 90.
        elevation: in degrees above the plane of X and Z.
        distance: from the origin, in world units. The camera looks along its -Z.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    right = torch.tensor([math.sin(a), 0.0, -math.cos(a)])
    backward = torch.tensor([math.cos(a) * math.cos(e), math.sin(e), math.sin(a) * math.cos(e)])
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.stack([right, torch.linalg.cross(backward, right), backward])
    matrix[2, 3] = -distance
    return matrix


def read_binvox_coords(f: IO[bytes], integer_division: bool = True, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The occupied voxels of a binvox file, as x, y and z in voxels.

    Args:
        f: the file, open for reading bytes.
        integer_division: ignored; the coordinates are whole numbers.
        dtype: of the result.
    Returns:
        (n, 3), in the order of the file: y runs fastest, then z.
    Raises:
        ValueError: if it is no binvox file, or holds more or fewer voxels than it says.
    """
    side = _binvox_side(f)
    values, counts = torch.frombuffer(bytearray(f.read()), dtype=torch.uint8).long().reshape(-1, 2).unbind(1)
    if int(counts.sum()) != side**3:
        fail("f", f"runs of {side}^3 voxels", int(counts.sum()))
    index = values.bool().repeat_interleave(counts).nonzero()[:, 0]
    return torch.stack([index // side**2, index % side, index // side % side], 1).to(dtype)


def _binvox_side(f: IO[bytes]) -> int:
    """Read the header of a binvox file; return the number of voxels along each axis."""
    if not f.readline(256).startswith(b"#binvox"):
        fail("f", "a binvox file", "no #binvox in its first line")
    sides: list[bytes] = []
    for _ in range(16):
        words = f.readline(256).split()
        if words[:1] == [b"dim"]:
            sides = words[1:]
        elif words == [b"data"]:
            break
    if len(sides) != 3 or len({*sides}) != 1 or not sides[0].isdigit() or not 1 <= int(sides[0]) <= 4096:
        fail("f", "a cube of voxels, at most 4096 a side", sides)
    return int(sides[0])


def align_bbox(src: torch.Tensor, tgt: torch.Tensor) -> torch.Tensor:
    """Move and scale points (P, 3) along each axis so that their bounding box is that of points (Q, 3).

    Raises:
        ValueError: if one of them is no tensor (n, 3).
    """
    check_tensor("src", src, ("P", 3), FLOATS)
    check_tensor("tgt", tgt, ("Q", 3), FLOATS)
    low, low_tgt = src.amin(0), tgt.amin(0)
    return (src - low) * ((tgt.amax(0) - low_tgt) / (src.amax(0) - low)) + low_tgt


def voxelize(voxel_coords: torch.Tensor, P: torch.Tensor, V: int) -> torch.Tensor:
    """The voxels that points occupy in a camera's view.

    Args:
        voxel_coords: (n, 3) points in world space.
        P: (4, 4), projection for column vectors: x and y from -1 to 1, z from 0.67 to 0.92.
        V: voxels along each axis.
    Returns:
        (V, V, V) uint8, 1 where occupied, along z, y and -x. Points outside are left out.
    """
    x, y, z = project_verts(voxel_coords, P).unbind(1)
    depth = (z - SHAPENET_MIN_ZMIN) / (SHAPENET_MAX_ZMAX - SHAPENET_MIN_ZMIN)
    cells = (torch.stack([depth, (1 + y) / 2, (1 - x) / 2], 1) * V).floor().long()
    cells = cells[((cells >= 0) & (cells < V)).all(1)]
    voxels = torch.zeros(V, V, V, dtype=torch.uint8, device=voxel_coords.device)
    voxels[cells.unbind(1)] = 1
    return voxels


def project_verts(verts: torch.Tensor, P: torch.Tensor, eps: float = 1e-1) -> torch.Tensor:
    """Transform points by a projection, and divide by the homogeneous coordinate.

    Args:
        verts: (V, 3) or (N, V, 3).
        P: (4, 4) or (N, 4, 4), for column vectors.
        eps: the least size of the divisor.
    Returns:
        (V, 3) or (N, V, 3); differentiable.
    """
    homogeneous = torch.nn.functional.pad(verts, (0, 1), value=1) @ P.mT
    w = homogeneous[..., 3:]
    return homogeneous[..., :3] / torch.where(w < 0, w.clamp(max=-eps), w.clamp(min=eps))


class BlenderCamera(CamerasBase):
    """Cameras with any projection matrix, as Blender has rendered the images of R2N2.

    Args:
        R: (N, 3, 3), rotations from world to view space.
        T: (N, 3), translations from world to view space.
        K: (N, 4, 4), projections from view space to NDC, for column vectors.
        device: of the tensors.
    """

    K: torch.Tensor
    _FIELDS = ("R", "T", "K")

    def __init__(self, R: Any = IDENTITY_R, T: Any = ZERO_T, K: Any = _IDENTITY_K, device: Device = "cpu") -> None:
        super().__init__(R=R, T=T, K=K, device=device)

    def get_projection_transform(self, **kwargs: Any) -> Transform3d:
        """The transform from view space to NDC; ``K`` may be overridden."""
        return Transform3d(matrix=self._parameter("K", kwargs).transpose(1, 2))

    def is_perspective(self) -> bool:
        """False: depth is not interpolated."""
        return False

    def in_ndc(self) -> bool:
        """True."""
        return True

    def _check_matrix(self, K: torch.Tensor) -> torch.Tensor:
        return check_tensor("K", K, ("N", 4, 4), FLOATS)


def render_cubified_voxels(
    voxels: torch.Tensor, shader_type: Any = HardPhongShader, device: Device = "cpu", **kwargs: Any
) -> torch.Tensor:
    """Render the cubes of occupied voxels in white.

    Args:
        voxels: (N, D, H, W) occupancies.
        shader_type: class of the shader.
        device: where to render.
        kwargs: ``cameras``, ``raster_settings`` and ``lights`` replace the defaults.
    Returns:
        (N, H, W, 4).
    """
    meshes = cubify(voxels, CUBIFY_THRESH).to(device)
    meshes.textures = TexturesVertex(torch.ones_like(meshes.verts_padded()))
    return render_meshes(meshes, shader_type, device, **kwargs)
