"""Gaussians in PlayCanvas's compressed PLY, as SuperSplat writes them: 16 bytes each, and one for each harmonic.

256 Gaussians are a chunk, which has the bounds of their means, logarithms of scales, and colours. Within these bounds a
number has 8 to 11 bits. A rotation has three numbers of a unit quaternion and which one, the largest, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from tirender.budget import spend
from tirender.checks import fail
from tirender.io.colors import HARMONIC
from tirender.io.files import Source
from tirender.io.ply_parser import Element
from tirender.io.text import finite_float32
from tirender.structures.gaussians import Gaussians

CHUNK = 256
PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
BOUNDED = (("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b"))
BOUNDS = tuple(tuple(f"{end}_{name}" for end in ("min", "max") for name in names) for names in BOUNDED)
BITS = (11, 10, 11)  # of three numbers in one
ROTATION_BITS, COLOR_BITS = (2, 10, 10, 10), (8, 8, 8, 8)
KEPT = torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])  # numbers of a quaternion, by which is left out
N_REST, HARMONIC_SPAN = (0, 9, 24, 45), 8.0
LOG_SCALE = 20.0  # the greatest that is written


def read_packed(source: Source, elements: dict[str, Element]) -> Gaussians:
    """The Gaussians of a parsed file.

    Raises:
        ValueError: naming the file and where: properties that are missing or of another type, numbers of rows that do
            not fit, NaN and infinity, or too large for the budget.
    """
    vertex, chunks, rest = elements["vertex"], elements.get("chunk"), elements.get("sh")
    n, n_rest = vertex.count, 0 if rest is None else len(rest.properties)
    if chunks is None or chunks.count != math.ceil(n / CHUNK):
        fail(source.name, f"{math.ceil(n / CHUNK)} rows of element 'chunk'", "none" if chunks is None else chunks.count)
    if n_rest not in N_REST or (rest is not None and rest.count != n):
        fail(source.name, f"0, 9, 24 or 45 properties f_rest of {n} rows of element 'sh'", f"{n_rest}")
    spend(source.name, n * 4 * (14 + n_rest), f"{n} Gaussians")
    words = _integers(source, vertex, PACKED, np.uint32).astype(np.int64)
    position, scale, rotation, color = (
        _unpack(torch.from_numpy(words[:, i]), bits)
        for i, bits in ((0, BITS), (2, BITS), (1, ROTATION_BITS), (3, COLOR_BITS))
    )
    has_colors = BOUNDS[2][0] in chunks.scalars  # files of old versions have none
    means = _within(_bounds(source, chunks, BOUNDS[0]), position)
    scales = _within(_bounds(source, chunks, BOUNDS[1]), scale).exp()
    rgb = _within(_bounds(source, chunks, BOUNDS[2]), color[:, :3]) if has_colors else color[:, :3]
    if not bool(scales.isfinite().all()):
        fail(source.name, "scales within float32", "larger ones")
    harmonics = ((rgb - 0.5) / HARMONIC)[:, None]
    if rest is not None and n_rest:
        numbers = _integers(source, rest, tuple(f"f_rest_{i}" for i in range(n_rest)), np.uint8).astype(np.float32)
        numbers = np.where(numbers % 255, (numbers + 0.5) / 256, numbers / 255)  # the ends stand for themselves
        values = torch.from_numpy((numbers - 0.5) * HARMONIC_SPAN).view(n, 3, n_rest // 3).transpose(1, 2)
        harmonics = torch.cat([harmonics, values.float()], 1)
    return Gaussians(means, _quaternions(rotation), scales, color[:, 3].contiguous(), harmonics.contiguous())


def packed_contents(gaussians: Gaussians, comment: str = "") -> list[bytes]:
    """The contents of a file, in parts, of Gaussians on the CPU. Those near to each other are so in the file."""
    g = gaussians[_morton_order(gaussians.means)]
    n, n_rest = len(g), 3 * (g.harmonics.shape[1] - 1)
    if n_rest not in N_REST:
        fail("gaussians", "harmonics of a degree up to 3 for compressed PLY", g.degree)
    log_scales = g.log_scales.float().clamp(-LOG_SCALE, LOG_SCALE)
    colors = g.harmonics[:, 0].float() * HARMONIC + 0.5
    bounds, shares = zip(*(_chunk_bounds(values) for values in (g.means.float(), log_scales, colors)))
    words = [
        _pack(shares[0], BITS),
        _packed_rotations(g.quats.double()),
        _pack(shares[1], BITS),
        _pack(torch.cat([shares[2], g.opacities.float()[:, None]], 1), COLOR_BITS),
    ]
    rest = (g.harmonics[:, 1:].float() / HARMONIC_SPAN + 0.5).transpose(1, 2).reshape(n, n_rest)
    elements = [
        ("chunk", len(bounds[0]), "float", [name for names in BOUNDS for name in names]),
        ("vertex", n, "uint", PACKED),
        *([("sh", n, "uchar", [f"f_rest_{i}" for i in range(n_rest)])] if n_rest else []),
    ]
    header = f"ply\nformat binary_little_endian 1.0\n{comment_lines(comment)}"
    for name, count, kind, properties in elements:
        header += f"element {name} {count}\n" + "".join(f"property {kind} {p}\n" for p in properties)
    return [
        f"{header}end_header\n".encode(),
        torch.cat(bounds, 1).numpy().astype("<f4").tobytes(),
        torch.stack(words, 1).numpy().astype("<u4").tobytes(),
        (rest * 256).clamp(0, 255).to(torch.uint8).numpy().tobytes(),
    ]


def comment_lines(comment: str) -> str:
    """Lines of the header of a PLY file."""
    return "".join(f"comment {' '.join(line.split())}\n" for line in comment.splitlines())


def unit_quaternions(quats: torch.Tensor) -> torch.Tensor:
    """(N, 4) quaternions of length 1; the identity for those of length 0."""
    length = quats.norm(dim=1, keepdim=True)
    return torch.where(length > 0, quats / length.where(length > 0, 1), quats.new_tensor([1.0, 0, 0, 0]))


def _integers(source: Source, element: Element, names: tuple[str, ...], kind: type) -> np.ndarray:
    columns = element.columns(*names)
    if columns is None or columns.dtype != kind:
        fail(source.name, f"{np.dtype(kind)} properties {', '.join(names)} of {element.name!r}", "others")
    return columns


def _bounds(source: Source, chunks: Element, names: tuple[str, ...]) -> torch.Tensor:
    """(chunks, 2, 3) the least and the greatest."""
    columns = chunks.columns(*names)
    if columns is None:
        fail(source.name, f"properties {', '.join(names)} of 'chunk'", "others")
    where: Callable[[int], str] = lambda row: f"{source.name}, element 'chunk', row {row}"  # noqa: E731
    return torch.from_numpy(finite_float32(columns, ", ".join(names), where)).view(-1, 2, 3)


def _within(bounds: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """(n, 3) numbers from the bounds of their chunks and where they lie between them."""
    low, high = bounds.repeat_interleave(CHUNK, 0)[: len(shares)].unbind(1)
    return torch.lerp(low, high, shares)


def _chunk_bounds(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(chunks, 6) bounds of each chunk, and (n, 3) where the numbers lie between them."""
    parts = values.split(CHUNK) if len(values) else ()
    low, high = (torch.stack([f(part, 0) for part in parts]) if parts else values for f in (torch.amin, torch.amax))
    first, last = (x.repeat_interleave(CHUNK, 0)[: len(values)] for x in (low, high))
    return torch.cat([low, high], 1), (values - first) / (last - first).clamp(min=1e-30)


