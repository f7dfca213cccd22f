"""Wavefront MTL materials (http://paulbourke.net/dataformats/mtl/)."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch.nn.functional import interpolate

from tirender.budget import spend
from tirender.checks import fail
from tirender.io.companions import Images, find_companion
from tirender.io.files import Source, read_source
from tirender.io.obj_parser import clean_text
from tirender.renderer.mesh.material import Material, TextureMap

_COLORS = {"ka": "ambient_color", "kd": "diffuse_color", "ks": "specular_color"}
_NUMBERS = ("ns", "d", "tr", "pm", "pr", "illum")
_MAPS = {"map_kd": "map_kd", "map_d": "map_d", "map_ke": "map_ke", "norm": "norm", "map_kn": "norm"}
_NOT_READ = ("bump", "disp", "decal", "refl")  # beside all other keywords that start with "map_"
_SWITCH = "map_aat"
MAX_OPTIONS = 100  # of a map
FREE_MATERIALS, BYTES_A_MATERIAL = 1000, 1 << 16
"""Of a file with more materials than the first number, each takes the second of the budget."""
_NO_NAME = ("", "(null)", "none")  # usemtl of programs that mean no material
_NAMES = re.compile(r'"[^"]*"|\S+')
_MAP_OPTION = re.compile(
    r"-(?:(?P<name>o|s|t)\s+(?P<numbers>[-+.\d][-+.\de]*(?:\s+[-+.\d][-+.\de]*){0,2})|mm\s+(?P<mm>\S+\s+\S+)"
    r"|(?P<word>blendu|blendv|boost|cc|clamp|texres|bm|imfchan|type)\s+(?P<value>\S+))\s+"
)


@dataclass
class MtlMaterial:
    """One newmtl: its colours by PyTorch3D's names, its other numbers and its maps by keyword, as written.

    ``folder`` is that of the MTL file, seen from the mesh's.
    """

    colors: dict[str, torch.Tensor] = field(default_factory=dict)
    emission: tuple[float, ...] | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    maps: dict[str, str] = field(default_factory=dict)
    folder: str = "."

    @property
    def alpha(self) -> float:
        """The opacity; where both stand, "Tr" is often not 1 - d but a copy of it."""
        return min(max(self.numbers.get("d", 1.0 - self.numbers.get("tr", 0.0)), 0.0), 1.0)


@dataclass(frozen=True)
class Materials:
    """The materials that a mesh uses.

    Attributes:
        names: what the indices of ``usemtl`` stand for.
        colors: material name -> ``ambient_color``, ``diffuse_color``, ``specular_color`` (3,) and ``shininess`` (1,),
            as far as the file gives them.
        records: material name -> all that is read of it, for the names that are defined.
    """

    names: list[str]
    colors: dict[str, dict[str, torch.Tensor]]
    records: dict[str, Material]

    def images(self) -> dict[str, torch.Tensor]:
        """Return material name -> float32 (H, W, 3) in [0, 1], for those whose diffuse image was found."""
        maps = {name: record.base_map for name, record in self.records.items()}
        return {name: found.image[..., :3].contiguous() for name, found in maps.items() if found is not None}


def load_materials(source: Source, files: list[str], names: list[str]) -> Materials | None:
    """Read the materials of an OBJ file.

    What is missing, or lies outside of the OBJ file's own folder, is skipped with a warning. A map multiplies no
    ``Kd``: many files have a black or grey one beside it.

    Args:
        source: the OBJ file.
        files: the arguments of its mtllib statements.
        names: the arguments of its usemtl statements.
    Returns:
        The materials, or None where no MTL file was read.
    Raises:
        ValueError: a damaged MTL file; the message names the file and the line.
    """
    defined: dict[str, MtlMaterial] = {}
    if names and not files:
        warnings.warn(f"{source.name}: no mtllib statement, materials are ignored", stacklevel=2)
    paths = dict.fromkeys(path for argument in dict.fromkeys(files) for path in _find_libraries(source, argument))
    libraries = [read_source(path, source.path_manager) for path in paths]
    for library in libraries:
        folder = os.path.relpath(library.folder or ".", source.folder or ".")
        for name, material in parse_mtl(library).items():
            defined.setdefault(name, replace(material, folder=folder))
    if not names and len(defined) == 1:
        names = list(defined)
    elif not names and defined:
        warnings.warn(f"{source.name}: {len(defined)} materials but no usemtl statement, all ignored", stacklevel=2)

    if not libraries:
        return None
    alike: dict[str, list[str]] = {}
    for name in defined:
        alike.setdefault(name.lower(), []).append(name)
    names = [_defined_name(name, defined, alike) for name in names]
    used = {name: defined[name] for name in names if name in defined}
    _warn_of_rest(source, names, used)
    maps = _Maps(source)
    records = {name: _record(name, material, maps) for name, material in used.items()}
    return Materials(names, {name: material.colors for name, material in used.items()}, records)


def _defined_name(name: str, defined: Collection[str], alike: Mapping[str, list[str]]) -> str:
    """Return what a usemtl's argument is called in the MTL files: it may have a remark, or differ in case.

    Args:
        name: the argument.
        defined: the names in the MTL files.
        alike: those of each name in lower case.
    """
    for known in (*_without_remark(name), *name.split()[:1]):
        if known in defined:
            return known
    others = alike.get(name.lower(), [])
    return others[0] if len(others) == 1 else name


def _warn_of_rest(source: Source, names: list[str], used: dict[str, MtlMaterial]) -> None:
    """Warn of what is not read; make opaque what is all invisible, as of programs that leave the opacity at 0."""
    missing = [repr(name) for name in names if name not in used and name.lower() not in _NO_NAME]
    if missing:
        what = ", ".join(missing[:5]) + ", ..." * (len(missing) > 5)
        warnings.warn(f"{source.name}: no MTL file has its materials {what}", stacklevel=3)
    # Some programs repeat the diffuse map as the ambient one.
    unread = {
        keyword
        for material in used.values()
        for keyword, argument in material.maps.items()
        if keyword not in _MAPS.values() and (keyword != "map_ka" or argument != material.maps.get("map_kd"))
    }
    for keyword in sorted(unread):
        warnings.warn(f"{source.name}: {keyword} of its materials is not read", stacklevel=3)
    if any(float(material.colors.get("diffuse_color", torch.zeros(1)).max()) > 1.0 for material in used.values()):
        warnings.warn(f"{source.name}: Kd above 1 is clipped", stacklevel=3)
    if used and all(material.alpha == 0.0 and "map_d" not in material.maps for material in used.values()):
        warnings.warn(f"{source.name}: all materials are invisible (d 0, or Tr 1), taken as opaque", stacklevel=3)
        for material in used.values():
            material.numbers["d"] = 1.0


def parse_mtl(source: Source) -> dict[str, MtlMaterial]:
    """Parse an MTL file; ValueError names the line of a field that is no finite number, or of a stray statement."""
    materials: dict[str, MtlMaterial] = {}
    current: MtlMaterial | None = None
    for number, line in enumerate(clean_text(source).split(b"\n"), start=1):
        keyword, _, argument = line.decode(errors="replace").replace("\t", " ").partition(" ")
        keyword, argument = keyword.lower(), argument.strip()
        where = f"{source.name}, line {number}"
        if keyword == "newmtl":
            if argument not in materials and len(materials) >= FREE_MATERIALS:
                spend(source.name, BYTES_A_MATERIAL, "so many materials")
            current = materials.setdefault(argument, MtlMaterial())
            continue
        is_map = keyword in (*_MAPS, *_NOT_READ) or (keyword.startswith("map_") and keyword != _SWITCH)
        if not (is_map or keyword in _COLORS or keyword in _NUMBERS or keyword == "ke"):
            continue
        if current is None:
            fail(where, "newmtl before the first property", repr(line.decode(errors="replace")))
        if is_map:
            current.maps[_MAPS.get(keyword, keyword)] = argument
        elif keyword in _NUMBERS:
            values = _numbers(argument.removeprefix("-halo"), where)
            current.numbers[keyword] = float(values[0])
            if keyword == "ns":
                current.colors["shininess"] = values[:1]
        elif not argument.startswith(("spectral", "xyz")):
            values = _numbers(argument, where)
            color = values[:3] if len(values) >= 3 else values[:1].repeat(3)
            if keyword == "ke":
                current.emission = tuple(color.tolist())
            else:
                current.colors[_COLORS[keyword]] = color
        else:
            warnings.warn(f"{where}: {keyword} {argument.split()[0]} is not read", stacklevel=3)
    return materials


def _numbers(argument: str, where: str) -> torch.Tensor:
    try:
        values = [float(x) for x in argument.partition("#")[0].split()]
    except ValueError:
        values = []
    result = torch.tensor(values, dtype=torch.float32)
    if not values or not all(map(math.isfinite, result.tolist())):
        fail(where, "finite numbers", repr(argument))
    return result


def _record(name: str, material: MtlMaterial, maps: _Maps) -> Material:
    diffuse, alpha_map = maps.find(material, "map_kd"), maps.find(material, "map_d")
    alpha = material.alpha
    red, green, blue = material.colors.get("diffuse_color", torch.ones(3)).clamp(0.0, 1.0).tolist()
    emission_map = maps.find(material, "map_ke")
    emission = material.emission or ((1.0,) * 3 if emission_map is not None else (0.0,) * 3)
    normal_map, specular = maps.find(material, "norm"), material.colors.get("specular_color")
    return Material(
        name,
        (red, green, blue, alpha) if diffuse is None else (1.0, 1.0, 1.0, alpha),
        diffuse if alpha_map is None else _with_alpha_map(maps.source.name, diffuse, alpha_map),
        None if diffuse is None else (red, green, blue),
        "opaque" if alpha == 1.0 and alpha_map is None else "blend",
        emission=(max(emission[0], 0.0), max(emission[1], 0.0), max(emission[2], 0.0)),
        emission_map=emission_map,
        normal_map=normal_map,
        normal_scale=_Options(material.maps.get("norm", "")).bump,
        metallic=material.numbers.get("pm"),
        roughness=material.numbers.get("pr"),
        specular=None if specular is None else tuple(specular.tolist()),
        shininess=material.numbers.get("ns"),
        unlit=material.numbers.get("illum") == 0.0,
    )


class _Options:
    """The options before a map's file name, or, as some programs write them, behind it; ``rest`` is the name."""

    def __init__(self, argument: str) -> None:
        self.scale, self.offset = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
        self.base, self.gain, self.bump, self.clamps, self.channel = 0.0, 1.0, 1.0, False, ""
        found, self.rest = _leading_options(argument)
        name, space, behind = self.rest.partition(" -")
        trailing, unread = _leading_options(f"-{behind} ")
        if space and not unread:
            self.rest = name.strip()
            found += trailing
        for match in found:
            self._take(match)

    def _take(self, match: re.Match[str]) -> None:
        try:
            numbers = [float(x) for x in (match["numbers"] or match["mm"] or "").split()]
            bump = float(match["value"]) if match["word"] == "bm" else self.bump
        except ValueError:
            return
        if not all(map(math.isfinite, [*numbers, bump])):
            return
        self.bump = bump
        if match["mm"]:
            self.base, self.gain = numbers
        elif match["name"] in ("s", "o"):
            target = self.scale if match["name"] == "s" else self.offset
            target[: len(numbers)] = numbers
        elif match["word"] == "clamp":
            self.clamps = match["value"].lower() == "on"
        elif match["word"] == "imfchan":
            self.channel = match["value"].lower()

    def transform(self) -> np.ndarray | None:
        """What -s and -o make of texture coordinates."""
        (scale_u, scale_v, _), (u, v, _) = self.scale, self.offset
        matrix = np.array([[scale_u, 0.0, u], [0.0, scale_v, v]])
        return None if (matrix == np.eye(2, 3)).all() else matrix


