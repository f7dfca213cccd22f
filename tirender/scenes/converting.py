"""Any file that is read as any file that is written."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tirender import datasets
from tirender.budget import bounded
from tirender.checks import fail
from tirender.fit.baking import bake_material
from tirender.io import load_gaussians, load_volume, save_volume
from tirender.io.colors import HARMONIC
from tirender.io.display import display_mesh, with_shown_normals
from tirender.io.file_mesh import FileMesh
from tirender.io.files import not_found
from tirender.io.gaussians_io import COLMAP, gaussian_chunks, holds_gaussians, orientation_of_gaussians
from tirender.io.image_files import count_images
from tirender.io.mesh_records import record_of_mesh
from tirender.io.npz_io import array_names
from tirender.io.orientation import Orientation, oriented, to_comment
from tirender.io.reading import KNOWN_SUFFIXES, read_mesh_file
from tirender.io.writing import WRITTEN_SUFFIXES, NewFile, files_for
from tirender.renderer.mesh.material import MAPS, Material
from tirender.scenes.export import ExportOptions, record_of
from tirender.scenes.fitted import CHECKPOINT, RestoredFit, restore_fit
from tirender.scenes.load import GAUSSIANS
from tirender.structures import Gaussians, Meshes, Volumes
from tirender.structures.words import several

GLTF = (".glb", ".gltf")
WRITTEN_MAPS = {
    ".glb": MAPS,
    ".gltf": MAPS,
    ".obj": ("base_map", "emission_map", "normal_map"),
    ".ply": ("base_map",),
}
KEPT: dict[type, tuple[str, ...]] = {Gaussians: GAUSSIANS, Volumes: (".npz",)}
"""The endings of files that hold the thing itself, and not a surface of it."""
SUFFIXES = tuple(dict.fromkeys([*WRITTEN_SUFFIXES, ".splat"]))
"""The endings of files that are written."""


@dataclass(frozen=True)
class ConvertOptions:
    """How a file is converted.

    Attributes:
        export: how meshes are made of fits, volumes and Gaussians, and whether colours are baked.
        up: the axis of the file that points up, or None for what it says.
        points: whether Gaussians become points, and not a surface.
        allow_parent: whether materials and images may lie in the folder above the file's.
        device: where kernels run.
    """

    export: ExportOptions = field(default_factory=ExportOptions)
    up: str | None = None
    points: bool = False
    allow_parent: bool = False
    device: torch.device | str = "cpu"


@dataclass(frozen=True)
class Converted:
    """What is to be written.

    Attributes:
        files: the main one last.
        facts: what it is, in a few words.
    """

    files: list[NewFile]
    facts: str


@bounded
def convert(path: str | os.PathLike[str], output: str | os.PathLike[str], options: ConvertOptions) -> Converted:
    """Return what a file, or a fit, becomes as another file; nothing is written.

    Meshes that become glTF get the normals that they are shown with, unless they come from glTF. Colours of volumes,
    fields and Gaussians are shown there without light, which they have in them. Of Gaussians, .ply and
    .splat hold the parameters; of volumes, .npz holds the voxels; all others hold a surface.

    Args:
        path: what to convert: a file, the folder of a fit, or a short name, see :func:`tirender.datasets.path_of`.
        output: the main file; its ending decides the kind.
        options: how.
    Raises:
        ValueError: a file of another kind, a damaged one, or an ending that is not written.
        ImportError: a package for the format, or for baking, is not installed.
        OSError: the file cannot be opened.
    """
    output, known = Path(output), datasets.orientation_of(path)
    ending = output.suffix.lower()
    if ending not in SUFFIXES:
        fail("OUT", f"a file that ends in {', '.join(SUFFIXES)}", repr(str(output)))
    path = datasets.path_of(path)
    path = path / "checkpoint.pt" if (path / "checkpoint.pt").is_file() else path
    if not path.exists():
        raise not_found(path)

    def standing(of_file: Orientation) -> Orientation:
        usual = known or of_file
        return usual if options.up is None else oriented(options.up, usual.front)

    kind = path.suffix.lower()
    fit: RestoredFit | None = None
    if kind == CHECKPOINT:
        fit = restore_fit(path, options.device)
    elif kind == ".npz" and "densities" in array_names(path):
        fit = RestoredFit(load_volume(path, options.device))
    elif kind in GAUSSIANS and holds_gaussians(path):
        fit = RestoredFit(load_gaussians(path, options.device), orientation=orientation_of_gaussians(path))
    elif kind not in KNOWN_SUFFIXES:
        endings = ", ".join([*KNOWN_SUFFIXES, ".splat", CHECKPOINT])
        fail("IN", f"one that ends in {endings}, or the folder of a fit", repr(str(path)))
    if fit is not None:
        _check_used(fit.fitted, ending, options)
        return convert_fit(replace(fit, orientation=standing(fit.orientation)), output, options)
    mesh = read_mesh_file(path, allow_parent=options.allow_parent, center_far=True)
    mesh = replace(mesh, orientation=standing(mesh.orientation))
    _check_used(mesh, ending, options)
    if options.export.bake is not None:
        mesh = _baked(mesh, options)
    if ending in GLTF and kind not in GLTF and len(mesh.faces):
        mesh = with_shown_normals(mesh)
    return _of_record(mesh, output)


def _check_used(thing: Any, ending: str, options: ConvertOptions) -> None:
    """Raise for an option that is given, and that this thing has no use for in a file with this ending."""
    export = options.export
    is_cloud = isinstance(thing, FileMesh) and not len(thing.faces)
    got = "a point cloud" if is_cloud else "a mesh" if isinstance(thing, FileMesh | Meshes) else type(thing).__name__
    if options.points and not isinstance(thing, Gaussians):
        fail("--points", "Gaussians", got)
    is_kept = options.points or ending in KEPT.get(type(thing), ())
    if export.bake is not None and is_kept:
        fail("--bake", "a file of a surface", f"{got} in {ending}")
    is_cut = not is_kept and not isinstance(thing, FileMesh | Meshes)
    if (export.voxels is not None or export.box is not None) and not is_cut:
        name = "--crop" if export.voxels is None else "--voxels"
        fail(name, "a surface of a volume, radiance field or Gaussians", f"{got} in {ending}")
    if export.isolevel != ExportOptions.isolevel and (not is_cut or isinstance(thing, Gaussians)):
        fail("--isolevel", "a surface of a volume or radiance field", f"{got} in {ending}")


def _of_record(mesh: FileMesh, output: Path) -> Converted:
    if output.suffix.lower() == ".splat":
        fail("OUT", "Gaussians for .splat", "a mesh" if len(mesh.faces) else "a point cloud")
    ending = output.suffix.lower()
    used = [mesh.materials[i] for i in mesh.used_materials()]
    parts = [several(len(mesh.faces), "face") if len(mesh.faces) else several(len(mesh.verts), "point")]
    if n_textures := count_images(used, WRITTEN_MAPS.get(ending, ())):
        parts.append(several(n_textures, "texture"))
    if ending in GLTF:
        things = (("camera", mesh.cameras), ("light", mesh.lights))
        parts += [several(len(those), name) for name, those in things if those]
    return Converted(files_for(mesh, output), ", ".join(parts))


def convert_fit(fit: RestoredFit, output: Path, options: ConvertOptions) -> Converted:
    """Return what a fit, a volume or Gaussians become as a file; see :func:`convert`."""
    thing, ending = fit.fitted, output.suffix.lower()
    if isinstance(thing, Gaussians):
        if ending in GAUSSIANS and not options.points:
            lost = {"harmonics": thing.degree > 0, "which way up they stand": fit.orientation != COLMAP}
            for feature in (name for name, is_lost in lost.items() if is_lost and ending == ".splat"):
                warnings.warn(f"{output}: {feature}: no part of SPLAT files, left out", stacklevel=2)
            chunks = gaussian_chunks(_in_place(thing, fit), output, to_comment(fit.orientation))
            return Converted([NewFile(output, chunks)], f"{len(thing)} Gaussians")
        if options.points:
            return _of_record(_centres(_in_place(thing, fit), fit, str(output)), output)
    if isinstance(thing, Volumes) and ending == ".npz":
        stream = io.BytesIO()
        save_volume(stream, thing)
        return Converted([NewFile(output, [stream.getvalue()])], "a volume")
    if ending == ".splat":
        fail("OUT", "Gaussians for .splat", type(thing).__name__)
    record = record_of(fit, options.export, str(output))
    return _of_record(record if isinstance(thing, Meshes) or ending not in GLTF else _unlit(record), output)


def _unlit(mesh: FileMesh) -> FileMesh:
    """The mesh with materials that show their colours as they are: these are light that was seen already."""
    index = mesh.face_materials()
    materials = [replace(material, unlit=True) for material in (*mesh.materials, Material())]
    return replace(mesh, materials=tuple(materials), faces_material=np.where(index < 0, len(mesh.materials), index))


def _in_place(gaussians: Gaussians, fit: RestoredFit) -> Gaussians:
    from tirender.transforms import Scale, Translate

    if fit.scale == 1.0 and not any(fit.centre):
        return gaussians
    centre = torch.tensor([[*fit.centre]], dtype=torch.float32, device=gaussians.device)
    return gaussians.transform(Scale(fit.scale, device=gaussians.device).compose(Translate(centre)))


def _centres(gaussians: Gaussians, fit: RestoredFit, name: str) -> FileMesh:
    """The centres of Gaussians as a cloud, their colours as seen without harmonics."""
    warnings.warn(f"{name}: of Gaussians the centres, colours and opacities are kept", stacklevel=3)
    g = gaussians.detach().cpu()
    rgba = torch.cat([(g.harmonics[:, 0] * HARMONIC + 0.5).clamp(0, 1), g.opacities[:, None]], 1)
    return FileMesh(
        name,
        g.means.double().numpy(),
        np.zeros((0, 3), np.int64),
        verts_rgba=rgba.float().numpy(),
        orientation=fit.orientation,
    )


def _baked(mesh: FileMesh, options: ConvertOptions) -> FileMesh:
    """The mesh with one texture map of the colours that all its materials and vertices give it."""
    if not len(mesh.faces):
        fail("--bake", "a mesh", "a point cloud")
    shown: Meshes = display_mesh(mesh, options.device)
    if shown.textures is None:
        warnings.warn(f"{mesh.name}: has no colours, nothing is baked", stacklevel=3)
        return mesh
    assert options.export.bake is not None
    shown.textures = bake_material(shown, options.export.bake, mesh.name)
    record = record_of_mesh(shown.cpu(), mesh.name)
    return replace(
        mesh,
        materials=record.materials,
        faces_material=record.faces_material,
        uvs=record.uvs,
        faces_uvs=record.faces_uvs,
        verts_rgba=None,
        faces_rgba=None,
    )
