"""What importing costs, counted in modules: tirender starts no Taichi, and its help waits for nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from tirender.__main__ import ask_for_large_pages, let_idle_threads_sleep


def imported_by(statement: str, before: str = "torch") -> set[str]:
    """The modules outside the standard library that a statement imports in an interpreter which has some before."""
    code = f"import sys, {before}; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {name for name in done.stdout.split() if name.split(".")[0] not in sys.stdlib_module_names}


def test_tirender_brings_nothing_but_itself():
    assert imported_by("import tirender", "os") == {"tirender"}


def test_its_runtime_starts_when_it_is_asked_for():
    assert imported_by("import tirender; tirender.init") == {
        "tirender",
        "tirender.engine",
        "tirender.engine.archs",
        "tirender.engine.compiler",
        "tirender.engine.device_arrays",
        "tirender.engine.device_copies",
        "tirender.engine.first_order",
        "tirender.engine.launcher",
        "tirender.engine.runtime",
    }


@pytest.mark.parametrize("package", ["structures", "transforms"])
def test_structures_need_no_taichi(package):
    roots = {name.split(".")[0] for name in imported_by(f"import tirender.{package}")}
    assert roots <= {"tirender", "torch"}


def test_nothing_is_compiled_at_import():
    assert "torch._dynamo" not in imported_by("import tirender.renderer, tirender.loss, tirender.ops, tirender.io")


def test_the_command_line_reads_its_arguments_first():
    roots = {name.split(".")[0] for name in imported_by("import tirender.cli; tirender.cli.make_parser()", "os")}
    assert roots == {"tirender"}


@pytest.mark.parametrize(("given", "policy"), [(None, "passive"), ("active", "active")])
def test_the_command_line_lets_torch_s_idle_threads_sleep(monkeypatch, given, policy):
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": given} if given else {})
    let_idle_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == policy
    assert ("GOMP_SPINCOUNT" in os.environ) == (given is None)


@pytest.mark.parametrize(("given", "asked"), [(None, "1"), ("0", "0")])
def test_the_command_line_asks_for_large_pages(monkeypatch, given, asked):
    monkeypatch.setattr(os, "environ", {"THP_MEM_ALLOC_ENABLE": given} if given else {})
    ask_for_large_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == asked


FAULTS = """
import resource, numpy
from tirender.__main__ import keep_freed_memory
keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(2 << 20)  # 16 MB, freed again
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the memory of glibc alone is kept")
@pytest.mark.parametrize(("given", "is_kept"), [({}, True), ({"MALLOC_MMAP_THRESHOLD_": "100000"}, False)])
def test_the_command_line_keeps_the_memory_that_a_step_frees(given, is_kept):
    env = {**os.environ, **given}
    done = subprocess.run([sys.executable, "-c", FAULTS], env=env, capture_output=True, text=True)
    assert (int(done.stdout) < 8) == is_kept


def test_a_scene_and_an_animation_need_no_figures_and_no_fits():
    found = imported_by("import tirender.scenes, tirender.vis, tirender.vis.animation")
    assert not {name for name in found if name.startswith(("matplotlib.pyplot", "tirender.fit."))}


def test_taichi_s_decorators_do_not_search_all_modules():
    """They ask for the source of the import machinery, for each kernel; a search that fails is long."""
    code = "import inspect, tirender.engine; f = '<frozen importlib._bootstrap>'; print(f in inspect.modulesbyfile)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


def test_records_of_fits_are_light():
    found = imported_by("import tirender.fit_kinds") - imported_by("import tirender")
    assert found
    assert all(name.startswith("tirender.fit_kinds") for name in found)
