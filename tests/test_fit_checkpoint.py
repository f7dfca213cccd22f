"""Checkpoints: whole or absent, checked, data only; a fit killed anywhere ends as if it had not been."""

from __future__ import annotations

import os
import pickle
import platform
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from dying import die_at
from fit_worker import STEPS, run_fit

from tirender.fit import Checkpoint, load_checkpoint, save_checkpoint
from tirender.fit.checkpoint import previous
from tirender.io import IO
from tirender.utils import torus

WRITES_A_STEP = 80  # and a little more, and syncs and renamings


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state = {"a": torch.arange(3), "b": [1, 2.5, "x", None, (True,)], "c": {"d": torch.rand(2, dtype=torch.float64)}}
    save_checkpoint(tmp_path / "c.pt", state)
    loaded = load_checkpoint(tmp_path / "c.pt")
    assert torch.equal(loaded["a"], state["a"])
    assert loaded["b"] == state["b"]
    assert torch.equal(loaded["c"]["d"], state["c"]["d"])
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]
    save_checkpoint(tmp_path / "c.pt", {"a": 2})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.previous.pt", "c.pt"]


def test_there_may_be_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "c.pt") is None


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "a bit":
        with zipfile.ZipFile(path) as archive:
            largest = max(archive.infolist(), key=lambda info: info.file_size)
        data[largest.header_offset + largest.file_size] ^= 1
    elif how == "the end":
        del data[len(data) // 2 :]
    else:
        data = bytearray(len(data) if how == "zeros" else 0)
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["a bit", "the end", "zeros", "everything"])
def test_of_a_damaged_checkpoint_the_one_before_is_read(tmp_path: Path, how: str) -> None:
    path = tmp_path / "c.pt"
    for value in (1, 2):
        save_checkpoint(path, {"value": value, "data": torch.rand(1000)})
    damage(path, how)
    with pytest.warns(UserWarning, match=r"c\.pt: .*; continuing from c\.previous\.pt"):
        assert load_checkpoint(path)["value"] == 1
    damage(previous(path), how)
    with pytest.raises(ValueError, match=r"checkpoint: expected an undamaged file, got .*c\.pt: .*c\.previous\.pt: "):
        load_checkpoint(path)


def test_a_damaged_checkpoint_does_not_take_the_place_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    for value in (1, 2):
        save_checkpoint(path, {"value": value})
    damage(path, "the end")
    save_checkpoint(path, {"value": 3})
    assert load_checkpoint(path) == {"value": 3}
    assert load_checkpoint(previous(path)) == {"value": 1}


def test_a_crash_between_the_two_renamings_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"value": 1})
    os.replace(path, previous(path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"c.pt.{platform.node()}.{ended.pid}.partial").write_bytes(b"half")
    assert load_checkpoint(path) == {"value": 1}
    save_checkpoint(path, {"value": 2})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.previous.pt", "c.pt"]


def test_two_writers_have_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fsync, mine = tmp_path / "c.pt", os.fsync, os.getpid()

    def other_writer(file: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "getpid", os.getppid)
        save_checkpoint(path, {"value": 2, "data": torch.rand(1000)})
        monkeypatch.setattr(os, "getpid", lambda: mine)
        fsync(file)

    monkeypatch.setattr(os, "fsync", other_writer)
    save_checkpoint(path, {"value": 1})
    assert load_checkpoint(path) == {"value": 1}
    assert load_checkpoint(previous(path))["value"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.previous.pt", "c.pt"]


def test_reading_does_not_disturb_who_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"value": 1})
    fsync, read = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda file: (fsync(file), read.append(load_checkpoint(path))))
    save_checkpoint(path, {"value": 2})
    assert read[0] == {"value": 1}
    assert load_checkpoint(path) == {"value": 2}


def test_no_damage_to_the_table_of_contents_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"value": 1})
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        entries = [i for i in range(archive.start_dir, len(data)) if data[i : i + 4] == b"PK\x01\x02"]
    for i in entries:
        damaged = bytearray(data)
        damaged[i + 10] ^= 8  # the method: deflated, which it is not
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="checkpoint: expected an undamaged file"):
            load_checkpoint(path)


class Evil:
    def __reduce__(self) -> tuple:
        return (print, ("code in a checkpoint ran",))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state": Evil()}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="checkpoint: expected an undamaged file"):
        load_checkpoint(tmp_path / "c.pt")
    (tmp_path / "c.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="checkpoint: expected an undamaged file"):
        load_checkpoint(tmp_path / "c.pt")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("stop", [1, 7, 20])
def test_a_fit_in_two_parts_is_one_in_one_to_the_bit(tmp_path: Path, stop: int) -> None:
    whole = run_fit(tmp_path / "whole", 21, 100)
    run_fit(tmp_path / "parts", stop, 100)
    torch.rand(5)  # other random numbers drawn in between
    assert torch.equal(run_fit(tmp_path / "parts", 21, 100), whole)


def test_the_history_goes_on(tmp_path: Path) -> None:
    class Keep(Checkpoint):
        def on_end(self, run) -> None:
            runs.append(run)

    runs: list = []
    for folder, steps in (("whole", 9), ("parts", 4), ("parts", 9)):
        run_fit(tmp_path / folder, steps, 2, [Keep(tmp_path / "unused.pt", 1000, resume=False)])
    whole, _, resumed = runs
    assert resumed.history == whole.history
    assert resumed.best_step == whole.best_step


def test_checkpoints_of_other_settings_are_refused(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path / "c.pt", 1, settings={"lr": 1.0, "kind": "a"})
    run_fit(tmp_path / "a", 1, 1, [first])
    second = Checkpoint(tmp_path / "c.pt", 1, settings={"lr": 0.5, "kind": "a"})
    with pytest.raises(ValueError, match=r"c\.pt: expected the checkpoint of a fit with {'lr': 0.5}, got {'lr': 1.0}"):
        run_fit(tmp_path / "b", 1, 1, [second])
    run_fit(tmp_path / "b", 1, 1, [Checkpoint(tmp_path / "c.pt", 1, resume=False)])


def test_checkpoints_of_other_parameters_are_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 1, "module": {"x": torch.zeros(2)}, "settings": {}})
    with pytest.raises(ValueError, match=r"checkpoint\.pt: history: expected a part of the checkpoint, got none"):
        run_fit(tmp_path, 1, 1)


