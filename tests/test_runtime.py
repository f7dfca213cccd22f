"""The Taichi runtime: lazy, started once, adopted where there is one; each case in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pytest
import torch

import tirender
from tirender.engine import compiler, runtime

DRAW = """
import torch
from tirender.renderer import rasterize_meshes
from tirender.structures import Meshes
def draw():
    verts = torch.tensor([[-0.5, -0.5, 2.0], [0.5, -0.5, 2.0], [0.0, 0.5, 2.0]])
    return int((rasterize_meshes(Meshes([verts], [torch.tensor([[0, 1, 2]])]), 8, 0.0, 1)[0] >= 0).sum())
"""


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    code = "import tirender\n" + DRAW + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | env, capture_output=True, text=True, timeout=120
    )


def test_importing_starts_nothing():
    code = "import sys, tirender; assert 'taichi' not in sys.modules; print(tirender.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == tirender.__version__
    assert done.stderr == ""


def test_starts_by_itself_and_quietly():
    done = run("print(draw())", TIRENDER_ARCH="cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "8"


def test_the_environment_chooses_the_arch_and_a_refused_one_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("this machine has cuda")
    done = run("draw()", TIRENDER_ARCH="cuda")
    assert done.returncode != 0
    assert "arch: expected 'cuda', got none: Taichi found no usable cuda driver" in done.stderr


def test_unknown_arch():
    done = run("tirender.init('metal')")
    assert "ValueError: arch: expected 'cpu', 'cuda' or 'vulkan', got 'metal'" in done.stderr


def test_a_second_start_is_refused_but_asking_again_is_not():
    done = run(
        """
        assert tirender.init("cpu") == tirender.init() == tirender.init("cpu") == "cpu"
        tirender.init("vulkan")
        """
    )
    assert "RuntimeError: arch: expected 'cpu', which runs already (Taichi starts once), got 'vulkan'" in done.stderr


def test_a_running_runtime_is_adopted():
    done = run(
        """
        import taichi as ti
        ti.init(arch=ti.cpu)
        field = ti.field(float, 3)
        field.fill(2.0)
        print(draw(), tirender.init(), field.to_numpy().sum())
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-3:] == ["8", "cpu", "6.0"]


STARTS = {
    "ours": "draw()",
    "the program's": "import taichi as ti\nti.init(arch=ti.cpu)",
    "the program's, adopted": "import taichi as ti\nti.init(arch=ti.cpu)\ndraw()",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS.keys())
def test_an_operation_in_a_forked_child_is_an_error_and_no_hang(start):
    done = run(
        start
        + """
import os
pid = os.fork()
if pid == 0:
    try:
        draw()
    except RuntimeError as error:
        print("child:", error, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("parent:", draw())
"""
    )
    assert "child: fork: expected the process that started Taichi, got a forked child" in done.stdout
    assert "parent: 8" in done.stdout


COMPILE = """
import sys
from tirender.loss import chamfer_distance
assert "torch._dynamo" not in sys.modules  # as long to import as all else, and not needed yet
y = torch.rand(1, 20, 3)
def loss(x):
    return chamfer_distance(x * 2, y)[0] + x.square().sum()
def evaluate(function):
    x = torch.linspace(0, 1, 30).reshape(1, 10, 3).requires_grad_()
    value = function(x)
    return value.detach(), *torch.autograd.grad(value, x)
expected = evaluate(loss)
assert "torch._dynamo" not in sys.modules
compiled = torch.compile(loss, backend="eager")
for _ in range(3):
    for a, b in zip(expected, evaluate(compiled)):
        torch.testing.assert_close(a, b)
import torch._dynamo.utils
print(torch._dynamo.utils.counters["stats"]["unique_graphs"], "graphs")
"""


def test_what_torch_compiles_leaves_operations_as_they_are():
    done = run(COMPILE)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-2]) >= 2  # before and after the operation


def test_a_tensor_that_the_arch_cannot_reach():
    with pytest.raises(ValueError, match="device: expected CPU tensors on the 'cpu' arch, got meta"):
        runtime._reachable(torch.empty(3, device="meta"), "cpu")


def test_a_tensor_on_another_gpu_than_that_of_the_kernels():
    tensor = SimpleNamespace(device=torch.device("cuda", 1), is_cuda=True)
    with pytest.raises(ValueError, match="device: expected cuda:0, where kernels run, got cuda:1; .*CUDA_VISIBLE_DEV"):
        runtime._reachable(tensor, "cuda")  # type: ignore[arg-type]


