"""Valid containers with hostile contents, of every kind of file, checkpoint and web message: none does any harm.

Counts by kind are printed (``pytest -s``). What counts as a fault, see ``hostile_worker.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from hostile_files import VARIANTS
from small_fits import FITS

WORKER = Path(__file__).with_name("hostile_worker.py")
OPTIONAL = {"3mf": "trimesh", "dae": "collada", "glb draco": "DracoPy"}
FILES = [kind for kind in VARIANTS if kind not in OPTIONAL or find_spec(OPTIONAL[kind])]
CHECKPOINTS = [f"fit {name}" for name in FITS]
WEB = ["web events", "web frames", "web requests"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds on a process's time and memory are Linux's")


def check(folder: Path, kinds: list[str], n: int, first: int) -> None:
    command = [sys.executable, str(WORKER), str(folder), str(n), str(first), *kinds]
    done = subprocess.run(command, capture_output=True, text=True)
    last = folder / "last.txt"
    assert done.returncode == 0, f"{last.read_text() if last.exists() else 'before the first'}: {done.stderr[-2000:]}"
    *faults, counts = done.stdout.splitlines()
    assert not faults, "\n".join(faults)
    assert "Traceback" not in done.stderr
    assert "tirender: page: " not in done.stderr
    found = json.loads(counts)
    print(counts)
    assert [sum(found[kind].values()) for kind in kinds] == [n] * len(kinds)
    total = Counter({how: sum(outcomes.get(how, 0) for outcomes in found.values()) for how in ("loaded", "refused")})
    assert total.total() == n * len(kinds)
    assert total["loaded"] > total.total() / 10


def test_three_hundred_cases(tmp_path: Path) -> None:
    check(tmp_path, [*FILES, "fit mesh", *WEB], 10, 0)


@pytest.mark.long
@pytest.mark.parametrize("block", range(5))
def test_thirteen_thousand_files(tmp_path: Path, block: int) -> None:
    check(tmp_path, FILES, 100, 1000 + 100 * block)


@pytest.mark.long
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_four_thousand_checkpoints(tmp_path: Path, kind: str) -> None:
    check(tmp_path, [kind], 450, 1000)


@pytest.mark.long
@pytest.mark.parametrize("kind", WEB)
def test_three_thousand_messages(tmp_path: Path, kind: str) -> None:
    check(tmp_path, [kind], 900, 1000)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this platform")
@pytest.mark.parametrize("name", FITS)
def test_twenty_kills_of_each_kind_of_fit(tmp_path: Path, name: str) -> None:
    worker = Path(__file__).with_name("kill_worker.py")
    done = subprocess.run([sys.executable, str(worker), name, str(tmp_path), "20"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    print(done.stdout)
    assert "20 kills" in done.stdout
    assert done.stdout.rstrip().endswith("the same bits")
