"""Checkpoints of every kind of fit that are valid archives with hostile contents."""

from __future__ import annotations

import io
import math
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hostile_values import deep
from small_fits import FITS, parameters_of, run_small, settings_of, target_of

from tirender.fit import Checkpoint, NonFiniteLoss, load_checkpoint
from tirender.renderer import FoVPerspectiveCameras, look_at_view_transform
from tirender.scenes import Look, load_scene
from tirender.scenes.facts import facts_of

STEPS = 4
NUMBERS: list[Any] = [
    -1,
    0,
    1,
    2,
    7,
    10**9,
    2**31,
    -(2**63),
    10**400,
    10**5000,
    math.nan,
    math.inf,
    -math.inf,
    1e-320,
    1e308,
    1e38,
]
KINDS: list[Any] = [
    "",
    "x",
    "x" * 100_000,
    None,
    [],
    {},
    (),
    True,
    b"x",
    1j,
    torch.zeros(0),
    torch.zeros(()),
    {1: 2},
    [None],
]


def whole_fits(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """By the name of a fit, what its checkpoint holds."""
    states = {}
    for name in names:
        path = folder / f"whole {name}" / "checkpoint.pt"
        about = {**target_of(FITS[name][0]).about(), "asked": {"steps": STEPS}}
        run_small(name, STEPS, [Checkpoint(path, 100, settings=settings_of(name), about=about)])
        states[name] = load_checkpoint(path)
    return states  # type: ignore[return-value]


def checkpoint(state: Any, rng: random.Random) -> bytes:
    """An archive of a state of which some parts are others."""
    chance = rng.choice((0.003, 0.01, 0.05))
    stream = io.BytesIO()
    torch.save(focused(state, rng) if rng.random() < 0.7 else mutated(state, rng, chance), stream)
    return damaged(stream.getvalue(), rng) if rng.random() < 0.15 else stream.getvalue()


def focused(state: Any, rng: random.Random) -> Any:
    """A copy with one part changed, however deep it lies."""
    if isinstance(state, dict) and state:
        key = rng.choice(list(state))
        if rng.random() < 0.05:
            return {name: item for name, item in state.items() if name != key}
        return {name: focused(item, rng) if name == key else item for name, item in state.items()}
    if isinstance(state, (list, tuple)) and 0 < len(state) < 1000 and rng.random() < 0.9:
        at = rng.randrange(len(state))
        return type(state)(focused(item, rng) if i == at else item for i, item in enumerate(state))
    return other(state, rng)


def mutated(value: Any, rng: random.Random, chance: float) -> Any:
    """A copy with many parts changed."""
    if rng.random() < chance:
        return other(value, rng)
    if isinstance(value, dict):
        return {key: mutated(item, rng, chance) for key, item in value.items() if rng.random() > chance / 4}
    if isinstance(value, (list, tuple)) and len(value) < 20:
        return type(value)(mutated(item, rng, chance) for item in value)
    return value


def other(value: Any, rng: random.Random) -> Any:
    """Something else, most often of the same kind."""
    if rng.random() < 0.15:
        return rng.choice([*KINDS, *NUMBERS, deep(200)])
    if isinstance(value, torch.Tensor):
        return tensor(value, rng)
    if isinstance(value, (bool, str)) or value is None:
        return rng.choice([not value, *KINDS])
    if isinstance(value, (int, float)):
        return rng.choice(NUMBERS) if rng.random() < 0.7 else type(value)(value + 1)
    if isinstance(value, (list, tuple)):
        return rng.choice(
            [value[:-1], value * 2, value * 5000 if len(value) < 9 else value[::-1], (*value, 0), [value]]
        )
    return rng.choice(KINDS)


def tensor(value: torch.Tensor, rng: random.Random) -> Any:
    if value.dim() == 0:
        return rng.choice(
            [value.reshape(1, 1), value * math.nan, value - 1e9, value.double(), value.bool(), value.expand(3)]
        )
    kind = rng.randrange(4)
    if kind == 0 and value.is_floating_point() and value.numel():
        value = value.clone()
        rows = rng.choice([rng.randrange(len(value)), slice(None)])
        value[rows] = rng.choice([math.nan, math.inf, 1e38, -1e38, 1e20, 1e-45, 0.0, -1.0])
        return value
    if kind == 1:
        return rng.choice(
            [
                value[:-1],
                value[:0],
                torch.cat([value, value]),
                value[None],
                value.reshape(-1),
                value.mT if value.dim() > 1 else value[::2],
            ]
        )
    if kind == 2:
        return rng.choice(
            [value.double(), value.half(), value.long(), value.bool(), value.to(torch.complex64), value.to(torch.uint8)]
        )
    strange: list[Callable[[], Any]] = [
        lambda: value.to_sparse(),
        lambda: value[:1].expand(10**6, *value.shape[1:]),
        lambda: torch.zeros(1).expand(10**11),
        lambda: torch.nn.Parameter(value.float()),
        lambda: torch.sparse_coo_tensor(
            torch.zeros(value.dim(), 0, dtype=torch.int64),
            torch.zeros(0),
            (10**6,) * min(value.dim(), 3) + (1,) * max(value.dim() - 3, 0),
        ),
        lambda: value.numpy().tolist() if value.numel() < 10_000 else None,
        lambda: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.quint8),
    ]
    return rng.choice(strange)()


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The archive with right checksums, of which the pickle or another member is damaged."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice([name for name in members if name.endswith(".pkl")] * 3 + list(members))
    content = bytearray(members[name])
    for _ in range(rng.choice((1, 2, 5))):
        at = rng.randrange(max(len(content) - 8, 1))
        new = rng.choice(
            [
                bytes([rng.randrange(256)]),
                struct.pack("<I", rng.choice((0, 1, 2**31 - 1, 2**32 - 1))),
                b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
            ]
        )
        content[at : at + len(new)] = new
    members[name] = bytes(content)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice([zipfile.ZIP_STORED] * 9 + [zipfile.ZIP_DEFLATED])) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return stream.getvalue()


def answers_of_fits(name: str) -> list[Callable[[Path], Any]]:
    """What is asked about a checkpoint: the scene, facts, and a fit that goes on from it."""

    def resume(path: Path) -> None:
        folder = path.parent / "resumed"
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / path.name)
        try:
            run = run_small(name, STEPS + 1, [Checkpoint(folder / path.name, 100, settings=settings_of(name))])
        except NonFiniteLoss:  # numbers within the range of float32 may still be far too large to compute with
            return
        assert all(x.isfinite().all() for x in parameters_of(run).values() if x.is_floating_point())

    return [show, lambda path: facts_of(str(path)), resume]


def show(path: Path) -> None:
    scene = load_scene(path)
    R, T = look_at_view_transform(2.1, 10.0, 150.0)
    image = scene.render(FoVPerspectiveCameras(R=R, T=T), Look((6, 6), supersample=1))
    assert (image >= 0).all()
    assert (image <= 1).all()
