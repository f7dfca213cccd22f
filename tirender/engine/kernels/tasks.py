"""How loops are shared among threads.

Most want the defaults. Not those whose rounds are long: bands of tiles, parts of pixels, chunks of points.
"""

import taichi as ti


def task_block() -> int | None:
    """The ``block_dim`` of such a loop: on a CPU a thread takes one round at a time, where Taichi would give it 32.

    On a GPU, where every round has its own thread, the block is Taichi's choice.
    """
    return 1 if is_cpu() else None


def is_cpu() -> bool:
    """Whether kernels run on a CPU, where a loop of little work is best done by the thread that launches it
    (``serialize``): the others take 0.1 ms to wake."""
    return ti.cfg.arch in (ti.x64, ti.arm64)


@ti.func
def round_pixels(width: ti.i32):
    """How many pixels of a row are done in one round of a loop: all on a CPU, where a round costs as much as a
    background pixel; one on a GPU, where every round has its own thread."""
    n = 1
    if ti.static(is_cpu()):
        n = ti.max(width, 1)
    return n
