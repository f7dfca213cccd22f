"""Kernels compile for CUDA, fit into a GPU, and are launched on what they should be; on a machine without a GPU.

Taichi runs on a stand-in for NVIDIA's driver, ``cuda_standin/driver.c``, which sees its launches and the PTX that it
makes. NVIDIA's assembler, ``ptxas`` of the package nvidia-cuda-nvcc-cu12, says what a GPU makes of the PTX.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cuda_standin import cases

FOLDER = Path(cases.__file__).parent
REPRESENTATIVE = (
    "antialias.antialias_adjoint",
    "compositing.composite_adjoint",
    "hash_grid.hash_grid_adjoint_table",
    "knn.nearest_points",
    "mesh_fragments.mesh_fragments_adjoint",
    "mesh_shading.mesh_shading_forward",
    "rasterize_meshes.list_triangles",
    "silhouette.silhouette_adjoint",
    "tiles.count_bins",
    "volume_march.volume_march_adjoint",
)
CARDS = {"sm_75": 75, "sm_86": 86, "sm_90": 86, "sm_120": 86}  # what Taichi compiles for, where these are found
MOST_REGISTERS = 168  # of a thread, in float32: three blocks of 128 threads share a multiprocessor's 65536
SUMS_OF_16_CHANNELS = "n_vec4=4"  # may have all 255
MOST_SPILLED = {"float32": 0, "float64": 16}  # bytes of a thread: a float64 takes two registers, and there are 255
ENTRY = re.compile(
    r"Compiling entry function '(?P<entry>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?:[^\n]* (?P<shared>\d+) bytes smem)?",
    re.DOTALL,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in for the CUDA driver is for Linux")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Any:
    """What ``cuda_standin/worker.py`` reports of all kernels, or of some, on a card; run once for each."""
    if pytestconfig.getoption("--arch") != "cpu":
        pytest.skip("runs once, with the tests on the cpu")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: the stand-in for the CUDA driver cannot be built")
    library = tmp_path_factory.mktemp("driver")
    options = ["-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-shared", "-fPIC", "-pthread"]
    subprocess.run([compiler, *options, "-o", library / "libcuda.so", FOLDER / "driver.c"], check=True, timeout=60)
    # a cache of its own: what is kept for a real card is not for this one
    env = {"LD_LIBRARY_PATH": str(library), "TI_OFFLINE_CACHE_FILE_PATH": str(pytestconfig.cache.mkdir("cuda"))}

    @functools.cache
    def report(capability: int, names: tuple[str, ...] = ()) -> dict[str, Any]:
        output = tmp_path_factory.mktemp("ptx")
        command = [sys.executable, FOLDER / "worker.py", output, str(capability), *names]
        done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=7200)
        assert done.returncode == 0, done.stderr
        found = json.loads((output / "report.json").read_text())
        for case in found["cases"]:
            case["ptx"] = output / case["ptx"]
        return found

    return report


@pytest.fixture(scope="module", params=["ten kernels", pytest.param("every kernel", marks=pytest.mark.long)])
def report(request: pytest.FixtureRequest, run: Any) -> dict[str, Any]:
    return run(86, REPRESENTATIVE if request.param == "ten kernels" else ())


@pytest.fixture(scope="module")
def ptxas() -> Path:
    try:
        package = importlib.metadata.distribution("nvidia-cuda-nvcc-cu12")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("no ptxas: pip install nvidia-cuda-nvcc-cu12")
    return Path(package.locate_file("nvidia/cuda_nvcc/bin/ptxas"))


def test_every_kernel_has_a_case() -> None:
    names = {case.name for case in cases.cases()}
    assert len(names) > 40
    assert set(REPRESENTATIVE) <= names


def test_a_new_template_is_named() -> None:
    with pytest.raises(KeyError, match="some_file.some_kernel: the template parameter 'unheard_of' is new: add its"):
        cases.template_values("some_file.some_kernel", "unheard_of")


def test_kernels_find_what_they_are_launched_on(report: dict[str, Any]) -> None:
    for case in report["cases"]:
        assert case["launches"], case["title"]
        for launch in case["launches"]:
            assert launch["arguments"] == case["expected"], (case["title"], launch["name"])


def test_tensors_on_the_device_are_not_copied(report: dict[str, Any]) -> None:
    for case in report["cases"]:
        assert case["bytes_to_host"] == 0, case["title"]
        assert case["bytes_to_device"] == len(case["expected"]) // 2, case["title"]  # hexadecimal digits


def test_tensors_of_the_host_are_copied(report: dict[str, Any]) -> None:
    assert report["faults"]["bytes_to_host"] == report["faults"]["bytes"] > 0


def test_launches_go_to_the_stream_that_orders_them(report: dict[str, Any]) -> None:
    """The default one, on which torch works too, or which torch waits for."""
    assert {launch["stream"] for case in report["cases"] for launch in case["launches"]} == {None}


def test_another_thread_has_the_context(report: dict[str, Any]) -> None:
    """Autograd runs adjoints in a thread of its own."""
    assert report["faults"]["context before"] is None
    assert report["faults"]["launches from a thread"] > 0


def test_a_launch_that_fails_names_the_kernel(report: dict[str, Any]) -> None:
    kernel = report["cases"][-1]["kernel"].split(".")[1]
    assert report["faults"]["error"].startswith(f"{kernel}: ")
    assert "CUDA_ERROR_OF_THE_STAND_IN" in report["faults"]["error"]


def test_kernels_fit_a_gpu(report: dict[str, Any], ptxas: Path) -> None:
    check_uses(assemble(report, ptxas, "sm_86"))


@pytest.mark.long
@pytest.mark.parametrize("card", CARDS)
def test_every_kernel_fits_every_card(run: Any, ptxas: Path, card: str) -> None:
    uses = sorted(assemble(run(CARDS[card]), ptxas, card), key=lambda use: -use["registers"])
    for use in uses:
        print(card, *(f"{use[k]:6}" for k in ("registers", "stores", "loads", "stack", "shared")), use["title"])
    check_uses(uses)


def check_uses(uses: list[dict[str, Any]]) -> None:
    for use in uses:
        floats = use["title"].split()[1]
        assert max(use["stores"], use["loads"]) <= MOST_SPILLED[floats], use
        assert use["shared"] == 0, use
        if floats == "float32":
            assert use["stack"] == 0, use
            assert use["registers"] <= MOST_REGISTERS or SUMS_OF_16_CHANNELS in use["title"], use


def assemble(report: dict[str, Any], ptxas: Path, card: str) -> list[dict[str, Any]]:
    """What each entry of the PTX uses of a GPU: registers; bytes of stack, spills and shared memory."""

    def entries(case: dict[str, Any]) -> list[dict[str, Any]]:
        command = [ptxas, "-v", f"-arch={card}", "-o", os.devnull, case["ptx"]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (case["title"], done.stderr)
        found = [
            {"title": case["title"], "entry": match["entry"]}
            | {k: int(match[k] or 0) for k in ("stack", "stores", "loads", "registers", "shared")}
            for match in ENTRY.finditer(done.stderr)
        ]
        assert len(found) == case["ptx"].read_text().count(".entry "), case["title"]
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [use for found in pool.map(entries, report["cases"]) for use in found]
