"""Fits by several processes, on one machine or many: each renders a part of a step's views, all make the same update.

At the first step all processes have the same state, random generators included. So they draw the same views and rays at
each step, and each process takes its :func:`part` of them. Losses and gradients are averaged over the processes. A loss
that all compute alike, such as a regulariser, is thereby averaged with itself. The loss of a part is scaled so that the
average is the mean over all parts. The updates are those of a single process.

This happens only within :func:`process_group`. Elsewhere each process fits alone, at no extra cost.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn

from tirender.checks import fail

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others before it takes them for dead. A broken connection is noticed at once."""
FAREWELL = 10.0  # seconds that a process waits for the others at the end
# what gloo reports about a process that does not answer
LOST = ("closed by peer", "reset by peer", "broken pipe", "timed out waiting", "timeout caused")

_joined = False  # whether this process is within process_group()


def world() -> int:
    """The number of processes that fit together; 1 outside of :func:`process_group`."""
    return dist.get_world_size() if _joined else 1


def rank() -> int:
    """The index of this process among them."""
    return dist.get_rank() if world() > 1 else 0


def is_main() -> bool:
    """Whether this is the first process, which writes and shows results."""
    return rank() == 0


@contextmanager
def process_group(gpus: bool | None = None) -> Iterator[None]:
    """Within this block the processes that ``torchrun`` has started fit together.

    A program that has initialised ``torch.distributed`` itself keeps its group, and the fits use it. Without a group
    and without ``torchrun`` the block changes nothing. Enter it before CUDA is used: each process takes one GPU of its
    machine.

    Args:
        gpus: whether to take GPUs; by default yes, unless the environment variable ``TIRENDER_ARCH`` names another
            arch than ``"cuda"``.
    Raises:
        ValueError: some processes have a GPU and others have none.
    """
    if dist.is_available() and dist.is_initialized():
        with _together():
            yield
        return
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    if gpus is None:
        gpus = os.environ.get("TIRENDER_ARCH", "") in ("", "cuda")
    with _one_gpu() if gpus else contextlib.nullcontext():
        on_gpu = gpus and torch.cuda.is_available()
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=TIMEOUT)
        try:
            with _together():
                if gpus:
                    _check_gpus(on_gpu)
                yield
        finally:
            _leave()


@contextmanager
def _together() -> Iterator[None]:
    global _joined
    before, _joined = _joined, True
    try:
        yield
    finally:
        _joined = before


@contextmanager
def _one_gpu() -> Iterator[None]:
    """Let this process see only one GPU of its machine; none, if the machine has fewer than processes."""
    # Taichi takes the first GPU that it sees
    name, local_rank = "CUDA_VISIBLE_DEVICES", int(os.environ.get("LOCAL_RANK", 0))
    before = os.environ.get(name)
    os.environ[name] = str(local_rank) if before is None else "".join(before.split(",")[local_rank : local_rank + 1])
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _check_gpus(on_gpu: bool) -> None:
    everywhere: list[Any] = [None] * world()
    with _explained():
        dist.all_gather_object(everywhere, on_gpu)
    if len({*everywhere}) > 1:
        fail("torchrun", "a GPU for each process, or for none", f"one for {sum(everywhere)} of {world()}")


def _leave() -> None:
    """Destroy the group. If a process has died, this may fail or hang; neither may hide the first error."""

    def destroy() -> None:
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()

    # in a thread, which may be left hanging
    leaving = threading.Thread(target=destroy, daemon=True)
    leaving.start()
    leaving.join(FAREWELL)


class Part(NamedTuple):
    """What this process computes in a step.

    Attributes:
        rows: its items.
        n: the number of items of all processes.
        scale: factor for the mean loss over these rows; the average over processes is then the mean over all items.
    """

    rows: slice
    n: int
    scale: float

    def scaled(self, losses: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Losses that are means over this part, times ``scale``."""
        return {name: loss if self.scale == 1 else loss * self.scale for name, loss in losses.items()}


def part(n: int) -> Part:
    """This process's part of n items; with fewer items than processes, it may be an item with scale 0.

    Args:
        n: at least 1.
    """
    i, size = rank(), world()
    start, stop = n * i // size, n * (i + 1) // size
    if start == stop:
        return Part(slice(0, 1), n, 0.0)
    return Part(slice(start, stop), n, (stop - start) * size / n)


def average(tensors: Sequence[torch.Tensor]) -> None:
    """Set tensors on one device to their averages over all processes; all get the same bits."""
    if world() == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    _all_reduce(flat)
    flat /= world()
    for tensor, averaged in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
        tensor.copy_(averaged.view_as(tensor))


def average_gradients(module: nn.Module) -> None:
    """Average the gradients of a module's parameters; a missing gradient counts as 0."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    if world() == 1 or not parameters:
        return
    has = torch.stack([torch.tensor(float(p.grad is not None)) for p in parameters]).to(parameters[0])
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    average([*gradients, has])
    for parameter, gradient, is_anywhere in zip(parameters, gradients, has.tolist()):
        parameter.grad = gradient if is_anywhere else None


def any_process(*flags: bool) -> list[bool]:
    """For each flag, whether it is set in any process."""
    if world() == 1:
        return [*flags]
    # a program's own group may know only one kind of device
    device = "cpu" if "cpu:" in dist.get_backend_config() else "cuda"
    counts = torch.tensor(flags, dtype=torch.float32, device=device)
    _all_reduce(counts)
    return [count > 0 for count in counts.tolist()]


def from_main(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of the first process.

    Args:
        state: of types that ``torch.load(weights_only=True)`` reads. Received tensors are on the CPU.
    """
    stream = io.BytesIO()
    if is_main():
        torch.save(dict(state), stream)
    sent: list[Any] = [stream.getvalue()]
    with _explained():
        dist.broadcast_object_list(sent, src=0)
    received: dict[str, Any] = torch.load(io.BytesIO(sent[0]), map_location="cpu", weights_only=True)
    return received


def _all_reduce(tensor: torch.Tensor) -> None:
    with _explained():
        dist.all_reduce(tensor)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if not isinstance(error, dist.DistError) and not any(lost in text.lower() for lost in LOST):
            raise
        raise RuntimeError(
            f"process {rank()} of {world()}: expected an answer of all processes, got none: one has ended, or hangs; "
            f"any number of processes can resume from a checkpoint ({text[:200]})"
        ) from error
