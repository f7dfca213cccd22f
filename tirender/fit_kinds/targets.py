"""What fits approach, from files: meshes, and views of them or from a folder of photos."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import MeshTarget, Option, Target, ViewsTarget
from tirender.fit_kinds.photos import (
    DOWNSCALE,
    SIZE_OF_VIEWS,
    PhotosTarget,
    evenly_spread,
    is_photos,
    load_photos,
    split_photos,
)

if TYPE_CHECKING:
    from tirender.captures import Capture
    from tirender.io.orientation import Orientation
    from tirender.renderer import CamerasBase

SOURCE_HELP = (
    "photos with cameras: a folder with images and a reconstruction by COLMAP (sparse/0), or a transforms.json of "
    "nerfstudio, instant-ngp or NeRF; or photos alone; or a mesh file to render views of"
)
VIEW_OPTIONS = (
    Option(
        "source",
        SOURCE_HELP,
        metavar="SOURCE",
        required=True,
    ),
    Option("size", "short side of the views (default: 128)", range(8, 4097), "pixels", "PX"),
    DOWNSCALE,
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
HELD_OUT = 8  # at most so many views of a mesh are held out
MOST_PIXELS, LEAST_HELD_OUT = 2_000_000, 4  # of photos that measure a field, which draws some thousand pixels a second


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
    if file.is_dir():
        fail("SOURCE", "a mesh file", f"{path}, a folder")
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


def load_views_target(given: Mapping[str, Any], device: str, without_masks: str = "refuse") -> ViewsTarget:
    """The views of SOURCE.

    Args:
        given: the values of ``VIEW_OPTIONS``, ``allow_parent`` and ``up``.
        device: of the views.
        without_masks: see :func:`~tirender.fit.captured_views.views_of`.
    """
    from tirender.fit import render_views

    if is_photos(given["source"]):
        photos = load_photos(given, device, SIZE_OF_VIEWS)
        return _target_of(photos.split_aside()[0], given, without_masks)
    target = load_mesh_target(given["source"], device, given, with_looks=True)
    views = render_views(target.mesh, given["views"] or N_VIEWS, given["size"] or SIZE_OF_VIEWS)
    return ViewsTarget(views=views, **_place(target))


def load_views_and_held_out(given: Mapping[str, Any], device: str, capture: Capture | None = None) -> ViewsTarget:
    """The views of SOURCE; some of them, or others, are held out.

    Of a mesh, views from halfway between the others are held out. Of photos, those that their files set aside, or every
    eighth. Where there are no masks, whole photos are the object.

    Args:
        given: the values of ``VIEW_OPTIONS``, ``allow_parent`` and ``up``.
        device: of the views.
        capture: the photos of SOURCE, if they are loaded already.
    """
    from tirender.fit import render_views, render_views_between
    from tirender.fit.captured_views import views_of

    source, size = given["source"], given["size"] or SIZE_OF_VIEWS
    if is_photos(source):
        photos, held_out = split_photos(capture or load_photos(given, device, SIZE_OF_VIEWS))
        of_photos = _target_of(photos, given, "full")
        if held_out is None:
            return of_photos
        assert of_photos.centre is not None
        others = views_of(held_out, source, "full").moved(of_photos.centre, of_photos.scale)
        return replace(of_photos, held_out=others, names=held_out.names)
    n = given["views"] or N_VIEWS_RADIANCE
    target = load_mesh_target(source, device, given, with_looks=True)
    between = render_views_between(target.mesh, n, HELD_OUT, size)
    return ViewsTarget(views=render_views(target.mesh, n, size), held_out=between, **_place(target))


def load_photos_target(given: Mapping[str, Any], device: str) -> PhotosTarget:
    """The photos of SOURCE in their own space, or views of a mesh file.

    Args:
        given: the values of ``VIEW_OPTIONS``, ``allow_parent`` and ``up``.
        device: of cameras, points and views.
    """
    if is_photos(given["source"]):
        capture = load_photos(given, device)
        photos, held_out = split_photos(capture)
        return PhotosTarget(photos=photos, held_out=held_out, **_place_of(capture, capture.cameras, given))
    views = load_views_and_held_out(given, device)
    return PhotosTarget(photos=views.views, held_out=views.held_out, **_place(views))


def load_scene_target(capture: Capture, given: Mapping[str, Any]) -> PhotosTarget:
    """Photos of a scene without masks, moved and scaled to the origin; up is where their cameras' tops point."""
    from tirender.fit.photo_rays import normalized_capture

    capture, centre, scale = normalized_capture(capture)
    photos, held_out = split_photos(capture)
    if held_out is not None:
        height, width = held_out.image_size
        held_out = held_out[evenly_spread(len(held_out), max(MOST_PIXELS // (height * width), LEAST_HELD_OUT))]
    return PhotosTarget(
        photos=photos, held_out=held_out, centre=centre, scale=scale, **_place_of(capture, capture.cameras, given)
    )


def _target_of(photos: Capture, given: Mapping[str, Any], without_masks: str) -> ViewsTarget:
    """Photos as a target, moved and scaled to the origin; up is where their cameras' tops point."""
    from tirender.fit.captured_views import normalized_views, views_of

    views, centre, scale = normalized_views(views_of(photos, given["source"], without_masks), photos)
    place = _place_of(photos, views.cameras, given)
    return ViewsTarget(views=views, centre=centre, scale=scale, names=photos.names, **place)


def _place_of(capture: Capture, cameras: CamerasBase, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields ``up``, ``front`` and ``origin`` of a target of photos."""
    import torch

    origin = torch.tensor(capture.origin, dtype=torch.float64) if any(capture.origin) else None
    return {**standing_of_cameras(cameras, given), "origin": origin}


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


def _place(target: Target) -> dict[str, Any]:
    """The fields that every target has."""
    return {field.name: getattr(target, field.name) for field in fields(Target)}
