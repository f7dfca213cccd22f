"""How often the parts of 3MF and COLLADA scenes stand in them: a few lines can ask for billions of copies."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tirender.budget import spend
from tirender.checks import fail

BYTES_AN_INSTANCE = 1 << 20
"""What a part takes of the budget, whatever it holds: trimesh compares the name of each with all others."""
BYTES_A_CHARACTER = 16
"""What the text of a part takes of the budget, wherever the part stands."""
MAX_DEPTH = 200  # of parts in parts

_PARTS, _ROOTS = ("object", "node", "geometry", "build", "visual_scene"), ("build", "visual_scene")
_REFERENCES = {"component": "objectid", "item": "objectid"}  # of 3MF; COLLADA's begin with "instance_"


@dataclass
class _Part:
    """A part: how much text it has, and the names of the others that it holds."""

    size: int = 0
    held: list[str] = field(default_factory=list)
    total: tuple[int, int] | None = None  # parts that it stands for, itself included, and their text
    is_open: bool = False


def spend_instances(name: str, documents: Iterable[bytes]) -> None:
    """Count in the budget what the parts of a scene make wherever they stand.

    Args:
        name: of the file.
        documents: its XML files.
    Raises:
        ValueError: too large; parts that hold themselves, or lie very deep; a DTD, which neither format needs.
    """
    parts: dict[str, _Part] = {}
    roots = [root for document in documents for root in _collect(name, document, parts)]
    for root in roots:
        count, size = _total(name, root, parts)
        spend(name, BYTES_AN_INSTANCE * count + BYTES_A_CHARACTER * size, f"{count} parts, wherever they stand")


def _collect(name: str, document: bytes, parts: dict[str, _Part]) -> list[str]:
    """Note the parts of a document; returns the names of those that are shown."""
    from lxml import etree

    roots: list[str] = []
    open_parts: list[_Part] = []
    try:
        for event, element in etree.iterparse(io.BytesIO(document), ("start", "end"), huge_tree=True):
            tag = str(element.tag).rpartition("}")[2]
            if event == "end":
                if tag in _PARTS:
                    open_parts.pop()
                elif open_parts:
                    open_parts[-1].size += len(element.text or "") + sum(map(len, element.attrib.values()))
                element.clear()
            elif element.getroottree().docinfo.doctype:
                fail(name, "XML without a DTD", "one")
            elif tag in _PARTS:
                is_named = tag not in _ROOTS and element.get("id") is not None
                key = element.get("id") if is_named else f"{tag} {len(parts)}"
                roots += [key] if tag in _ROOTS else []
                if open_parts:
                    open_parts[-1].held.append(key)
                open_parts.append(parts.setdefault(key, _Part()))
            elif open_parts and (reference := _reference(tag, element)):
                open_parts[-1].held.append(reference)
    except etree.XMLSyntaxError as error:
        fail(name, "undamaged XML", error)
    return roots


def _reference(tag: str, element: Any) -> str:
    if tag.startswith("instance_"):
        return str(element.get("url", "")).lstrip("#")
    return str(element.get(_REFERENCES[tag], "")) if tag in _REFERENCES else ""


def _total(name: str, key: str, parts: dict[str, _Part], depth: int = 0) -> tuple[int, int]:
    """How many parts a part stands for, and the size of their text."""
    part = parts.get(key)
    if part is None:
        return 1, 0
    if part.total is None:
        if part.is_open or depth > MAX_DEPTH:
            fail(name, f"parts in parts, at most {MAX_DEPTH} deep and never in themselves", repr(key)[:80])
        part.is_open = True
        below = [_total(name, other, parts, depth + 1) for other in part.held]
        part.is_open = False
        part.total = 1 + sum(count for count, _ in below), part.size + sum(size for _, size in below)
    return part.total
