"""What importing costs, counted in modules: tirender starts no Taichi, and brings little beyond torch."""

from __future__ import annotations

import subprocess
import sys

import pytest


def imported_by(statement: str) -> set[str]:
    """The modules that a statement imports in a fresh interpreter which has torch already."""
    code = f"import sys, torch; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_tirender_brings_nothing_but_its_runtime():
    assert imported_by("import tirender") - sys.stdlib_module_names == {
        "tirender",
        "tirender.engine",
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
    assert roots - sys.stdlib_module_names <= {"tirender", "torch"}


def test_nothing_is_compiled_at_import():
    assert "torch._dynamo" not in imported_by("import tirender.renderer, tirender.loss, tirender.ops, tirender.io")


def test_the_command_line_reads_its_arguments_first():
    assert not {"taichi", "matplotlib", "PIL"} & imported_by("import tirender.cli")


def test_records_of_fits_are_light():
    found = imported_by("import tirender.fit_kinds") - imported_by("import tirender") - sys.stdlib_module_names
    assert found
    assert all(name.startswith("tirender.fit_kinds") for name in found)
