"""Checkpoints that were tampered with: refused with the file and the field, and nothing has changed."""

from __future__ import annotations

import copy
import math
import random
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from fit_worker import run_fit
from torch import nn

from tirender.cli import main
from tirender.fit import Checkpoint, FitConfig, NonFiniteLoss, fit, load_checkpoint
from tirender.scenes import load_scene
from tirender.utils import ico_sphere

HUGE = 10**400
CASES = {
    "step": [-5, 7.5, math.nan, 10**9, True, None, HUGE, torch.tensor(2)],
    "history": [None, [1.0], {"total": [1.0]}, {}, {1: torch.ones(2)}],
    "history/total": [
        *[torch.full((3,), math.nan), torch.ones(9), torch.ones(3, dtype=torch.int64), torch.ones(1, 3)],
        torch.ones(3).to_sparse(),
    ],
    "mean": [math.nan, -math.inf, "x", None, HUGE],
    "best": [None, 3, {}],
    "best/step": [4, -1, 1.0],
    "best/mean": [math.inf, math.nan, [1.0]],
    "best/module": [{}, {"deform_verts": 3}, {"deform_verts": torch.zeros(43, 3)}, None],
    "module": [{}, [], {"deform_verts": torch.zeros(3, 3)}, {"deform_verts": "x"}],
    "module/deform_verts": [torch.full((42, 3), math.nan), torch.zeros(43, 3), torch.zeros(42, 3).to_sparse()],
    "optimizer": [None, {}, {"state": {}}, {"state": {}, "param_groups": []}],
    "optimizer/param_groups": [{}, [{"params": [0, 1]}], [{"params": "x"}], [{"params": [0], "lr": "fast"}]],
    "optimizer/state": [{0: {"momentum_buffer": torch.zeros(5)}}, {0: {"momentum_buffer": math.nan}}, 7],
    "scheduler": [None, {"last_epoch": "x"}, {"last_epoch": HUGE}, {"base_lrs": [1.0, 2.0]}, {"gamma": math.nan}],
    "generators": [None, {}, {"torch": 1}],
    "generators/torch": [torch.zeros(3), "x", torch.zeros(3, dtype=torch.uint8)],
    "generators/numpy": [(1, 2, 3), (torch.zeros(624), 10**9, 0, 0.0), (torch.zeros(3, dtype=torch.int64), 0, 0, 0.0)],
    "generators/python": [(), (3, (1, 2), None), (HUGE, (), None)],
    "settings": [None, 3, {1: 2}, {"a": torch.ones(2)}],
}


@pytest.mark.parametrize("name", ["nesterov", "maximize", "foreach", "differentiable"])
def test_another_algorithm_is_refused(tmp_path: Path, state: dict[str, Any], name: str) -> None:
    (group,) = state["optimizer"]["param_groups"]
    wrong = put(state, "optimizer/param_groups", [{**group, name: not group[name]}])
    torch.save(wrong, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=rf"checkpoint\.pt: optimizer param_groups {name}: expected "):
        run_fit(tmp_path, 5, 100)


def test_a_last_step_to_infinity_is_not_a_result() -> None:
    """No later loss would tell."""
    module = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e38)
    with pytest.raises(NonFiniteLoss, match="weight is not finite; stopped, with the parameters of step 0"):
        fit(lambda _: {"far": 100 * module.weight.sum()}, module, optimizer, FitConfig(1, progress=False))
    assert module.weight.isfinite().all()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    run_fit(folder, 3, 100)
    loaded = load_checkpoint(folder / "checkpoint.pt")
    assert loaded is not None
    return loaded


