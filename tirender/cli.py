"""The command line: ``tirender render``, ``tirender fit`` and ``tirender info``."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from tirender.renderer import MeshRenderer
    from tirender.structures import Meshes

ARCHS = ("cpu", "cuda", "vulkan")
SHADERS = ("phong", "gouraud", "flat", "silhouette", "depth", "normal")
MESHES = (".obj", ".ply", ".off", ".glb", ".gltf")
ANIMATIONS = (".gif", ".png", ".webp")
TURN_SECONDS = 3
GREY = 0.7


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; ``sys.argv[1:]`` by default.
    Returns:
        The exit code: 0; 2 with one line on stderr where an argument or a file is at fault; 130 when interrupted.
    """
    args = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"tirender: {message}", file=sys.stderr)
        try:
            args.run(args)
            return 0
        except OSError as error:
            problem: object = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error
        except (ValueError, RuntimeError, ImportError) as error:
            problem = error
        except KeyboardInterrupt:
            return 130
    print(f"tirender {args.command}: {problem}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    import tirender
    from tirender.commands import fit

    parser = argparse.ArgumentParser(
        prog="tirender", description="A differentiable renderer. Start with: tirender render -o creature.png"
    )
    parser.add_argument("--version", action="version", version=f"tirender {tirender.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    render = commands.add_parser(
        "render",
        help="draw a mesh file as a picture or a turntable",
        usage="tirender render [MESH] [-o FILE] [options]",
        description="Draw a mesh file: OBJ, PLY, OFF, GLB or glTF; without one, the creature that comes with tirender.",
        epilog=(
            "examples:\n"
            "  tirender render -o creature.png\n"
            "  tirender render cow.obj -o cow.png --size 1080 1920 --azimuth 200\n"
            "  tirender render cow.obj -o cow.gif --turntable 36 --size 256\n"
            "  tirender render scan.ply -o depth.png --shader depth"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    render.add_argument("mesh", nargs="?", metavar="MESH", help="the mesh file; name it before the options")
    render.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: out.png, out.gif for a turntable")
    render.add_argument(
        "--size",
        type=_number(int, 1, 16384, "1 to 16384 pixels (the mesh file goes before the options)"),
        nargs="+",
        default=[512],
        metavar="PX",
        help="side, or height and width (default: 512)",
    )
    render.add_argument("--shader", choices=SHADERS, default="phong", help="what is drawn (default: %(default)s)")
    render.add_argument(
        "--turntable",
        type=_number(int, 1, 10000, "1 to 10000 views"),
        metavar="N",
        help="N views around the mesh, as an animation (GIF, PNG or WebP)",
    )
    render.add_argument(
        "--supersample",
        type=_number(int, 1, 8, "1 to 8"),
        default=2,
        metavar="N",
        help="average N x N samples a pixel, for smooth outlines (default: %(default)s)",
    )
    render.add_argument("--arch", choices=ARCHS, help="where kernels run (default: cuda if torch has it, else cpu)")

    view = render.add_argument_group("camera", "It looks at the mesh, which is centred and scaled to the unit sphere.")
    degrees, position = _number(float, -1e6, 1e6, "degrees"), _number(float, -1e6, 1e6, "a finite number")
    view.add_argument(
        "--azimuth", type=degrees, default=150.0, metavar="DEG", help="0 is on +Z, 90 on +X, 180 on -Z (default: 150)"
    )
    view.add_argument(
        "--elevation", type=degrees, default=10.0, metavar="DEG", help="above the horizon, +Y being up (default: 10)"
    )
    view.add_argument(
        "--distance",
        type=_number(float, 0.01, 1e4, "0.01 to 10000"),
        metavar="D",
        help="from the centre, in radii of the mesh (default: the mesh just fits)",
    )
    view.add_argument(
        "--fov",
        type=_number(float, 1, 170, "1 to 170 degrees"),
        default=60.0,
        metavar="DEG",
        help="field of view along the short side (default: 60)",
    )
    look = render.add_argument_group("light and colour, for phong, gouraud and flat")
    look.add_argument(
        "--light", type=position, nargs=3, metavar=("X", "Y", "Z"), help="where it is (default: beside the camera)"
    )
    look.add_argument(
        "--background",
        type=_number(float, 0, 1, "0 to 1"),
        nargs=3,
        default=[1.0, 1.0, 1.0],
        metavar=("R", "G", "B"),
        help="each 0 to 1 (default: white)",
    )
    render.set_defaults(run=_render)

    fit.add_parser(commands, _number)

    info = commands.add_parser("info", help="versions, arch, device, driver and kernel cache")
    info.add_argument("--arch", choices=ARCHS, help="where kernels run (default: cuda if torch has it, else cpu)")
    info.set_defaults(run=_info)
    return parser


def _number(kind: type[int] | type[float], low: float, high: float, expected: str) -> Callable[[str], float]:
    """A reader of one argument that must lie in [low, high]."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return read


def _info(args: argparse.Namespace) -> None:
    from tirender import runtime

    runtime.init(args.arch)
    facts = runtime.describe()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


def _render(args: argparse.Namespace) -> None:
    import torch
    from tqdm import tqdm

    import tirender
    import tirender.renderer as r
    from tirender import datasets
    from tirender.checks import fail
    from tirender.io import IO

    output = _output(args)
    path = Path(args.mesh or datasets.creature())
    if path.suffix.lower() not in MESHES:
        fail("MESH", f"a file that ends in {', '.join(MESHES)}", repr(str(path)))
    if len(args.size) > 2:
        fail("--size", "the side, or height and width", " ".join(map(str, args.size)))
    device = "cuda" if tirender.init(args.arch) == "cuda" else "cpu"

    mesh = _normalized(IO().load_mesh(path, device=device), str(path))
    if args.shader == "gouraud":
        mesh.textures = _vertex_colors(mesh)
    size = tuple(args.size * 2)[:2]
    renderer = _renderer(args, size)
    distance = args.distance or 1.05 / math.sin(math.radians(args.fov) / 2)
    zfar = 100 * distance
    n_views = args.turntable or 1
    frames = []
    for i in tqdm(range(n_views), desc="views", disable=n_views == 1 or not sys.stderr.isatty()):
        azimuth = args.azimuth + i * 360 / n_views
        R, T = r.look_at_view_transform(distance, args.elevation, azimuth)
        cameras = r.FoVPerspectiveCameras(0.01 * distance, zfar, R=R, T=T, fov=args.fov, device=device)
        over_the_shoulder = r.camera_position_from_spherical_angles(1.7 * distance, args.elevation + 22, azimuth + 12)
        place = over_the_shoulder if args.light is None else torch.tensor([args.light])
        lights = r.PointLights([[0.45] * 3], [[0.6] * 3], location=place, device=device)
        with torch.no_grad():
            image = renderer(mesh, cameras=cameras, lights=lights)[0]
        frames.append(_picture(image, args.shader, args.supersample, zfar))

    if args.turntable:
        duration = round(1000 * TURN_SECONDS / n_views)
        frames[0].save(output, save_all=True, append_images=frames[1:], duration=duration, loop=0)
    else:
        frames[0].save(output)
    n_faces = len(mesh.faces_packed())
    print(f"{output}: {size[1]} x {size[0]} px, {n_views} view{'s' * (n_views > 1)} of {n_faces} faces")


def _output(args: argparse.Namespace) -> Path:
    """The file to write, known to be of a kind that can be written, in a folder that exists."""
    from PIL import Image

    from tirender.checks import fail

    output = args.output or Path("out.gif" if args.turntable else "out.png")
    Image.init()
    kinds = ANIMATIONS if args.turntable else [end for end, kind in Image.EXTENSION.items() if kind in Image.SAVE]
    if output.suffix.lower() not in kinds:
        usual = (
            "a turntable's file to end in .gif, .png or .webp" if args.turntable else "a picture, such as .png or .jpg"
        )
        fail("--output", usual, repr(str(output)))
    if output.is_dir() or not output.parent.is_dir():
        fail("--output", "a file in a folder that exists", repr(str(output)))
    return output


def _normalized(mesh: Meshes, name: str) -> Meshes:
    """The mesh in the unit sphere around the centre of its bounding box; grey if it has no texture."""
    import torch

    from tirender.checks import fail
    from tirender.renderer import TexturesVertex

    if mesh.isempty():
        fail(name, "at least one face", "none")
    centre = mesh.get_bounding_boxes()[0].mean(1)
    mesh = mesh.offset_verts(-centre)
    radius = float(mesh.verts_packed().norm(dim=1).max())
    if not 0 < radius < math.inf:
        fail(name, "finite vertices that are not all one point", f"a radius of {radius}")
    mesh = mesh.scale_verts(1 / radius)
    if mesh.textures is None:
        mesh.textures = TexturesVertex([torch.full_like(mesh.verts_packed(), GREY)])
    return mesh


def _vertex_colors(mesh: Meshes) -> Any:
    """The mesh's textures as one colour a vertex: the mean over the corners that meet there."""
    import torch

    from tirender.renderer import TexturesVertex

    faces = mesh.faces_packed()
    corners = mesh.textures.faces_verts_textures_packed(faces_packed=faces).flatten(0, 1)
    sums = corners.new_zeros(len(mesh.verts_packed()), corners.shape[1]).index_add(0, faces.flatten(), corners)
    count = torch.bincount(faces.flatten(), minlength=len(sums)).clamp(min=1)
    return TexturesVertex([sums / count[:, None]])


def _renderer(args: argparse.Namespace, size: tuple[int, ...]) -> MeshRenderer:
    import tirender.renderer as r

    shaders = {
        "phong": r.HardPhongShader,
        "gouraud": r.HardGouraudShader,
        "flat": r.HardFlatShader,
        "depth": r.HardDepthShader,
        "normal": r.HardNormalShader,
    }
    settings = r.RasterizationSettings(image_size=tuple(side * args.supersample for side in size))
    if args.shader == "silhouette":
        blend = r.BlendParams()
        settings.blur_radius = math.log(1 / 1e-4 - 1) * blend.sigma  # where the probability of coverage falls to 1e-4
        settings.faces_per_pixel = None
        shader: Any = r.SoftSilhouetteShader(blend)
    else:
        shader = shaders[args.shader](blend_params=r.BlendParams(background_color=tuple(args.background)))
    return r.MeshRenderer(r.MeshRasterizer(raster_settings=settings), shader)


def _picture(image: torch.Tensor, shader: str, n: int, zfar: float) -> Image:
    """The picture of one rendered image (n * H, n * W, C), n x n pixels averaged into one."""
    import torch
    from PIL import Image

    if shader == "silhouette":
        image = image[..., 3:]
    elif shader == "depth":
        hit = image < zfar
        near, far = (image[hit].min(), image[hit].max()) if hit.any() else (0, 1)
        image = torch.where(hit, 1 - 0.8 * (image - near) / max(far - near, 1e-9), 0)
    elif shader == "normal":
        image = (image + 1) / 2
    height, width = image.shape[0] // n, image.shape[1] // n
    image = image[..., :3].unflatten(0, (height, n)).unflatten(2, (width, n)).mean((1, 3))
    pixels = image.clamp(0, 1).mul(255).round().to(torch.uint8).expand(-1, -1, 3)
    return Image.fromarray(pixels.cpu().numpy())
