"""Launches by the short way do what Taichi's own do."""

import gc
import subprocess
import sys
from typing import Any

import pytest
import taichi as ti
import torch

from tirender import runtime
from tirender.device_copies import DeviceCopies, Lasting, _to_device, is_optimized
from tirender.launcher import Launcher

Vectors = ti.types.ndarray(dtype=ti.math.vec3, ndim=1)
Numbers = ti.types.ndarray(ndim=1)


@ti.kernel
def scale(vectors: Vectors, factor: ti.f32, shift: ti.i32, negate: ti.template(), out: Vectors, count: Numbers):
    for i in vectors:
        out[i] = vectors[i] * factor + shift
        if ti.static(negate):
            out[i] = -out[i]
    count[0] = vectors.shape[0]


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


def test_what_lasts_is_sent_once_until_it_is_written_to(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def send(*args: Any) -> Any:
        sent.append(args[1])
        return _to_device(*args)

    monkeypatch.setattr("tirender.device_copies._to_device", send)
    copies = launcher._copies = DeviceCopies()
    vectors, out, count, sent = torch.randn(5, 3), torch.empty(5, 3), torch.zeros(1), []

    def scaled() -> torch.Tensor:
        launcher(vectors, 2, 0, False, out, count, lasting=[0])
        return out / 2

    for n in range(4):
        assert torch.equal(scaled(), vectors)
        assert len(sent) == min(n, 1)  # what is read once alone is not kept
    vectors += 1
    for n in range(3):
        assert torch.equal(scaled(), vectors)
        assert len(sent) == 1 + min(n, 1)
    assert len(copies._copies) == 1
    vectors = torch.randn(5, 3)  # of other storage
    gc.collect()  # Taichi refers to what it was sent in a circle
    assert torch.equal(scaled(), vectors)
    assert len(copies._copies) == 1


def test_only_vulkan_keeps_copies() -> None:
    kept, out, count = torch.randn(3, 3), torch.empty(3, 3), torch.zeros(1)
    for _ in range(3):
        runtime.launch(scale, Lasting(kept), 1, 0, False, out, count)
        assert torch.equal(out, kept)
    found = [copy.array is not None for key, copy in runtime._copies._copies.items() if key[1] == kept.data_ptr()]
    assert found == [True] * (runtime.arch() == "vulkan")


def test_what_an_optimizer_may_change_is_told() -> None:
    x, y = torch.rand(4, requires_grad=True), torch.rand(4)
    with torch.no_grad():
        assert is_optimized(x.view(2, 2))
    assert is_optimized(x)
    assert not is_optimized(y)
    assert not is_optimized(y.view(2, 2))


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

    with pytest.raises(TypeError, match="x: expected an array, a 32 or 64 bit number or a template"):
        Launcher(small)


def test_a_restart_of_taichi_is_noticed() -> None:
    code = """
import taichi as ti, torch
from tirender.kernels.bvh import hilbert_codes
from tirender.launcher import Launcher
launch = Launcher(hilbert_codes)
for _ in range(2):
    ti.init(arch=ti.cpu, log_level=ti.ERROR)
    for _ in range(2):
        codes = torch.full((1,), -1)
        launch(torch.zeros(3, 1), 4, codes)
        assert codes == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
