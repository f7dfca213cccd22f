"""Reading and writing untrusted files: bounded sizes, no path out of a mesh's own folder, atomic writes."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
import unicodedata
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as ImageBase

from tirender.budget import borrow, bounded, spend
from tirender.checks import fail

MAX_FILE_BYTES = 4 << 30
"""A larger file is refused before it is read."""
PIECE = 64 << 20
"""Bytes that are read at once."""
MAX_PATH = 4096
"""A longer name, in characters, is that of no file."""
MAX_IMAGE_SIDE = 16384
"""The largest width or height of an image, in pixels."""
MAX_IMAGE_PIXELS = 128 << 20
"""The largest number of pixels of an image (width times height)."""
BYTES_WHILE_DECODED = 8
"""What a pixel takes in Pillow, as stored and as converted."""

_IMAGE_LIMIT = f"at most {MAX_IMAGE_SIDE} px a side and {MAX_IMAGE_PIXELS} px in all"
# Raster formats that Pillow decodes by itself (EPS, for one, would start Ghostscript).
_IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "TGA", "TIFF", "GIF", "WEBP", "PPM", "DDS")
_TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How Pillow makes what viewers show, by EXIF's orientation."""


@dataclass(frozen=True)
class Source:
    """The contents of a file, and where it lies.

    Attributes:
        data: its bytes.
        name: what messages call it.
        folder: the folder that its companion files may be read from; None for a stream that has no file.
        path_manager: an iopath ``PathManager`` that opens the companions too, or None.
        allow_parent: whether companions may lie in the folder above, and what is in it, too.
    """

    data: bytes
    name: str
    folder: str | None = None
    path_manager: Any = None
    allow_parent: bool = False
    _found: dict[str, str | None] = field(init=False, default_factory=dict, repr=False, compare=False)
    _listings: dict[str, dict[str, list[str]]] = field(init=False, default_factory=dict, repr=False, compare=False)

    def sibling(self, reference: str) -> str | None:
        """Return the path of a companion file that this one refers to, or None where there is no such file.

        Args:
            reference: a relative path as written in the file; backslashes separate folders too.
        Raises:
            ValueError: where the path leaves the folder: absolute, through ``..``, or through a symbolic link.
        """
        if self.folder is None or len(reference) > MAX_PATH:
            return None
        if reference not in self._found:
            self._found[reference] = self._sibling(self.folder, reference)
        return self._found[reference]

    def _sibling(self, folder: str, reference: str) -> str | None:
        relative = reference.replace("\\", "/")
        try:
            os.fsencode(relative)
        except UnicodeEncodeError:
            fail(self.name, "a name that a file can have", ascii(reference))
        inside = f"a path inside {'the folder above its own' if self.allow_parent else 'its own folder'}"
        windows = PureWindowsPath(relative)
        if "\0" in relative or windows.drive or windows.root:
            fail(self.name, inside, repr(reference))
        parts = PurePosixPath(os.path.normpath(relative)).parts
        leaves = parts[:1] == ("..",)
        if ".." in parts[1:] or (leaves and not self.allow_parent):
            way_out = " (allow_parent=True, or --allow-parent, reads from the folder above too)"
            fail(self.name, inside, repr(reference) + way_out * (leaves and ".." not in parts[1:]))
        path = os.path.join(folder, *parts)
        if self.path_manager is not None:
            return path if self.path_manager.exists(path) else None
        path = self._as_spelled(folder, parts)
        if not os.path.isfile(path):
            return None
        root = os.path.realpath(os.path.join(folder, "..") if self.allow_parent else folder)
        if os.path.commonpath([root, os.path.realpath(path)]) != root:
            fail(self.name, inside, f"{reference!r}, a link out of it (copy the files, or link the whole folder)")
        return path

    def read_sibling(self, reference: str) -> Source | None:
        """Read the companion file of that name; None where there is none; ValueError where it leaves the folder."""
        path = self.sibling(reference)
        return None if path is None else read_source(path, self.path_manager)

    def _as_spelled(self, folder: str, parts: Sequence[str]) -> str:
        """Return the path of these parts, for each that does not exist the only one that is spelled differently.

        Spellings differ in upper and lower case, and in how Unicode composes letters with accents.
        """
        path = folder
        for part in parts:
            if not os.path.lexists(os.path.join(path, part)) and os.path.isdir(path):
                if path not in self._listings:
                    self._listings[path] = _listing(path)
                found = self._listings[path].get(_folded(part), [])
                part = found[0] if len(found) == 1 else part
            path = os.path.join(path, part)
        return path


