"""Fits by several processes: the curves of one; one that dies; checkpoints for any number of them; the command."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ranks_worker import N_LOOKS, curves

from tirender.cli import main
from tirender.engine import runtime
from tirender.fit import distributed, load_checkpoint
from tirender.fit.distributed import Part, part
from tirender.io import IO
from tirender.utils import torus

WORKER = Path(__file__).with_name("ranks_worker.py")
EXACT = ("silhouette", "images", "volume", "mesh")

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="torch has no gloo here"
)


def start(n: int, *args: object) -> list[subprocess.Popen[str]]:
    """What ``torchrun --nproc-per-node n`` starts, without what it adds to the output."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(n)}
    return [
        subprocess.Popen(
            [sys.executable, *map(str, args)],
            env={**common, "RANK": str(i), "LOCAL_RANK": str(i), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(n)
    ]


def finish(processes: list[subprocess.Popen[str]]) -> None:
    """See that all end well."""
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)


def test_two_processes_give_the_curves_of_one(tmp_path: Path) -> None:
    processes = start(2, WORKER, tmp_path)
    alone = curves()
    finish(processes)
    first, second = (torch.load(tmp_path / f"curves_{i}.pt", weights_only=True) for i in range(2))
    assert first == second
    for kind, history in alone.items():
        # rounding decides which samples of a hash grid light reaches, and grows where a network learns
        tolerance = 1e-5 if kind in EXACT else 1e-3
        for name, values in history.items():
            assert first[kind][name] == pytest.approx(values, rel=tolerance), (kind, name)


def test_a_process_that_dies_ends_the_fit_of_all(tmp_path: Path) -> None:
    survivor, dead = start(2, WORKER, tmp_path, "die")
    dead.communicate(timeout=120)
    assert dead.returncode == 7
    _, said = survivor.communicate(timeout=120)
    assert survivor.returncode == 1
    assert "process 0 of 2: expected an answer of all processes, got none: one has ended, or hangs" in said
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 3


def test_the_command_by_torchrun_and_resumed_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    IO().save_mesh(torus(0.3, 1.0, 8, 12), tmp_path / "ring.obj")
    command = ["fit", "silhouette", str(tmp_path / "ring.obj"), "--size", "16", "--views", "3", "--level", "0"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = ["-m", "tirender", *command, "--steps", "3", "-o", str(tmp_path / "parts"), "--preview", "video"]
    done = subprocess.run([*torchrun, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mesh.obj after 3 steps") == 1
    names = {path.name for path in (tmp_path / "parts").iterdir()}
    assert {"mesh.obj", "losses.json", "checkpoint.pt", "preview.mp4"} <= names
    assert main([*command, "--steps", "6", "-o", str(tmp_path / "parts"), "--resume"]) == 0
    assert main([*command, "--steps", "6", "-o", str(tmp_path / "whole")]) == 0
    parts, whole = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("parts", "whole"))
    # six steps: each later one makes the rounding differences of other sums up to ten times larger
    rtol = 1e-5 if runtime.arch() == "cpu" else 1e-4  # on GPUs single losses differ by 1e-5 between runs
    for name, values in whole["history"].items():
        torch.testing.assert_close(parts["history"][name], values, rtol=rtol, atol=0)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_the_mean_over_parts_is_the_mean_over_all(monkeypatch: pytest.MonkeyPatch, n: int, world: int) -> None:
    values, means = torch.rand(n, dtype=torch.float64), []
    monkeypatch.setattr(distributed, "world", lambda: world)
    for i in range(world):
        monkeypatch.setattr(distributed, "rank", lambda i=i: i)
        mine = part(n)
        means.append(mine.scaled({"mean": values[mine.rows].mean()})["mean"])
    torch.testing.assert_close(torch.stack(means).mean(), values.mean())


def test_alone_all_is_ones_own() -> None:
    assert part(5) == Part(slice(0, 5), 5, 1.0)
    loss = torch.ones(())
    assert part(5).scaled({"loss": loss})["loss"] is loss
    assert distributed.is_main()
    assert distributed.any_process(True, False) == [True, False]
    with distributed.process_group():
        assert distributed.world() == 1


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, float]]]:
    """The folder and what two processes of a program that has its own group tell."""
    folder = tmp_path_factory.mktemp("own")
    finish(start(2, WORKER, folder, "own"))
    return folder, [json.loads((folder / f"facts_{i}.json").read_text()) for i in range(2)]


