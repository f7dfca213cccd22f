"""Gaussians in files: ``.ply`` with the properties of the original (Kerbl et al. 2023), packed ones, and ``.splat``."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from tirender.budget import bounded, spend
from tirender.checks import check_kind, fail
from tirender.io.colors import HARMONIC
from tirender.io.files import Source, is_path, read_source, write_file
from tirender.io.orientation import Orientation, from_comment
from tirender.io.packed_gaussians import PACKED, comment_lines, packed_contents, read_packed, unit_quaternions
from tirender.io.pluggable_formats import has_suffix
from tirender.io.ply_parser import Element, parse_ply
from tirender.io.text import finite_float32
from tirender.structures.gaussians import Gaussians

SUFFIXES = (".ply", ".splat")
PACKED_SUFFIX = ".compressed.ply"
POSITION, NORMAL = ("x", "y", "z"), ("nx", "ny", "nz")
FIRST = ("f_dc_0", "f_dc_1", "f_dc_2")
SCALES, QUAT = ("scale_0", "scale_1", "scale_2"), ("rot_0", "rot_1", "rot_2", "rot_3")
REST = {3 * (n - 1): n for n in (1, 4, 9, 16, 25)}  # harmonics a channel, by how many f_rest there are
SPLAT = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])
HEADER_BYTES = 1 << 16
COLMAP = Orientation((0.0, -1.0, 0.0), (0.0, 0.0, -1.0))  # its cameras look along +Z with +Y down
LEAST_LOG_SCALE, GREATEST_LOGIT = -87.0, 40.0  # for a scale of 0, and an opacity of 1, as nearly as float32 has them


@bounded
def load_gaussians(f: Any, device: torch.device | str = "cpu", path_manager: Any = None) -> Gaussians:
    """Load Gaussians.

    Args:
        f: a path that ends in ``.ply`` or ``.splat``, or a binary stream, which is read as PLY. PLY may be
            PlayCanvas's compressed one (SuperSplat's ``.compressed.ply``).
        device: of the result.
        path_manager: an iopath ``PathManager``, or None for the local file system.
    Returns:
        Gaussians in the parameters that the file holds: of PLY the logarithms of scales and the logits of opacities, to
        the bit.
    Raises:
        ValueError: naming the file and where: damaged, a missing property, NaN and infinity, or too large for the
            ``tirender.io.budget``.
        OSError: the file cannot be opened.
    """
    if is_path(f) and not has_suffix(f, SUFFIXES):
        fail("f", f"a path that ends in {' or '.join(SUFFIXES)}", repr(f))
    source = read_source(f, path_manager)
    read = _read_splat if is_path(f) and has_suffix(f, (".splat",)) else _read_ply
    return read(source).to(device)


def save_gaussians(f: Any, gaussians: Gaussians, path_manager: Any = None, comment: str = "") -> None:
    """Save Gaussians.

    Args:
        f: a path that ends in ``.ply``, ``.compressed.ply`` or ``.splat``, or a binary stream, for PLY.
        gaussians: what to save. PLY holds all parameters in float32; ``.compressed.ply`` (PlayCanvas's) 8 to 11 bits a
            number, and harmonics of a degree up to 3; ``.splat`` 32 bytes a Gaussian: colours, opacity and rotation
            with 8 bits a number, no harmonics, the large and opaque ones first.
        path_manager: an iopath ``PathManager``, or None for the local file system.
        comment: lines for the header of PLY; ``.splat`` has none.
    Raises:
        ValueError: another ending, harmonics of a higher degree, or numbers beyond float32.
    """
    check_kind("gaussians", gaussians, Gaussians)
    if is_path(f) and not has_suffix(f, SUFFIXES):
        fail("f", f"a path that ends in {' or '.join(SUFFIXES)}", repr(f))
    write_file(f, gaussian_chunks(gaussians, f if is_path(f) else "", comment), path_manager)


def gaussian_chunks(gaussians: Gaussians, path: str | os.PathLike[str], comment: str = "") -> list[bytes]:
    """The contents of a file with this ending; raises as :func:`save_gaussians` does."""
    g = gaussians.detach().cpu()
    if has_suffix(path, (".splat",)):
        return [_splat_rows(g).tobytes()]
    return packed_contents(g, comment) if has_suffix(path, (PACKED_SUFFIX,)) else _ply_contents(g, comment)


def holds_gaussians(path: str | os.PathLike[str]) -> bool:
    """Whether a file is of Gaussians: ``.splat``, or a ``.ply`` whose header names their properties."""
    if has_suffix(path, (".splat",)):
        return True
    if not has_suffix(path, (".ply",)):
        return False
    with open(path, "rb") as stream:
        header = stream.read(HEADER_BYTES).partition(b"end_header")[0].split()
    return any(all(name.encode() in header for name in names) for names in ((*SCALES, *QUAT, "opacity"), PACKED))


def orientation_of_gaussians(path: str | os.PathLike[str]) -> Orientation:
    """How a file of Gaussians stands: as a comment of it says, else as the first photo that COLMAP has placed."""
    with open(path, "rb") as stream:
        return from_comment(stream.read(HEADER_BYTES)) or COLMAP


def _read_ply(source: Source) -> Gaussians:
    elements, _ = parse_ply(source)
    vertex = elements.get("vertex")
    if vertex is None:
        fail(source.name, "an element 'vertex'", "none")
    if PACKED[0] in vertex.scalars:
        return read_packed(source, elements)
    n_rest = sum(name.startswith("f_rest_") for name in vertex.scalars)
    if n_rest not in REST:
        fail(source.name, f"{', '.join(map(str, REST))} properties f_rest", n_rest)
    spend(source.name, vertex.count * 4 * (14 + n_rest), f"{vertex.count} Gaussians")
    first = _columns(source, vertex, FIRST)[:, None]
    rest = _columns(source, vertex, tuple(f"f_rest_{i}" for i in range(n_rest)))
    rest = rest.reshape(len(first), 3, REST[n_rest] - 1).transpose(0, 2, 1)  # channel after channel in the file
    parts = [
        _columns(source, vertex, POSITION),
        _columns(source, vertex, QUAT),
        _columns(source, vertex, SCALES),
        _columns(source, vertex, ("opacity",))[:, 0],
        np.concatenate([first, rest], 1),
    ]
    return Gaussians.from_raw(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))


def _columns(source: Source, vertex: Element, names: tuple[str, ...]) -> np.ndarray:
    """(N, n) float32 values of properties."""
    if not names:
        return np.zeros((vertex.count, 0), dtype=np.float32)
    columns = vertex.columns(*names)
    if columns is None:
        missing = [name for name in names if name not in vertex.scalars]
        fail(source.name, f"properties {', '.join(names)} of 'vertex'", f"no {', '.join(missing)}")
    return finite_float32(columns, ", ".join(names), lambda row: f"{source.name}, element 'vertex', row {row}")


def _ply_contents(g: Gaussians, comment: str) -> list[bytes]:
    n, n_rest = len(g), 3 * (g.harmonics.shape[1] - 1)
    names = (*POSITION, *NORMAL, *FIRST, *(f"f_rest_{i}" for i in range(n_rest)), "opacity", *SCALES, *QUAT)
    parts = [
        g.means,
        torch.zeros(n, 3),
        g.harmonics[:, 0],
        g.harmonics[:, 1:].transpose(1, 2).reshape(n, n_rest),
        g.logits.nan_to_num(posinf=GREATEST_LOGIT, neginf=-GREATEST_LOGIT)[:, None],
        g.log_scales.nan_to_num(neginf=LEAST_LOG_SCALE),
        g.quats,
    ]
    rows = torch.cat([part.float() for part in parts], 1)
    if not bool(rows.isfinite().all()):
        fail("gaussians", "numbers within float32", "larger ones")
    properties = "".join(f"property float {name}\n" for name in names)
    lines = comment_lines(comment)
    header = f"ply\nformat binary_little_endian 1.0\n{lines}element vertex {n}\n{properties}end_header\n"
    return [header.encode(), rows.numpy().astype("<f4").tobytes()]


def _read_splat(source: Source) -> Gaussians:
    if len(source.data) % SPLAT.itemsize:
        fail(source.name, f"a multiple of {SPLAT.itemsize} bytes", len(source.data))
    rows = np.frombuffer(source.data, SPLAT)
    spend(source.name, len(rows) * 4 * 14, f"{len(rows)} Gaussians")
    where = lambda row: f"{source.name}, row {row}"  # noqa: E731
    position = finite_float32(rows["position"], "the position", where)
    scale = finite_float32(rows["scale"], "the scales", where)
    if (scale < 0).any():
        fail(where(int(np.argmax((scale < 0).any(1)))), "scales of 0 or more", float(scale.min()))
    rgba = torch.from_numpy(rows["rgba"].astype(np.float32) / 255)
    quat = torch.from_numpy((rows["quat"].astype(np.float32) - 128) / 128)
    return Gaussians.from_colors(
        torch.from_numpy(position), quat, torch.from_numpy(scale), rgba[:, 3].contiguous(), rgba[:, :3].contiguous()
    )


def _splat_rows(g: Gaussians) -> np.ndarray:
    """The rows of a file, the most visible first, as viewers draw what they have received."""
    order = (g.scales.double().prod(1) * g.opacities).argsort(descending=True, stable=True)
    rows = np.zeros(len(g), SPLAT)
    colors = (g.harmonics[:, 0] * HARMONIC + 0.5).clamp(0, 1)
    rgba = torch.cat([colors, g.opacities[:, None]], 1)
    quat = (unit_quaternions(g.quats) * 128 + 128).round().clamp(0, 255)
    for name, values in (("position", g.means), ("scale", g.scales), ("rgba", (rgba * 255).round()), ("quat", quat)):
        rows[name] = values[order].numpy()
    return rows
