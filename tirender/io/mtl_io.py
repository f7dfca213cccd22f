"""Wavefront MTL materials: colours and diffuse images (http://paulbourke.net/dataformats/mtl/)."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch

from tirender.checks import fail
from tirender.io.files import Source, decode_image, read_source
from tirender.io.obj_parser import clean_text

_COLORS = {"ka": "ambient_color", "kd": "diffuse_color", "ks": "specular_color"}
_MAP_OPTION = re.compile(
    r"-(?:(?:o|s|t)(?:\s+[-+.\d][-+.\de]*){1,3}|mm\s+\S+\s+\S+"
    r"|(?:blendu|blendv|boost|cc|clamp|texres|bm|imfchan|type)\s+\S+)\s+"
)


@dataclass
class Material:
    """One newmtl: its colours by PyTorch3D's names, and the diffuse image's file name as written."""

    colors: dict[str, torch.Tensor] = field(default_factory=dict)
    image_file: str | None = None


@dataclass(frozen=True)
class Materials:
    """The materials that a mesh uses.

    Attributes:
        names: what the indices of ``usemtl`` stand for.
        colors: material name -> ``ambient_color``, ``diffuse_color``, ``specular_color`` (3,) and ``shininess`` (1,),
            as far as the file gives them.
        images: material name -> float32 (H, W, 3) in [0, 1], for those whose diffuse image was found.
    """

    names: list[str]
    colors: dict[str, dict[str, torch.Tensor]]
    images: dict[str, torch.Tensor]


def load_materials(source: Source, files: list[str], names: list[str]) -> Materials:
    """Read the materials of an OBJ file.

    What is missing, or lies outside of the OBJ file's own folder, is skipped with a warning.

    Args:
        source: the OBJ file.
        files: the arguments of its mtllib statements.
        names: the arguments of its usemtl statements.
    Raises:
        ValueError: a damaged MTL file or image; the message names the file, and the line.
    """
    defined: dict[str, Material] = {}
    if names and not files:
        warnings.warn(f"{source.name}: no mtllib statement, materials are ignored", stacklevel=2)
    for argument in files:
        for library in _find_libraries(source, argument):
            for name, material in parse_mtl(library).items():
                defined.setdefault(name, material)
    if not names and len(defined) == 1:
        names = list(defined)
    elif not names and defined:
        warnings.warn(f"{source.name}: {len(defined)} materials but no usemtl statement, all ignored", stacklevel=2)

    names = [next((n for n in (*_without_remark(name), *name.split()[:1]) if n in defined), name) for name in names]
    used = {name: defined[name] for name in names if name in defined}
    images: dict[str, torch.Tensor] = {}
    decoded: dict[str, torch.Tensor] = {}
    for name, material in used.items():
        if material.image_file is None:
            continue
        path, problem = _find(source, f"texture {material.image_file!r}", _image_names(material.image_file))
        if path is None:
            warnings.warn(problem, stacklevel=2)
            continue
        if path not in decoded:
            decoded[path] = decode_image(read_source(path, source.path_manager).data, path)
        images[name] = decoded[path]
    return Materials(names, {name: material.colors for name, material in used.items()}, images)


def parse_mtl(source: Source) -> dict[str, Material]:
    """Parse an MTL file; ValueError names the line of a field that is no finite number, or of a stray statement."""
    materials: dict[str, Material] = {}
    current: Material | None = None
    for number, line in enumerate(clean_text(source).split(b"\n"), start=1):
        keyword, _, argument = line.decode(errors="replace").replace("\t", " ").partition(" ")
        keyword, argument = keyword.lower(), argument.strip()
        where = f"{source.name}, line {number}"
        if keyword == "newmtl":
            current = materials.setdefault(argument, Material())
        elif keyword in _COLORS or keyword in ("ns", "map_kd"):
            if current is None:
                fail(where, "newmtl before the first property", repr(line.decode(errors="replace")))
            if keyword == "map_kd":
                current.image_file = argument or None
            elif keyword == "ns":
                current.colors["shininess"] = _numbers(argument, where)[:1]
            elif not argument.startswith(("spectral", "xyz")):
                values = _numbers(argument, where)
                current.colors[_COLORS[keyword]] = values[:3] if len(values) >= 3 else values[:1].repeat(3)
    return materials


def _numbers(argument: str, where: str) -> torch.Tensor:
    try:
        values = [float(x) for x in argument.partition("#")[0].split()]
    except ValueError:
        values = []
    if not values or not all(map(math.isfinite, values)):
        fail(where, "finite numbers", repr(argument))
    return torch.tensor(values, dtype=torch.float32)


def _find_libraries(source: Source, argument: str) -> list[Source]:
    """Read what an mtllib names: one file, whose name may have blanks, or else several files."""
    path, problem = _find(source, f"material file {argument!r}", _without_remark(argument))
    paths = [path] if path is not None else []
    if path is None and len(argument.split()) > 1:
        paths = [p for p, _ in (_find(source, "", [name]) for name in argument.split()) if p is not None]
    if not paths:
        warnings.warn(problem, stacklevel=2)
    return [read_source(path, source.path_manager) for path in paths]


def _find(source: Source, what: str, names: Iterable[str]) -> tuple[str | None, str]:
    """Return the path of the first of these files that exists, or None and what to warn of."""
    problem = f"{source.name}: {what} not found, ignored"
    for name in names:
        try:
            path = source.sibling(name)
        except ValueError as error:
            problem = f"{error}; it is not read"
            continue
        if path is not None:
            return path, ""
    return None, problem


def _without_remark(name: str) -> Iterator[str]:
    """The name as written, without quotes, and without what may be a remark at the end of the line."""
    yield name
    yield name.strip("\"'")
    yield re.split(r"\s#", name)[0].strip().strip("\"'")


def _image_names(argument: str) -> Iterator[str]:
    yield from _without_remark(argument)
    rest = argument
    while match := _MAP_OPTION.match(rest):
        rest = rest[match.end() :]
    if rest != argument:
        yield from _without_remark(rest)
