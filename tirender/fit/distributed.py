"""Fits by several processes, on one machine or many: each renders its part of a step's views, all make the same update.

Before the first step all processes have the state of the first one, random generators included. So they draw the same
views and rays at each step, of which each takes its :func:`part`. Losses and gradients are then averaged over the
processes: a loss that all compute alike, as a regulariser, is averaged with itself, and that of a part is scaled so
that the average is the mean over all. The updates are those that one process would make.

Alone, as without ``torchrun``, nothing of this costs anything.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn

from tirender.checks import fail

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others, before it takes them for dead. A broken connection is seen at once."""


def world() -> int:
    """How many processes fit together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if world() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes and shows."""
    return rank() == 0


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that ``torchrun`` has started; without it, or where the program has joined them, do nothing.

    Enter it before CUDA is used: each process takes one GPU of its machine.

    Raises:
        ValueError: some processes have a GPU and others none.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        yield
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    # Taichi runs on the first GPU it sees; beyond the last one there is none, which is told below
    os.environ["CUDA_VISIBLE_DEVICES"] = (
        str(local_rank) if visible is None else "".join(visible.split(",")[local_rank : local_rank + 1])
    )
    on_gpu = torch.cuda.is_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    everywhere: list[Any] = [None] * world()
    dist.all_gather_object(everywhere, on_gpu)
    if len({*everywhere}) > 1:
        fail("torchrun", "a GPU for each process, or for none", f"one for {sum(everywhere)} of {world()}")
    yield
    dist.destroy_process_group()


class Part(NamedTuple):
    """What this process computes of a step.

    Attributes:
        rows: which of all items.
        n: how many there are in all.
        scale: of the mean of a loss over these rows, so that the average over processes is the mean over all.
    """

    rows: slice
    n: int
    scale: float

    def scaled(self, losses: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The losses, means over this part, times ``scale``."""
        return {name: loss if self.scale == 1 else loss * self.scale for name, loss in losses.items()}


def part(n: int) -> Part:
    """This process's part of n items; where there are fewer than processes it may be one that counts nothing.

    Args:
        n: at least 1.
    """
    i, size = rank(), world()
    start, stop = n * i // size, n * (i + 1) // size
    if start == stop:
        return Part(slice(0, 1), n, 0.0)
    return Part(slice(start, stop), n, (stop - start) * size / n)


def average(tensors: Sequence[torch.Tensor]) -> None:
    """Set tensors of one device to their averages over all processes, which are the same bits everywhere."""
    if world() == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    _all_reduce(flat)
    flat /= world()
    for tensor, averaged in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
        tensor.copy_(averaged.view_as(tensor))


def average_gradients(module: nn.Module) -> None:
    """Average the gradients of a module's parameters; where a process has none it counts as 0."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    if world() == 1 or not parameters:
        return
    has = torch.stack([torch.tensor(float(p.grad is not None)) for p in parameters]).to(parameters[0])
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    average([*gradients, has])
    for parameter, gradient, is_anywhere in zip(parameters, gradients, has.tolist()):
        parameter.grad = gradient if is_anywhere else None


def any_process(flag: bool) -> bool:
    """Whether a flag is set in any process."""
    if world() == 1:
        return flag
    flags = torch.tensor(float(flag))
    _all_reduce(flags)
    return bool(flags > 0)


def from_main(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state that the first process has, in all of them.

    Args:
        state: of types that ``torch.load(weights_only=True)`` reads; tensors arrive on the CPU.
    """
    stream = io.BytesIO()
    if is_main():
        torch.save(dict(state), stream)
    sent: list[Any] = [stream.getvalue()]
    with _telling():
        dist.broadcast_object_list(sent, src=0)
    received: dict[str, Any] = torch.load(io.BytesIO(sent[0]), map_location="cpu", weights_only=True)
    return received


def _all_reduce(tensor: torch.Tensor) -> None:
    with _telling():
        dist.all_reduce(tensor)


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"process {rank()} of {world()}: expected an answer of all processes, got none: one has ended, or hangs; "
            f"a checkpoint can be resumed by any number of them ({' '.join(str(error).split())[:200]})"
        ) from error