# --- kill -9 ---


def check_nothing_is_half_written(folder: Path) -> None:
    """What has a checkpoint's name is whole; the one that was being written is called partial."""
    for path in folder.iterdir():
        assert path.name in ("checkpoint.pt", "checkpoint.previous.pt") or path.suffix == ".partial"
        if path.suffix == ".pt":
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
            torch.load(path, weights_only=True)


def killed_saving(path: Path, value: int, event: int) -> bool:
    """Whether a child of this process, saving a checkpoint, died at that moment of writing."""
    child = os.fork()
    if child == 0:
        die_at(event)
        save_checkpoint(path, {"value": value, "data": torch.full((1000,), value)})
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*continuing from checkpoint.previous.pt")
@pytest.mark.parametrize(("n_before", "how"), [(0, ""), (2, ""), (2, "a bit"), (2, "everything")])
def test_a_save_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path, n_before: int, how: str) -> None:
    seen, event, dies = [], 1, True
    while dies:
        path = tmp_path / str(event) / "checkpoint.pt"
        path.parent.mkdir()
        for value in range(1, n_before + 1):
            save_checkpoint(path, {"value": value, "data": torch.full((1000,), value)})
        if how:
            damage(path, how)
        dies = killed_saving(path, n_before + 1, event)
        state = load_checkpoint(path)
        assert state is None or (state["data"] == state["value"]).all()
        seen.append(0 if state is None else state["value"])
        if not how or seen[-1] > n_before:
            check_nothing_is_half_written(path.parent)
        save_checkpoint(path, {"value": 9})  # as if nothing had happened
        assert load_checkpoint(path) == {"value": 9}
        assert not list(path.parent.glob("*.partial"))
        event += 1
    n_after = seen.count(n_before + 1)
    assert seen == [n_before - bool(how)] * (len(seen) - n_after) + [n_before + 1] * n_after
    assert len(seen) > 10  # many writes
    assert n_after >= 2  # killed while it syncs the folder, and not at all


@pytest.mark.parametrize("kills", [pytest.param(1), pytest.param(12, marks=pytest.mark.long)])
def test_a_fit_that_is_killed_and_resumed_gives_the_same_bits(tmp_path: Path, kills: int) -> None:
    """Killed by turns in the middle of writing a checkpoint, of which there is one a step, and at any moment."""
    expected = run_fit(tmp_path / "whole", STEPS, STEPS)
    folder, rng = tmp_path / "killed", random.Random(kills)
    n_partial = 0
    for kill in range(kills + 1):
        inside = kill < kills and kill % 2 == 0
        event = rng.randrange(1, WRITES_A_STEP * STEPS // (kills + 2)) if inside else 0
        worker = Path(__file__).with_name("fit_worker.py")
        command = [sys.executable, str(worker), str(folder), "0.005", str(event)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        steps = [int(process.stdout.readline())]
        if kill < kills and not inside:
            steps += [int(process.stdout.readline()) for _ in range(rng.randrange(1, STEPS // (kills + 2)))]
            time.sleep(rng.random() * 0.02)
            process.send_signal(signal.SIGKILL)
        steps += [int(line) for line in process.communicate(timeout=120)[0].split()]
        if kill < kills:
            assert process.returncode == -signal.SIGKILL
            check_nothing_is_half_written(folder)
            state = load_checkpoint(folder / "checkpoint.pt")
            assert (0 if state is None else state["step"]) in (steps[-1], steps[-1] + 1)
            n_partial += any(folder.glob("*.partial"))
    assert process.returncode == 0
    assert n_partial
    assert torch.equal(torch.load(folder / "result.pt", weights_only=True), expected)
    (folder / "result.pt").unlink()
    check_nothing_is_half_written(folder)
    assert not list(folder.glob("*.partial"))


@pytest.mark.long
def test_the_command_killed_and_resumed_writes_the_same_files(tmp_path: Path) -> None:
    target = tmp_path / "ring.obj"
    IO().save_mesh(torus(0.3, 1.0, 8, 12), target)
    options = ["--steps", "60", "--level", "2", "--every", "1", "--checkpoint", "1"]

    def start(folder: str) -> subprocess.Popen[bytes]:
        code = "import sys; from tirender.cli import main; sys.exit(main(sys.argv[1:]))"
        arguments = ["fit", "mesh", str(target), "-o", str(tmp_path / folder), *options, "--resume"]
        return subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL)

    rng, killed = random.Random(0), tmp_path / "killed"
    for n_kills in range(1, 5):
        process = start("killed")
        while not (killed / f"iter_{12 * n_kills:05d}.png").exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.2 * rng.random())
        process.kill()
        process.wait()
        for path in killed.glob("*.png"):
            plt.imread(path)
        assert load_checkpoint(killed / "checkpoint.pt")
    assert start("killed").wait() == start("whole").wait() == 0
    for path in (tmp_path / "whole").glob("*[!t]"):  # all but checkpoints, whose archives hold times
        assert (killed / path.name).read_bytes() == path.read_bytes(), path.name
