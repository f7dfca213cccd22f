"""Hostile numbers and words, and mutations that keep a container valid: of tokens, of JSON trees, of arrays."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from typing import Any

import numpy as np

MOST_BYTES = 10_000_000  # of a text; so much is promised to load in two seconds
BIG = 5000  # digits; Python converts no more than 4300
MARK, DEEP = "@digits@", "@deep@"
WORDS = [
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "7",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483648",
    "4294967295",
    "4294967296",
    "1e-45",
    "1e-320",
]
WORDS += [
    "1e9",
    "1e20",
    "-1e20",
    "1e38",
    "-1e38",
    "3.5e38",
    "1e39",
    "1e154",
    "-1e308",
    "1e309",
    "nan",
    "inf",
    "-inf",
    "Infinity",
    "0x10",
    "1_000",
    "1/2",
    "1e",
    "1.2.3",
]
WORDS += ["9" * 19, "9" * 20, "9" * 400, "1" * BIG, "1e" + "9" * 30, "\u0661", "\u00bd", "a", "", "0." + "3" * 999]
NUMBERS = [
    0,
    -0.0,
    -1,
    1,
    2,
    255,
    256,
    65535,
    65536,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**53 + 1,
    2**63,
    2**64,
    10**400,
]
NUMBERS += [
    0.5,
    1e-45,
    1e-320,
    1e9,
    1e20,
    -1e20,
    1e38,
    -1e38,
    3.5e38,
    1e154,
    1e308,
    -1e308,
    *map(float, ["nan", "inf", "-inf"]),
]
STRINGS = ["", "x", ".", "..", "/", "../secret", "/etc/passwd", "..\\..\\secret", "%2e%2e/secret", "file:///etc/passwd"]
STRINGS += [
    "\ud800",
    "a\0b",
    "x" * 5000,
    "\u202e",
    "CON",
    "data:,",
    "data:image/png;base64,",
    "data:;base64,AAAA",
    "\n",
    MARK,
    DEEP,
]
OTHERS: list[Any] = [None, True, False, [], {}, [[]], [None], {"": None}]


def number(rng: random.Random) -> Any:
    """A hostile number, or a small index that may well exist."""
    return rng.randint(-1, 12) if rng.random() < 0.4 else rng.choice(NUMBERS)


# --- text ---


def text(data: bytes, rng: random.Random, words: tuple[str, ...] = ()) -> bytes:
    """Text of which words are others, and lines are repeated, left out or moved."""
    lines = [line.split(" ") for line in data.decode("latin-1").split("\n")]
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        if not lines:
            break
        at = rng.randrange(len(lines))
        line, kind = lines[at], rng.randrange(14)
        place = rng.randrange(len(line)) if line else 0
        if not line:
            lines[at] = [rng.choice(WORDS)]
        elif kind < 6:
            line[place] = rng.choice(WORDS)
        elif kind == 6:
            line[place] = rng.choice((*words, *STRINGS)).encode("utf-8", "surrogatepass").decode("latin-1")
        elif kind == 7:  # a column, wherever the line begins alike
            word = rng.choice(WORDS)
            for other in lines:
                if other[:1] == line[:1] and place < len(other):
                    other[place] = word
        elif kind == 8:
            n = rng.choice((1, 2, 3000))
            lines[at] = line + line[1:] * min(n, MOST_BYTES // (len(" ".join(line)) + 1))
        elif kind == 9:
            n = rng.choice((1, 2, 20_000)) if rng.random() < 0.3 else 1
            lines[at:at] = [list(line) for _ in range(min(n, MOST_BYTES // (len(" ".join(line)) + 1)))]
        elif kind == 10:
            del lines[at]
        elif kind == 11:
            del line[place]
        elif kind == 12:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            line[place] = str(rng.randint(-12, 12))
    return "\n".join(" ".join(line) for line in lines).encode("latin-1", "replace")[:MOST_BYTES]


# --- trees ---


def places(tree: Any) -> list[tuple[Any, Any]]:
    """All items of nested dicts and lists, as a container and a key."""
    found: list[tuple[Any, Any]] = []
    rest = [tree]
    while rest:
        container = rest.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in list(items):
            found.append((container, key))
            if isinstance(value, (dict, list)):
                rest.append(value)
    return found


def changed(value: Any, rng: random.Random) -> Any:
    """Something else in place of a value: most often of its kind."""
    if rng.random() < 0.1:
        return rng.choice([*OTHERS, rng.choice(STRINGS), number(rng)])
    if isinstance(value, (int, float)):
        return number(rng)
    if isinstance(value, str):
        return rng.choice(STRINGS)
    if isinstance(value, list):
        times = rng.choice((0, 2, 3, 300, 20_000)) if rng.random() < 0.3 else 1
        return rng.choice([value[:-1], value * times, value + [number(rng)], value[::-1], [value], deep(300)])
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if rng.random() < 0.7}
    return rng.choice(OTHERS)


def tree(root: Any, rng: random.Random) -> Any:
    """A copy of nested dicts and lists with one to four changes."""
    root = json.loads(json.dumps(root))
    for _ in range(rng.choice((1, 1, 2, 4))):
        found = places(root)
        if not found or len(found) > 200_000:
            break
        container, key = rng.choice(found)
        if isinstance(container, dict) and rng.random() < 0.1:
            del container[key]
        else:
            new = changed(container[key], rng)
            with contextlib.suppress(RecursionError):  # so deep that no change comes to its end
                new = copy.deepcopy(new)  # some are of this module
            container[key] = new
    return root


def deep(n: int) -> list[Any]:
    """Lists in lists."""
    value: list[Any] = []
    for _ in range(n):
        value = [value]
    return value


def dumps(root: Any) -> bytes:
    """JSON, with numbers of thousands of digits and lists in thousands of lists."""
    nested = "[" * 50_000 + "]" * 50_000
    return json.dumps(root).replace(f'"{MARK}"', "1" * BIG).replace(f'"{DEEP}"', nested).encode()


# --- arrays ---


def array(values: np.ndarray, rng: random.Random) -> np.ndarray:
    """An array with hostile numbers in one, some or all places of one field."""
    values = values.copy()
    fields = [name for name in values.dtype.names or () if values.dtype[name].kind != "V"]
    part = values[rng.choice(fields)] if fields else values
    if not part.size:
        return values
    rows: Any = ()
    if part.ndim:
        at = rng.randrange(len(part))
        rows = rng.choice([at, at, slice(None), slice(at)])
    kind = part.dtype.kind
    with np.errstate(all="ignore"):
        if kind not in "iu":
            new = np.array(float(min(rng.choice(NUMBERS), 10**308))).astype(part.dtype)
        else:
            info = np.iinfo(part.dtype)
            new = np.array(rng.choice([info.min, info.max, 0, 1, 2, 3, info.max // 2 + 1, info.max - 1])).astype(
                part.dtype
            )
        if part.ndim > 1 and rng.random() < 0.5:
            part[rows, ..., rng.randrange(part.shape[-1])] = new
        else:
            part[rows] = new
    return values
