"""Gaussians in files: ``.ply`` with the properties of the original (Kerbl et al. 2023), packed ones, and ``.splat``."""

from __future__ import annotations

import math
import os
import warnings
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
FLAT = math.log(1e-6)  # the logarithm of the scale that files of 2D Gaussians leave out, as PlayCanvas takes it


@bounded
def load_gaussians(f: Any, device: torch.device | str = "cpu", path_manager: Any = None) -> Gaussians:
    """Load Gaussians.

    Args:
        f: a path that ends in ``.ply`` or ``.splat``, or a binary stream, which is read as PLY. PLY may be
            PlayCanvas's compressed one (SuperSplat's ``.compressed.ply``), or of 2D Gaussians, which have two scales
            (Huang et al. 2024) and become flat.
        device: of the result.
        path_manager: an iopath ``PathManager``, or None for the local file system.
    Returns:
        Gaussians in the parameters that the file holds: of PLY the logarithms of scales and the logits of opacities, to
        the bit, except that an infinite one stands for the nearest that float32 can draw. Gaussians with other numbers
        that are not finite are left out, with a warning.
    Raises:
        ValueError: naming the file: damaged, a missing property, no Gaussian with finite numbers, or too large for the
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
    return any(all(name.encode() in header for name in names) for names in ((*SCALES[:2], *QUAT, "opacity"), PACKED))


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
    is_flat = "scale_2" not in vertex.scalars
    scales = _columns(source, vertex, SCALES[:2] if is_flat else SCALES)
    if is_flat:
        scales = np.pad(scales, ((0, 0), (0, 1)), constant_values=FLAT)
    logits = _columns(source, vertex, ("opacity",))[:, 0]
    parts = [
        _columns(source, vertex, POSITION),
        _columns(source, vertex, QUAT),
        np.where(scales == -np.inf, np.float32(LEAST_LOG_SCALE), scales),
        np.where(np.isinf(logits), np.copysign(np.float32(GREATEST_LOGIT), logits), logits),
        np.concatenate([first, rest], 1),
    ]
    return Gaussians.from_raw(*_finite(source, parts))


def _finite(source: Source, parts: list[np.ndarray]) -> list[torch.Tensor]:
    """The rows of all parts whose numbers are finite."""
    is_finite = np.all([np.isfinite(part).all(axis=tuple(range(1, part.ndim))) for part in parts], axis=0)
    n, n_finite = len(is_finite), int(is_finite.sum())
    if n and not n_finite:
        fail(source.name, "Gaussians of finite numbers", "none")
    if n_finite < n:
        words = f"{n - n_finite} of {n} Gaussians have numbers that are not finite, and are left out"
        warnings.warn(f"{source.name}: {words}", stacklevel=5)
        parts = [part[is_finite] for part in parts]
    return [torch.from_numpy(np.ascontiguousarray(part)) for part in parts]


def _columns(source: Source, vertex: Element, names: tuple[str, ...]) -> np.ndarray:
    """(N, n) values of properties in float32, infinite where that cannot hold them."""
    if not names:
        return np.zeros((vertex.count, 0), dtype=np.float32)
    columns = vertex.columns(*names)
    if columns is None:
        missing = [name for name in names if name not in vertex.scalars]
        fail(source.name, f"properties {', '.join(names)} of 'vertex'", f"no {', '.join(missing)}")
    with np.errstate(over="ignore"):
        return columns.astype(np.float32)


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
    rgba, quat = rows["rgba"].astype(np.float32) / 255, (rows["quat"].astype(np.float32) - 128) / 128
    position, scale = rows["position"].astype(np.float32), rows["scale"].astype(np.float32)
    parts: list[np.ndarray] = [position, quat, scale, rgba[:, 3], rgba[:, :3]]
    means, quats, scales, opacities, colors = _finite(source, parts)
    if bool((scales < 0).any()):
        fail(source.name, "scales of 0 or more", float(scales.min()))
    return Gaussians.from_colors(means, quats, scales, opacities, colors)


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
