"""Kills small fits: ``python kill_worker.py NAME FOLDER KILLS`` kills one so often, and prints how it ended.

Each life of the fit is a fork of this process, which has imported everything and started nothing. It saves at each
step, and is killed at a random moment: while it starts, between steps, within one, or within a save.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from small_fits import run_small

from tirender.fit import Checkpoint, Every, load_checkpoint

STEPS_A_LIFE = 4  # at most, but for the last
PAUSE = 0.003  # seconds after each step: else a fit could be done before it is killed


def live(name: str, steps: int, path: Path, tell: int) -> None:
    """One life, in a child."""
    torch.set_num_threads(1)
    told = Every(1, lambda run: (os.write(tell, b"."), time.sleep(PAUSE)))
    run_small(name, steps, [Checkpoint(path, 1), told])
    os._exit(0)


def life(name: str, steps: int, path: Path, rng: random.Random | None) -> bool:
    """Let a fit live; with ``rng`` until it is killed. Whether it was."""
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            live(name, steps, path, tell)
        finally:
            os._exit(1)
    os.close(tell)
    if rng:
        if rng.random() < 0.9:
            for _ in range(rng.randint(1, STEPS_A_LIFE)):
                os.read(hear, 1)  # of nothing, at its end
        time.sleep(rng.random() * (0.03 if rng.random() < 0.8 else 0.2))
        if not select.select([hear], [], [], 0)[0] or os.read(hear, 1):
            os.kill(child, signal.SIGKILL)
    else:
        while os.read(hear, 1):
            pass
    os.close(hear)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def same(a: Any, b: Any) -> bool:
    """Whether nested values are equal to the bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def main(name: str, folder: Path, kills: int) -> None:
    steps = kills * (STEPS_A_LIFE + 6)  # some happen within a sleep of many steps
    whole, killed = folder / "whole" / "checkpoint.pt", folder / "killed" / "checkpoint.pt"
    assert not life(name, steps, whole, None)
    rng, n, at = random.Random(name), 0, []
    while n < kills:
        if not life(name, steps, killed, rng):
            break
        n += 1
        state = load_checkpoint(killed)
        at.append(0 if state is None else state["step"])
    assert n == kills, f"done after {n} kills, at {at}"
    assert not life(name, steps, killed, None)
    one, other = load_checkpoint(whole), load_checkpoint(killed)
    assert one is not None
    assert one["step"] == steps
    print(f"{name}: {n} kills at steps {at} of {steps}: {'the same bits' if same(one, other) else 'OTHER BITS'}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