def _listing(folder: str) -> dict[str, list[str]]:
    """The names in a folder, by what is equal in all spellings."""
    names: dict[str, list[str]] = {}
    for name in os.listdir(folder):
        names.setdefault(_folded(name), []).append(name)
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def not_found(path: str | os.PathLike[str]) -> FileNotFoundError:
    """The error for a file that does not exist, as ``open`` raises it."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))


def is_path(f: Any) -> bool:
    """Whether ``f`` is a path and not a stream."""
    return isinstance(f, (str, bytes, os.PathLike))


def read_source(f: Any, path_manager: Any = None, allow_parent: bool = False) -> Source:
    """Read a whole file.

    Args:
        f: a path, or a text or binary stream; a stream's folder is that of the file behind it, if any.
        path_manager: an iopath ``PathManager``, or None for the local file system.
        allow_parent: whether its companions may lie in the folder above too.
    Raises:
        ValueError: it is larger than ``MAX_FILE_BYTES``.
        OSError: it cannot be opened.
    """
    if is_path(f):
        path = os.fsdecode(f)
        folder: str | None = os.path.dirname(path) or "."
        with open(path, "rb") if path_manager is None else path_manager.open(path, "rb") as stream:
            return Source(_read_bounded(stream, path), path, folder, path_manager, allow_parent)
    name = getattr(f, "name", None)
    if not isinstance(name, str):
        name = f"<{type(f).__name__}>"
    folder = (os.path.dirname(name) or ".") if os.path.isfile(name) else None
    return Source(_read_bounded(f, name), name, folder, path_manager, allow_parent)


def _read_bounded(stream: Any, name: str) -> bytes:
    """All of a stream, piece by piece: to read takes memory for as much as is asked for, whatever there is."""
    pieces: list[Any] = []
    while piece := stream.read(PIECE):
        pieces.append(piece)
        if sum(map(len, pieces)) > MAX_FILE_BYTES:
            fail(name, f"at most {MAX_FILE_BYTES} bytes", "a larger file")
    data = pieces[0] if len(pieces) == 1 else (b"" if not pieces or isinstance(pieces[0], bytes) else "").join(pieces)
    return data.encode() if isinstance(data, str) else data


def write_file(f: Any, chunks: Iterable[bytes], path_manager: Any = None) -> None:
    """Write ``chunks`` to a path or stream.

    A local file is replaced in one step once everything is written: a failure leaves the old one as it was.

    Args:
        f: a path, or a text or binary stream.
        chunks: its contents.
        path_manager: an iopath ``PathManager`` that opens the path, or None for the local file system.
    """
    if not is_path(f):
        text = isinstance(f, io.TextIOBase)
        for chunk in chunks:
            f.write(chunk.decode() if text else chunk)
        return
    path = os.path.realpath(os.fsdecode(f)) if path_manager is None else os.fsdecode(f)
    if path_manager is not None or (os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode)):
        with open(path, "wb") if path_manager is None else path_manager.open(path, "wb") as stream:
            stream.writelines(chunks)
        return
    partial = f"{path}.{uuid.uuid4().hex[:8]}.partial"
    try:
        with naming(path), open(partial, "xb") as stream:
            stream.writelines(chunks)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let the errors of what is written name this file; those of a full disk name none."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


@bounded
def decode_image(data: bytes, name: str, alpha: bool | None = False) -> torch.Tensor:
    """Decode an image file.

    Args:
        data: the file's bytes.
        name: what messages call it.
        alpha: return alpha too, 1 where the image has none; None returns it only where the image has it.
    Returns:
        float32 RGB of shape (H, W, 3), or RGBA (H, W, 4), in [0, 1]. Grey is repeated, with 16 bits or floats where it
        has them.
    Raises:
        ValueError: not an image, damaged, larger than ``MAX_IMAGE_SIDE`` or ``MAX_IMAGE_PIXELS``, or too large for the
            ``tirender.io.budget``.
    """
    with _opened(io.BytesIO(data), name, len(data)) as image:
        width, height = image.size
        if alpha is None:
            alpha = _has_alpha(image)
        what = f"an image of {width} x {height}"
        spend(name, width * height * (4 if alpha else 3) * 4, what)
        with borrow(name, width * height * BYTES_WHILE_DECODED, f"to decode {what}"), _decoding(name):
            return torch.from_numpy(_pixels(image, "RGBA" if alpha else "RGB"))


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says of its pixels before they are decoded.

    Attributes:
        width, height: in pixels, as stored.
        alpha: whether there is alpha.
        turn: EXIF's orientation, 1 to 8; 1 where the stored rows are the shown ones.
    """

    width: int
    height: int
    alpha: bool
    turn: int = 1

    @property
    def turned_size(self) -> tuple[int, int]:
        """Width and height as viewers show the image, after the turn."""
        return (self.height, self.width) if self.turn >= 5 else (self.width, self.height)


