"""Render a coloured point cloud on black and on blue (figure 7 of the tutorials), and as a batch of views.

python examples/render_point_cloud.py                   # points from the surface of tirender's creature
python examples/render_point_cloud.py --cloud bridge    # the tutorial's bridge: from TIRENDER_DATA, or downloaded
python examples/render_point_cloud.py --cloud my.ply    # any PLY or NPZ file with colours
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch

from tirender import datasets
from tirender.io import IO, load_objs_as_meshes
from tirender.ops import sample_points_from_meshes
from tirender.renderer import (
    AlphaCompositor,
    FoVOrthographicCameras,
    PointsRasterizationSettings,
    PointsRasterizer,
    PointsRenderer,
    look_at_view_transform,
)
from tirender.structures import Pointclouds
from tirender.vis import image_grid


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cloud", default="creature", help="creature, bridge, or a PLY or NPZ file (default: creature)"
    )
    parser.add_argument("--size", type=int, default=512, help="side of each image in pixels (default: 512)")
    parser.add_argument("--radius", type=float, default=0.008, help="of points; half the image is 1 (default: 0.008)")
    parser.add_argument("--output", type=Path, default=Path("out/render_point_cloud"), help="folder for the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    if args.cloud == "creature":
        cloud = centred(points_of_the_creature(args.device))
    else:
        path = datasets.bridge() if args.cloud == "bridge" else args.cloud
        cloud = centred(IO().load_pointcloud(path, device=args.device))

    R, T = look_at_view_transform(20, 10, 150 if args.cloud == "creature" else 0)
    cameras = FoVOrthographicCameras(R=R, T=T, znear=0.01, device=args.device)
    settings = PointsRasterizationSettings(image_size=args.size, radius=args.radius, points_per_pixel=10)
    rasterizer = PointsRasterizer(cameras, settings)
    save(PointsRenderer(rasterizer, AlphaCompositor())(cloud), args.output / "figure7a_black.png")
    on_blue = PointsRenderer(rasterizer, AlphaCompositor(background_color=(0, 0, 1)))
    save(on_blue(cloud), args.output / "figure7b_blue.png")

    # Cameras and background of a call replace the renderer's own: 8 views in one go.
    R, T = look_at_view_transform(20, 10, torch.arange(8) * 45.0)
    cameras = FoVOrthographicCameras(R=R, T=T, znear=0.01, device=args.device)
    views = on_blue(cloud.extend(8), cameras=cameras, background_color=1.0)
    image_grid(views, rows=2, cols=4)
    plt.savefig(args.output / "views.png")
    plt.close()
    print(f"{args.output}: " + ", ".join(sorted(file.name for file in args.output.glob("*.png"))))


def points_of_the_creature(device: str) -> Pointclouds:
    """100 000 points from its surface, with the colours of its texture."""
    mesh = load_objs_as_meshes([datasets.creature()], device=device)
    points, colors = sample_points_from_meshes(mesh, 100_000, return_textures=True)
    return Pointclouds(points, features=colors)


def centred(cloud: Pointclouds) -> Pointclouds:
    """The cloud moved and scaled so that an orthographic camera sees it whole from everywhere."""
    box = cloud.get_bounding_boxes()[0]
    points = cloud.points_packed() - box.mean(1)
    return cloud.update_padded(points[None] / points.norm(dim=1).max())


def save(images: torch.Tensor, path: Path) -> None:
    """Write the first of the images (N, H, W, 3 or 4)."""
    plt.imsave(path, images[0, ..., :3].clamp(0, 1).cpu().numpy())


if __name__ == "__main__":
    main()
