"""Files that a mesh refers to by name: its materials and images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache

from tirender.io.files import Source, decode_image, read_source

_CODE_PAGES = ("cp1252", "cp1250", "cp1251", "cp932", "gb18030", "cp949", "big5")
"""Of Windows: western, central European, Cyrillic, Japanese, Chinese, Korean, Chinese (traditional)."""

_NOT_READ = (
    ".exr",
    ".hdr",
    ".psd",
    ".jp2",
    ".j2k",
    ".jxl",
    ".avif",
    ".heic",
    ".ktx",
    ".ktx2",
    ".basis",
    ".svg",
    ".iff",
    ".xcf",
)
"""Endings of images that are a warning; others that turn out not to be an image are an error."""


def find_companion(source: Source, what: str, names: Iterable[str]) -> tuple[str | None, str]:
    """Return the path of the first of these files that exists, or None and what to warn of.

    A path that leaves the folder, as the absolute ones of the machine on which a file was made, stands for a file of
    that name beside the mesh.

    Args:
        source: the mesh's file.
        what: the companion, for the warning.
        names: as written in the file.
    """
    problem = f"{source.name}: {what} not found, ignored"
    for name in (spelling for written in names for spelling in _spellings(written)):
        try:
            path = source.sibling(name)
        except ValueError as error:
            problem = f"{error}; it is not read"
            try:
                path = source.sibling(os.path.basename(name.replace("\\", "/")))
            except ValueError:
                continue
        if path is not None and path.lower().endswith(_NOT_READ):
            problem = f"{source.name}: {what} is of a format that is not read, ignored"
        elif path is not None:
            return path, ""
    return None, problem


def _spellings(name: str) -> Iterator[str]:
    """The name, and what it may mean in a file that is not UTF-8, which was decoded as Latin-1."""
    yield name
    try:
        raw = name.encode("latin-1")
    except UnicodeEncodeError:
        return
    if not raw.isascii():
        yield os.fsdecode(raw)
        for page in _CODE_PAGES:
            with suppress(UnicodeDecodeError):
                yield raw.decode(page)


class Images:
    """Decodes the images beside a mesh, each once."""

    def __init__(self, source: Source) -> None:
        self.decode = cache(lambda path: decode_image(read_source(path, source.path_manager).data, path, None))
        """Return the image at a path, float32 (H, W, 3), or (H, W, 4) where it has alpha."""
        self.stored = lambda path: read_source(path, source.path_manager).data
        """Return the bytes of the file at a path."""
