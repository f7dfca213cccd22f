"""A bounding volume hierarchy over primitives of several clouds, and its traversal.

The primitives of a cloud are points, or boxes around triangles. They are sorted along a Hilbert curve (see
``kernels/hilbert.py``). Every ``2**leaf_bits`` of them in a row form a leaf, every 8 leaves a group, every 8 groups a
group of the level above, up to one root. So there are no pointers, and only the boxes have to be built.

A group stores its 8 children side by side, so that one test of all of them runs over contiguous numbers:
``boxes[group * 48 + axis * 8 + child]`` are the lower corners, the upper ones lie 24 further on. Absent children have
the box [inf, -inf]. ``lowest[group * 8 + child]`` is the lowest index (within the cloud) below a child. It settles ties
between equal distances, and keeps clouds of coinciding points from being searched whole.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.hilbert import hilbert_code
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import is_cpu, task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, I64Array

NO_INDEX = 2**31 - 1
FAN_BITS = 3
FAN = 1 << FAN_BITS


class Forest(NamedTuple):
    """The hierarchies of C clouds, whose n primitives lie sorted one cloud after the other.

    Its members are torch's tensors at a launch, and Taichi's arrays in a kernel.
    """

    order: Any  # (n,) int32 index of the primitive at each sorted place
    first: Any  # (C + 1,) int32 where each cloud begins, and n
    boxes: Any  # (groups * 48,) corners of the groups' children
    lowest: Any  # (groups * 8,) int32 lowest index below each child


class Search(NamedTuple):
    """What a search is compiled for."""

    leaf_bits: int  # log2 of the primitives in a leaf
    norm: int = 2  # 1, or 2 for squared distances
    by_index: bool = False  # whether low indices are looked for instead of short distances


@ti.kernel
def hilbert_codes(cells: FloatArray2D, bits: ti.i32, codes: I64Array):
    """The place along the Hilbert curve of cells, whose coordinates (3, n) are in [0, 2**bits), bits <= 20."""
    for i in codes:
        codes[i] = hilbert_code(ti.Vector([ti.cast(cells[a, i], ti.i32) for a in ti.static(range(3))]), bits)


@ti.kernel
def build_boxes(
    leaf_bits: ti.i32,
    lower: FloatArray2D,  # (3 or more, n) lower corners of the sorted primitives
    upper: FloatArray2D,  # (3 or more, n) upper corners
    order: I32Array,  # (n,) of the forest, as the next three
    first: I32Array,  # (C + 1,)
    boxes: FloatArray,  # (groups * 48,) written here
    lowest: I32Array,  # (groups * 8,) written here
):
    """Fill the boxes and the lowest indices, level after level.

    A loop over the groups of all clouds has one slot for each group, and a few that stay idle.
    """
    forest = ti.static(Forest(order, first, boxes, lowest))
    n_clouds = first.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for slot in range((first[n_clouds] >> (leaf_bits + FAN_BITS)) + n_clouds):
        cloud = cloud_of_slot(first, slot, leaf_bits + FAN_BITS)
        begin, n = cloud_range(first, cloud)
        group = slot - slot_base(begin, cloud, leaf_bits + FAN_BITS)
        if group < n_groups(n, leaf_bits, 0):
            for child in range(FAN):
                leaf = begin + (((group << FAN_BITS) + child) << leaf_bits)
                low, high, least = bounds_of_leaf(lower, upper, order, begin, leaf, leaf_end(begin, n, leaf, leaf_bits))
                set_child(forest, group_base(begin, cloud, leaf_bits) + group, child, low, high, least)
    for level in ti.static(range(1, 3)):
        ti.loop_config(serialize=ti.static(is_cpu()))  # what is left is little
        for slot in range((first[n_clouds] >> (leaf_bits + FAN_BITS * (level + 1))) + n_clouds):
            bits = leaf_bits + FAN_BITS * (level + 1)
            cloud = cloud_of_slot(first, slot, bits)
            begin, n = cloud_range(first, cloud)
            group = slot - slot_base(begin, cloud, bits)
            if n_groups(n, leaf_bits, level - 1) > 1 and group < n_groups(n, leaf_bits, level):
                base = group_base(begin, cloud, leaf_bits)
                for below in ti.static(range(level - 1)):
                    base += n_groups(n, leaf_bits, below)
                merge_children(forest, base, n_groups(n, leaf_bits, level - 1), group)
    ti.loop_config(serialize=ti.static(is_cpu()))
    for cloud in range(n_clouds):
        begin, n = cloud_range(first, cloud)
        base = group_base(begin, cloud, leaf_bits) + n_groups(n, leaf_bits, 0) + n_groups(n, leaf_bits, 1)
        level = 2
        while n_groups(n, leaf_bits, level) > 1:
            for group in range(n_groups(n, leaf_bits, level + 1)):
                merge_children(forest, base, n_groups(n, leaf_bits, level), group)
            base += n_groups(n, leaf_bits, level)
            level += 1


@ti.func
def bounds_of_leaf(lower: ti.template(), upper: ti.template(), order: ti.template(), cloud_begin, begin, end):
    """The box of sorted primitives [begin, end), and the lowest index within their cloud."""
    low = ti.Vector([cast_like(ti.math.inf, lower[0, 0])] * 3)
    high = -low
    least = NO_INDEX
    for j in range(begin, end):
        l = ti.Vector([lower[0, j], lower[1, j], lower[2, j]])
        h = ti.Vector([upper[0, j], upper[1, j], upper[2, j]])
        if (l == l).all() and (h == h).all():  # nothing is near NaN
            low, high, least = ti.min(low, l), ti.max(high, h), ti.min(least, order[j] - cloud_begin)
    return low, high, least


@ti.func
def set_child(forest: ti.template(), group, child, low, high, least):
    for a in ti.static(range(3)):
        forest.boxes[group * (6 * FAN) + a * FAN + child] = low[a]
        forest.boxes[group * (6 * FAN) + (3 + a) * FAN + child] = high[a]
    forest.lowest[group * FAN + child] = least


@ti.func
def merge_children(forest: ti.template(), base, count, group):
    """Fill a group of the level that follows the ``count`` groups at ``base``."""
    for child in range(FAN):
        low = ti.Vector([cast_like(ti.math.inf, forest.boxes[0])] * 3)
        high = -low
        least = NO_INDEX
        below = (group << FAN_BITS) + child
        if below < count:
            for k in range(FAN):
                for a in ti.static(range(3)):
                    low[a] = ti.min(low[a], forest.boxes[(base + below) * (6 * FAN) + a * FAN + k])
                    high[a] = ti.max(high[a], forest.boxes[(base + below) * (6 * FAN) + (3 + a) * FAN + k])
                least = ti.min(least, forest.lowest[(base + below) * FAN + k])
        set_child(forest, base + count + group, child, low, high, least)


# --- where things lie ---


@ti.func
def cloud_range(first: ti.template(), cloud):
    """Where a cloud begins, and the number of its primitives."""
    return first[cloud], first[cloud + 1] - first[cloud]


@ti.func
def leaf_end(begin, n, leaf_begin, leaf_bits):
    """Where a leaf ends, in a cloud of n primitives from ``begin`` on."""
    return ti.min(leaf_begin + (1 << leaf_bits), begin + n)


@ti.func
def n_groups(n, leaf_bits, level):
    """Groups of a level in a cloud of n primitives."""
    bits = leaf_bits + FAN_BITS * (level + 1)
    return (n + (1 << bits) - 1) >> bits


@ti.func
def group_base(begin, cloud, leaf_bits):
    """Where the groups of a cloud begin, level after level: past all that the clouds before it can have."""
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
    """A place in the walk over the leaves of a cloud that may matter: first the likely ones, then depth first."""

    begin: ti.i32  # the cloud's first primitive
    n: ti.i32  # the cloud's primitives
    likely_begin: ti.i32  # the likely leaves, which come first
    likely_end: ti.i32
    likely_next: ti.i32  # of these, the one that is due
    level: ti.i32
    base: ti.i32  # where the level's groups begin
    group: ti.i32
    pending: ti.i32  # bits of the group's children still to be seen; -1 before they were tested
    stack: ti.i64  # pending children of the ancestors, 8 bits each
    leaf: ti.i32  # found last; -1 at the end


@ti.func
def root_cursor(forest: ti.template(), cloud, search: ti.template(), likely_begin, likely_end):
    """Before the first leaf of a cloud that is not empty."""
    begin, n = cloud_range(forest.first, cloud)
    cursor = Cursor(begin=begin, n=n, level=0, base=group_base(begin, cloud, search.leaf_bits), group=0, pending=-1)
    cursor.stack, cursor.leaf = 0, -1
    cursor.likely_begin, cursor.likely_next, cursor.likely_end = likely_begin, likely_begin, likely_end
    while n_groups(n, search.leaf_bits, cursor.level) > 1:
        cursor.base += n_groups(n, search.leaf_bits, cursor.level)
        cursor.level += 1
    return cursor


@ti.func
def next_leaf(cursor: ti.template(), forest: ti.template(), search: ti.template(), low, high, bound, bound_index):
    """Move to the next leaf that may improve on what is known; return whether there is one.

    The query is the box [low, high]. An improvement comes before ``(bound, bound_index)`` by its distance from the box,
    then by index. ``search.by_index`` has it nearer than the bound, with a lower index. Likely leaves are not tested.
    """
    cursor.leaf = -1
    if cursor.likely_next < cursor.likely_end:
        cursor.leaf = cursor.likely_next
        cursor.likely_next += 1
    while cursor.leaf < 0 and (cursor.pending != 0 or cursor.stack != 0):
        group = cursor.base + cursor.group
        if cursor.pending == -1:
            cursor.pending = children_within(forest.boxes, group, low, high, search.norm, bound)
        elif cursor.pending == 0:
            ascend(cursor, search)
        else:
            child = first_bit(cursor.pending)
            cursor.pending &= cursor.pending - 1
            d = child_distance(forest.boxes, group, child, low, high, search.norm)  # again: the bound may have shrunk
            is_lower = forest.lowest[group * FAN + child] < bound_index
            is_promising = d < bound or (d == bound and is_lower)
            if ti.static(search.by_index):
                is_promising = d < bound and is_lower
            if is_promising:
                enter_child(cursor, search, child)
    return cursor.leaf >= 0


@ti.func
def ascend(cursor: ti.template(), search: ti.template()):
    """Back to the parent, and to its children that are pending."""
    cursor.base += n_groups(cursor.n, search.leaf_bits, cursor.level)
    cursor.level += 1
    cursor.group >>= FAN_BITS
    cursor.pending = ti.cast(cursor.stack & (2**FAN - 1), ti.i32)
    cursor.stack >>= FAN


@ti.func
def enter_child(cursor: ti.template(), search: ti.template(), child):
    """Down to a child; a leaf is found, but for the likely ones, which have been seen."""
    below = (cursor.group << FAN_BITS) + child
    if cursor.level > 0:
        cursor.stack = (cursor.stack << FAN) | ti.cast(cursor.pending, ti.i64)
        cursor.pending = -1
        descend(cursor, search, below)
    elif below < cursor.likely_begin or below >= cursor.likely_end:
        cursor.leaf = below


@ti.func
def descend(cursor: ti.template(), search: ti.template(), group):
    """To a group of the level below."""
    cursor.level -= 1
    cursor.base -= n_groups(cursor.n, search.leaf_bits, cursor.level)
    cursor.group = group


@ti.func
def leaf_range(cursor, search: ti.template()):
    """The first sorted primitive of the leaf found last, and their number."""
    leaf_begin = cursor.begin + (cursor.leaf << search.leaf_bits)
    return leaf_begin, leaf_end(cursor.begin, cursor.n, leaf_begin, search.leaf_bits) - leaf_begin


@ti.func
def likely_leaf(forest: ti.template(), cloud, search: ti.template(), point):
    """The leaf reached by going to the nearest child each time: a first guess where nothing is known."""
    cursor = root_cursor(forest, cloud, search, 0, 0)
    while cursor.leaf < 0:
        group = cursor.base + cursor.group
        nearest = 0
        least = child_distance(forest.boxes, group, 0, point, point, search.norm)
        for child in range(1, FAN):
            d = child_distance(forest.boxes, group, child, point, point, search.norm)
            if d < least:
                nearest, least = child, d
        below = (cursor.group << FAN_BITS) + nearest
        if cursor.level == 0:
            cursor.leaf = below
        else:
            descend(cursor, search, below)
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
    box = group * (6 * FAN) + child
    return measure(
        gap(boxes[box] - high[0], low[0] - boxes[box + 3 * FAN]),
        gap(boxes[box + FAN] - high[1], low[1] - boxes[box + 4 * FAN]),
        gap(boxes[box + 2 * FAN] - high[2], low[2] - boxes[box + 5 * FAN]),
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
