"""A shader of your own, for cartoons: plain torch on packed fragments, with gradients for all that it computes.

python examples/custom_shader.py               # tirender's creature
python examples/custom_shader.py --mesh cow    # the tutorial's cow: from TIRENDER_DATA, or downloaded
python examples/custom_shader.py --mesh my.obj # any OBJ file with a texture
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
from torch import nn

from tirender import datasets
from tirender.io import load_objs_as_meshes
from tirender.ops import interpolate_face_attributes
from tirender.renderer import (
    BlendParams,
    FoVPerspectiveCameras,
    MeshRasterizer,
    MeshRenderer,
    RasterizationSettings,
    look_at_view_transform,
    softmax_rgb_blend,
)
from tirender.renderer.mesh.rasterizer import Fragments
from tirender.structures import Meshes


class CartoonShader(nn.Module):
    """Three shades of the texture's colours, by the angle to a distant light."""

    def __init__(self, light: Sequence[float], device: str) -> None:
        super().__init__()
        self.light = nn.Parameter(torch.tensor(light, device=device))  # the direction to the light

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: object) -> torch.Tensor:
        seen = fragments.packed  # (M, ...): a row for each pair of a pixel and a face that it sees
        corners = meshes.verts_normals_packed()[meshes.faces_packed()]  # (F, 3, 3)
        normals = interpolate_face_attributes(seen.pix_to_face, seen.bary_coords, corners)
        cosine = F.normalize(normals, dim=-1) @ F.normalize(self.light, dim=0)
        shade = 0.4 + 0.3 * torch.sigmoid(30 * cosine) + 0.3 * torch.sigmoid(30 * (cosine - 0.6))
        colors = meshes.sample_textures(seen) * shade[:, None]
        return softmax_rgb_blend(colors, seen, BlendParams(gamma=1e-3))  # (N, H, W, 4)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="creature", help="creature, cow, or an OBJ file (default: creature)")
    parser.add_argument("--size", type=int, default=512, help="side of the image in pixels (default: 512)")
    parser.add_argument("--steps", type=int, default=100, help="steps to find the light in (default: 100)")
    parser.add_argument("--output", type=Path, default=Path("out/custom_shader"), help="folder for the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    path = datasets.path_of(args.mesh)
    mesh = load_objs_as_meshes([path], device=args.device)
    R, T = look_at_view_transform(2.2, 10, 150)
    cameras = FoVPerspectiveCameras(R=R, T=T, device=args.device)
    rasterizer = MeshRasterizer(cameras, RasterizationSettings(image_size=args.size))

    truth = MeshRenderer(rasterizer, CartoonShader([1.0, 1.0, -0.5], args.device))
    with torch.no_grad():
        drawing = truth(mesh)
    save(drawing, args.output / "drawing.png")

    # Where was the light? The shader has gradients, so an optimizer can find it.
    guess = MeshRenderer(rasterizer, CartoonShader([0.0, 0.0, -1.0], args.device))
    save(guess(mesh), args.output / "first_guess.png")
    optimizer = torch.optim.Adam(guess.parameters(), lr=0.05)
    for _ in range(args.steps):
        optimizer.zero_grad()
        loss = (guess(mesh) - drawing)[..., :3].square().mean()
        loss.backward()
        optimizer.step()
    save(guess(mesh), args.output / "last_guess.png")
    cosine = F.cosine_similarity(guess.shader.light, truth.shader.light, dim=0).clamp(-1, 1)
    angle = float(cosine.detach().acos().rad2deg())
    print(f"{args.output}: drawing, first_guess, last_guess; the light is found to {angle:.2f} degrees")


def save(images: torch.Tensor, path: Path) -> None:
    """Write the first of the images (N, H, W, 4)."""
    plt.imsave(path, images[0, ..., :3].detach().clamp(0, 1).cpu().numpy())


if __name__ == "__main__":
    main()
