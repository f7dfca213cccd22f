"""Programs as people write them for PyTorch3D, each run on tirender in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_pytorch3d import run

PROGRAMS = sorted((Path(__file__).parent / "pytorch3d_programs").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_program(program, tmp_path):
    arguments = [str(tmp_path)] if "sys.argv" in program.read_text("utf-8") else []
    printed = run("-m", "tirender.pytorch3d", str(program), *arguments)
    assert printed.splitlines()[-1] == f"{program.stem.replace('_', ' ')}: done"
