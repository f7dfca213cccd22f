"""What fits approach, from files: meshes, and views of them or from a folder of photos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import MeshTarget, Option, Target, ViewsTarget

if TYPE_CHECKING:
    from tirender.fit import Views
    from tirender.io.orientation import Orientation
    from tirender.renderer import CamerasBase

VIEW_OPTIONS = (
    Option(
        "source",
        "a folder with images, masks and a transforms.json, or a mesh file to render views of",
        metavar="SOURCE",
        required=True,
    ),
    Option("size", "short side of the views (default: 128)", range(8, 4097), "pixels", "PX", 128),
    Option(
        "views",
        "number of views of a mesh file (default: 20; 40 for volumes, fields and Gaussians)",
        range(1, 1001),
        "",
        "N",
    ),
)
EDGES = Option(
    "edges",
    "outlines blurred over many faces a pixel (soft), or drawn by one face a pixel and anti-aliased",
    ("soft", "antialias"),
)
N_VIEWS, N_VIEWS_RADIANCE = 20, 40
HELD_OUT = 8  # of a folder, one view in this many is held out; at most this many are


def load_mesh_target(path: str, device: str, given: Mapping[str, Any], with_looks: bool = False) -> MeshTarget:
    """A mesh file, or one of tirender's own meshes by its short name, moved and scaled to the origin.

    Args:
        path: of the file.
        device: of the mesh.
        given: ``allow_parent``, whether materials and images may lie in the folder above the file's, and ``up``.
        with_looks: whether the mesh has the materials, colours and normals that ``tirender render`` shows; only its
            highlights are those of the fits, which find none.
    Raises:
        ValueError: a mesh without faces, with vertices that are not finite, or all in one point.
        OSError: the file cannot be opened.
    """
    import torch

    from tirender import datasets
    from tirender.checks import fail
    from tirender.fit import normalized
    from tirender.fit.mesh import grey
    from tirender.io.display import display_mesh
    from tirender.io.file_mesh import without_strays
    from tirender.io.files import not_found
    from tirender.io.mesh_building import meshes_of
    from tirender.io.reading import read_mesh_file

    file = datasets.path_of(path)
    if not file.exists():  # before the ending is looked at
        raise not_found(path)
    read = without_strays(read_mesh_file(file, allow_parent=bool(given.get("allow_parent")), center_far=True))
    if not len(read.faces):
        fail(path, "at least one face", f"none: {len(read.verts)} points, which tirender render and view show")
    materials = tuple(replace(material, specular=None, shininess=None) for material in read.materials)
    mesh = display_mesh(replace(read, materials=materials), device) if with_looks else meshes_of(read, device, False)
    verts = mesh.verts_packed()
    extent = float((verts - verts.mean(0)).abs().max())
    if not 0 < extent < math.inf:
        fail(path, "finite vertices that are not all one point", f"an extent of {extent}")
    mesh, centre, scale = normalized(grey(mesh) if with_looks and mesh.textures is None else mesh)
    origin = torch.from_numpy(read.origin) if read.origin.any() else None
    standing = _standing(given, datasets.orientation_of(path) or read.orientation)
    return MeshTarget(mesh=mesh, centre=centre, scale=scale, origin=origin, **standing)


def load_views_target(given: Mapping[str, Any], device: str) -> ViewsTarget:
    """The views of SOURCE.

    Args:
        given: the values of ``VIEW_OPTIONS``, ``allow_parent`` and ``up``.
        device: of the views.
    """
    from tirender.fit import load_views, render_views

    source, size = given["source"], given["size"]
    if _is_photos(source):
        return _target_of(load_views(source, device, bool(given.get("allow_parent"))).resized(size), given)
    target = load_mesh_target(source, device, given, with_looks=True)
    return ViewsTarget(views=render_views(target.mesh, given["views"] or N_VIEWS, size), **_place(target))


def load_views_and_held_out(given: Mapping[str, Any], device: str) -> ViewsTarget:
    """The views of SOURCE; some of them, or others, are held out.

    Of a mesh, views from halfway between the others are held out. Of a folder, one view in eight is held out; NeRF's
    synthetic scenes have files of their own for that.

    Args:
        given: the values of ``VIEW_OPTIONS``, ``allow_parent`` and ``up``.
        device: of the views.
    """
    from tirender.fit import render_views, render_views_between

    source, size = given["source"], given["size"]
    if _is_photos(source):
        return _split_folder(Path(source), device, given)
    n = given["views"] or N_VIEWS_RADIANCE
    target = load_mesh_target(source, device, given, with_looks=True)
    held_out = render_views_between(target.mesh, n, HELD_OUT, size)
    return ViewsTarget(views=render_views(target.mesh, n, size), held_out=held_out, **_place(target))


def _is_photos(source: str) -> bool:
    return Path(source).is_dir() or source.lower().endswith(".json")


def _split_folder(source: Path, device: str, given: Mapping[str, Any]) -> ViewsTarget:
    """The views of a folder; which are held out, see :func:`load_views_and_held_out`."""
    from tirender.fit import load_views

    size, allow_parent = given["size"], bool(given.get("allow_parent"))
    target = _target_of(load_views(source, device, allow_parent).resized(size), given)
    everything = target.views
    assert target.centre is not None
    folder = source if source.is_dir() else source.parent
    is_synthetic = source.name == "transforms_train.json" or not (folder / "transforms.json").exists()
    for name in ("transforms_test.json", "transforms_val.json") if is_synthetic else ():
        if (folder / name).is_file():
            others = load_views(folder / name, device, allow_parent).resized(size).moved(target.centre, target.scale)
            return replace(target, held_out=others[evenly_spread(len(others), HELD_OUT)])
    n = len(everything)
    if n < HELD_OUT:
        return target
    chosen = evenly_spread(n, min(n // HELD_OUT, HELD_OUT))
    views = everything[[i for i in range(n) if i not in chosen]]
    return replace(target, views=views, held_out=everything[chosen])


def _target_of(views: Views, given: Mapping[str, Any]) -> ViewsTarget:
    """Views of photos as a target, moved and scaled to the origin; up is where their cameras' tops point."""
    views, centre, scale = views.normalized()
    return ViewsTarget(views=views, centre=centre, scale=scale, **standing_of_cameras(views.cameras, given))


def standing_of_cameras(cameras: CamerasBase, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields ``up`` and ``front`` of a target: as given, else where the tops of the cameras of photos point."""
    from tirender.fit.extract import facing, upright
    from tirender.io.orientation import oriented

    up = upright(cameras)
    return _standing(given, oriented(up.tolist(), facing(cameras, up).tolist()))


def _standing(given: Mapping[str, Any], orientation: Orientation) -> dict[str, Any]:
    """The fields ``up`` and ``front`` of a target: as given, else as its files say."""
    from tirender.io.orientation import oriented

    return vars(oriented(given["up"], orientation.front) if given.get("up") else orientation)


def _place(target: MeshTarget) -> dict[str, Any]:
    """The fields that a mesh's views share with the mesh."""
    return {field.name: getattr(target, field.name) for field in fields(Target)}


def evenly_spread(n: int, n_chosen: int) -> list[int]:
    """The indices of some of n things, evenly spread; all of them if there are not more."""
    n_chosen = min(n, n_chosen)
    return [(2 * i + 1) * n // (2 * n_chosen) for i in range(n_chosen)]
