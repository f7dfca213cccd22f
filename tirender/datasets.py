"""The data of the tutorials and examples: in a folder of yours, among tirender's assets, or from a pinned download.

A file is looked for in these places, in this order:

1. in the folder that the environment variable ``TIRENDER_DATA`` names, as ``dolphin/dolphin.obj`` or ``dolphin.obj``;
2. among the assets that come with tirender;
3. in the cache of earlier downloads;
4. on PyTorch3D's server. ``pooch`` (``pip install 'tirender[data]'``) checks the file's SHA-256 and leaves no partial
   file.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from tirender.checks import check_choice, fail

if TYPE_CHECKING:
    import torch

    from tirender.io.orientation import Orientation
    from tirender.renderer import FoVPerspectiveCameras
    from tirender.structures import Meshes

BASE_URL = "https://dl.fbaipublicfiles.com/pytorch3d/data/"
BRIDGE = "PittsburghBridge/pointcloud.npz"
DOWNLOADS: dict[str, str | None] = {  # name below BASE_URL -> SHA-256; None: unknown, the content is checked instead
    "cow_mesh/cow.obj": "62337f06b4aa4f2eaa95f854553a02039d853365a78b0a581c26ece5691a6d99",
    "cow_mesh/cow.mtl": "ce6398d52486f81f2c329b1683ad4fedce970471aa36e589e05c5177432db6cb",
    "cow_mesh/cow_texture.png": "cddabbae52a666173e7953e238b88340d285044dc20b36f8ed3f1a41db534fa5",
    "dolphin/dolphin.obj": "eb47d91c9da39d84185bd54bf66df8253561a31ec488aa893725c17cc2a425ba",
    "teapot/teapot.obj": "2f833c87e691d949dfa1325df94efe3c25e95b948c7f147e2d08e3ffb719fcda",
    BRIDGE: None,
}


def creature() -> Path:
    """The path of tirender's own fox cub, an OBJ: closed, textured, 5860 faces, within [-1, 1], facing -Z."""
    return find("creature/creature.obj")


def harbour() -> Path:
    """The path of tirender's own point cloud, a village around a bay: an NPZ with ``verts`` (P, 3) and ``rgb`` (P, 4).

    It has about 100 000 points within [-1, 1], +Y up; the bay opens to -Z. Points, and colours in [0, 1], are float16.
    """
    return find("harbour/harbour.npz")


def cow() -> Path:
    """The path of the tutorials' cow, an OBJ with its material and texture beside it. See :func:`find`."""
    return find("cow_mesh/cow.obj")


def dolphin() -> Path:
    """The path of the tutorials' dolphin, an OBJ. See :func:`find`."""
    return find("dolphin/dolphin.obj")


def teapot() -> Path:
    """The path of the tutorials' teapot, an OBJ. See :func:`find`."""
    return find("teapot/teapot.obj")


def bridge() -> Path:
    """The path of the tutorials' point cloud, an NPZ with ``verts`` (P, 3) and ``rgb`` (P, 4). See :func:`find`."""
    return find(BRIDGE)


def generate_cow_renders(
    num_views: int = 40,
    azimuth_range: float = 180.0,
    *,
    mesh: Meshes | None = None,
    image_size: int = 128,
    device: torch.device | str = "cpu",
) -> tuple[FoVPerspectiveCameras, torch.Tensor, torch.Tensor]:
    """The views that tutorials 5 and 6 start from: the cow from all around, at the height of its centre, on black.

    PyTorch3D's silhouettes reach about two pixels further; these cover exactly what the images show.

    Args:
        num_views: N.
        azimuth_range: azimuths are spaced evenly from minus this to plus this, in degrees.
        mesh: one textured mesh instead of the cow. The mean of its vertices is moved to 0, and its coordinates are
            scaled into [-1, 1].
        image_size: side of the images in pixels.
        device: of the cow; another mesh keeps its device.
    Returns:
        cameras: N of them, at a distance of 2.7.
        images: (N, image_size, image_size, 3) in [0, 1].
        silhouettes: (N, image_size, image_size), 0 or 1.
    Raises:
        ValueError: no views; or as :func:`find`, for the cow.
    """
    import torch

    from tirender.io import load_objs_as_meshes
    from tirender.utils import render_mesh_around

    if num_views < 1:
        fail("num_views", "at least 1", num_views)
    mesh = load_objs_as_meshes([cow()], device=device) if mesh is None else mesh
    verts = mesh.verts_packed()
    mesh = mesh.offset_verts(-verts.mean(0)).scale_verts(1 / float((verts - verts.mean(0)).abs().max()))
    azim = torch.linspace(-azimuth_range, azimuth_range, num_views)
    cameras, images, silhouettes, _ = render_mesh_around(
        mesh, torch.zeros(num_views), azim, image_size=image_size, background=(0.0, 0.0, 0.0)
    )
    return cameras, images, silhouettes