def read_image_header(path: str | os.PathLike[str]) -> ImageHeader:
    """Read the header of an image file; raises as :func:`decode_image` does."""
    name = os.fspath(path)
    with open(path, "rb") as stream, _opened(stream, name, os.path.getsize(path)) as image, _decoding(name):
        # of a PNG file without EXIF in front of its pixels, Pillow would decode these
        exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
        turn = exif.get(ImageBase.Orientation, 1)
        return ImageHeader(*image.size, _has_alpha(image), turn if turn in _TURNS else 1)


@bounded
def decode_bytes(data: bytes, name: str, alpha: bool = False, turn: int = 1) -> torch.Tensor:
    """Decode an image file to 8 bits a channel.

    Args:
        data, name: as of :func:`decode_image`.
        alpha: return alpha too, 255 where the image has none.
        turn: EXIF's orientation, 1 to 8, by which the rows are turned.
    Returns:
        uint8 RGB (H, W, 3), or RGBA (H, W, 4); 16 bits and floats are rounded.
    Raises:
        ValueError: as of :func:`decode_image`.
    """
    with _opened(io.BytesIO(data), name, len(data)) as image:
        mode = "RGBA" if alpha else "RGB"
        n_pixels, what = image.size[0] * image.size[1], f"an image of {image.size[0]} x {image.size[1]}"
        spend(name, n_pixels * len(mode), what)
        with borrow(name, n_pixels * BYTES_WHILE_DECODED, f"to decode {what}"), _decoding(name):
            if image.mode == "F" or image.mode.startswith("I"):
                image = Image.fromarray((_pixels(image, mode) * 255).round().astype(np.uint8), mode)
            image, how = image.convert(mode), _TURNS[turn]
            return torch.from_numpy(np.array(image if how is None else image.transpose(how)))


class _Quiet:
    """While some thread is within it, nothing is warned of.

    ``warnings.catch_warnings`` keeps filters for all threads: of several that overlap, the last to end would restore
    those of another, and the process would stay silent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_within = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_within:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._n_within += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_within -= 1
            if not self._n_within:
                self._filters.__exit__(None, None, None)


_quiet = _Quiet()


@contextmanager
def _opened(stream: Any, name: str, n_bytes: int) -> Iterator[Image.Image]:
    """An image file whose pixels are not decoded yet."""
    with _quiet:  # Pillow has its own, laxer size warning, and remarks on odd metadata
        try:
            image = Image.open(stream, formats=_IMAGE_FORMATS)
        except UnidentifiedImageError:
            fail(name, "an image file", f"{n_bytes} bytes that are none")
        except Image.DecompressionBombError:
            fail(name, _IMAGE_LIMIT, "a larger image")
        except Exception as error:  # a decoder may raise anything on hostile input
            fail(name, "an undamaged image", error)
        with image:
            width, height = image.size
            if max(width, height) > MAX_IMAGE_SIDE or width * height > MAX_IMAGE_PIXELS:
                fail(name, _IMAGE_LIMIT, f"{width} x {height}")
            yield image


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        fail(name, "an undamaged image", error)


def _has_alpha(image: Image.Image) -> bool:
    return "A" in image.getbands() or "transparency" in image.info


def _pixels(image: Image.Image, mode: str) -> np.ndarray:
    if image.mode == "F" or image.mode.startswith("I"):
        grey = np.array(image, dtype=np.float32)
        np.nan_to_num(grey, copy=False)
        grey /= 1.0 if image.mode == "F" else 65535.0
        pixels = np.ones((*grey.shape, len(mode)), np.float32)
        pixels[..., :3] = grey.clip(0.0, 1.0, out=grey)[..., None]
        return pixels
    pixels = np.array(image.convert(mode), dtype=np.float32)
    pixels /= 255.0
    return pixels


def encode_png(image: torch.Tensor) -> bytes:
    """Encode a (H, W, 3) image of values in [0, 1] as PNG (rounded to 8 bits, clamped)."""
    pixels = (image.detach().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu().numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()
