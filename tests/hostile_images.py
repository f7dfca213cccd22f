"""Images of any shape and mode, small as files and maybe large in memory."""

from __future__ import annotations

import io
import random
import struct
import zlib

from fuzz_files import Files
from PIL import Image


def patched(data: bytes, at: int, rng: random.Random) -> bytes:
    """Another number of four bytes at a place."""
    new = rng.choice([0, 1, len(data), 2**31, 2**32 - 1, 2**31 - 1, len(data) * 1000 % 2**32])
    return data[:at] + struct.pack("<I", new) + data[at + 4 :]


def textures(rng: random.Random) -> Files:
    """An OBJ file with images of several shapes, some large."""
    n = rng.randint(1, 3)
    made = {f"{i}.png": picture(rng) for i in range(n)}
    lines = ["v 0 0 0", "v 1 0 0", "v 0 1 0", "vt 0 0", "vt 1 1", "vt 0 1", "mtllib m.mtl"]
    lines += [f"usemtl {i}\nf 1/1 2/2 3/3" for i in range(n)]
    looks = [f"newmtl {i}\n{rng.choice(('map_Kd', 'map_Kd', 'map_d', 'norm', 'map_Ke'))} {i}.png" for i in range(n)]
    return {**made, "m.obj": "\n".join(lines).encode(), "m.mtl": "\n".join(looks).encode()}


def picture(rng: random.Random) -> bytes:
    """A small file of an image that may be large, of any mode, or that says to be larger."""
    big = rng.random() < 0.3
    sizes = [(1, 1), (4, 4), (3, 5), (0, 3), (16384, 1), (1, 16384), (16384, 2), (17000, 1)]
    width, height = rng.choice([(16384, 64), (64, 16384), (2048, 2048), (5000, 3000), (9000, 9000)] if big else sizes)
    if rng.random() < 0.6 or not width:
        return png(width, height, rng)
    mode = rng.choice(("1", "L", "P", "RGB", "RGBA", "LA", "I;16", "I", "F", "CMYK", "YCbCr", "HSV", "LAB", "PA"))
    kind = rng.choice(("PNG", "TIFF", "GIF", "BMP", "TGA", "WEBP", "PPM", "JPEG", "DDS", "ICO", "PCX"))
    stream = io.BytesIO()
    try:
        Image.new(mode, (width, height)).save(stream, kind)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return png(width, height, rng)
    data = stream.getvalue()
    return data if rng.random() < 0.7 else patched(data, rng.randrange(max(len(data) - 4, 1)), rng)


def png(width: int, height: int, rng: random.Random) -> bytes:
    """Written by hand: right checksums, whatever the header says."""
    depth, color = rng.choice([(8, 2), (8, 6), (16, 2), (16, 0), (1, 0), (8, 3), (8, 4), (16, 6), (4, 5), (99, 2)])
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(color, 1)
    row = 1 + (width * channels * min(depth, 16) + 7) // 8
    says = rng.choice([(width, height)] * 8 + [(2**31 - 1, 1), (0, 0), (16384, 16384), (60_000, 60_000)])
    rows = zlib.compress(bytes(row * height) if row * height < 1 << 28 else b"", 1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *says, depth, color, 0, 0, 0))
    data += chunk(b"PLTE", bytes(3 * 16)) if color == 3 else b""
    if rng.random() < 0.1:  # texts and profiles that inflate
        bomb = zlib.compress(bytes(1 << 26), 9)
        data += chunk(
            *rng.choice([(b"zTXt", b"k\0\0" + bomb), (b"iCCP", b"k\0\0" + bomb), (b"iTXt", b"k\0\1\0\0\0" + bomb)])
        )
    return data + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
