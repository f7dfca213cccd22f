"""The command line: ``tirender render`` and ``tirender info``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHADERS = ("phong", "gouraud", "flat", "silhouette", "depth", "normal")
ANIMATED = (".gif", ".png", ".webp")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; ``sys.argv[1:]`` by default.
    Returns:
        The exit code: 0, or 2 with one line on stderr where an argument or a file is at fault.
    """
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"tirender {args.command}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    import tirender

    parser = argparse.ArgumentParser(
        prog="tirender",
        description="Differentiable rendering of meshes. Start with: tirender render",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tirender {tirender.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    render = commands.add_parser(
        "render",
        help="draw a mesh file as a picture or a turntable",
        description="Draw a mesh file (OBJ, PLY, OFF, GLB, glTF); without a file, tirender's own creature.",
        epilog=(
            "examples:\n"
            "  tirender render -o creature.png\n"
            "  tirender render cow.obj -o cow.png --size 1024 --azimuth 150 --light 0 2 -3\n"
            "  tirender render cow.obj -o cow.gif --turntable 36 --size 256\n"
            "  tirender render scan.ply -o depth.png --shader depth"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    render.add_argument("mesh", nargs="?", help="the mesh file (default: the creature that comes with tirender)")
    render.add_argument("-o", "--output", default="out.png", help="the picture to write (default: %(default)s)")
    render.add_argument("--size", type=int, nargs="+", default=[512], metavar="PX", help="side, or height and width")
    render.add_argument("--shader", choices=SHADERS, default="phong", help="what is shown (default: %(default)s)")
    render.add_argument(
        "--turntable", type=int, metavar="N", help="N views around the mesh, as an animation (GIF, PNG, WebP)"
    )
    view = render.add_argument_group("camera (looks at the mesh, which is centred and scaled to fit in [-1, 1])")
    view.add_argument("--distance", type=float, default=2.7, help="from the centre (default: %(default)s)")
    view.add_argument("--elevation", type=float, default=10.0, metavar="DEG", help="above the ground plane")
    view.add_argument("--azimuth", type=float, default=150.0, metavar="DEG", help="0 looks from +Z, 180 from -Z")
    view.add_argument("--fov", type=float, default=60.0, metavar="DEG", help="vertical field of view")
    look = render.add_argument_group("light and colour")
    look.add_argument("--light", type=float, nargs=3, default=[0.0, 1.0, -3.0], metavar=("X", "Y", "Z"))
    look.add_argument("--background", type=float, nargs=3, default=[1.0, 1.0, 1.0], metavar=("R", "G", "B"))
    render.add_argument("--arch", choices=("cpu", "cuda", "vulkan"), help="where kernels run")
    render.set_defaults(run=_render)

    info = commands.add_parser("info", help="versions, arch, device, driver and kernel cache")
    info.add_argument("--arch", choices=("cpu", "cuda", "vulkan"), help="where kernels run")
    info.set_defaults(run=_info)
    return parser


def _info(args: argparse.Namespace) -> None:
    from tirender import runtime

    runtime.init(args.arch)
    facts = runtime.describe()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


def _render(args: argparse.Namespace) -> None:
    import torch

    import tirender
    from tirender import datasets
    from tirender.checks import fail
    from tirender.io import IO
    from tirender.renderer import FoVPerspectiveCameras, look_at_view_transform

    output = Path(args.output)
    if args.turntable is not None and args.turntable < 1:
        fail("--turntable", "a number of views >= 1", args.turntable)
    if args.turntable is not None and output.suffix.lower() not in ANIMATED:
        fail("--output", f"a turntable's file to end in {', '.join(ANIMATED)}", output.name)
    if len(args.size) > 2:
        fail("--size", "one number or height and width", " ".join(map(str, args.size)))
    tirender.init(args.arch)
    mesh = _fitted(IO().load_mesh(args.mesh or datasets.creature()))
    size = tuple(args.size * 2)[:2]
    renderer = _renderer(args, size)
    azimuths = torch.arange(args.turntable or 1) * 360.0 / (args.turntable or 1) + args.azimuth
    frames = []
    for azimuth in _progress(azimuths, args.turntable):
        R, T = look_at_view_transform(args.distance, args.elevation, float(azimuth))
        with torch.no_grad():
            image = renderer(mesh, cameras=FoVPerspectiveCameras(R=R, T=T, fov=args.fov))
        frames.append(_picture(image[0], args))
    if args.turntable:
        frames[0].save(output, save_all=True, append_images=frames[1:], duration=3000 // len(frames), loop=0)
    else:
        frames[0].save(output)
    faces = len(mesh.faces_packed())
    print(f"{output}: {size[1]} x {size[0]} px, {len(frames)} view{'s' * (len(frames) > 1)} of {faces} faces")


def _progress(azimuths: Any, turntable: int | None) -> Any:
    from tqdm import tqdm

    return tqdm(azimuths, desc="views", disable=not turntable or not sys.stderr.isatty())


def _fitted(mesh: Any) -> Any:
    """The mesh centred and scaled to fit in [-1, 1], grey where it has no texture."""
    import torch

    from tirender.checks import fail
    from tirender.renderer import TexturesVertex

    if mesh.isempty():
        fail("mesh", "at least one face", "none")
    boxes = mesh.get_bounding_boxes()[0]
    centre, extent = boxes.mean(1), (boxes[:, 1] - boxes[:, 0]).max()
    if not bool(torch.isfinite(centre).all()) or float(extent) == 0:
        fail("mesh", "finite vertices that are not all one point", f"a bounding box {boxes.tolist()}")
    mesh = mesh.offset_verts(-centre).scale_verts(2 / float(extent))
    if mesh.textures is None:
        mesh.textures = TexturesVertex([torch.full_like(v, 0.7) for v in mesh.verts_list()])
    return mesh


def _renderer(args: argparse.Namespace, size: tuple[int, ...]) -> Any:
    import tirender.renderer as r

    blend = r.BlendParams(background_color=tuple(args.background))
    lights = r.PointLights(location=[args.light])
    shaders = {
        "phong": r.SoftPhongShader,
        "gouraud": r.HardGouraudShader,
        "flat": r.HardFlatShader,
        "depth": r.HardDepthShader,
        "normal": r.HardNormalShader,
    }
    if args.shader == "silhouette":
        shader: Any = r.SoftSilhouetteShader(blend)
    else:
        shader = shaders[args.shader](lights=lights, blend_params=blend)
    settings = r.RasterizationSettings(image_size=size)
    return r.MeshRenderer(r.MeshRasterizer(raster_settings=settings), shader)


def _picture(image: Any, args: argparse.Namespace) -> Any:
    """A PIL image of one rendered image (H, W, C)."""
    import torch
    from PIL import Image

    if args.shader == "silhouette":
        image = image[..., 3:].expand(-1, -1, 3)
    elif args.shader == "depth":
        seen = image < image.max()
        near = image[seen].min() if bool(seen.any()) else image.min()
        far = image[seen].max() if bool(seen.any()) else image.max()
        image = torch.where(seen, 1 - 0.8 * (image - near) / (far - near).clamp(min=1e-9), 0).expand(-1, -1, 3)
    elif args.shader == "normal":
        image = (image + 1) / 2
    rgb = image[..., :3].clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(rgb.cpu().numpy())
