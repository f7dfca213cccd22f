"""Find the position of a camera from a single image that it took, and watch it move there.

python examples/fit_camera_pose.py                    # tirender's creature
python examples/fit_camera_pose.py --mesh cow         # the tutorial's cow: from TIRENDER_DATA, or downloaded
python examples/fit_camera_pose.py --preview window   # or web, or video
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import torch
import torch.nn.functional as F
from torch import nn

from tirender import datasets
from tirender.fit import Preview, normalized
from tirender.fit.callbacks import save_figure
from tirender.io import load_objs_as_meshes
from tirender.renderer import (
    BlendParams,
    FoVPerspectiveCameras,
    MeshRasterizer,
    MeshRenderer,
    RasterizationSettings,
    SoftSilhouetteShader,
    camera_position_from_spherical_angles,
    look_at_rotation,
)
from tirender.vis import image_grid, plot_losses


class CameraPose(nn.Module):
    """A camera that looks at the origin; its position is a parameter."""

    def __init__(self, position: torch.Tensor) -> None:
        super().__init__()
        self.position = nn.Parameter(position.clone())  # (1, 3)

    def forward(self) -> FoVPerspectiveCameras:
        R = look_at_rotation(self.position, device=self.position.device)  # (1, 3, 3)
        T = -(self.position[:, None] @ R)[:, 0]  # (1, 3)
        return FoVPerspectiveCameras(R=R, T=T, device=self.position.device)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesh", default="creature", help="creature, cow, or an OBJ file (default: creature)")
    parser.add_argument("--steps", type=int, default=100, help="steps of the fit (default: 100)")
    parser.add_argument("--size", type=int, default=256, help="side of the image in pixels (default: 256)")
    parser.add_argument("--output", type=Path, default=Path("out/fit_camera_pose"), help="folder for the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--preview", choices=("window", "web", "video"), help="watch the fit")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    path = datasets.path_of(args.mesh)
    mesh, _, _ = normalized(load_objs_as_meshes([path], device=args.device))
    render = silhouette_renderer(args.size)
    truth = camera_position_from_spherical_angles(3.0, 30.0, 140.0, device=args.device)
    with torch.no_grad():
        target = (render(mesh, cameras=CameraPose(truth)())[..., 3] > 0.5).float()

    pose = CameraPose(camera_position_from_spherical_angles(4.0, 50.0, 90.0, device=args.device))
    optimizer = torch.optim.Adam(pose.parameters(), lr=0.1)
    preview = Preview(args.preview, steps=args.steps, path=args.output) if args.preview else None
    history: dict[str, list[float]] = {"silhouette": []}
    way = []
    for step in range(args.steps):
        optimizer.zero_grad()
        silhouette = render(mesh, cameras=pose())[..., 3]
        loss = (silhouette - target).square().mean()
        loss.backward()
        optimizer.step()
        history["silhouette"].append(float(loss.detach()))
        both = compared(silhouette, target)
        if step % max(args.steps // 20, 1) == 0:  # of the first steps, where most happens
            way.append(both)
        if preview and not preview.update(step, {"silhouette": loss}, {"silhouettes": both}):
            break
    if preview:
        preview.close()

    image_grid(way[:8], rows=2, cols=4)
    save_figure(args.output / "way.png")
    plot_losses(history)
    save_figure(args.output / "losses.png")
    angle = F.cosine_similarity(pose.position, truth)[0].clamp(-1, 1).detach().acos().rad2deg()
    distance = float((pose.position - truth).detach().norm())
    loss = history["silhouette"][-1]
    print(f"{args.output}: way, losses; off by {distance:.3f} of 3.0 and {float(angle):.2f} degrees; loss {loss:.6f}")


def silhouette_renderer(size: int) -> MeshRenderer:
    """A renderer soft enough for outlines to move towards each other."""
    blend = BlendParams(sigma=1e-4)
    settings = RasterizationSettings(image_size=size, blur_radius=9.21 * blend.sigma, faces_per_pixel=None)
    return MeshRenderer(MeshRasterizer(raster_settings=settings), SoftSilhouetteShader(blend))


def compared(silhouette: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """An image (H, W, 3): the prediction in orange and the target in blue, on white; dark where they agree."""
    missing = silhouette.new_tensor([[0.0, 0.35, 0.8], [0.8, 0.4, 0.0]])  # what each subtracts from white
    return 1 - silhouette.detach()[0, ..., None] * missing[0] - target[0, ..., None] * missing[1]


if __name__ == "__main__":
    main()