def path_of(name_or_path: str | os.PathLike[str]) -> Path:
    """The path of a file of yours, or of data by its short name: creature, harbour, cow, dolphin, teapot or bridge.

    Args:
        name_or_path: a path, or one of these names; a file or folder of that name in the working folder comes first.
    Raises:
        ValueError: an empty name, which would be the working folder.
    """
    if not str(name_or_path):
        fail("FILE", "a path or a name", "''")
    path = Path(name_or_path)
    return SHORT_NAMES[str(path)]() if str(path) in SHORT_NAMES and not path.exists() else path


def orientation_of(name_or_path: str | os.PathLike[str]) -> Orientation | None:
    """How data of tirender's or of the tutorials stand; None for other files, which say it themselves.

    Args:
        name_or_path: a path, or a short name, see :func:`path_of`.
    """
    from tirender.io.orientation import oriented

    name, path = str(name_or_path), Path(name_or_path)
    is_ours = name in SHORT_NAMES and not path.exists()
    is_asset = path.suffix in (".obj", ".npz") and _assets_folder().resolve() in path.resolve().parents
    return oriented("y", front=(0.0, 0.0, -1.0)) if is_ours or is_asset else None


def names() -> list[str]:
    """All names that :func:`find` knows."""
    assets = _assets_folder()
    shipped = (p.relative_to(assets).as_posix() for p in assets.glob("*/*") if p.is_file() and p.suffix != ".pyc")
    return sorted({*DOWNLOADS, *shipped})


SHORT_NAMES = {
    "creature": creature,
    "harbour": harbour,
    "cow": cow,
    "dolphin": dolphin,
    "teapot": teapot,
    "bridge": bridge,
}


def find(name: str) -> Path:
    """Find a data file by its name; if it is in none of the other places, download it and the files that it refers to.

    Args:
        name: one of :func:`names`, such as ``"cow_mesh/cow.obj"``.
    Returns:
        The path of an existing file.
    Raises:
        ValueError: unknown name, ``TIRENDER_DATA`` is no folder, or the download is not the expected file.
        ImportError: a download is needed and pooch is not installed.
        FileNotFoundError: the download failed.
    """
    check_choice("name", name, names())
    places = [_assets_folder() / name]
    own = os.environ.get("TIRENDER_DATA")
    if own:
        if not Path(own).is_dir():
            fail("TIRENDER_DATA", "a folder", repr(own))
        places = [Path(own) / name, Path(own) / PurePosixPath(name).name, *places]
    for place in places:
        if place.is_file():
            return place
    return _download(name)


def _assets_folder() -> Path:
    """``tirender/assets`` in an installed wheel; ``assets`` beside the package in a checkout."""
    package = Path(__file__).parent
    return package / "assets" if (package / "assets").is_dir() else package.parent / "assets"


def _download(name: str) -> Path:
    """Download ``name`` and the other files of its folder into the cache; pooch reports its downloads on stderr."""
    by_hand = f"or download {BASE_URL}{name} yourself, into a folder that the environment variable TIRENDER_DATA names"
    try:
        import pooch
    except ImportError as error:
        raise ImportError(f"{name}: needs pooch to be downloaded: pip install 'tirender[data]', {by_hand}") from error

    cache = Path(pooch.os_cache("tirender"))
    folder = PurePosixPath(name).parent
    for part in (other for other in DOWNLOADS if PurePosixPath(other).parent == folder):
        sha256 = DOWNLOADS[part]
        try:
            pooch.retrieve(
                BASE_URL + part,
                known_hash=sha256 and f"sha256:{sha256}",
                fname=PurePosixPath(part).name,
                path=cache / folder,
            )
        except OSError as error:
            raise FileNotFoundError(f"{part}: the download failed ({error}); try again, {by_hand}") from None
    if name == BRIDGE:
        _check_bridge(cache / name)
    return cache / name


def _check_bridge(path: Path) -> None:
    try:
        with np.load(path, allow_pickle=False) as data:
            shapes = {key: data[key].shape for key in data.files}
    except ValueError as error:
        path.unlink()
        raise ValueError(f"{path}: expected an NPZ without pickles, got {error}") from error
    verts, rgb = shapes.get("verts", ()), shapes.get("rgb", ())
    if len(verts) != 2 or verts[1] != 3 or rgb != (verts[0], 4):
        path.unlink()
        fail(str(path), "arrays verts (P, 3) and rgb (P, 4)", shapes)
