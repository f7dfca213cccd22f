"""The loop of every fit: what it minimises, remembers, seeds, and when it stops."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tirender.fit import Callback, Checkpoint, Every, FitConfig, FitRun, NonFiniteLoss, fit


class Point(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([3.0, -2.0]))


def fit_point(steps: int = 50, *, lr: float = 0.1, noise: float = 0.0, callbacks=(), **settings) -> FitRun:
    """A point pulled to (1, 1), and with a tenth of the weight to 0."""
    module = Point()

    def losses(step: int) -> dict[str, torch.Tensor]:
        pull = (module.x - 1 + noise * torch.randn(2)).square().sum()
        return {"pull": pull, "size": module.x.square().sum()}

    optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=0.5)
    config = FitConfig(steps, progress=False, **settings)
    return fit(losses, module, optimizer, config, weights={"size": 0.1}, callbacks=callbacks)


def test_it_minimises_the_weighted_sum() -> None:
    run = fit_point(200)
    torch.testing.assert_close(run.module.x.detach(), torch.full((2,), 1 / 1.1))
    assert list(run.history) == ["pull", "size", "total"]
    assert [len(values) for values in run.history.values()] == [200] * 3
    assert run.history["pull"][0] == 13
    assert run.history["total"][0] == pytest.approx(13 + 0.1 * 13)
    assert run.losses == {name: values[-1] for name, values in run.history.items()}
    assert run.step == 200


def test_no_steps_change_nothing() -> None:
    run = fit_point(0)
    assert run.history == {}
    assert run.losses == {}
    assert run.module.x.tolist() == [3, -2]
    run.load_best()
    assert run.module.x.tolist() == [3, -2]


def test_a_seed_decides_and_the_callers_generators_are_left_alone() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    first, again, other = (fit_point(20, noise=1, seed=seed).history["total"] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]


def test_a_seed_is_for_numpy_and_python_too() -> None:
    def draws() -> list[float]:
        drawn: list[float] = []
        module = Point()

        def losses(step: int) -> dict[str, torch.Tensor]:
            drawn.extend([np.random.rand(), random.random()])  # noqa: NPY002
            return {"size": module.x.square().sum()}

        fit(losses, module, torch.optim.SGD(module.parameters(), 0.1), FitConfig(3, seed=5, progress=False))
        return drawn

    drawn = draws()
    assert len({*drawn}) == 6
    assert draws() == drawn


class Draw(Callback):
    """Draws random numbers whenever it is called."""

    def _draw(self, run: FitRun) -> None:
        torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002

    on_start = on_losses = on_step = on_end = _draw


def test_callbacks_that_draw_change_nothing() -> None:
    for seed in (3, None):
        torch.manual_seed(7)
        alone, after = fit_point(20, noise=1, seed=seed).history, torch.get_rng_state()
        torch.manual_seed(7)
        assert fit_point(20, noise=1, seed=seed, callbacks=[Draw(), Draw()]).history == alone
        assert torch.equal(torch.get_rng_state(), after)


def test_nor_where_the_fit_is_resumed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", 10)
    fit_point(10, noise=1, callbacks=[Draw(), checkpoint])
    resumed = fit_point(20, noise=1, callbacks=[checkpoint, Draw()])
    assert resumed.history == fit_point(20, noise=1).history


def test_without_a_seed_the_callers_generators_are_used() -> None:
    totals = []
    for _ in range(2):
        torch.manual_seed(7)
        totals.append(fit_point(5, noise=1, seed=None).history["total"])
    assert totals[0] == totals[1]
    assert fit_point(5, noise=1, seed=None).history["total"] != totals[0]


def test_callbacks_are_called_in_order() -> None:
    class Log(Callback):
        def on_start(self, run: FitRun) -> None:
            log.append(("start", run.step))

        def on_losses(self, run: FitRun) -> None:
            log.append(("losses", run.step, len(run.history["total"])))

        def on_step(self, run: FitRun) -> None:
            log.append(("step", run.step))

        def on_end(self, run: FitRun) -> None:
            log.append(("end", run.step))

    log: list[tuple] = []
    fit_point(2, callbacks=[Log()])
    assert log == [("start", 0), ("losses", 0, 1), ("step", 1), ("losses", 1, 2), ("step", 2), ("end", 2)]


def test_every_calls_at_multiples() -> None:
    steps: list[int] = []
    fit_point(8, callbacks=[Every(3, lambda run: steps.append(run.step))])
    assert steps == [0, 3, 6]
    with pytest.raises(ValueError, match="n: expected at least 1, got 0"):
        Every(0, print)


def test_the_best_step_is_kept() -> None:
    module = Point()
    walk = [4.0, 3.0, 1.0, 2.0, 5.0]

    def losses(step: int) -> dict[str, torch.Tensor]:
        return {"walk": module.x.sum() * 0 + walk[step] + 0 * module.x[0], "drift": module.x[0] * 1e-3}

    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    run = fit(losses, module, optimizer, FitConfig(5, progress=False, smoothing=0))
    assert run.best_step == 2
    run.load_best()
    assert module.x[0].item() == pytest.approx(3 - 2e-3)


def test_the_best_step_is_told_by_a_running_mean() -> None:
    module = Point()
    walk = [4.0, 4.0, 0.5, 4.0, 4.0, 1.0, 1.0, 1.0]  # a lucky draw, then truly better

    def losses(step: int) -> dict[str, torch.Tensor]:
        return {"walk": module.x.sum() * 0 + walk[step]}

    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    assert fit(losses, module, optimizer, FitConfig(8, progress=False, smoothing=0.8)).best_step == 7


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_the_last_good_state(bad: float) -> None:
    module, seen = Point(), []

    def losses(step: int) -> dict[str, torch.Tensor]:
        seen.append(module.x.detach().clone())
        pull = module.x.square().sum()
        return {"pull": pull, "trap": pull * bad if step == 3 else pull}

    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    with pytest.raises(NonFiniteLoss, match=r"step 3: the loss trap is (nan|inf); .* the parameters of step 2") as e:
        fit(losses, module, optimizer, FitConfig(9, progress=False))
    assert torch.equal(module.x, seen[2])
    assert e.value.run.module is module
    assert len(e.value.run.history["total"]) == 3


def test_a_gradient_that_is_not_finite_never_reaches_the_parameters() -> None:
    module = Point()

    def losses(step: int) -> dict[str, torch.Tensor]:
        root = (module.x * (0 if step == 2 else 1)).abs().sqrt().sum()  # sqrt has no gradient at 0
        return {"root": root}

    seen: list[torch.Tensor] = []
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    keep = Every(1, lambda run: seen.append(module.x.detach().clone()))
    with pytest.raises(NonFiniteLoss, match=r"step 2: the gradient of x is not finite; .* the parameters of step 2"):
        fit(losses, module, optimizer, FitConfig(9, progress=False), callbacks=[keep])
    assert torch.equal(module.x, seen[2])


def test_a_first_step_that_fails_changes_nothing() -> None:
    module = Point()
    with pytest.raises(NonFiniteLoss, match="step 0: the loss a is nan; stopped, with the parameters of step 0"):
        fit(
            lambda step: {"a": module.x.sum() * float("nan")},
            module,
            torch.optim.SGD(module.parameters(), lr=1.0),
            FitConfig(2, progress=False),
        )
    assert module.x.tolist() == [3, -2]


def test_a_scheduler_is_stepped() -> None:
    module = Point()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    config = FitConfig(4, progress=False)
    fit(lambda step: {"a": module.x.square().sum()}, module, optimizer, config, scheduler=scheduler)
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_the_bar_shows_the_losses(capsys: pytest.CaptureFixture[str]) -> None:
    module = Point()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    fit(lambda step: {"pull": module.x.square().sum()}, module, optimizer, FitConfig(3))
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert "pull" in shown
    fit(lambda step: {"pull": module.x.square().sum()}, module, optimizer, FitConfig(3, progress=None))
    assert capsys.readouterr().err == ""  # no terminal


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": -1}, "steps: expected an integer of 0 or more, got -1"),
        ({"steps": 1.5}, "steps: expected an integer of 0 or more, got 1.5"),
        ({"steps": 1, "smoothing": 1}, r"smoothing: expected a number in \[0, 1\), got 1"),
    ],
)
def test_settings_that_do_not_fit(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FitConfig(**settings)


def test_losses_and_weights_that_do_not_fit() -> None:
    module = Point()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    config = FitConfig(1, progress=False)
    with pytest.raises(ValueError, match=r"weights: expected names among \['pull'\], got \['size'\]"):
        fit(lambda step: {"pull": module.x.sum()}, module, optimizer, config, weights={"size": 1.0})
    for bad in ({}, {"total": module.x.sum()}):
        with pytest.raises(ValueError, match="losses: expected at least one, none of the name 'total'"):
            fit(lambda step, bad=bad: bad, module, optimizer, config)
