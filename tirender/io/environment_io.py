"""Pictures of linear light without an upper bound: Radiance's .hdr, and EXR through OpenEXR."""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tirender.budget import bounded, spend
from tirender.checks import check_tensor, fail
from tirender.io.files import Source, decode_bytes, read_source, write_file
from tirender.renderer.tone_mapping import decode_srgb
from tirender.structures.words import several

HDR_SUFFIXES = (".hdr", ".rgbe", ".pic")
MAGIC = (b"#?RADIANCE", b"#?RGBE")
MAX_HEADER = 1 << 16
MAX_SIDE = 1 << 16
RUN_LENGTHS = (8, 32767)  # widths of rows that may be coded by runs of each component
GREATEST_HALF = 65504.0
EXR_MAGIC = b"\x76\x2f\x31\x01"


@bounded
def load_environment(f: Any, *, path_manager: Any = None) -> torch.Tensor:
    """Read a picture of light: of the surroundings, for ``EnvironmentLights``, or another.

    Radiance's pictures (.hdr) are read in all orientations, coded in runs or not. EXR needs
    ``pip install 'tirender[exr]'``. Others (PNG, JPEG ...) are decoded from sRGB, and have no light above 1.

    Args:
        f: a path or a binary stream; its contents tell its kind.
        path_manager: an iopath ``PathManager``, or None for the local file system.
    Returns:
        (H, W, 3) float32, linear, the first row on top.
    Raises:
        ValueError: naming the file: a damaged one, or NaN.
        OSError: it cannot be opened.
        ImportError: an EXR, without OpenEXR.
    Warns:
        where light is negative, as filters leave it, or infinite, as half floats of the sun are: it is cut.
    """
    source = read_source(f, path_manager)
    if source.data.startswith(MAGIC):
        picture = _read_radiance(source)
    elif source.data.startswith(EXR_MAGIC):
        picture = _read_exr(source)
    else:
        return decode_srgb(decode_bytes(source.data, source.name) / 255)
    if np.isnan(picture).any():
        fail(source.name, "light", "NaN")
    light = np.where(np.isinf(picture), np.sign(picture) * GREATEST_HALF, picture).clip(0.0).astype(np.float32)
    if n_cut := int((light != picture).any(-1).sum()):
        warnings.warn(f"{source.name}: negative or infinite light is cut in {several(n_cut, 'pixel')}", stacklevel=2)
    return torch.from_numpy(light)


def save_environment(f: Any, picture: torch.Tensor, *, path_manager: Any = None) -> None:
    """Write a picture of light (H, W, 3), linear and at least 0, as Radiance's .hdr: 8 bits and a shared exponent.

    Raises:
        ValueError: another shape, or light that is negative or not finite.
        OSError: the file cannot be written.
    """
    check_tensor("picture", picture, ("H", "W", 3))
    light = picture.detach().cpu().double().numpy()
    if not np.isfinite(light).all() or light.min(initial=0.0) < 0.0:
        fail("picture", "finite light of at least 0", "NaN, infinity or negative numbers")
    rows, columns = light.shape[:2]
    header = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {rows} +X {columns}\n".encode()
    write_file(f, [header, *_coded(_to_rgbe(light))], path_manager)


