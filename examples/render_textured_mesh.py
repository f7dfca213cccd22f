"""Render a textured mesh: its texture, two lights, and a batch of 20 views (figures 4 to 6 of the tutorials).

python examples/render_textured_mesh.py                # tirender's creature
python examples/render_textured_mesh.py --mesh cow     # the tutorial's cow: from TIRENDER_DATA, or downloaded
python examples/render_textured_mesh.py --mesh my.obj  # any OBJ file with a texture
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
from tirender.io import load_objs_as_meshes
from tirender.renderer import (
    FoVPerspectiveCameras,
    MeshRasterizer,
    MeshRenderer,
    PointLights,
    RasterizationSettings,
    SoftPhongShader,
    look_at_view_transform,
)
from tirender.vis import image_grid, texturesuv_image_PIL


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="creature", help="creature, cow, or an OBJ file (default: creature)")
    parser.add_argument("--size", type=int, default=512, help="side of each image in pixels (default: 512)")
    parser.add_argument("--output", type=Path, default=Path("out/render_textured_mesh"), help="folder for the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    path = datasets.path_of(args.mesh)
    mesh = load_objs_as_meshes([path], device=args.device)
    texturesuv_image_PIL(mesh.textures, subsample=None).save(args.output / "figure4_texture.png")

    # The creature and the cow look towards -Z, so the camera and the first light are there.
    R, T = look_at_view_transform(dist=2.7, elev=0, azim=180)
    cameras = FoVPerspectiveCameras(R=R, T=T, device=args.device)
    in_front = PointLights(location=[[0.0, 0.0, -3.0]], device=args.device)
    behind = PointLights(location=[[0.0, 0.0, 3.0]], device=args.device)
    renderer = MeshRenderer(
        MeshRasterizer(cameras, RasterizationSettings(image_size=args.size)),
        SoftPhongShader(cameras=cameras, lights=in_front, device=args.device),
    )
    save(renderer(mesh), args.output / "figure5a_light_in_front.png")
    save(renderer(mesh, lights=behind), args.output / "figure5b_light_behind.png")

    # Cameras and lights given at the call replace the renderer's own: 20 views at once.
    elev, azim = torch.linspace(0, 180, 20), torch.linspace(-180, 180, 20)
    R, T = look_at_view_transform(dist=2.7, elev=elev, azim=azim)
    views = renderer(mesh.extend(20), cameras=FoVPerspectiveCameras(R=R, T=T, device=args.device))
    image_grid(views, rows=4, cols=5)
    plt.savefig(args.output / "figure6_batch.png")
    plt.close()
    print(f"{args.output}: " + ", ".join(sorted(file.name for file in args.output.glob("figure*.png"))))


def save(images: torch.Tensor, path: Path) -> None:
    """Write the first of the images (N, H, W, 4)."""
    plt.imsave(path, images[0, ..., :3].clamp(0, 1).cpu().numpy())


if __name__ == "__main__":
    main()
