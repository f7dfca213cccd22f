"""Cameras that are fitted together with a scene: small turns, shifts and zooms of given ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from tirender.captures import Capture
from tirender.checks import FLOATS, check_tensor, fail
from tirender.fit.photos import pinholes
from tirender.ops.cameras_alignment import align_extrinsics
from tirender.renderer import PerspectiveCameras
from tirender.transforms import so3_exp_map

REFINED_FROM = 0.2  # the fraction of the steps before which a scene has no shape yet, and cameras stay
SLOW_ZOOM = 0.1  # of the learning rate
MAX_ZOOM = 5.0  # the logarithm of a factor, in a file
FINAL_RATE = 0.05  # of the learning rate, at the last step
LEAST_DEPTH = 0.1  # of what a camera sees, in units of the reach of all


class CameraRefinement(nn.Module):
    """Small changes of N pinhole cameras, none at first; ``forward(index)`` returns the changed ones.

    A camera turns about the place on its axis at the depth of what it sees, by the exponential of a rotation vector
    along its own axes, and shifts along these. So a turn shows the scene from another side, and a shift moves it in the
    image. A turn about the camera's own centre would move it, too, and be all but told apart from a shift: an optimizer
    that scales each number by itself finds them the better the less they have in common (Park et al., "CamP", 2023).
    Cameras of the same focal lengths share a lens, whose zoom multiplies both.

    Args:
        cameras: N cameras, with intrinsics in NDC.
        depths: (N,), of what each camera sees, in world units.
    Attributes:
        depths: as given.
        turns: (N, 3), in radians.
        shifts: (N, 3), in units of the depth.
        zooms: (L,), the logarithm of each lens's factor.
    """

    depths: torch.Tensor
    lens: torch.Tensor

    def __init__(self, cameras: PerspectiveCameras, depths: torch.Tensor) -> None:
        super().__init__()
        self.cameras = cameras.clone()
        check_tensor("depths", depths, (len(cameras.T),), FLOATS)
        self.register_buffer("depths", depths.detach().to(cameras.T).clone())
        focal = cameras.focal_length.detach()
        self.focal_lengths, lens = focal.unique(dim=0, return_inverse=True)
        self.register_buffer("lens", lens, persistent=False)
        self.turns, self.shifts = (nn.Parameter(focal.new_zeros(len(focal), 3)) for _ in range(2))
        self.zooms = nn.Parameter(focal.new_zeros(len(self.focal_lengths)))

    def forward(self, index: Sequence[int] | torch.Tensor | None = None) -> PerspectiveCameras:
        """The cameras of an index, or all of them; differentiable in the changes."""
        own = self.cameras
        rows = torch.arange(len(self.turns)) if index is None else torch.as_tensor(index)
        rows = rows.to(self.turns.device)
        parts = (own.R, own.T, self.turns, self.shifts, self.depths)
        R, T, turns, shifts, depths = (v.index_select(0, rows) for v in parts)
        pivots = torch.stack([torch.zeros_like(depths), torch.zeros_like(depths), depths], 1)  # in view space
        turned = so3_exp_map(turns)
        T = ((T - pivots)[:, None] @ turned)[:, 0] + pivots - depths[:, None] * shifts
        R = R @ turned
        focal = own.focal_length.index_select(0, rows) * self.zoom(rows)[:, None]
        return PerspectiveCameras(focal, own.principal_point.index_select(0, rows), R, T, device=T.device)

    def zoom(self, rows: torch.Tensor) -> torch.Tensor:
        """(R,) the factor of the focal lengths of cameras."""
        return self.zooms.index_select(0, self.lens.index_select(0, rows)).exp()

    def moved(self, others: PerspectiveCameras) -> PerspectiveCameras:
        """Other cameras of the same world, where the world has gone with the refined ones.

        They move by the similarity that leads from the given cameras to the refined ones. Their focal lengths are
        multiplied as those of the same lens, or by the mean factor.
        """
        with torch.no_grad():
            refined = self()
            rotation, translation, scale = align_extrinsics(self.cameras, refined, len(self.turns) > 1)
            found = others.clone()
            found.R = rotation @ others.R
            found.T = translation @ others.R + scale * others.T
            is_lens = (others.focal_length[:, None] == self.focal_lengths).all(-1).to(self.zooms)
            n = is_lens.sum(1)
            logarithm = torch.where(n > 0, is_lens @ self.zooms / n.clamp(min=1), self.zooms.mean())
            found.focal_length = others.focal_length * logarithm.exp()[:, None]
        return found

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Refuse numbers of a file that no camera has, before the module takes them."""
        depths, zooms = (state_dict.get(prefix + name) for name in ("depths", "zooms"))
        if isinstance(depths, torch.Tensor) and depths.numel() and not float(depths.min()) > 0:
            fail(f"{prefix}depths", "numbers above 0", float(depths.min()))
        if isinstance(zooms, torch.Tensor) and zooms.numel() and not float(zooms.abs().max()) <= MAX_ZOOM:
            fail(f"{prefix}zooms", f"at most {MAX_ZOOM} either way", float(zooms.abs().max()))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The groups of these parameters for an optimizer: places and directions, and zooms.

        A zoom and the depth of the scene look almost alike, and each step moves a zoom that all cameras share. So it
        learns slower.
        """
        return [{"params": [self.turns, self.shifts], "lr": lr}, {"params": [self.zooms], "lr": SLOW_ZOOM * lr}]


def rate_of_cameras(step: int, steps: int) -> float:
    """The factor of the cameras' learning rate: 0 at first, then 1, which falls geometrically."""
    done = step / max(steps, 1)
    return 0.0 if done < REFINED_FROM else FINAL_RATE ** ((done - REFINED_FROM) / (1 - REFINED_FROM))


