"""Recover the material of the creature, and the light of a studio around it, from 40 renders.

python examples/fit_material.py                    # as rough as painted wood
python examples/fit_material.py --roughness 0.35 --metallic 1
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch

from tirender import datasets
from tirender.fit import MaterialConfig, fit_material, normalized, render_lit_views
from tirender.fit.callbacks import save_figure
from tirender.fit.material import material_renderer
from tirender.fit.quality import image_psnr
from tirender.io import IO, save_environment
from tirender.io.display import display_mesh
from tirender.io.reading import read_mesh_file
from tirender.renderer import studio_lights
from tirender.vis import plot_losses


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roughness", type=float, default=0.3, help="of the creature (default: 0.3)")
    parser.add_argument("--metallic", type=float, default=0.0, help="of the creature (default: 0)")
    parser.add_argument("--views", type=int, default=40, help="number of renders (default: 40)")
    parser.add_argument("--steps", type=int, default=1000, help="steps of the fit (default: 1000)")
    parser.add_argument("--size", type=int, default=128, help="side of each view in pixels (default: 128)")
    parser.add_argument("--output", type=Path, default=Path("out/fit_material"), help="folder for the results")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    file = read_mesh_file(datasets.creature())
    made = {"metallic": args.metallic, "roughness": args.roughness}
    file = replace(file, materials=tuple(replace(material, **made) for material in file.materials))
    mesh, _, _ = normalized(display_mesh(file, args.device))
    views = render_lit_views(mesh, args.views, args.size)  # in a studio
    run = fit_material(views, mesh, MaterialConfig(steps=args.steps))

    model = run.module
    fitted = model.finished()
    with torch.no_grad():
        surroundings, renderer = model.surroundings(), material_renderer(views.image_size, model)
        pictures = {
            "render": views.images[1],
            "fitted": renderer(fitted, cameras=views.cameras[1])[0, ..., :3],
            "light of the studio": studio_lights(16).to(args.device).picture(64),
            "light that was found": surroundings.picture(64),
        }
        psnr = image_psnr(fitted, renderer, views)
        found, true = (_lambertian(lights) for lights in (surroundings, studio_lights().to(args.device)))
    _, axes = plt.subplots(2, 2, figsize=(9, 7))
    for axis, (title, picture) in zip(axes.flat, pictures.items()):
        axis.imshow(picture.clamp(0, 1).cpu().numpy())
        axis.set_title(title)
        axis.axis("off")
    save_figure(args.output / "comparison.png")
    plot_losses(run.history)
    save_figure(args.output / "losses.png")
    save_environment(args.output / "environment.hdr", surroundings.picture())
    IO().save_mesh(fitted, args.output / "mesh.glb")
    metallic, roughness = model.metallic_roughness[0, 0].tolist()
    light = float(torch.corrcoef(torch.stack([found, true]))[0, 1])
    print(
        f"{args.output}: mesh.glb, environment.hdr, figures; roughness {roughness:.2f} ({args.roughness:g}), "
        f"metallic {metallic:.2f} ({args.metallic:g}), correlation of light {light:.3f}, PSNR {psnr:.1f} dB"
    )


def _lambertian(lights: torch.nn.Module) -> torch.Tensor:
    """How bright Lambertian surfaces are that look in directions all around."""
    steps = torch.linspace(-1, 1, 9)
    towards = torch.cartesian_prod(steps, steps, steps).to(lights.radiance)
    return lights.maps().scattered(towards[towards.norm(dim=1) > 0.1]).mean(1)


if __name__ == "__main__":
    main()
