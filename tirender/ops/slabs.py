"""How many slabs a sum takes and where they are cut (see ``kernels/slabs.py``)."""

from __future__ import annotations

import torch

from tirender import runtime

MAX_SLABS = 32
SLAB_BYTES = 64 << 20


def slab_count(floats_per_slab: int, n_terms: int) -> int:
    """Copies of the sums: as many as memory and work justify, so that threads can share; fixed by the sizes alone."""
    if runtime.is_parallel_device():
        return 1
    by_memory = SLAB_BYTES // max(4 * floats_per_slab, 1)
    by_work = n_terms // 256
    # clearing and adding the copies must not cost more than the terms themselves
    by_copies = 2 + 64 * n_terms // max(floats_per_slab, 1)
    return int(max(1, min(MAX_SLABS, by_memory, by_work, by_copies)))


def slab_bounds(n_terms: int, n_slabs: int, device: torch.device) -> torch.Tensor:
    """(n + 1,) int32, where each slab begins: equal shares, or every term by itself on a GPU."""
    if runtime.is_parallel_device():
        n_slabs = n_terms
    return (torch.arange(n_slabs + 1, device=device) * n_terms // max(n_slabs, 1)).int()


def slab_bounds_by_work(offsets: torch.Tensor, n_slabs: int) -> torch.Tensor:
    """(n + 1,) int32, cuts of the owners whose items begin at ``offsets`` into slabs of about equally many items."""
    n_owners = len(offsets) - 1
    if runtime.is_parallel_device():
        return torch.arange(n_owners + 1, dtype=torch.int32, device=offsets.device)
    # an owner costs a little even without items
    work = offsets.long() * 8 + torch.arange(n_owners + 1, device=offsets.device)
    targets = torch.arange(1, n_slabs, device=offsets.device) * work[-1] // n_slabs
    inner = torch.searchsorted(work, targets)
    ends = work.new_tensor([0, n_owners])
    return torch.cat([ends[:1], inner, ends[1:]]).int()
