"""Wavefront OBJ files, with their materials and textures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tirender.budget import bounded
from tirender.checks import FLOATS, check_choice, check_tensor, fail
from tirender.io.colors import with_alpha
from tirender.io.file_mesh import FileMesh, warn_if_blurred
from tirender.io.files import Source, encode_png, is_path, read_source, write_file
from tirender.io.losses import warn_of_losses
from tirender.io.mesh_building import textures_of
from tirender.io.mesh_records import record_of_mesh
from tirender.io.mtl_io import Materials, load_materials
from tirender.io.obj_parser import ObjText, parse_obj
from tirender.io.obj_writer import face_lines, obj_files, statement
from tirender.io.pluggable_formats import (
    MeshFormatInterpreter,
    RecordFormat,
    check_comment,
    check_indices,
    check_rows,
    has_suffix,
    one_mesh,
)
from tirender.io.texture_atlas import make_mesh_texture_atlas
from tirender.io.texturing import fill_missing_textures, single_map
from tirender.renderer.mesh.textures import TexturesAtlas, TexturesUV
from tirender.structures.meshes import Meshes, join_meshes_as_batch


class Faces(NamedTuple):
    """Indices of F triangles, int64; -1 where the file gives none."""

    verts_idx: torch.Tensor
    """(F, 3) into verts."""
    normals_idx: torch.Tensor
    """(F, 3) into the normals."""
    textures_idx: torch.Tensor
    """(F, 3) into verts_uvs."""
    materials_idx: torch.Tensor
    """(F,) into the materials in the order of their first use."""


class Properties(NamedTuple):
    """What an OBJ file says beside vertices and faces."""

    normals: torch.Tensor | None
    """(N, 3) float32, or None."""
    verts_uvs: torch.Tensor | None
    """(T, 2) float32, v pointing up, or None."""
    material_colors: dict[str, dict[str, torch.Tensor]] | None
    """Material name -> ambient_color, diffuse_color, specular_color (3,), shininess (1,); None if not loaded."""
    texture_images: dict[str, torch.Tensor] | None
    """Material name -> diffuse image, float32 (H, W, 3) in [0, 1]; None if not loaded."""
    texture_atlas: torch.Tensor | None
    """(F, R, R, 3) float32, or None if not asked for."""


@bounded
def load_obj(
    f: Any,
    load_textures: bool = True,
    create_texture_atlas: bool = False,
    texture_atlas_size: int = 4,
    texture_wrap: str | None = "repeat",
    device: torch.device | str = "cpu",
    path_manager: Any = None,
    *,
    allow_parent: bool = False,
) -> tuple[torch.Tensor, Faces, Properties]:
    """Load a mesh, its materials and textures from an OBJ file.

    Polygons are cut into triangles: convex ones into fans, others by ear clipping; negative indices count from the end.
    Of ``v x y z w`` and ``v x y z r g b`` the first three numbers are read. A missing MTL file or image, or one whose
    path leaves the OBJ file's folder, is a warning. Line and point elements, curves and smoothing groups are ignored.

    Args:
        f: a path, or a text or binary stream.
        load_textures: whether to read materials and images.
        create_texture_atlas: whether to sample a texture atlas for ``TexturesAtlas``.
        texture_atlas_size: texels a side R of each face's square in it.
        texture_wrap: texture coordinates outside [0, 1] in the atlas: "repeat", "clamp", or None for the border of the
            image (as "clamp").
        device: of the tensors returned.
        path_manager: an iopath ``PathManager``, or None for the local file system.
        allow_parent: whether materials and images may lie in the folder above the OBJ file's, and what is in it, too.
    Returns:
        verts (V, 3) float32, ``Faces`` and ``Properties``.
    Raises:
        ValueError: naming file and line: an index that is 0 or out of range, corners of a face that differ in their
            parts, fewer than 3 of them, fields that are missing or no number, NaN and infinity; a damaged image.
        OSError: the file cannot be opened.
    """
    _, text, materials = _read(f, load_textures, path_manager, allow_parent)
    return _as_tuple(text, materials, create_texture_atlas, texture_atlas_size, texture_wrap, device)


@bounded
def load_objs_as_meshes(
    files: Sequence[Any],
    device: torch.device | str | None = None,
    load_textures: bool = True,
    create_texture_atlas: bool = False,
    texture_atlas_size: int = 4,
    texture_wrap: str | None = "repeat",
    path_manager: Any = None,
    *,
    allow_parent: bool = False,
) -> Meshes:
    """Load OBJ files as one batch of meshes.

    Textures are ``TexturesAtlas`` if asked for. Else they are ``TexturesUV`` where a file has images: all of them, each
    face with its own (the plain colours of faces without an image included), ``TexturesVertex`` where it has no image,
    but colours at vertices (times the diffuse colours), or ``TexturesUV`` of the diffuse colours where it has only
    these; else there are none. Normals are computed, as PyTorch3D does, not those of the file.

    Args:
        files: paths or streams, one a mesh.
        device: of the meshes; the CPU by default.
        load_textures, create_texture_atlas, texture_atlas_size, path_manager, allow_parent: as for ``load_obj``.
        texture_wrap: as for ``load_obj``; with "repeat", faces wholly outside [0, 1] are also moved there for
            ``TexturesUV``.
    Returns:
        ``Meshes``, one for each file. In a batch, a mesh without textures beside textured ones becomes white.
    Raises:
        ValueError: as ``load_obj``; no files; textures of different types, which cannot be batched.
    """
    if is_path(files) or not len(files):
        fail("files", "a list of at least one path or stream", repr(files))
    device = "cpu" if device is None else device
    read = [_read(f, load_textures, path_manager, allow_parent) for f in files]
    records = [_file_mesh(*parts) for parts in read]
    if len(records) > 1 and any(record.verts_rgba is not None for record in records):
        # Plain colours as colours of vertices, so that these files can be one batch.
        records = [r if r.verts_rgba is not None else replace(r, verts_rgba=_white(len(r.verts))) for r in records]
    meshes = []
    for (_, text, materials), record in zip(read, records):
        verts, faces, aux = _as_tuple(text, materials, create_texture_atlas, texture_atlas_size, texture_wrap, device)
        textures: Any = None
        if aux.texture_atlas is not None and load_textures:
            textures = TexturesAtlas(atlas=[aux.texture_atlas])
        elif load_textures:
            textures = textures_of(record, device, texture_wrap == "repeat")
        meshes.append(Meshes(verts=[verts], faces=[faces.verts_idx], textures=textures))
    return meshes[0] if len(meshes) == 1 else join_meshes_as_batch(fill_missing_textures(meshes))


def read_obj(source: Source) -> FileMesh:
    """Read all that an OBJ file and its materials say; errors as for :func:`load_obj`."""
    return _file_mesh(*_parse(source, True))


def _read(f: Any, load_textures: bool, path_manager: Any, allow_parent: bool) -> tuple[str, ObjText, Materials | None]:
    name, text, materials = _parse(read_source(f, path_manager, allow_parent), load_textures)
    warn_if_blurred(name, text.verts)
    return name, text, materials


def _parse(source: Source, load_textures: bool) -> tuple[str, ObjText, Materials | None]:
    text = parse_obj(source)
    materials = load_materials(source, text.material_files, text.material_names) if load_textures else None
    if materials is not None and materials.names and not text.material_names:
        text.materials_idx[:] = 0  # a single material that no usemtl names is that of all faces
    return source.name, text, materials


def _file_mesh(name: str, text: ObjText, materials: Materials | None) -> FileMesh:
    for elements in text.not_read:
        warnings.warn(f"{name}: {elements} are not read", stacklevel=3)
    names = [] if materials is None else materials.names
    known = {} if materials is None else materials.records
    places = {name: i for i, name in enumerate(known)}
    index = np.array([*(places.get(name, -1) for name in names), -1])
    has_normals, has_uvs = len(text.normals) > 0, len(text.verts_uvs) > 0
    return FileMesh(
        name,
        text.verts,
        np.ascontiguousarray(text.corners[..., 0]),
        text.normals if has_normals else None,
        np.ascontiguousarray(text.corners[..., 2]) if has_normals else None,
        (text.verts_uvs,) if has_uvs else (),
        (np.ascontiguousarray(text.corners[..., 1]),) if has_uvs else (),
        None if text.verts_rgb is None else with_alpha(text.verts_rgb),
        materials=tuple(known.values()),
        faces_material=index[text.materials_idx] if known else None,
        unread=(f"the {text.n_parts} names of objects and groups",) if text.n_parts > 1 else (),
    )


def _white(n: int) -> np.ndarray:
    return np.ones((n, 4), dtype=np.float32)


def _as_tuple(
    text: ObjText, materials: Materials | None, create_atlas: bool, atlas_size: int, wrap: str | None, device: Any
) -> tuple[torch.Tensor, Faces, Properties]:
    if wrap is not None:
        check_choice("texture_wrap", wrap, ("repeat", "clamp"))
    verts = torch.from_numpy(text.verts.astype(np.float32)).to(device)
    corners = torch.from_numpy(text.corners).to(device)
    verts_idx, textures_idx, normals_idx = (corners[..., part].contiguous() for part in range(3))
    faces = Faces(verts_idx, normals_idx, textures_idx, torch.from_numpy(text.materials_idx).to(device))
    normals = torch.from_numpy(text.normals).to(device) if len(text.normals) else None
    verts_uvs = torch.from_numpy(text.verts_uvs).to(device) if len(text.verts_uvs) else None
    atlas = None
    if create_atlas:
        known = materials or Materials([], {}, {})
        atlas = make_mesh_texture_atlas(known, faces.materials_idx, textures_idx, verts_uvs, atlas_size, wrap)
    if materials is None:
        return verts, faces, Properties(normals, verts_uvs, None, None, atlas)
    colors = {name: {key: v.to(device) for key, v in values.items()} for name, values in materials.colors.items()}
    images = {name: image.to(device) for name, image in materials.images().items()}
    return verts, faces, Properties(normals, verts_uvs, colors, images, atlas)


def save_obj(
    f: Any,
    verts: torch.Tensor,
    faces: torch.Tensor,
    decimal_places: int | None = None,
    path_manager: Any = None,
    *,
    normals: torch.Tensor | None = None,
    faces_normals_idx: torch.Tensor | None = None,
    verts_uvs: torch.Tensor | None = None,
    faces_uvs: torch.Tensor | None = None,
    texture_map: torch.Tensor | None = None,
    comment: str | None = None,
) -> None:
    """Save a mesh to an OBJ file, and its texture to an MTL and a PNG file of the same name beside it.

    Args:
        f: a path; a stream where there is no ``texture_map``.
        verts: (V, 3) float.
        faces: (F, 3) int.
        decimal_places: digits behind the point; None for as many as bring the same floats back.
        path_manager: an iopath ``PathManager``, or None for the local file system.
        normals: (N, 3) float, written together with ``faces_normals_idx``.
        faces_normals_idx: (F, 3) int into ``normals``; -1 where a face has none.
        verts_uvs: (T, 2) float, written together with ``faces_uvs``.
        faces_uvs: (F, 3) int into ``verts_uvs``; -1 where a face has none.
        texture_map: (H, W, 3) float in [0, 1], written if there are texture coordinates.
        comment: one line, written first.
    Raises:
        ValueError: a wrong shape or dtype, an index out of range, a comment that is not one line.
    """
    check_comment(comment)
    check_rows("verts", verts, 3)
    check_indices("faces", faces, len(verts), None)
    if verts_uvs is not None:
        check_rows("verts_uvs", verts_uvs, 2)
        if faces_uvs is not None:
            check_indices("faces_uvs", faces_uvs, len(verts_uvs), len(faces), may_lack=True)
    if normals is not None:
        check_rows("normals", normals, 3)
        if faces_normals_idx is not None:
            check_indices("faces_normals_idx", faces_normals_idx, len(normals), len(faces), may_lack=True)
    if texture_map is not None:
        check_tensor("texture_map", texture_map, ("H", "W", 3), FLOATS)
    if decimal_places is not None and decimal_places < 0:
        fail("decimal_places", "None or at least 0", decimal_places)

    # Coordinates without faces, and the reverse, are left out, as PyTorch3D does.
    tables, parts, save_map = [("v", verts)], [faces, *2 * [torch.full_like(faces, -1)]], False
    if verts_uvs is not None and faces_uvs is not None:
        tables.append(("vt", verts_uvs))
        parts[1], save_map = faces_uvs, texture_map is not None
    if normals is not None and faces_normals_idx is not None:
        tables.append(("vn", normals))
        parts[2] = faces_normals_idx
    if save_map and not is_path(f):
        fail("f", "a path, as a texture_map is saved beside it", type(f).__name__)
    root = os.path.splitext(os.fsdecode(f))[0] if save_map else ""
    stem = os.path.basename(root)

    def lines() -> Iterator[bytes]:
        if comment:
            yield f"# {comment}\n".encode()
        if save_map:
            yield f"mtllib {stem}.mtl\nusemtl mesh\n\n".encode()
        for keyword, table in tables:
            yield from statement(keyword, table, decimal_places)
        if faces.numel():
            yield from face_lines(torch.stack([part.long().cpu() for part in parts], dim=-1))

    if save_map and texture_map is not None:
        write_file(f"{root}.png", [encode_png(texture_map)], path_manager)
        write_file(f"{root}.mtl", [f"newmtl mesh\nmap_Kd {stem}.png\n".encode()], path_manager)
    write_file(f, lines(), path_manager)


class MeshObjFormat(RecordFormat, MeshFormatInterpreter):
    """OBJ in the ``IO`` registry: paths that end in .obj."""

    known_suffixes = (".obj",)
    read_record = staticmethod(read_obj)

    def read(
        self,
        path: Any,
        include_textures: bool,
        device: Any,
        path_manager: Any = None,
        create_texture_atlas: bool = False,
        texture_atlas_size: int = 4,
        texture_wrap: str | None = "repeat",
        allow_parent: bool = False,
        **kwargs: Any,
    ) -> Meshes | None:
        """Read a mesh as ``load_objs_as_meshes`` does, or return None for another kind of path."""
        if not has_suffix(path, self.known_suffixes):
            return None
        atlas = (create_texture_atlas, texture_atlas_size, texture_wrap)
        return load_objs_as_meshes([path], device, include_textures, *atlas, path_manager, allow_parent=allow_parent)

    def save(
        self,
        data: Meshes,
        path: Any,
        path_manager: Any = None,
        binary: bool | None = None,
        decimal_places: int | None = None,
        comment: str | None = None,
        **kwargs: Any,
    ) -> bool:
        """Write one mesh; materials, colours and images come beside it as far as OBJ holds them, the rest warns.

        The maps of ``TexturesUV`` are put side by side into one. A comment of one line comes first.
        """
        if not has_suffix(path, self.known_suffixes):
            return False
        verts, faces = one_mesh(data, path)
        check_comment(comment)
        if data.textures is not None and not isinstance(data.textures, TexturesUV):
            mesh = record_of_mesh(data, path)
            warn_of_losses(mesh, os.fsdecode(path), ".obj")
            for where, chunks in obj_files(mesh, Path(os.fsdecode(path)), comment, decimal_places):
                write_file(where, chunks, path_manager)
            return True
        normals = data.verts_normals_list()[0] if data.has_verts_normals() else None
        uvs: dict[str, torch.Tensor] = {} if data.textures is None else single_map(data.textures, path)
        save_obj(
            path,
            verts,
            faces,
            decimal_places,
            path_manager,
            normals=normals,
            faces_normals_idx=None if normals is None else faces,
            comment=comment,
            **uvs,
        )
        return True
