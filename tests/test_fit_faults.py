"""What befalls a fit: full and read-only disks, Ctrl-C, losses that are not finite. What was saved stays whole."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fit_worker import run_fit

from tirender.cli import main
from tirender.fit import Callback, Every, FitRun, NonFiniteLoss, Preview, load_checkpoint, save_checkpoint
from tirender.fit.interrupts import Interrupted
from tirender.io import IO
from tirender.utils import torus


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    path = tmp_path / "ring.obj"
    IO().save_mesh(torus(0.3, 1.0, 8, 12), path)
    return path


# --- disks ---


@pytest.mark.parametrize("space", [0, 500, 5000])
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: int) -> None:
    class Full(io.FileIO):
        def write(self, data: object) -> int:
            if self.tell() + memoryview(data).nbytes > space:  # type: ignore[arg-type]
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)  # type: ignore[arg-type]

    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"value": 1})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode: Full(self, mode))
        with pytest.raises(OSError, match=rf"No space left on device: .*{re.escape(str(path))}"):
            save_checkpoint(path, {"value": 2, "data": torch.rand(2000)})
    assert load_checkpoint(path) == {"value": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
    save_checkpoint(path, {"value": 3})
    assert load_checkpoint(path) == {"value": 3}


def mount(folder: Path, *options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, "size=200k"):
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_and_one_that_is_read_only(
    disk: Path, ring: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--steps", "20", "--level", "0", "--every", "1", "--checkpoint", "1", "-o", str(disk), "--resume"]
    command = ["fit", "mesh", str(ring), *options]
    assert main(command) == 2
    assert re.search(rf"^tirender fit: {disk}/\S+: No space left on device$", capsys.readouterr().err, re.MULTILINE)
    assert 1 <= load_checkpoint(disk / "checkpoint.pt")["step"] < 20
    assert not list(disk.glob("*.partial"))
    assert mount(disk, "remount", "ro")
    assert main(command) == 2
    assert re.search(rf"^tirender fit: {disk}/\S+: Read-only file system$", capsys.readouterr().err, re.MULTILINE)
    assert mount(disk, "remount", "rw", "size=9m")
    assert main(command) == 0
    assert load_checkpoint(disk / "checkpoint.pt")["step"] == 20


# --- interruptions ---


class Signal(Callback):
    """Ctrl-C, once or more often, in the midst of a step."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.step, self.times = step, times

    def on_losses(self, run: FitRun) -> None:
        if run.step == self.step:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


class Log(Callback):
    def __init__(self) -> None:
        self.ends: list[tuple[int, bool, BaseException | None]] = []

    def on_end(self, run: FitRun) -> None:
        self.ends.append((run.step, run.stopped, run.error))


def test_ctrl_c_finishes_the_step_and_saves_it(tmp_path: Path) -> None:
    whole, log = run_fit(tmp_path / "whole", 12, 100), Log()
    with pytest.raises(Interrupted, match="interrupted after step 6") as caught:
        run_fit(tmp_path / "parts", 12, 100, [Signal(5), log])
    assert log.ends == [(6, True, None)]
    assert caught.value.run.step == 6
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt")["step"] == 6
    assert torch.equal(run_fit(tmp_path / "parts", 12, 100), whole)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    whole, log = run_fit(tmp_path / "whole", 12, 2), Log()
    with pytest.raises(KeyboardInterrupt) as caught:
        run_fit(tmp_path / "parts", 12, 2, [log, Signal(5, times=2)])
    assert log.ends == [(5, True, caught.value)]
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt")["step"] == 4
    assert torch.equal(run_fit(tmp_path / "parts", 12, 2), whole)


def test_handlers_of_the_program_are_left_alone(tmp_path: Path) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        run_fit(tmp_path, 3, 100, [Signal(1)])
    finally:
        signal.signal(signal.SIGINT, before)
    assert came == [signal.SIGINT]


@pytest.mark.skipif(sys.platform == "win32", reason="signals to other processes are POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_is_interrupted_and_goes_on(tmp_path: Path, ring: Path, number: signal.Signals) -> None:
    folder = tmp_path / "out"
    options = ["--level", "0", "--every", "1000000", "--checkpoint", "1000000", "--resume", "-o", str(folder)]
    command = ["fit", "mesh", str(ring), *options, "--steps"]
    process = subprocess.Popen([sys.executable, "-m", "tirender", *command, "1000000"], stderr=-1, text=True)
    try:
        while not (folder / "iter_00000.png").exists():  # drawn in the first step
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, said
    found = re.search(r"tirender fit: interrupted after step (\d+); the same command with --resume continues", said)
    assert found, said
    step = int(found[1])
    assert load_checkpoint(folder / "checkpoint.pt")["step"] == step
    assert main([*command, str(step + 2)]) == 0
    assert load_checkpoint(folder / "checkpoint.pt")["step"] == step + 2


# --- losses that are not finite ---


class Poison(Callback):
    """Spoils the parameters after a step, so that the next losses are NaN."""

    def on_step(self, run: FitRun) -> None:
        if run.step == 5:
            with torch.no_grad():
                next(run.module.parameters()).fill_(float("nan"))


def test_what_is_open_is_closed_and_nothing_bad_is_saved(tmp_path: Path) -> None:
    log, video = Log(), tmp_path / "video.gif"
    with pytest.raises(NonFiniteLoss) as caught:
        run_fit(tmp_path, 12, 2, [Poison(), Preview("video", path=video, size=(240, 320)), log])
    assert log.ends == [(5, False, caught.value)]
    assert video.stat().st_size > 0
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state["step"] == 4
    assert all(value.isfinite().all() for value in state["module"].values())


def test_all_are_closed_also_where_one_fails(tmp_path: Path) -> None:
    class Failing(Callback):
        def on_end(self, run: FitRun) -> None:
            raise OSError("full")

    log = Log()
    with pytest.raises(OSError, match="full"):
        run_fit(tmp_path, 3, 100, [Failing(), log])
    with pytest.raises(ZeroDivisionError):
        run_fit(tmp_path, 6, 100, [log, Every(1, lambda run: 1 // (4 - run.step))])
    assert [(step, type(error)) for step, _, error in log.ends] == [(3, type(None)), (4, ZeroDivisionError)]
