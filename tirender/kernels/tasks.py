"""Loops whose rounds are long: bands of tiles, slabs of pixels, chunks of points."""

import taichi as ti


def task_block() -> int | None:
    """The ``block_dim`` of such a loop: on a CPU a thread takes one round at a time, where Taichi would give it 32.

    On a GPU, where every round has its own thread, the block is Taichi's choice.
    """
    return 1 if ti.cfg.arch in (ti.x64, ti.arm64) else None