def _to_rgbe(light: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8: three mantissas and their exponent."""
    peak = light.max(-1)
    mantissa, exponent = np.frexp(peak)
    scale = np.where(peak > 1e-32, np.ldexp(256.0, -exponent), 0.0)
    rgb = np.minimum(light * scale[..., None], 255.0)
    shared = np.where(peak > 1e-32, exponent + 128, 0)
    return np.concatenate([rgb, shared[..., None]], -1).clip(0, 255).astype(np.uint8)


def _coded(rgbe: np.ndarray) -> Iterator[bytes]:
    """The rows: as they are, or, where their width allows, component by component in pieces of at most 128."""
    width = rgbe.shape[1]
    if not RUN_LENGTHS[0] <= width <= RUN_LENGTHS[1]:
        yield rgbe.tobytes()
        return
    for row in rgbe:
        yield bytes([2, 2, width >> 8, width & 255])
        for component in row.T:
            for start in range(0, width, 128):
                piece = component[start : start + 128]
                yield bytes([len(piece)]) + piece.tobytes()


def _read_radiance(source: Source) -> np.ndarray:
    end = source.data.find(b"\n\n", 0, MAX_HEADER)
    if end < 0:
        fail(source.name, "a header that ends with an empty line", "none")
    exposure = 1.0
    for line in source.data[:end].decode("latin-1").splitlines()[1:]:
        key, _, value = line.partition("=")
        if key.strip() == "FORMAT" and value.strip() != "32-bit_rle_rgbe":
            fail(source.name, "FORMAT=32-bit_rle_rgbe", f"FORMAT={value.strip()[:40]}")
        if key.strip() == "EXPOSURE":
            exposure *= _positive(source.name, value)
    stop = source.data.find(b"\n", end + 2, end + 2 + 256)
    line = source.data[end + 2 : max(stop, 0)].decode("latin-1")
    found = re.fullmatch(r"\s*([-+])([XY])\s+(\d{1,6})\s+([-+])([XY])\s+(\d{1,6})\s*", line)
    if found is None or found[2] == found[5]:
        fail(source.name, "a size as -Y 512 +X 1024", repr(line[:60]))
    n_rows, n_columns = int(found[3]), int(found[6])
    if not (0 < n_rows <= MAX_SIDE and 0 < n_columns <= MAX_SIDE):
        fail(source.name, f"sides of 1 to {MAX_SIDE}", f"{n_columns} x {n_rows}")
    spend(source.name, 20 * n_rows * n_columns, f"a picture of {n_columns} x {n_rows}")
    rgbe = _read_rows(source, stop + 1, n_rows, n_columns)
    scale = np.ldexp(np.float32(1.0), rgbe[..., 3].astype(np.int32) - 136) / np.float32(exposure)
    picture = (rgbe[..., :3] * scale[..., None]).astype(np.float32)
    if found[1] + found[2] in ("+Y", "-X"):
        picture = picture[::-1]
    if found[4] + found[5] in ("-X", "+Y"):
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture.transpose(1, 0, 2) if found[2] == "X" else picture)


def _positive(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < np.inf:
        fail(name, "an EXPOSURE above 0", repr(text[:40]))
    return value


def _read_rows(source: Source, at: int, n_rows: int, n_columns: int) -> np.ndarray:
    """(rows, columns, 4) uint8, from the bytes that begin at a place."""
    data, rgbe = source.data, np.zeros((n_rows, n_columns, 4), np.uint8)
    mark = bytes([2, 2, n_columns >> 8, n_columns & 255]) if n_columns <= RUN_LENGTHS[1] else b""
    is_coded = RUN_LENGTHS[0] <= n_columns <= RUN_LENGTHS[1]
    if len(data) - at < n_rows * (4 if is_coded else 1):
        fail(source.name, f"{n_rows} rows", f"{len(data) - at} bytes")
    for row in range(n_rows):
        if is_coded and data[at : at + 4] == mark:
            at = _read_components(source, at + 4, rgbe[row])
        else:
            at = _read_pixels(source, at, rgbe[row])
    return rgbe


def _read_components(source: Source, at: int, row: np.ndarray) -> int:
    """A row of components one after the other, each in runs and pieces; returns where the next row begins."""
    data, width = source.data, len(row)
    for component in range(4):
        values = bytearray()
        while len(values) < width:
            count = data[at] if at < len(data) else 0
            if count > 128:
                values += data[at + 1 : at + 2] * (count - 128)
                at += 2
            else:
                values += data[at + 1 : at + 1 + count]
                at += 1 + count
            if count == 0 or at > len(data):
                fail(source.name, "rows that are whole", "a damaged or short one")
        if len(values) != width:
            fail(source.name, f"rows of {width} pixels", f"one of {len(values)}")
        row[:, component] = np.frombuffer(bytes(values), np.uint8)
    return at


def _read_pixels(source: Source, at: int, row: np.ndarray) -> int:
    """A row of pixels, of which (1, 1, 1, n) repeats the one before; returns where the next row begins."""
    data, width, column, shift = source.data, len(row), 0, 0
    flat = np.frombuffer(data, np.uint8, max(min(4 * width, len(data) - at), 0), at)
    pixels = flat[: len(flat) // 4 * 4].reshape(-1, 4)
    if len(pixels) == width and not (pixels[:, :3] == 1).all(1).any():
        row[:] = pixels
        return at + 4 * width
    while column < width:
        pixel = data[at : at + 4]
        if len(pixel) < 4:
            fail(source.name, "rows that are whole", "a short one")
        at += 4
        if pixel[:3] == b"\x01\x01\x01":
            count = pixel[3] << shift
            if column == 0 or count > width - column:
                fail(source.name, f"rows of {width} pixels", "a longer one")
            row[column : column + count] = row[column - 1]
            column, shift = column + count, min(shift + 8, 24)
        else:
            row[column] = np.frombuffer(pixel, np.uint8)
            column, shift = column + 1, 0
    return at


def _read_exr(source: Source) -> np.ndarray:
    """The first part's channels R, G and B, or Y, by OpenEXR, which reads files only."""
    try:
        import OpenEXR
    except ImportError as error:
        raise ImportError(f"{source.name}: EXR needs OpenEXR: pip install 'tirender[exr]'") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.exr"
        path.write_bytes(source.data)
        try:
            for part in OpenEXR.File(str(path), header_only=True).parts:  # all of which are decoded
                low, high = (np.asarray(corner, np.int64) for corner in part.header["dataWindow"])
                width, height = (max(int(side), 0) for side in high - low + 1)
                n_channels = max(len(part.header.get("channels", ())), 4)
                spend(source.name, 8 * n_channels * width * height, f"a picture of {width} x {height}")
            channels = OpenEXR.File(os.fspath(path), separate_channels=True).channels()
        except ValueError:
            raise
        except Exception as error:  # OpenEXR raises its own kinds
            raise ValueError(f"{source.name}: expected an EXR picture, got a damaged one: {str(error)[:200]}") from None
    names = [name for name in ("R", "G", "B") if name in channels] or [name for name in ("Y",) if name in channels]
    if len(names) not in (1, 3):
        fail(source.name, "channels R, G and B, or Y", ", ".join(channels)[:80])
    picture = np.stack([np.asarray(channels[name].pixels, np.float32) for name in (names * 3)[:3]], -1)
    return np.ascontiguousarray(picture)