def test_groups_of_the_program_are_joined_where_asked(own: tuple[Path, list[dict[str, float]]]) -> None:
    facts = own[1]
    assert [fact["alone"] for fact in facts] == [1, 4]
    assert [fact["together"] for fact in facts] == [1, 1]
    assert all(fact["left"] for fact in facts)


def test_a_preview_pauses_and_stops_all_processes(own: tuple[Path, list[dict[str, float]]]) -> None:
    facts = own[1]
    assert [(fact["stopped"], fact["stopped_at"]) for fact in facts] == [(True, 4)] * 2
    assert facts[0]["answers"] == facts[1]["answers"] > N_LOOKS  # the others are kept awake in a pause


def test_a_signal_in_one_process_interrupts_all_after_the_same_step(own: tuple[Path, list[dict[str, float]]]) -> None:
    folder, facts = own
    assert [fact["interrupted_at"] for fact in facts] == [4, 4]
    assert load_checkpoint(folder / "checkpoint.pt")["step"] == 4


def test_a_group_is_left_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "1", "CUDA_VISIBLE_DEVICES": "4,5"}.items():
        monkeypatch.setenv(name, value)
    seen, left = [], []

    def destroy() -> None:
        left.append(1)
        raise RuntimeError("the other process is dead")

    def fails(gpus: bool | None) -> None:
        with distributed.process_group(gpus):
            assert distributed.world() == 2
            raise KeyError

    fakes = {
        "init_process_group": lambda backend, **_: seen.append((backend, os.environ["CUDA_VISIBLE_DEVICES"])),
        "destroy_process_group": destroy,
        "get_world_size": lambda: 2,
        "all_gather_object": lambda everywhere, mine: everywhere.__setitem__(slice(None), [mine, mine]),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.distributed, name, fake)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for gpus, arch in ((True, ""), (False, ""), (None, "cuda"), (None, "cpu"), (None, "vulkan")):
        monkeypatch.setenv("TIRENDER_ARCH", arch)
        with pytest.raises(KeyError):
            fails(gpus)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5"
        assert distributed.world() == 1
    pinned, free_ = ("cpu:gloo,cuda:nccl", "5"), ("gloo", "4,5")
    assert seen == [pinned, free_, pinned, free_, free_]
    assert len(left) == 5


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (RuntimeError("[pair.cc:535] Connection closed by peer [127.0.0.1]:1"), True),
        (RuntimeError("[buffer.cc:78] Timed out waiting 1000ms for recv operation"), True),
        (torch.distributed.DistBackendError("NCCL watchdog"), True),
        (RuntimeError("CUDA error: the launch timed out and was terminated"), False),
        (RuntimeError("shape '[2]' is invalid for input of size 3"), False),
    ],
)
def test_only_a_process_that_does_not_answer_is_told_of(
    monkeypatch: pytest.MonkeyPatch, error: RuntimeError, is_told: bool
) -> None:
    def fails(tensor: torch.Tensor) -> None:
        raise error

    monkeypatch.setattr(torch.distributed, "all_reduce", fails)
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    with pytest.raises(RuntimeError) as caught:
        distributed.average([torch.ones(2)])
    assert str(caught.value).startswith("process 1 of 2: expected an answer") == is_told
    assert (caught.value is error) != is_told


@pytest.mark.parametrize(("backends", "device"), [("cuda:nccl", "cuda"), ("cpu:gloo,cuda:nccl", "cpu")])
def test_flags_go_where_the_group_can_reach_them(monkeypatch: pytest.MonkeyPatch, backends: str, device: str) -> None:
    made, tensor = [], torch.tensor
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_backend_config", lambda: backends)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flags: flags.add_(tensor([0.0, 1.0, 0.0])))
    monkeypatch.setattr(torch, "tensor", lambda *a, device, **k: made.append(device) or tensor(*a, **k))
    assert distributed.any_process(True, False, False) == [True, True, False]
    assert made == [device]
