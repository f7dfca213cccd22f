"""The benchmark: what it measures and how, at sizes so small that the numbers themselves mean nothing."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import signal
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tirender import cli
from tirender.bench import first_image, peer, scaling, starting, table, worker
from tirender.bench.limits import UNITS, measure_limits
from tirender.bench.measuring import MAX_RUNS, MIN_RUNS, Stopwatch, Work, summary
from tirender.bench.memory import peak_memory
from tirender.bench.starting import STARTS
from tirender.bench.workloads import OPERATIONS, STEPS, WORKLOADS
from tirender.engine import runtime


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def device() -> str:
    return "cuda" if runtime.arch() == "cuda" else "cpu"


# --- measuring ---


def test_laps_go_on_until_the_budget_is_spent():
    clock = Clock()
    watch, calls = Stopwatch(budget=10.0, clock=clock), []

    def work() -> None:
        calls.append(1)
        clock.now += 100.0 if len(calls) == 1 else 2.0

    Work.of(work, n_units=1).run(watch)
    assert watch.laps == [100.0] + [2.0] * 5  # the first, which compiles, is not of the budget
    assert len(calls) == 6


@pytest.mark.parametrize(("lap", "n"), [(1000.0, MIN_RUNS), (0.0, MAX_RUNS)])
def test_there_are_some_laps_and_not_too_many(lap, n):
    clock = Clock()
    watch = Stopwatch(budget=1.0, clock=clock)
    Work.of(lambda: setattr(clock, "now", clock.now + lap), n_units=1).run(watch)
    assert len(watch.laps) == 1 + n


def test_the_first_lap_is_told_apart():
    found = summary([50.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    assert found == {"first": 50.0, "median": 3.0, "min": 1.0, "quartile_1": 2.0, "quartile_3": 4.0}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell")
def test_peak_memory_is_not_below_what_there_is_now():
    block = torch.ones(16 << 20)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert peak_memory() >= pages * os.sysconf("SC_PAGE_SIZE") - (1 << 20) > block.nbytes


def test_limits_are_rates(monkeypatch):
    monkeypatch.setattr("tirender.bench.limits.ROUNDS", 4)
    rates = measure_limits(device(), 0.0, n_bytes=1 << 16, side=8)
    assert rates.keys() == UNITS.keys()
    assert all(0 < rate < math.inf for rate in rates.values())


# --- workloads ---


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_row_can_be_measured(name):
    workload = WORKLOADS[name]
    work = workload.prepare(device(), **{**workload.settings, **workload.small})
    watch = Stopwatch(budget=0.0)
    work.run(watch)
    assert len(watch.laps) == 1 + MIN_RUNS
    assert min(watch.laps) > 0
    assert work.n_units > 0


@pytest.mark.parametrize("name", scaling.SERIES)
def test_a_series_varies_a_setting_of_its_workload(name):
    series = scaling.SERIES[name]
    sizes = [size for size, _ in series.points]
    assert sizes == sorted(set(sizes))
    (setting,) = {key for _, settings in series.points for key in settings}
    smallest = {**WORKLOADS[series.workload].small, setting: min(v for _, s in series.points for v in s.values())}
    if setting != "n_points":  # thousands of them, seen to above
        WORKLOADS[series.workload].prepare(device(), **smallest)


def test_steps_and_operations_have_names_of_their_own():
    assert len(WORKLOADS) == len(STEPS) + len(OPERATIONS)
    assert not WORKLOADS.keys() & scaling.SERIES.keys()
    assert peer.PEERS.keys() <= STEPS.keys()


# --- the worker's process ---


def test_a_worker_answers_with_laps_and_memory():
    request = {"task": "row", "arch": runtime.arch(), "name": "op-knn-100k", "budget": 0.0}
    answer = worker.run({**request, "settings": WORKLOADS["op-knn-100k"].small})
    assert len(answer["laps"]) == 1 + MIN_RUNS
    assert answer["first"] == answer["laps"][0] > 0
    assert answer["n_units"] == 50
    assert answer["peak_memory"] is None or answer["peak_memory"] >= answer["base_memory"] > 0


def test_a_series_tells_nothing_of_memory_which_its_rows_share():
    few = [{**WORKLOADS["op-knn-100k"].small, "n_points": n} for n in (20, 30)]
    rows = worker.series(device(), "op-knn-100k", 0.0, few)
    assert [row["n_units"] for row in rows] == [20, 30]
    assert all(row.keys() == {"first", "median", "min", "quartile_1", "quartile_3", "laps", "n_units"} for row in rows)


def test_a_workers_failure_is_told():
    with pytest.raises(RuntimeError, match="KeyError: 'nonsense'"):
        worker.run({"task": "row", "arch": runtime.arch(), "name": "nonsense", "budget": 0.0})


def children_of(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(folder.name))
    return found


@pytest.mark.skipif(not worker.FORKS, reason="one process answers one request here")
@pytest.mark.parametrize(
    ("number", "message"),
    [(signal.SIGKILL, "^ended with -9, as where memory runs out$"), (signal.SIGTERM, "^ended with -15")],
)
def test_a_workers_death_is_told_and_the_next_answers(number, message):
    request = {"task": "row", "arch": runtime.arch(), "name": "op-knn-100k"}
    small = {**request, "settings": WORKLOADS["op-knn-100k"].small, "budget": 0.0}
    worker.run(small)
    server = worker._server.pid
    last = children_of(server)

    def kill() -> None:
        while not (pids := set(children_of(server)).difference(last)):
            time.sleep(0.01)
        os.kill(pids.pop(), number)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(RuntimeError, match=message):
        worker.run({**request, "budget": 60.0})
    killer.join()
    assert worker.run(small)["n_units"] == 50
    assert worker._server.pid == server


def test_a_program_renders_an_image(capsys):
    first_image.main(runtime.arch(), device())
    assert float(capsys.readouterr().out) > 1e8


def test_what_fails_to_start_tells_why(monkeypatch):
    monkeypatch.setattr(runtime, "arch", lambda: "metal")
    with pytest.raises(RuntimeError, match="^ValueError: arch: expected 'cpu'"):
        starting.time_start("cpu")


@pytest.mark.long
def test_starts_are_timed():
    start = worker.run({"task": "start", "arch": runtime.arch()})
    assert start["seconds"] > 0
    assert start["memory"] is None or start["memory"] > 1e8
    first_use = worker.run({"task": "first-use", "arch": runtime.arch()})
    assert first_use["steps"].keys() == STEPS.keys()
    assert first_use["seconds"] == sum(first_use["steps"].values()) > 0


# --- the peer ---


def test_libraries_take_turns():
    clock, order = Clock(), []

    def step(name: str, took: float) -> None:
        order.append(name)
        clock.now += took

    laps = peer.alternate([lambda: step("A", 1.0), lambda: step("B", 2.0)], budget=15.0, clock=clock)
    assert "".join(order) == "AB" * 6
    assert laps == [[1.0] * 6, [2.0] * 6]


@pytest.mark.parametrize("name", peer.PEERS)
def test_a_step_runs_on_what_is_called_a_library(name):
    """By the public names alone, which PyTorch3D shares (``test_public_names``)."""
    found = peer.compare(name, "tirender", device(), budget=0.0, settings=WORKLOADS[name].small)
    assert [len(laps) for laps in found["laps"]] == [1 + peer.MIN_TURNS] * 2
    assert found["ratio"] == found["medians"][1] / found["medians"][0]


def test_a_peers_step_descends():
    torch.manual_seed(0)
    losses = []

    class Recorder:
        def backward(self) -> None:
            losses.append(float(self.loss.detach()))
            self.loss.backward()

        def __init__(self, loss: torch.Tensor) -> None:
            self.loss = loss

    x = torch.ones(3, requires_grad=True)
    step = peer._descent(lambda: Recorder(x.square().sum()), [x], lr=0.1)
    for _ in range(3):
        step()
    assert losses[0] > losses[1] > losses[2]


def test_the_ratio_is_the_others_to_ours(monkeypatch):
    monkeypatch.setattr(peer, "load_library", lambda name: name)
    monkeypatch.setattr(peer, "alternate", lambda steps, budget: [[9.0, 2.0, 2.0], [9.0, 6.0, 6.0]])
    monkeypatch.setitem(peer.PEERS, "mesh", lambda lib, device: None)
    assert peer.compare("mesh", "other", "cpu", 1.0)["ratio"] == 3.0


# --- slopes, figures, tables ---


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5])
def test_slopes_are_exponents(exponent):
    sizes = [10, 100, 1000]
    assert math.isclose(scaling.slope(sizes, [3 * s**exponent for s in sizes]), exponent, abs_tol=1e-9)


def test_a_figure_of_every_series(tmp_path):
    results = {name: {"sizes": [1, 10, 100], "medians": [0.1, 0.2, 0.5], "slope": 0.35} for name in scaling.SERIES}
    scaling.plot(results, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "scaling.png").stat().st_size < 150_000


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (table.seconds, 1234.0, "1234 s"),
        (table.seconds, 0.01234, "12.3 ms"),
        (table.seconds, 0.99949, "999 ms"),
        (table.seconds, 0.99951, "1.00 s"),
        (table.seconds, 5e-6, "5.00 us"),
        (table.quantity, 262144, "262 k"),
        (table.quantity, 4, "4"),
        (table.quantity, 4.0499, "4.05"),
        (table.quantity, 87e9, "87.0 G"),
        (table.percent, 0.0123, "1.2 %"),
        (table.percent, 0.5, "50 %"),
        (table.percent, 1.2, "120 %"),
    ],
)
def test_numbers_as_people_read_them(function, value, text):
    assert function(value) == text


def test_a_row_of_the_table():
    result = {
        **summary([2.0, 0.5, 0.5, 0.5]),
        "n_units": 10**6,
        "needs": ["loop", 100.0],
        "peak_memory": 5e8,
    }
    cells = table.cells("march", "samples", result, {"loop": 4e9})
    assert cells == ["march", "500 ms", "500 ms", "500 ms - 500 ms", "2.00 M samples/s", "5 % loop", "2.00 s", "500 MB"]
    assert table.cells("march", "samples", {**result, "needs": None, "peak_memory": None}, {})[5::2] == ["-", "-"]
    lines = table.Table(table.COLUMNS, [20] * 8)
    head, rule, row = [*lines.head().splitlines(), lines.row(cells)]
    assert re.fullmatch(r"\|-+\|(-+:\|){7}", rule)
    assert head.count("|") == rule.count("|") == row.count("|") == 9
    assert len(head) == len(rule)


# --- the command ---


@pytest.fixture
def answers(monkeypatch):
    """Worker processes that answer at once; gives the requests."""
    requests = []

    def run(request):
        requests.append(request)
        if request["task"] == "limits":
            machine = dict.fromkeys(("device", "arch", "tirender", "taichi", "torch"), "?")
            return {"rates": {"copy": 1e10, "gemm": 1e11, "loop": 5e9}, "machine": machine}
        if request["task"] == "peer":
            return {"laps": [[1.0], [1.0]], "medians": [0.1, 0.2], "ratio": 2.0}
        if request["task"] in STARTS:
            return {"seconds": 12.0, "memory": 3e8}
        laps = [1.0, 0.1, 0.1, 0.1]
        row = {**summary(laps), "laps": laps, "n_units": 10, "needs": None, "base_memory": 1e8, "peak_memory": 2e8}
        return row if request["task"] == "row" else [row] * len(request["settings"])

    monkeypatch.setattr(worker, "run", run)
    return requests


def test_everything_is_measured_by_default(answers, tmp_path, capsys):
    assert cli.main(["bench", "--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png")]) == 0
    out = capsys.readouterr().out
    assert all(w.title in out for w in WORKLOADS.values())
    assert all(s.title in out for s in scaling.SERIES.values())
    assert all(title in out for title in STARTS.values())
    assert "300 MB" in out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["rows"].keys() == WORKLOADS.keys()
    assert found["series"].keys() == scaling.SERIES.keys()
    assert found["rows"]["mesh"]["laps"] == [1.0, 0.1, 0.1, 0.1]
    assert found["starts"]["first-use"]["seconds"] == 12.0
    assert {"date", "machine", "rates"} <= found.keys()
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--only", "volume", "march"], ["volume", "op-march", "op-march-adjoint"]),
        (["--only", "silhouette", "scale-k"], ["silhouette", "op-soft-faces"]),
        (["--quick"], list(STEPS)),
        (["--peer", "tirender", "--only", "render"], ["render"]),
    ],
)
def test_what_is_asked_for_is_measured(answers, arguments, names):
    assert cli.main(["bench", *arguments]) == 0
    assert [request["name"] for request in answers[1:]] == names


@pytest.mark.parametrize("peers", [False, True])
def test_what_fails_leaves_the_others(answers, tmp_path, capsys, monkeypatch, peers):
    run = worker.run

    def failing(request):
        if request.get("name") in ("volume", "silhouette") or request["task"] == "start":
            raise RuntimeError("ValueError: a|b")
        return run(request)

    monkeypatch.setattr(worker, "run", failing)
    names = ["volume", "render"] if peers else ["volume", "march", "scale-views", "scale-knn", "start"]
    options = ["--peer", "tirender"] if peers else ["--plot", str(tmp_path / "a.png")]
    assert cli.main(["bench", "--only", *names, "--json", str(tmp_path / "a.json"), *options]) == 1
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["rows"]["volume"] == {"error": "ValueError: a|b"}
    dashes = 2 if peers else 6
    assert re.search(rf"(\| +- ){{{dashes}}}\| *ValueError: a\\\|b \|\n", capsys.readouterr().out)
    if peers:
        assert found["rows"]["render"]["ratio"] == 2.0
        return
    assert [*found["rows"]] == ["volume", "op-march", "op-march-adjoint"]
    assert found["rows"]["op-march"]["median"] == 0.1
    assert found["series"]["scale-views"] == {"error": "ValueError: a|b"}
    assert found["series"]["scale-knn"]["medians"]
    assert found["starts"] == {"start": {"error": "ValueError: a|b"}}
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize(("at", "kept"), [("volume", None), ("op-march", ["volume"])])
def test_interrupted_it_keeps_what_there_is(answers, tmp_path, monkeypatch, capsys, at, kept):
    run, file = worker.run, tmp_path / "a.json"
    file.write_text("{}")

    def interrupted(request):
        if request.get("name") == at:
            raise KeyboardInterrupt
        return run(request)

    monkeypatch.setattr(worker, "run", interrupted)
    assert cli.main(["bench", "--only", "volume", "march", "--json", str(file)]) == 130
    found = json.loads(file.read_text())
    assert (found and [*found["rows"]]) == (kept or {})
    assert ("has what was measured" in capsys.readouterr().err) == bool(kept)


def test_a_folder_that_cannot_be_written_to_is_said_first(answers, tmp_path, capsys, monkeypatch):
    def refused(**kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    assert cli.main(["bench", "--json", str(tmp_path / "a.json")]) == 2
    assert f"expected files in folders to write to, got {tmp_path} (Permission denied)" in capsys.readouterr().err
    assert not answers


def test_a_list_of_names_measures_nothing(answers, capsys):
    assert cli.main(["bench", "--list"]) == 0
    assert capsys.readouterr().out.split() == [*WORKLOADS, *scaling.SERIES, *STARTS]
    assert not answers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peer", "no_such_library"], "--peer: expected an installed library, got 'no_such_library'"),
        (["--peer", "json"], "got 'json': no json.loss to import"),
        (["--peer", "../x"], "--peer: expected an installed library, got '../x'"),
        (["--only", "nonsense"], "--only: expected parts of the names"),
        (["--json", "/nowhere/x.json"], "--json, --plot: expected files in folders that exist"),
        (["--only", "volume", "--plot", "x.png"], "--plot: expected a series"),
        (["--only", "scale-knn", "--plot", "x.doc"], "--plot: expected "),
    ],
)
def test_what_cannot_be_measured_is_said_first(answers, capsys, arguments, message):
    assert cli.main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not answers


def test_a_library_has_all_that_the_steps_need():
    lib = peer.load_library("tirender")
    assert isinstance(lib, SimpleNamespace)
    assert vars(lib).keys() == set(peer.MODULES)
    with pytest.raises(ImportError, match="--peer: expected an installed library"):
        peer.load_library("no_such_library")
