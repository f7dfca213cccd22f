"""A bounding volume hierarchy over primitives of several clouds, and its traversal.

The primitives of a cloud (points, or boxes around triangles) are sorted along a Hilbert curve. Every ``2**leaf_bits``
of them in a row form a leaf, every 8 leaves a group, every 8 groups a group of the level above, up to one root: no
pointers, no tree to build but the boxes. A group stores its 8 children side by side, so that one test of all of them
runs over contiguous numbers: ``boxes[group * 48 + axis * 8 + child]`` are the lower corners, 24 further on the upper
ones; ``lowest[group * 8 + child]`` is the lowest index (within the cloud) below a child, which settles ties between
equal distances and keeps clouds of coinciding points from being searched whole. Absent children have the box
[inf, -inf].
"""

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import is_cpu, task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, I64Array

NO_INDEX = 2**31 - 1
FAN_BITS = 3
FAN = 1 << FAN_BITS


@ti.kernel
def hilbert_codes(cells: FloatArray2D, bits: ti.i32, codes: I64Array):
    """The place along the Hilbert curve of cells given by coordinates (3, n) in [0, 2**bits), bits <= 20."""
    for i in codes:
        codes[i] = hilbert_code(ti.Vector([ti.cast(cells[a, i], ti.i32) for a in ti.static(range(3))]), bits)


@ti.kernel
def build_boxes(
    lower: FloatArray2D,
    upper: FloatArray2D,
    order: I32Array,
    first: I32Array,
    leaf_bits: ti.i32,
    boxes: FloatArray,
    lowest: I32Array,
):
    """lower, upper: (3 or more, n) corners of the sorted primitives; order: their indices; first: where each cloud
    begins, and the end; boxes, lowest: written here."""
    n_clouds = first.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for slot in range((first[n_clouds] >> (leaf_bits + FAN_BITS)) + n_clouds):
        cloud = cloud_of_slot(first, slot, leaf_bits + FAN_BITS)
        n = first[cloud + 1] - first[cloud]
        group = slot - slot_base(first[cloud], cloud, leaf_bits + FAN_BITS)
        if group < n_groups(n, leaf_bits, 0):
            at = group_base(first[cloud], cloud, leaf_bits) + group
            for child in range(FAN):
                begin = first[cloud] + (((group << FAN_BITS) + child) << leaf_bits)
                end = ti.min(begin + (1 << leaf_bits), first[cloud + 1])
                low = ti.Vector([cast_like(ti.math.inf, lower[0, 0])] * 3)
                high = -low
                least = NO_INDEX
                for j in range(begin, end):
                    l = ti.Vector([lower[0, j], lower[1, j], lower[2, j]])
                    h = ti.Vector([upper[0, j], upper[1, j], upper[2, j]])
                    if (l == l).all() and (h == h).all():  # nothing is near NaN
                        low, high, least = ti.min(low, l), ti.max(high, h), ti.min(least, order[j] - first[cloud])
                set_child(boxes, lowest, at, child, low, high, least)
    for level in ti.static(range(1, 3)):
        ti.loop_config(serialize=ti.static(is_cpu()))  # what is left is little
        for slot in range((first[n_clouds] >> (leaf_bits + FAN_BITS * (level + 1))) + n_clouds):
            bits = leaf_bits + FAN_BITS * (level + 1)
            cloud = cloud_of_slot(first, slot, bits)
            group = slot - slot_base(first[cloud], cloud, bits)
            n = first[cloud + 1] - first[cloud]
            if n_groups(n, leaf_bits, level - 1) > 1 and group < n_groups(n, leaf_bits, level):
                base = group_base(first[cloud], cloud, leaf_bits)
                for below in ti.static(range(level - 1)):
                    base += n_groups(n, leaf_bits, below)
                merge_children(boxes, lowest, base, n_groups(n, leaf_bits, level - 1), group)
    ti.loop_config(serialize=ti.static(is_cpu()))
    for cloud in range(n_clouds):
        n = first[cloud + 1] - first[cloud]
        base = group_base(first[cloud], cloud, leaf_bits) + n_groups(n, leaf_bits, 0) + n_groups(n, leaf_bits, 1)
        level = 2
        while n_groups(n, leaf_bits, level) > 1:
            for group in range(n_groups(n, leaf_bits, level + 1)):
                merge_children(boxes, lowest, base, n_groups(n, leaf_bits, level), group)
            base += n_groups(n, leaf_bits, level)
            level += 1


