"""Launches by the short way do what Taichi's own do."""

import subprocess
import sys
import textwrap
from typing import NamedTuple

import pytest
import taichi as ti
import torch

from tirender.engine import compiler, runtime
from tirender.engine.device_arrays import DeviceArray
from tirender.engine.device_copies import DeviceCopies
from tirender.engine.kernels.types import struct_of
from tirender.engine.launcher import Launcher

Vectors = ti.types.ndarray(dtype=ti.math.vec3, ndim=1)
Numbers = ti.types.ndarray(ndim=1)
Table = ti.types.ndarray(ndim=2)


@ti.kernel
def scale(vectors: Vectors, factor: ti.f32, shift: ti.i32, negate: ti.template(), out: Vectors, count: Numbers):
    for i in vectors:
        out[i] = vectors[i] * factor + shift
        if ti.static(negate):
            out[i] = -out[i]
    count[0] = vectors.shape[0]


@ti.kernel
def move(source: Table, target: Table):
    for i, j in source:
        target[i, j] = source[i, j]


@pytest.fixture
def launcher() -> Launcher:
    runtime.arch()
    return Launcher(scale)


def run(launcher: Launcher, vectors: torch.Tensor, factor: float, shift: int, negate: bool) -> torch.Tensor:
    out, count = torch.empty_like(vectors), vectors.new_zeros(1)
    launcher(vectors, factor, shift, negate, out, count)
    assert count == len(vectors)
    return out


def test_first_and_later_launches_agree(launcher: Launcher) -> None:
    for _ in range(2):
        for n in (1, 5):
            vectors = torch.randn(n, 3)
            assert torch.allclose(run(launcher, vectors, 2, 3, False), 2 * vectors + 3)
            assert torch.allclose(run(launcher, vectors, 0.5, -1, True), 1 - vectors / 2)
    assert len(launcher._known) == 2  # one for each value of the template, whatever sizes and numbers


def test_each_type_has_its_own_kernel(launcher: Launcher) -> None:
    if runtime.arch() == "vulkan":
        pytest.skip("float32 only")
    for _ in range(2):
        for dtype in (torch.float32, torch.float64):
            vectors = torch.randn(4, 3, dtype=dtype)
            assert torch.equal(run(launcher, vectors, 2, 0, False), 2 * vectors)


def test_what_is_kept_is_sent_once_as_long_as_it_lives() -> None:
    runtime.arch()
    copies = DeviceCopies()
    launcher = Launcher(scale, copies)
    for _ in range(5):
        kept, other = torch.randn(5, 3), torch.randn(5, 3)  # mostly where the last ones have been
        copies.keep(kept)
        expected = 2 * kept
        for _ in range(2):
            assert torch.equal(run(launcher, kept, 2, 0, False), expected)
            assert torch.equal(run(launcher, other, 2, 0, False), 2 * other)
            kept.zero_(), other.zero_()  # the first against the promise
        assert len(copies._arrays) == 1
        del kept
    copies.keep(torch.zeros(0, 3))
    assert not copies._arrays


def test_only_vulkan_keeps_copies() -> None:
    kept = torch.arange(6, dtype=torch.float32).view(2, 3)
    runtime.keep(kept)
    out, count = torch.empty(2, 3), torch.zeros(1)
    for _ in range(3):
        runtime.launch(scale, kept, 1, 0, False, out, count)
        assert torch.equal(out, kept)
    assert bool(runtime._copies._arrays) == (runtime.arch() == "vulkan")


def test_what_does_not_fit_is_refused_first_and_later(launcher: Launcher) -> None:
    vectors, out, count = torch.randn(6, 3), torch.empty(6, 3), torch.zeros(1)
    for _ in range(2):
        for wrong in (torch.randn(6, 4), torch.randn(6), torch.randn(12, 3)[::2]):
            with pytest.raises(ValueError, match="contiguous|element_shape|ndim"):
                launcher(wrong, 1, 0, False, out, count)
        for number in ("1", None, torch.tensor(1.0), [1]):
            with pytest.raises(TypeError, match="factor: expected a number"):
                launcher(vectors, number, 0, False, out, count)
        for number in (2.7, torch.tensor(1)):
            with pytest.raises(TypeError, match="shift: expected a number"):
                launcher(vectors, 1, number, False, out, count)
        with pytest.raises(TypeError, match="scale: expected 6 arguments, got 5"):
            launcher(vectors, 1, 0, False, out)
        run(launcher, vectors, 1, 0, False)


