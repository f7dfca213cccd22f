"""Where commands may write."""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path

MOST_BYTES = 1 << 28  # of a file that is looked into for names


def check_place(argument: str, source: str, output: Path) -> None:
    """Raise if the output is a folder, lies in a file, or is the source or a file that it uses.

    Args:
        argument: the name of the output's argument.
        source: the file or folder that is read.
        output: the file that is to be written.
    """
    from tirender.checks import fail

    above = next(folder for folder in (output.parent, *output.parent.parents) if folder.exists())
    if output.is_dir() or not above.is_dir():
        fail(argument, "a file in a folder", repr(str(output)))
    if is_named_by(source, output):
        fail(argument, f"another file than those that {source} reads", repr(str(output)))


def is_named_by(source: str, output: Path) -> bool:
    """Whether an existing file is the source, or one beside it whose name stands in it or in its materials."""
    path = Path(source)
    if not (output.exists() and path.is_file() and output.resolve().parent == path.resolve().parent):
        return False
    names = "|".join(re.escape(text) for text in {output.name, urllib.parse.quote(output.name)})
    named = re.compile(rf"""(?<![^\s"'/\\])({names})(?![^\s"'])""".encode(errors="surrogateescape"))
    materials = path.parent.glob("*.mtl") if path.suffix.lower() == ".obj" else ()
    users = [user for user in (path, *materials) if user.is_file() and user.stat().st_size < MOST_BYTES]
    return output.samefile(path) or any(named.search(user.read_bytes()) for user in users)