@ti.func
def set_child(boxes: ti.template(), lowest: ti.template(), group, child, low, high, least):
    for a in ti.static(range(3)):
        boxes[group * (6 * FAN) + a * FAN + child] = low[a]
        boxes[group * (6 * FAN) + (3 + a) * FAN + child] = high[a]
    lowest[group * FAN + child] = least


@ti.func
def merge_children(boxes: ti.template(), lowest: ti.template(), base, count, group):
    """Fill a group of the level that follows the ``count`` groups at ``base``."""
    for child in range(FAN):
        low = ti.Vector([cast_like(ti.math.inf, boxes[0])] * 3)
        high = -low
        least = NO_INDEX
        below = (group << FAN_BITS) + child
        if below < count:
            for k in range(FAN):
                for a in ti.static(range(3)):
                    low[a] = ti.min(low[a], boxes[(base + below) * (6 * FAN) + a * FAN + k])
                    high[a] = ti.max(high[a], boxes[(base + below) * (6 * FAN) + (3 + a) * FAN + k])
                least = ti.min(least, lowest[(base + below) * FAN + k])
        set_child(boxes, lowest, base + count + group, child, low, high, least)


# --- where things lie ---


@ti.func
def n_groups(n, leaf_bits, level):
    """Groups of a level in a cloud of n primitives."""
    bits = leaf_bits + FAN_BITS * (level + 1)
    return (n + (1 << bits) - 1) >> bits


@ti.func
def group_base(begin, cloud, leaf_bits):
    """Where the groups of a cloud begin, level after level: room enough, without a table."""
    return (begin >> (leaf_bits + 2)) + 16 * cloud


@ti.func
def slot_base(begin, cloud, bits):
    return (begin >> bits) + cloud


@ti.func
def cloud_of_slot(first: ti.template(), slot, bits):
    """The last cloud whose slots, of 2**bits primitives each, begin at ``slot`` or before."""
    low, high = 0, first.shape[0] - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if slot_base(first[middle], middle, bits) <= slot:
            low = middle
        else:
            high = middle
    return low


@ti.func
def cloud_of(first: ti.template(), i):
    """The cloud that holds primitive i."""
    low, high = 0, first.shape[0] - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if first[middle] <= i:
            low = middle
        else:
            high = middle
    return low


# --- traversal ---


@ti.dataclass
class Cursor:
    """A place in the depth-first walk over the leaves that may matter."""

    level: ti.i32
    base: ti.i32  # where the level's groups begin
    group: ti.i32
    pending: ti.i32  # bits of the group's children still to be seen; -1 before they were tested
    stack: ti.i64  # pending children of the ancestors, 8 bits each
    leaf: ti.i32  # found last; -1 at the end


@ti.func
def root_cursor(begin, n, cloud, leaf_bits):
    """Before the first leaf of a cloud of n > 0 primitives, of which the first is number ``begin``."""
    cursor = Cursor(level=0, base=group_base(begin, cloud, leaf_bits), group=0, pending=-1, stack=0, leaf=-1)
    while n_groups(n, leaf_bits, cursor.level) > 1:
        cursor.base += n_groups(n, leaf_bits, cursor.level)
        cursor.level += 1
    return cursor


@ti.func
def next_leaf(
    cursor: ti.template(),
    boxes: ti.template(),
    lowest: ti.template(),
    n,
    leaf_bits,
    low,
    high,
    norm: ti.template(),
    by_index: ti.template(),
    bound,
    bound_index,
):
    """Move to the next leaf that may hold something that comes before ``(bound, bound_index)`` by its distance from the
    box [low, high], then by index; or ``by_index``, something nearer than the bound with a lower index."""
    cursor.leaf = -1
    while cursor.leaf < 0 and (cursor.pending != 0 or cursor.stack != 0):
        if cursor.pending == -1:
            cursor.pending = children_within(boxes, cursor.base + cursor.group, low, high, norm, bound)
        elif cursor.pending == 0:
            cursor.base += n_groups(n, leaf_bits, cursor.level)
            cursor.level += 1
            cursor.group >>= FAN_BITS
            cursor.pending = ti.cast(cursor.stack & (2**FAN - 1), ti.i32)
            cursor.stack >>= FAN
        else:
            child = first_bit(cursor.pending)
            cursor.pending &= cursor.pending - 1
            at = cursor.base + cursor.group
            d = child_distance(boxes, at, child, low, high, norm)  # again, as the bound may have shrunk
            first = lowest[at * FAN + child] < bound_index
            promising = d < bound or (d == bound and first)
            if ti.static(by_index):
                promising = d < bound and first
            if promising:
                below = (cursor.group << FAN_BITS) + child
                if cursor.level == 0:
                    cursor.leaf = below
                else:
                    cursor.level -= 1
                    cursor.base -= n_groups(n, leaf_bits, cursor.level)
                    cursor.group = below
                    cursor.stack = (cursor.stack << FAN) | ti.cast(cursor.pending, ti.i64)
                    cursor.pending = -1


