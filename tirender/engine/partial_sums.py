"""How many parts the terms of a sum are cut into, and where (see ``kernels/partial_sums.py``)."""

from __future__ import annotations

import torch

from tirender.engine import runtime

MAX_PARTS = 32
PARTS_BYTES = 64 << 20


def part_count(floats_per_part: int, n_terms: int) -> int:
    """As many parts as memory and work justify, so that threads can share; fixed by the sizes alone."""
    if runtime.is_parallel_device():
        return 1
    by_memory = PARTS_BYTES // max(4 * floats_per_part, 1)
    by_work = n_terms // 256
    # clearing and adding the copies must not cost more than the terms themselves
    by_copies = 2 + 64 * n_terms // max(floats_per_part, 1)
    return int(max(1, min(MAX_PARTS, by_memory, by_work, by_copies)))


def part_bounds(n_terms: int, n_parts: int, device: torch.device) -> torch.Tensor:
    """(n_parts + 1,) int32, where each part begins: equal shares, or every term by itself on a GPU."""
    if runtime.is_parallel_device():
        n_parts = n_terms
    return (torch.arange(n_parts + 1, device=device) * n_terms // max(n_parts, 1)).int()


def part_bounds_by_work(offsets: torch.Tensor, n_parts: int) -> torch.Tensor:
    """(n_parts + 1,) int32: owners whose items begin at ``offsets``, cut into parts of about equally many items."""
    n_owners = len(offsets) - 1
    if runtime.is_parallel_device():
        return torch.arange(n_owners + 1, dtype=torch.int32, device=offsets.device)
    # an owner costs a little even without items
    work = offsets.long() * 8 + torch.arange(n_owners + 1, device=offsets.device)
    targets = torch.arange(1, n_parts, device=offsets.device) * work[-1] // n_parts
    inner = torch.searchsorted(work, targets)
    ends = work.new_tensor([0, n_owners])
    return torch.cat([ends[:1], inner, ends[1:]]).int()