def test_a_number_of_a_kind_that_is_not_known_is_refused() -> None:
    @ti.kernel
    def small(x: ti.u8, out: Numbers):
        out[0] = x

    with pytest.raises(TypeError, match="x: expected an array, a 32 or 64 bit number, a struct or a template"):
        Launcher(small)


class Line(NamedTuple):
    slope: float
    shift: int
    negate: bool


@ti.kernel
def along(line: struct_of(Line), x: Numbers, factor: ti.f32, out: Numbers):
    for i in x:
        y = x[i] * line.slope + line.shift
        out[i] = factor * (-y if line.negate else y)


def test_a_struct_takes_a_tuple_of_numbers() -> None:
    x, out = torch.randn(7), torch.empty(7)
    for shift in (3, -2, 3):
        for negate in (False, True):
            runtime.launch(along, Line(slope=0.5, shift=shift, negate=negate), x, 2.0, out)
            torch.testing.assert_close(out, (-1 if negate else 1) * (x + 2 * shift))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ((0.5, 3), "line: expected a tuple of 3 numbers"),
        ([0.5, 3, True], "line: expected a tuple of 3 numbers"),
        (Line("1", 3, True), r"line\.slope: expected a number, got str"),
        (Line(1.0, 2.5, True), r"line\.shift: expected a number, got float"),  # type: ignore[arg-type]
    ],
)
def test_a_struct_of_other_values_is_refused(line: object, message: str) -> None:
    x = torch.randn(7)
    with pytest.raises(TypeError, match=message):
        runtime.launch(along, line, x, 2.0, x.clone())


def test_a_restart_of_taichi_is_noticed() -> None:
    code = """
from tirender.engine.device_copies import DeviceCopies
from tirender.engine.kernels.rasterize_points import point_boxes
from tirender.engine.launcher import Launcher
import taichi as ti, torch
copies, points = DeviceCopies(), torch.tensor([[0.0, 0.0, 1.0]])
copies.keep(points)
launch = Launcher(point_boxes, copies)
for _ in range(3):
    ti.init(arch=ti.cpu, log_level=ti.ERROR)
    others = [ti.Vector.ndarray(3, ti.f32, 1) for _ in range(20)]  # some where a copy was before
    for other in others:
        other.fill(7.0)
    for _ in range(2):
        boxes = torch.full((1, 4), -1, dtype=torch.int32)
        launch(points, torch.tensor([0.2]), 8, 8, boxes)
        assert boxes.tolist() == [[3, 4, 3, 4]]
    for other in others:
        assert (other.to_numpy() == 7.0).all()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shape", [(3, 2), (0, 2)])
def test_scratch_memory_stays_where_kernels_run(shape) -> None:
    """From a launch that writes it to one that reads it."""
    memory = runtime.scratch(shape, torch.float32, torch.device("cpu"))
    assert isinstance(memory, DeviceArray) == (runtime.arch() == "vulkan" and 0 not in shape)
    assert (memory.shape, memory.dtype, memory.dim()) == (shape, torch.float32, 2)
    source, result = torch.rand(shape), torch.zeros(shape)
    if len(source):
        runtime.launch(move, source, memory)
        runtime.launch(move, memory, result)
    assert torch.equal(result, source)


def test_sources_are_quoted_as_taichi_quotes_them():
    lines = ["", "  x = 1  # §", "    " + "a + " * 30, "\tx", "      ^^^^", " " * 90, "a" * 200, "é" * 79 + " b"]
    for width in (20, 80):
        wrapper, expected = compiler._LineWrapper(width), textwrap.TextWrapper(width=width)
        for line in lines:
            assert wrapper.wrap(line) == expected.wrap(line), (width, line)
