"""A program that prints how much memory torch and Taichi take, and then renders an image."""

from __future__ import annotations

import json
import sys

import tirender
from tirender import datasets
from tirender.bench.memory import peak_memory
from tirender.io import load_objs_as_meshes
from tirender.renderer import (
    FoVPerspectiveCameras,
    MeshRasterizer,
    MeshRenderer,
    RasterizationSettings,
    SoftPhongShader,
    look_at_view_transform,
)


def main(arch: str, device: str) -> None:
    """Run the program.

    Args:
        arch: of the runtime.
        device: of tensors.
    """
    tirender.init(arch)
    print(json.dumps(peak_memory()))
    R, T = look_at_view_transform(2.7, 10.0, 150.0)
    cameras = FoVPerspectiveCameras(R=R, T=T, device=device)
    rasterizer = MeshRasterizer(cameras, RasterizationSettings(image_size=64))
    renderer = MeshRenderer(rasterizer, SoftPhongShader(device=device, cameras=cameras))
    renderer(load_objs_as_meshes([datasets.creature()], device=device))


if __name__ == "__main__":
    main(*sys.argv[1:])