@ti.func
def likely_leaf(boxes: ti.template(), n, begin, cloud, leaf_bits, point, norm: ti.template()):
    """The leaf reached by going to the nearest child each time: a first guess where nothing is known."""
    cursor = root_cursor(begin, n, cloud, leaf_bits)
    while cursor.leaf < 0:
        nearest = 0
        least = child_distance(boxes, cursor.base + cursor.group, 0, point, point, norm)
        for child in range(1, FAN):
            d = child_distance(boxes, cursor.base + cursor.group, child, point, point, norm)
            if d < least:
                nearest, least = child, d
        below = (cursor.group << FAN_BITS) + nearest
        if cursor.level == 0:
            cursor.leaf = below
        else:
            cursor.level -= 1
            cursor.base -= n_groups(n, leaf_bits, cursor.level)
            cursor.group = below
    return cursor.leaf


@ti.func
def children_within(boxes: ti.template(), group, low, high, norm: ti.template(), bound):
    """Bits of the children no further than ``bound``."""
    within = 0
    for child in ti.static(range(FAN)):
        within |= ti.select(child_distance(boxes, group, child, low, high, norm) <= bound, 1 << child, 0)
    return within


@ti.func
def child_distance(boxes: ti.template(), group, child, low, high, norm: ti.template()):
    """Least distance between the box [low, high] and a child's; never above a computed distance between their points,
    as rounding is monotone."""
    at = group * (6 * FAN) + child
    return measure(
        gap(boxes[at] - high[0], low[0] - boxes[at + 3 * FAN]),
        gap(boxes[at + FAN] - high[1], low[1] - boxes[at + 4 * FAN]),
        gap(boxes[at + 2 * FAN] - high[2], low[2] - boxes[at + 5 * FAN]),
        norm,
    )


@ti.func
def gap(a, b):
    """max(a, b, 0), in the form that compiles to single instructions."""
    m = ti.select(a > b, a, b)
    return ti.select(m > 0, m, 0 * m)


@ti.func
def measure(dx, dy, dz, norm: ti.template()):
    """The squared length, or for norm 1 the sum of absolute values."""
    d = dx * dx + dy * dy + dz * dz
    if ti.static(norm == 1):
        d = ti.abs(dx) + ti.abs(dy) + ti.abs(dz)
    return d


@ti.func
def first_bit(bits):
    return ti.math.popcnt((bits & -bits) - 1)


# --- the Hilbert curve ---


@ti.func
def hilbert_code(cell, bits: ti.i32):
    """After Skilling, "Programming the Hilbert curve", 2004."""
    x = cell
    for k in range(bits - 1):  # without branches, which would be random
        b = bits - 1 - k
        below = (1 << b) - 1
        for a in ti.static(range(3)):
            bit = (x[a] >> b) & 1
            swap = (x[0] ^ x[a]) & below & (bit - 1)
            x[0] ^= swap ^ (below & -bit)
            x[a] ^= swap
    x[1] ^= x[0]
    x[2] ^= x[1]
    t = 0
    for b in range(1, bits):
        t ^= ((1 << b) - 1) & -((x[2] >> b) & 1)
    return interleave(x ^ t)


@ti.func
def interleave(x):
    """The bits of three numbers below 2**20 in turn, those of the first highest."""
    low = (spread(x[0] & 1023) << 2) | (spread(x[1] & 1023) << 1) | spread(x[2] & 1023)
    high = (spread(x[0] >> 10) << 2) | (spread(x[1] >> 10) << 1) | spread(x[2] >> 10)
    return (ti.cast(high, ti.i64) << 30) | ti.cast(low, ti.i64)


@ti.func
def spread(x):
    """The ten bits of x, three places apart."""
    x = (x | (x << 16)) & 0x30000FF
    x = (x | (x << 8)) & 0x300F00F
    x = (x | (x << 4)) & 0x30C30C3
    return (x | (x << 2)) & 0x9249249
