"""What is in a file, in words: ``tirender info FILE``."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tirender import datasets
from tirender.budget import bounded
from tirender.checks import fail
from tirender.engine.edge_partners import edge_partners
from tirender.io import load_gaussians, load_volume
from tirender.io.file_mesh import FileMesh, without_strays
from tirender.io.files import not_found
from tirender.io.gaussians_io import holds_gaussians, orientation_of_gaussians
from tirender.io.image_files import source_of
from tirender.io.npz_io import array_names
from tirender.io.orientation import Orientation, orientation_of_format, oriented
from tirender.io.reading import KNOWN_SUFFIXES, read_mesh_file
from tirender.scenes.cameras import from_views
from tirender.scenes.fitted import CHECKPOINT
from tirender.scenes.gaussians import VISIBLE
from tirender.scenes.load import GAUSSIANS
from tirender.structures import Gaussians
from tirender.structures.volumes import voxel_sizes
from tirender.structures.words import several

MANY = 8  # names are not listed beyond
MOST_DECODED = 25  # photos that are looked into


@bounded
def facts_of(name_or_path: str, allow_parent: bool = False) -> list[tuple[str, str]]:
    """Facts of a mesh, cloud, volume, Gaussians, fit, or folder of photos, each with its name; last come warnings.

    Args:
        name_or_path: a path, or a short name, see :func:`tirender.datasets.path_of`.
        allow_parent: whether materials and images may lie in the folder above the file's.
    Raises:
        ValueError: another kind of file, or a damaged one.
        OSError: it cannot be opened.
    """
    path = datasets.path_of(name_or_path)
    path = path / "checkpoint.pt" if (path / "checkpoint.pt").is_file() else path
    if not path.exists():  # before its ending is looked at
        raise not_found(path)
    known = datasets.orientation_of(name_or_path)
    ending = path.suffix.lower()
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        if path.is_dir() or ending == ".json":
            facts = _facts_of_photos(path, allow_parent)
        elif ending == CHECKPOINT:
            facts = _facts_of_fit(path)
        elif ending == ".npz" and "densities" in array_names(path):
            facts = _facts_of_volume(path)
        elif ending in GAUSSIANS and holds_gaussians(path):
            facts = _facts_of_gaussians(load_gaussians(path), known or orientation_of_gaussians(path))
        elif ending in KNOWN_SUFFIXES:
            facts = _facts_of_mesh(read_mesh_file(path, allow_parent=allow_parent), known)
        else:
            endings = ", ".join([*KNOWN_SUFFIXES, ".splat", CHECKPOINT])
            fail("FILE", f"one that ends in {endings}, or a folder of a fit or of photos", repr(str(path)))
    size = [] if path.is_dir() else [("size", f"{path.stat().st_size:,} bytes")]
    noted = dict.fromkeys(str(warning.message) for warning in raised)
    return [("file", str(path)), *size, *facts, *(("warning", message) for message in noted)]


def _facts_of_mesh(mesh: FileMesh, known: Orientation | None) -> list[tuple[str, str]]:
    used = without_strays(mesh)
    facts = [("content", "a mesh" if len(mesh.faces) else "a point cloud")]
    strays = len(mesh.verts) - len(used.verts)
    facts.append(("vertices", f"{len(mesh.verts):,}" + f" ({strays:,} of no face)" * bool(strays)))
    if len(mesh.faces):
        facts.append(("faces", f"{len(mesh.faces):,}"))
        facts.append(("watertight", _watertight(used)))
    if len(used.verts):
        facts.extend(_extent(used.verts + used.origin))
    facts.append(("up", _standing(mesh, known)))
    if len(mesh.faces):
        facts.append(("normals", "none: computed from the faces" if mesh.normals is None else "in the file"))
        facts.append(("texture coordinates", several(len(mesh.uvs), "set") if mesh.uvs else "none"))
    colors = [name for name, rgba in (("vertices", mesh.verts_rgba), ("faces", mesh.faces_rgba)) if rgba is not None]
    facts.append(("colours", f"of {' and '.join(colors)}" if colors else "none"))
    if mesh.materials:
        names = [material.name or "unnamed" for material in mesh.materials]
        facts.append(("materials", _listed(names) if {*names} != {"unnamed"} else f"{len(names)}, unnamed"))
        facts.append(("textures", _textures(mesh)))
    if mesh.cameras:
        names = [f"{i} {camera.name}".strip() for i, camera in enumerate(mesh.cameras)]
        facts.append(("cameras", _listed(names)))
    if mesh.lights:
        facts.append(("lights", _listed([f"{light.name} {light.kind}".strip() for light in mesh.lights])))
    if mesh.unread:
        facts.append(("not read", "; ".join(mesh.unread)))
    return facts


def _facts_of_gaussians(gaussians: Gaussians, standing: Orientation) -> list[tuple[str, str]]:
    seen = gaussians.opacities > VISIBLE
    places = gaussians.means[seen] if bool(seen.any()) else gaussians.means
    degree = math.isqrt(gaussians.harmonics.shape[1]) - 1
    return [
        ("content", "Gaussians"),
        ("Gaussians", f"{len(gaussians):,} ({int(seen.sum()):,} of an opacity above {VISIBLE})"),
        ("colours", f"harmonics of degree {degree}"),
        *(_extent(places.numpy()) if len(places) else []),
        ("up", f"{_axis(standing.up)}, front {_axis(standing.front)}"),
    ]


def _watertight(mesh: FileMesh) -> str:
    """Whether each edge has a face on both sides, where vertices at one place count as one."""
    verts, faces = torch.from_numpy(mesh.verts), torch.from_numpy(mesh.faces)
    ends = verts[torch.stack([faces.roll(-1, 1), faces.roll(-2, 1)], dim=2)]
    has_length = (ends[:, :, 0] != ends[:, :, 1]).any(-1)
    n_open = int(((edge_partners(faces, verts) < 0) & has_length).sum())
    return "yes" if not n_open else f"no: {n_open:,} open edges"


def _extent(places: np.ndarray) -> list[tuple[str, str]]:
    low, high = places.min(0).astype(np.float64), places.max(0).astype(np.float64)
    lines = [" x ".join(f"{x:.6g}" for x in high - low) + " (x, y, z)"]
    spread, top = float((high - low).max()), float(np.abs(places).max())
    digits = 15 if top >= 1e9 * spread else 6 + max(0, math.ceil(math.log10(top / spread)))
    lines.append(", ".join(f"{a:.{digits}g} to {b:.{digits}g}" for a, b in zip(low, high)))
    return list(zip(("extent", "from, to"), lines))


def _standing(mesh: FileMesh, known: Orientation | None) -> str:
    standing = known or mesh.orientation
    by_format = standing == orientation_of_format(Path(mesh.name).suffix)
    source = "the usual of such files; --up changes it" if by_format else "as the file says"
    return f"{_axis(standing.up)}, front {_axis(standing.front)} ({source})"


def _axis(vector: Any) -> str:
    for i, name in enumerate("xyz"):
        if abs(vector[i]) > 1 - 1e-6:
            return f"{'+' if vector[i] > 0 else '-'}{name}"
    return " ".join(f"{x:.3g}" for x in vector)


def _textures(mesh: FileMesh) -> str:
    maps = {id(source_of(found)): found for material in mesh.materials for found in material.maps()}
    sizes = []
    for texture in maps.values():
        height, width = texture.image.shape[:2]
        sizes.append(f"{width} x {height}")
    return _listed(sizes)


def _listed(names: list[str]) -> str:
    if not names:
        return "none"
    return f"{len(names)}: {', '.join(names[:MANY])}{' ...' if len(names) > MANY else ''}"


def _facts_of_volume(path: Path) -> list[tuple[str, str]]:
    volume = load_volume(path)
    densities, features = volume.densities(), volume.features()
    low, high = densities.aminmax()
    spacing = voxel_sizes(volume)[0].tolist()
    return [
        ("content", "a volume"),
        ("voxels", " x ".join(map(str, densities.shape[2:])) + " (z, y, x)"),
        ("voxel size", " x ".join(f"{x:.6g}" for x in spacing) + " (x, y, z)"),
        ("densities", f"{float(low):.4g} to {float(high):.4g}"),
        ("features", "none" if features is None else several(features.shape[1], "channel")),
    ]


def _facts_of_photos(path: Path, allow_parent: bool) -> list[tuple[str, str]]:
    from tirender.captures import load_capture

    capture = load_capture(path, allow_parent=allow_parent)
    sizes = Counter(capture.sizes).most_common()
    shown = [f"{n} of {width} x {height} px" for (height, width), n in sizes[:3]]
    facts = [
        ("content", "photos, for tirender fit"),
        ("cameras", f"{len(capture)}"),
        ("images", ", ".join(shown) + ", ..." * (len(sizes) > 3) if len(sizes) > 1 else shown[0].partition(" of ")[2]),
        ("points", "none" if capture.points is None else f"{len(capture.points.points_packed()):,}"),
    ]
    if any(capture.aside):
        facts.append(("held out", f"{sum(capture.aside)} of them"))
    if capture.has_masks:
        covered = [
            float(capture.photos[i][..., 3].float().mean()) / 2.55 for i in range(min(len(capture), MOST_DECODED))
        ]
        facts.append(("covered", f"{min(covered):.0f} to {max(covered):.0f} % of each"))
    return facts


def _facts_of_fit(path: Path) -> list[tuple[str, str]]:
    from tirender.fit.checkpoint import load_checkpoint

    state: Any = load_checkpoint(path)
    if state is None:
        raise not_found(path)
    try:
        about = state.get("about", {})
        losses = [f"{name} {float(values[-1]):.6f}" for name, values in state["history"].items() if len(values)]
        facts = [("content", f"a fit: {state['settings']['kind']}"), ("steps", str(int(state["step"])))]
        facts.append(("losses", ", ".join(losses)))
        if "cameras" in about:
            facts.append(("cameras", str(len(from_views(about["cameras"])))))
        if "up" in about:
            standing = oriented(about["up"], about["front"])
            facts.append(("up", f"{_axis(standing.up)}, front {_axis(standing.front)}"))
        if "asked" in about:
            asked = (f"{name} {value}" for name, value in about["asked"].items() if value is not False)
            facts.append(("asked for", ", ".join(asked)))
    except Exception as error:  # a damaged file may say anything
        fail(str(path), "a checkpoint of tirender fit", " ".join(str(error).split()))
    return facts