class Stream:
    """Takes down what waits for what."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")


@pytest.mark.parametrize("is_side", [False, True], ids=["default", "side"])
def test_kernels_and_torch_wait_for_each_other_on_cuda(monkeypatch, is_side):
    log: list[str] = []
    default, side = Stream("default", log), Stream("side", log)
    monkeypatch.setattr(runtime, "_arch", "cuda")
    monkeypatch.setattr(runtime, "_launch_first", lambda *_: log.append("launch"))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda _: default)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: side if is_side else default)
    runtime.launch(object())
    order = ["default waits for side", "launch", "side waits for default"]
    assert log == (order if is_side else ["launch"])


def test_a_tensor_of_more_numbers_than_taichi_can_count():
    with pytest.raises(ValueError, match=r"size: expected tensors of fewer than 2\^31 numbers, got shape \(2, 1"):
        runtime._reachable(torch.empty(1).expand(2, 2**30), "cpu")
    runtime._reachable(torch.empty(1).expand(2**31 - 1), "cpu")


def test_float64_where_vulkan_lacks_a_function_is_an_error():
    done = run("""
    from tirender.renderer import (
        FoVPerspectiveCameras, MeshRasterizer, MeshRenderer, RasterizationSettings, SoftSilhouetteShader
    )
    tirender.init("vulkan")
    rasterizer = MeshRasterizer(FoVPerspectiveCameras(), RasterizationSettings(8, 1e-3, 4))
    verts = torch.tensor([[-0.5, -0.5, 2.0], [0.5, -0.5, 2.0], [0.0, 0.5, 2.0]])
    for dtype in (torch.float64, torch.float32, torch.float64):
        verts = verts.to(dtype)
        rasterizer.cameras = FoVPerspectiveCameras(R=torch.eye(3, dtype=dtype)[None], T=torch.zeros(1, 3, dtype=dtype))
        try:
            MeshRenderer(rasterizer, SoftSilhouetteShader())(Meshes([verts], [torch.tensor([[0, 1, 2]])]))
        except ValueError as error:
            print(error)
    """)
    if "found no usable vulkan driver" in done.stderr:
        pytest.skip("no Vulkan driver on this machine (Debian: libvulkan1 mesa-vulkan-drivers)")
    assert done.stdout.count("dtype: expected float32 on the 'vulkan' arch, got float64") == 2, done.stderr


def test_describe_names_versions_and_device():
    facts = runtime.describe()
    assert facts["arch"] == runtime.arch()
    assert facts["torch"] == torch.__version__
    assert set(facts) >= {"tirender", "taichi", "python", "device", "kernel cache"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_may_start_taichi_where_its_parent_has_not():
    """By the program itself or by an operation; a child of that child is refused."""
    for start in ("import taichi as ti\n    ti.init(arch=ti.cpu)", "pass"):
        done = run(f"""
import os, sys
if os.fork() == 0:
    {start}
    print("child:", draw(), flush=True)
    if os.fork() == 0:
        try:
            draw()
        except RuntimeError as error:
            print("grandchild:", error, flush=True)
    else:
        os.wait()
    os._exit(0)
os.wait()
print("parent:", draw())
""")
        assert "child: 8" in done.stdout, done.stderr
        assert "grandchild: fork: expected the process that started Taichi" in done.stdout
        assert "parent: 8" in done.stdout


@pytest.mark.parametrize("start", ["tirender.init('cpu')", "import taichi as ti; ti.init(arch=ti.cpu)"])
def test_options_after_the_start_are_refused_by_name(start):
    done = run(f"{start}\ntirender.init(cpu_max_num_threads=2, debug=True)")
    assert (
        "RuntimeError: options: expected none, as Taichi runs already on 'cpu', got cpu_max_num_threads, debug"
        in done.stderr
    )


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_errors_of_arguments_are_no_matter_of_float64(error, monkeypatch):
    def launcher(*args):
        raise error("n: expected a number, got str")

    monkeypatch.setattr(runtime, "arch", lambda: "vulkan")
    monkeypatch.setitem(runtime._launchers, "kernel", launcher)
    with pytest.raises(error, match="n: expected a number"):
        runtime.launch("kernel", torch.zeros(3, dtype=torch.float64), "x")


def test_an_unknown_taichi_is_refused():
    done = run("draw()", TIRENDER_TAICHI="tai")
    assert "ValueError: TIRENDER_TAICHI: expected 'taichi' or 'taichi_forge', got 'tai'" in done.stderr


def test_the_fork_must_come_first():
    code, env = "import taichi\nimport tirender.engine.kernels", os.environ | {"TIRENDER_TAICHI": "taichi_forge"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert "RuntimeError: TIRENDER_TAICHI: expected taichi_forge before any import of taichi" in done.stderr


def test_a_lock_that_a_killed_process_left_does_not_end_the_cache(tmp_path):
    lock = tmp_path / "ticache.lock"
    lock.touch()
    os.utime(lock, (time.time() - 3600,) * 2)
    done = run("print(draw())", TIRENDER_ARCH="cpu", TI_OFFLINE_CACHE_FILE_PATH=str(tmp_path))
    assert done.stdout.strip() == "8"
    assert list(tmp_path.glob("*.tic"))
    assert not lock.exists()


def test_a_lock_that_may_be_held_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(compiler, "PATIENCE", 0.2)
    lock = tmp_path / "ticache.lock"
    lock.touch()
    begin = time.monotonic()
    compiler.free_cache(tmp_path)
    assert lock.exists()
    assert time.monotonic() - begin >= 0.2
    compiler.free_cache(tmp_path / "none")


@pytest.mark.skipif(os.name != "posix", reason="HOME is of POSIX")
def test_it_starts_without_a_home():
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    code = "import tirender; print(tirender.init('cpu'))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "cpu\n", done.stderr
