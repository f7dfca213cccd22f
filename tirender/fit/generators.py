"""The random generators that a fit may draw from: seeded during the fit, and saved in its checkpoints."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seed the generators of torch, numpy and Python, and restore them at the end; None leaves them alone."""
    if seed is None:
        yield
        return
    with undisturbed():
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  (losses may draw from the global generator)
        random.seed(seed)
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restore the generators at the end, whatever was drawn meanwhile; this takes a tenth of a millisecond."""
    before = generator_states()
    try:
        yield
    finally:
        set_generator_states(before)


def generator_states() -> dict[str, Any]:
    """The states of the global generators, in types that ``torch.load(weights_only=True)`` reads."""
    _, key, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": (torch.from_numpy(np.asarray(key, dtype=np.int64)), int(position), int(has_gauss), float(gauss)),
        "python": random.getstate(),
    }


def set_generator_states(states: dict[str, Any]) -> None:
    """Restore the global generators from :func:`generator_states`."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"][: torch.cuda.device_count()])
    key, *rest = states["numpy"]
    np.random.set_state(("MT19937", key.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
