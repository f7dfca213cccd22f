"""Damaged files of every kind that can be read: a result or a clear error; no crash, hang, greed or trespass."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("fuzz_worker.py")
N_KINDS = 27 if all(find_spec(name) for name in ("collada", "DracoPy", "trimesh")) else 24

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds on a process's time and memory are Linux's")


def check(folder: Path, n: int, first: int, *mode: str) -> None:
    command = [sys.executable, str(WORKER), str(folder), str(n), str(first), *mode]
    done = subprocess.run(command, capture_output=True, text=True)
    last = folder / "last.txt"
    assert done.returncode == 0, f"{last.read_text() if last.exists() else 'before the first'}: {done.stderr[-2000:]}"
    *problems, counts = done.stdout.splitlines()
    assert not problems
    loaded, refused, total = map(int, counts.split())
    assert min(loaded, refused) > total / 10
    assert total == (N_KINDS - 5 * len(mode)) * n  # no volumes and views among the scenes


def test_five_hundred_damaged_files(tmp_path: Path) -> None:
    check(tmp_path, 50, 0)


def test_a_hundred_damaged_files_in_pictures(tmp_path: Path) -> None:
    check(tmp_path, 5, 0, "scenes")


@pytest.mark.long
@pytest.mark.parametrize("block", range(4))
def test_twenty_thousand_damaged_files(tmp_path: Path, block: int) -> None:
    check(tmp_path, 500, 1000 + 500 * block)


@pytest.mark.long
@pytest.mark.parametrize("block", range(4))
def test_twenty_thousand_damaged_files_in_pictures(tmp_path: Path, block: int) -> None:
    check(tmp_path, 250, 5000 + 250 * block, "scenes")
