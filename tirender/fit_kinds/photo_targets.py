"""Photos as targets: in their own space, or moved and scaled to the origin."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import Target
from tirender.fit_kinds.photos import PhotosTarget, is_photos, load_photos, split_photos
from tirender.fit_kinds.targets import load_views_and_held_out, standing_of_cameras

if TYPE_CHECKING:
    from tirender.captures import Capture


def load_photos_target(given: Mapping[str, Any], device: str) -> PhotosTarget:
    """The photos of SOURCE in their own space, or views of a mesh file.

    Args:
        given: the values of ``VIEW_OPTIONS``, ``allow_parent`` and ``up``.
        device: of cameras, points and views.
    """
    if is_photos(given["source"]):
        capture = load_photos(given, device)
        photos, held_out = split_photos(capture)
        return PhotosTarget(photos=photos, held_out=held_out, **standing_of_cameras(capture.cameras, given))
    views = load_views_and_held_out(given, device)
    fields = {field.name: getattr(views, field.name) for field in dataclasses.fields(Target)}
    return PhotosTarget(photos=views.views, held_out=views.held_out, **fields)


def load_scene_target(capture: Capture, given: Mapping[str, Any]) -> PhotosTarget:
    """Photos of a scene without masks, moved and scaled to the origin; up is where their cameras' tops point."""
    from tirender.fit.photo_rays import normalized_capture

    capture, centre, scale = normalized_capture(capture)
    photos, held_out = split_photos(capture)
    standing = standing_of_cameras(capture.cameras, given)
    return PhotosTarget(photos=photos, held_out=held_out, centre=centre, scale=scale, **standing)