def _pack(shares: torch.Tensor, bits: tuple[int, ...]) -> torch.Tensor:
    """(n,) numbers of [0, 1] in one integer, the first in its highest bits."""
    word = torch.zeros(len(shares), dtype=torch.int64)
    for share, n_bits in zip(shares.unbind(1), bits):
        top = (1 << n_bits) - 1
        word = word << n_bits | (share.double() * top + 0.5).floor().clamp(0, top).long()
    return word


def _unpack(words: torch.Tensor, bits: tuple[int, ...]) -> torch.Tensor:
    """(n, numbers) the opposite of :func:`_pack`."""
    shares = []
    for n_bits in reversed(bits):
        top = (1 << n_bits) - 1
        shares.append((words & top).float() / top)
        words = words >> n_bits
    return torch.stack(shares[::-1], 1)


def _packed_rotations(quats: torch.Tensor) -> torch.Tensor:
    unit = unit_quaternions(quats)
    largest = unit.abs().argmax(1)
    unit = unit * torch.where(unit.gather(1, largest[:, None]) < 0, -1, 1)
    shares = unit.gather(1, KEPT[largest]) * math.sqrt(0.5) + 0.5
    return _pack(torch.cat([largest[:, None] / 3, shares], 1), ROTATION_BITS)


def _quaternions(shares: torch.Tensor) -> torch.Tensor:
    """(n, 4) unit quaternions (w, x, y, z)."""
    kept = (shares[:, 1:] - 0.5) * math.sqrt(2)
    left_out = (1 - kept.square().sum(1, keepdim=True)).clamp(min=0).sqrt()
    largest = (shares[:, :1] * 3).round().long()
    quats = torch.zeros(len(shares), 4).scatter(1, KEPT[largest[:, 0]], kept)
    return quats.scatter(1, largest, left_out)


def _morton_order(means: torch.Tensor) -> torch.Tensor:
    """(N,) indices along Morton's curve."""
    if not len(means):
        return torch.zeros(0, dtype=torch.int64)
    low, high = means.aminmax(dim=0)
    cells = ((means - low) / (high - low).clamp(min=1e-30) * 1023).long()
    code = torch.zeros_like(cells[:, 0])
    for bit in range(10):
        for axis in range(3):
            code |= (cells[:, axis] >> bit & 1) << (3 * bit + axis)
    return code.argsort(stable=True)
