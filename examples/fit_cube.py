"""Find a cube, its corners and their colours, from pictures of 16 x 16 pixels, with nvdiffrast's functions.

python examples/fit_cube.py               # from pictures of 16 x 16 pixels
python examples/fit_cube.py --size 4      # smaller ones: needs more steps
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

import tirender.nvdiffrast.torch as dr
from tirender.transforms import random_rotations

SIDES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]  # corners, in turn
NEAR, FAR, DISTANCE, ZOOM = 1.0, 10.0, 3.5, 2.5


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=16, help="side of the pictures in pixels (default: 16)")
    parser.add_argument("--steps", type=int, default=500, help="steps of the fit (default: 500)")
    parser.add_argument("--views", type=int, default=4, help="pictures in a step (default: 4)")
    parser.add_argument("--output", type=Path, default=Path("out/fit_cube"), help="folder for the figure")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(0)
    corners = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5], device=args.device)] * 3)  # (8, 3)
    colors = corners + 0.5
    faces = [[side[0], *side[i : i + 2]] for side in SIDES for i in (1, 2)]
    faces = torch.tensor(faces, dtype=torch.int32, device=args.device)  # (12, 3)
    edges = dr.antialias_construct_topology_hash(faces)
    context = dr.RasterizeCudaContext()

    def render(corners: torch.Tensor, colors: torch.Tensor, rotations: torch.Tensor, size: int) -> torch.Tensor:
        """Pictures (N, size, size, 3) of a cube that is turned by rotations (N, 3, 3)."""
        clip = to_clip_space(corners @ rotations)
        rast, _ = dr.rasterize(context, clip, faces, (size, size))
        picture, _ = dr.interpolate(colors[None], rast, faces)
        return dr.antialias(picture, rast, clip, faces, edges)

    guess = (corners + torch.rand_like(corners) - 0.5).requires_grad_()
    guess_colors = torch.rand_like(colors).requires_grad_()
    optimizer = torch.optim.Adam([guess, guess_colors], lr=0.02)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.05 ** (1 / args.steps))
    shown = {int(args.steps * share) for share in (0, 0.04, 0.08, 0.15)} | {args.steps - 1}
    pose = random_rotations(1, device=args.device)
    way = []
    for step in range(args.steps):
        rotations = random_rotations(args.views, device=args.device)
        target = render(corners, colors, rotations, args.size)
        loss = (render(guess, guess_colors, rotations, args.size) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step in shown:
            way.append([render(guess, guess_colors, pose, size) for size in (args.size, 240)])
    way.append([render(corners, colors, pose, size) for size in (args.size, 240)])

    columns = [torch.cat([F.interpolate(p.permute(0, 3, 1, 2), 240) for p in reversed(pair)], 2) for pair in way]
    picture = torch.cat(columns, 3)[0].permute(1, 2, 0).flip(0)  # the first row that is rendered is the lowest
    plt.imsave(args.output / "way.png", picture.detach().clamp(0, 1).cpu().numpy())
    off = float((guess - corners).detach().norm(dim=1).mean())
    print(f"{args.output}: way; corners are off by {off:.4f} of a side of 1 on average")


def to_clip_space(points: torch.Tensor) -> torch.Tensor:
    """Points (N, V, 3) as a camera on the z axis sees them, (N, V, 4), in OpenGL's clip space."""
    x, y, z = points.unbind(2)
    depth = DISTANCE - z
    z_clip = (depth * (FAR + NEAR) - 2 * FAR * NEAR) / (FAR - NEAR)
    return torch.stack([ZOOM * x, ZOOM * y, z_clip, depth], 2)


if __name__ == "__main__":
    main()
