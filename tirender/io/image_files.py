"""Images of materials as files: the bytes that they were read from where these are plain PNG or JPEG, else new PNG."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from PIL import Image

from tirender.budget import spend
from tirender.io.files import MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE, encode_png
from tirender.renderer.mesh.material import MAPS, Material, TextureMap

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_NEEDED_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""What a PNG file's pixels are made of; the others say how they might be shown (gamma, turns, comments)."""


def image_file(found: TextureMap, name: str) -> tuple[bytes, str]:
    """Return a map's image as a file, and its ending, ".png" or ".jpg".

    Args:
        found: the map; what it was read from is taken over without a loss, less what changes how others show it.
        name: of the file that needs it, for messages.
    Raises:
        ValueError: it is damaged.
    """
    stored = None if found.stored is None else plain_image(found.stored())
    if stored is not None:
        return stored
    image = found.image
    spend(name, image.numel(), "an image as PNG")
    return encode_png(image if image.shape[2] != 1 else image.expand(-1, -1, 3)), ".png"


def source_of(found: TextureMap) -> Any:
    """What maps with the same image share: a function that reads it."""
    return found.read if found.stored is None else found.stored


def count_images(materials: Iterable[Material], maps: Sequence[str] = MAPS) -> int:
    """How many images the named maps of materials show."""
    found = (getattr(material, name) for material in materials for name in maps)
    return len({id(source_of(texture)) for texture in found if texture is not None})


def plain_image(data: bytes) -> tuple[bytes, str] | None:
    """Return an undamaged PNG or JPEG file less its metadata, and its ending; None for anything else."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            width, height = image.size
            fits = max(width, height) <= MAX_IMAGE_SIDE and width * height <= MAX_IMAGE_PIXELS
            if not fits or image.mode not in ("L", "LA", "P", "RGB", "RGBA", "1", "I;16") or _is_animated(image):
                return None
            is_png = image.format == "PNG"
            image.verify()
        chunks = b"".join(_png_chunks(data) if is_png else _jpeg_segments(data))
    except MemoryError:
        raise
    except Exception:  # a decoder may raise anything on hostile input; it is told when its pixels are read
        return None
    return chunks, ".png" if is_png else ".jpg"


def _is_animated(image: Image.Image) -> bool:
    return getattr(image, "n_frames", 1) > 1


def _png_chunks(data: bytes) -> Iterator[bytes]:
    yield _PNG
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + size
        if end > len(data):
            raise ValueError("a chunk that ends behind the file")
        if kind in _NEEDED_CHUNKS:
            yield data[at:end]
        at = end


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    """The segments before the pixels, less comments and those of applications; Adobe's tells the colours."""
    yield _JPEG
    at = len(_JPEG)
    while True:
        marker, kind, size = struct.unpack(">BBH", data[at : at + 4])
        end = at + 2 + size
        if marker != 0xFF or size < 2 or end > len(data):
            raise ValueError("a segment that is none")
        if kind == 0xDA:  # the pixels follow
            yield data[at:]
            return
        is_note = kind == 0xFE or (0xE0 <= kind <= 0xEF and kind != 0xEE)
        if not is_note:
            yield data[at:end]
        at = end
