"""A loop of multiply-adds that touches no memory: what a benchmark compares other loops with."""

import taichi as ti

LANES = 16  # independent sums, so that a core need not wait for its last multiply-add


@ti.kernel
def multiply_add(rounds: ti.i32, sums: ti.types.ndarray(dtype=ti.f32, ndim=2)):
    """Each lane of ``sums`` (tasks, LANES) begins as its own number; a round halves it and adds one."""
    for task in range(sums.shape[0]):
        lanes = ti.Vector([ti.cast(lane, ti.f32) for lane in ti.static(range(LANES))])
        for _ in range(rounds):
            lanes = lanes * 0.5 + 1.0
        for lane in ti.static(range(LANES)):
            sums[task, lane] = lanes[lane]