def _leading_options(text: str) -> tuple[list[re.Match[str]], str]:
    """Return the options that a text starts with, and what follows them."""
    found: list[re.Match[str]] = []
    at = 0
    while len(found) < MAX_OPTIONS and (match := _MAP_OPTION.match(text, at)):
        found.append(match)
        at = match.end()
    return found, text[at:]


class _Maps:
    """Finds the images of one file's materials; each is decoded once."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._images = Images(source)

    def find(self, material: MtlMaterial, keyword: str) -> TextureMap | None:
        """Return a map, or None, with a warning where there is one but not its file."""
        argument = material.maps.get(keyword)
        if not argument:
            return None
        options, what = _Options(""), f"texture {argument!r}"
        path, problem = find_companion(self.source, what, _places(material, argument))
        if path is None:
            options = _Options(argument)
            if options.rest != argument:
                path, problem = find_companion(self.source, what, _places(material, options.rest))
        if path is None:
            warnings.warn(problem, stacklevel=2)
            return None
        wrap = "clamp" if options.clamps else "repeat"
        is_opaque = keyword == "map_kd" and material.alpha == 1.0 and "map_d" not in material.maps
        read = partial(self._image, path, options, keyword == "map_d", is_opaque)
        is_as_stored = keyword != "map_d" and (options.base, options.gain) == (0.0, 1.0)
        stored = partial(self._images.stored, path) if is_as_stored else None
        return TextureMap(read, wrap=(wrap, wrap), transform=options.transform(), stored=stored)

    def _image(self, path: str, options: _Options, is_alpha: bool, is_opaque: bool) -> torch.Tensor:
        image = self._images.decode(path)
        if is_opaque and image.shape[2] == 4 and image[..., 3].min() < 1.0 and image[..., 3].max() > 0.0:
            warnings.warn(f"{path}: its alpha is not shown, as no map_d of the material names it", stacklevel=2)
        if is_alpha:
            # Unless told otherwise: the alpha channel where there is one, else how bright the image is.
            channel = "rgb".find(options.channel) if options.channel else -1
            use_alpha = image.shape[2] == 4 and options.channel in ("", "m")
            grey = image[..., 3:] if use_alpha else image[..., :3].mean(dim=2, keepdim=True)
            image = grey if channel < 0 else image[..., channel : channel + 1]
        if (options.base, options.gain) != (0.0, 1.0):
            spend(path, 2 * image.nbytes, f"an image of {image.shape[1]} x {image.shape[0]} with -mm")
            image = (options.base + options.gain * image).clamp(0.0, 1.0)
        return image


def _with_alpha_map(name: str, diffuse: TextureMap | None, alpha: TextureMap) -> TextureMap:
    """Put a map of alpha into that of the colour, whose layout counts."""

    def read() -> torch.Tensor:
        grey = alpha.image
        height, width = (grey if diffuse is None else diffuse.image).shape[:2]
        spend(name, 20 * height * width, f"colours and alpha of {width} x {height}")
        if diffuse is None:
            return torch.cat([torch.ones_like(grey).expand(-1, -1, 3), grey], dim=2)
        planes = interpolate(grey.permute(2, 0, 1)[None], diffuse.image.shape[:2], mode="bilinear")
        return torch.cat([diffuse.image[..., :3], planes[0].permute(1, 2, 0)], dim=2)

    layout = diffuse or alpha
    return TextureMap(read, wrap=layout.wrap, transform=layout.transform)


def _find_libraries(source: Source, argument: str) -> list[str]:
    """The paths of what an mtllib names: one file, whose name may have blanks, or else several files."""
    path, problem = find_companion(source, f"material file {argument!r}", _without_remark(argument))
    paths = [path] if path is not None else []
    names = list(dict.fromkeys(name.strip('"') for name in _NAMES.findall(argument)))
    if path is None and len(names) > 1:
        paths = [p for p, _ in (find_companion(source, "", [name]) for name in names) if p is not None]
    if not paths:
        warnings.warn(problem, stacklevel=2)
    return paths


def _places(material: MtlMaterial, name: str) -> Iterator[str]:
    """Where an image may lie: beside its MTL file, or beside the mesh."""
    for written in _without_remark(name):
        if material.folder != ".":
            yield f"{material.folder}/{written}"
        yield written


def _without_remark(name: str) -> Iterator[str]:
    """The name as written, without quotes, and without what may be a remark at the end of the line."""
    yield name
    yield name.strip("\"'")
    yield re.split(r"\s#", name)[0].strip().strip("\"'")
