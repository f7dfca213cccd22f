"""Render a coloured point cloud on black and on blue (figure 7 of the tutorials), and as a batch of views.

python examples/render_point_cloud.py                      # tirender's harbour, 100 thousand points
python examples/render_point_cloud.py --cloud bridge       # the tutorial's bridge: from TIRENDER_DATA, or downloaded
python examples/render_point_cloud.py --cloud motorcycle   # from a stereo camera, 343 thousand points: scikit-image has
                                                           # or downloads it (pip install scikit-image pooch)
python examples/render_point_cloud.py --cloud my.ply       # any PLY or NPZ file with colours
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
from tirender.io import IO
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
        "--cloud", default="harbour", help="harbour, bridge, motorcycle, or a PLY or NPZ file (default: harbour)"
    )
    parser.add_argument("--size", type=int, default=512, help="side of each image in pixels (default: 512)")
    parser.add_argument("--radius", type=float, default=0.012, help="of points; half the image is 1 (default: 0.012)")
    parser.add_argument("--output", type=Path, default=Path("out/render_point_cloud"), help="folder for the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    if args.cloud == "motorcycle":
        cloud = centred(motorcycle(args.device))
    else:
        path = datasets.path_of(args.cloud)
        cloud = centred(IO().load_pointcloud(path, device=args.device))

    elev, azim = {"harbour": (28, 170), "motorcycle": (0, 180)}.get(args.cloud, (10, 0))
    R, T = look_at_view_transform(20, elev, azim)
    cameras = FoVOrthographicCameras(R=R, T=T, znear=0.01, device=args.device)
    settings = PointsRasterizationSettings(image_size=args.size, radius=args.radius, points_per_pixel=10)
    rasterizer = PointsRasterizer(cameras, settings)
    save(PointsRenderer(rasterizer, AlphaCompositor())(cloud), args.output / "figure7a_black.png")
    on_blue = PointsRenderer(rasterizer, AlphaCompositor(background_color=(0, 0, 1)))
    save(on_blue(cloud), args.output / "figure7b_blue.png")

    # Cameras and background given at the call replace the renderer's own: 8 views at once.
    R, T = look_at_view_transform(20, elev, azim + torch.arange(8) * 45.0)
    cameras = FoVOrthographicCameras(R=R, T=T, znear=0.01, device=args.device)
    views = on_blue(cloud.extend(8), cameras=cameras, background_color=1.0)
    image_grid(views, rows=2, cols=4)
    plt.savefig(args.output / "views.png")
    plt.close()
    print(f"{args.output}: " + ", ".join(sorted(file.name for file in args.output.glob("*.png"))))


def motorcycle(device: str) -> Pointclouds:
    """A scene of the Middlebury stereo benchmark, in the view space of its left camera."""
    from skimage.data import stereo_motorcycle

    image, _, disparity = (torch.from_numpy(array) for array in stereo_motorcycle())
    v, u = torch.nonzero(disparity.isfinite(), as_tuple=True)
    depth = 994.978 * 0.193001 / (disparity[v, u] + 31.086)  # focal length and baseline; the calibration is in pixels
    x, y = -(u - 311.193) * depth / 994.978, -(v - 254.877) * depth / 994.978  # +X is left, +Y up
    points, colors = torch.stack([x, y, depth], dim=1), image[v, u] / 255
    return Pointclouds([points.float().to(device)], features=[colors.to(device)])


def centred(cloud: Pointclouds) -> Pointclouds:
    """The cloud, moved and scaled so that an orthographic camera sees all of it from every side."""
    box = cloud.get_bounding_boxes()[0]
    points = cloud.points_packed() - box.mean(1)
    return cloud.update_padded(points[None] / points.norm(dim=1).max())


def save(images: torch.Tensor, path: Path) -> None:
    """Write the first of the images (N, H, W, 3 or 4)."""
    plt.imsave(path, images[0, ..., :3].clamp(0, 1).cpu().numpy())


if __name__ == "__main__":
    main()