def refinement_of(photos: Capture) -> CameraRefinement:
    """The refinement of the cameras of photos, all of them pinholes."""
    return CameraRefinement(as_pinholes(photos), depths_of(photos))


def depths_of(photos: Capture) -> torch.Tensor:
    """(N,) the depth of what each camera sees: the median of the points in its image.

    Of a camera that sees none, it is the depth of what all cameras look at; where that is not ahead, its distance.
    """
    bounds, R = photos.bounds, photos.cameras.R.detach()
    away, least = bounds.middle - photos.cameras.get_camera_center().detach(), LEAST_DEPTH * bounds.reach
    ahead = (away * R[:, :, 2]).sum(1)
    depths = torch.where(ahead > least, ahead, away.norm(dim=1).clamp(min=least))
    if photos.points is None:
        return depths
    of_points = photos.seen_depths().nanmedian(1).values
    return torch.where(of_points > 0, of_points, depths)  # NaN is not


def refined_viewmats(refinement: CameraRefinement, photos: Sequence[int], viewmats: torch.Tensor) -> torch.Tensor:
    """View matrices of refined cameras, to be used with the intrinsics of the given ones.

    A zoom by f is the same as view matrices whose x and y are multiplied by f. So splatting, which has no gradient in
    intrinsics, has one in the zoom.

    Args:
        refinement: of the cameras.
        photos: I numbers of cameras.
        viewmats: (I, 4, 4) those of the given cameras, only for their kind of numbers.
    """
    cameras = refinement(photos)
    rows = torch.cat([cameras.R, cameras.T[:, None]], 1).transpose(1, 2) * cameras.T.new_tensor([-1, -1, 1])[:, None]
    zoom = refinement.zoom(torch.as_tensor(photos).to(rows.device))
    rows = rows * torch.stack([zoom, zoom, torch.ones_like(zoom)], 1)[..., None]
    return torch.cat([rows, rows.new_tensor([0, 0, 0, 1]).expand(len(rows), 1, 4)], 1).to(viewmats)


def as_pinholes(photos: Capture) -> PerspectiveCameras:
    """The cameras of photos, with intrinsics in NDC.

    Raises:
        ValueError: they are no pinholes.
    """
    viewmats, intrinsics = pinholes(photos)
    size = torch.tensor(photos.sizes).to(intrinsics).flip(1)  # width and height
    half = size.amin(1, keepdim=True) / 2
    focal = intrinsics[:, (0, 1), (0, 1)] / half
    principal = (size / 2 - intrinsics[:, :2, 2]) / half
    to_view = viewmats.transpose(1, 2) @ viewmats.new_tensor([-1, -1, 1, 1]).diag()
    R, T = to_view[:, :3, :3].contiguous(), to_view[:, 3, :3].contiguous()
    return PerspectiveCameras(focal, principal, R, T, device=T.device)


def refined_record(record: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint keeps of cameras, changed by the parameters of their refinement, if there are any.

    Args:
        record: as of :func:`~tirender.fit.views.camera_record`.
        parameters: of the fitted module.
    Raises:
        ValueError: they do not fit together.
    """
    prefix = "refinement."
    own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    if not own:
        return dict(record)
    n = len(check_tensor("cameras R", record["R"], ("N", 3, 3)))
    shapes = {"T": (n, 3), "focal": (n, 2), "principal": (n, 2)}
    T, focal, principal = (check_tensor(f"cameras {name}", record[name], shape) for name, shape in shapes.items())
    cameras = PerspectiveCameras(focal, principal, record["R"], T, device=T.device)
    refinement = CameraRefinement(cameras, torch.ones_like(T[:, 0]))
    refinement.load_state_dict(own)
    with torch.no_grad():
        found = refinement.to(T.device)()
    return {**record, "R": found.R, "T": found.T, "focal": found.focal_length}