def put(state: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a state with another value at a place."""
    state = copy.deepcopy(state)
    *parents, last = path.split("/")
    place = state
    for name in parents:
        place = place[name]
    place[last] = value
    return state


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in CASES.items() for value in values])
def test_the_file_and_the_field_are_named(tmp_path: Path, state: dict[str, Any], path: str, value: Any) -> None:
    file = tmp_path / "checkpoint.pt"
    torch.save(put(state, path, value), file)
    field = path.split("/")[0]
    with pytest.raises(ValueError, match=rf"checkpoint\.pt: .*({field}|the state of this fit|undamaged file)"):
        run_fit(tmp_path, 5, 100)


def test_a_refused_state_changes_nothing(state: dict[str, Any]) -> None:
    module = nn.Linear(2, 2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)

    class Load(Checkpoint):
        def on_start(self, run: Any) -> None:
            mine = run.state_dict()
            wrong = {"weight": torch.ones(2, 2), "bias": torch.ones(3)}  # the second does not fit
            with pytest.raises(ValueError, match="the state of this fit"):
                run.load_state_dict({**mine, "module": wrong, "best": {**mine["best"], "module": wrong}})

    fit(
        lambda _: {"zero": 0 * module.weight.sum()},
        module,
        optimizer,
        FitConfig(0, progress=False),
        callbacks=[Load("x")],
    )
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_inflated_members_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "c.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c/data.pkl", bytes(1 << 20))
    with pytest.raises(ValueError, match=r"c\.pt: .*compressed"):
        load_checkpoint(tmp_path / "c.pt")


def nested(n: int) -> list[Any]:
    """2 to the power of n empty lists, in a few bytes."""
    value: list[Any] = []
    for _ in range(n):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(1).expand(10**11), "tensors: expected at most 100 times what is stored, .* got 400.0 GB in"),
        (nested(40), "values: expected at most 1048576"),
    ],
)
def test_little_files_of_large_things_are_refused(tmp_path: Path, value: Any, message: str) -> None:
    torch.save({"history": {"total": value}}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=rf"c\.pt: {message}"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tirender.io import IO

    folder = tmp_path_factory.mktemp("fitted")
    IO().save_mesh(ico_sphere(1), folder / "ball.obj")
    command = ["fit", "mesh", str(folder / "ball.obj"), "--level", "0", "--steps", "2", "-o", str(folder / "out")]
    assert main(command) == 0
    return folder / "out" / "checkpoint.pt"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("kind", value) for value in (3, "x", None, ["mesh"], HUGE)],
        *[("level", value) for value in (10**9, -1, "x", 1.5, HUGE, None)],
        *[("optimizer", value) for value in (1, "x", ())],
        *[("lr", value) for value in ("x", math.nan, HUGE)],
        ("w_edge", [1.0]),
    ],
)
def test_scenes_of_tampered_settings(tmp_path: Path, fitted: Path, name: str, value: Any) -> None:
    state = load_checkpoint(fitted)
    assert state is not None
    torch.save(put(state, f"settings/{name}", value), tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: "):
        load_scene(tmp_path)


def mutated(value: Any, chance: random.Random) -> Any:
    """A state in which some parts are others: valid containers, hostile contents."""
    hostile = [-1, 0, 10**9, HUGE, -(2**63), math.nan, math.inf, 1e308, "", "x", None, [], {}, (), True, torch.zeros(0)]
    if chance.random() < 0.03:
        return chance.choice(hostile)
    if isinstance(value, dict):
        return {key: mutated(item, chance) for key, item in value.items() if chance.random() > 0.01}
    if isinstance(value, (list, tuple)) and len(value) < 20:
        return type(value)(mutated(item, chance) for item in value)
    if isinstance(value, torch.Tensor) and chance.random() < 0.1:
        kinds = [value[:-1], value.double(), value.long(), value * math.nan, value.reshape(-1), value.bool(), -value]
        return chance.choice(kinds) if value.dim() else value.reshape(1, 1) * 2
    return value


@pytest.mark.long
def test_no_tampered_state_gives_another_error(tmp_path: Path, state: dict[str, Any], fitted: Path) -> None:
    chance, errors = random.Random(0), []
    scene = load_checkpoint(fitted)
    for _ in range(1500):
        torch.save(mutated(state, chance), tmp_path / "checkpoint.pt")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert bool(run_fit(tmp_path, 4, 100).isfinite().all())
            except ValueError as error:
                errors.append(str(error))
        (tmp_path / "checkpoint.previous.pt").unlink(missing_ok=True)
        torch.save(mutated(scene, chance), tmp_path / "checkpoint.pt")
        try:
            load_scene(tmp_path)
        except ValueError as error:
            errors.append(str(error))
    assert len(errors) > 500
    assert all("checkpoint.pt" in error for error in errors)
