"""A fit's settings, its state, and the callbacks that it calls."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import nn

from tirender.checks import all_finite, fail
from tirender.fit import distributed
from tirender.fit.generators import generator_states, set_generator_states
from tirender.fit.saved_state import TOTAL, check_optimizer, check_state

Images = Callable[[], Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class FitConfig:
    """Settings of the loop.

    Attributes:
        steps: updates of the parameters; a resumed fit counts those before its checkpoint.
        seed: of the generators of torch, numpy and Python during the fit; None leaves them alone.
        progress: whether to show a progress bar with the losses on stderr; None: only on a terminal.
        smoothing: smoothing factor, in [0, 1), of the average loss that selects the best step; 0 does not average.
    """

    steps: int
    seed: int | None = 0
    progress: bool | None = True
    smoothing: float = 0.95

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or self.steps < 0:
            fail("steps", "an integer of 0 or more", self.steps)
        if not 0 <= self.smoothing < 1:
            fail("smoothing", "a number in [0, 1)", self.smoothing)


class Callback:
    """Called by a fit at certain moments; subclasses override the methods that they need.

    Callbacks may draw random numbers: the fit restores its generators after each call.

    Where several processes fit together, only the first calls its callbacks. They may read the run and stop it, but
    the other processes do not see their changes to the module.
    """

    def on_start(self, run: FitRun) -> None:
        """Before the first step; may load an earlier state into the run."""

    def on_losses(self, run: FitRun) -> None:
        """At each step, after the losses are computed and before the parameters are updated."""

    def on_step(self, run: FitRun) -> None:
        """After each update; ``run.step`` counts them."""

    def on_end(self, run: FitRun) -> None:
        """At the end, even if the fit was stopped or failed (see ``run.error``): close what is open."""


class NonFiniteLoss(RuntimeError):
    """A loss or gradient was infinite or NaN; ``run.module`` holds the parameters of the last good step."""

    def __init__(self, message: str, run: FitRun) -> None:
        super().__init__(message)
        self.run = run


class FitRun:
    """The state of a fit.

    Attributes:
        module: what is fitted.
        optimizer, scheduler, config, weights: the arguments of :func:`~tirender.fit.fit`.
        step: the number of updates so far.
        history: by name, one float a step: each loss, unweighted, and ``"total"``, their weighted sum.
        images: returns named images (H, W), (H, W, C) or (1, H, W, C) of the current state, for previews.
        stopped: whether the fit ends before its last step, see :meth:`stop`.
        interrupted: whether Ctrl-C stopped it, in this process or in another of the same fit.
        error: the exception that ended the fit; the state may be inconsistent. None otherwise.
        best_step: the step with the lowest average loss; :meth:`load_best` restores its parameters.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        config: FitConfig,
        weights: Mapping[str, float] | None = None,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
        images: Images | None = None,
    ) -> None:
        self.module, self.optimizer, self.config, self.scheduler = module, optimizer, config, scheduler
        self.weights, self.images = dict(weights or {}), images
        self.step = 0
        self.stopped = self.interrupted = False
        self.error: BaseException | None = None
        self.history: dict[str, list[float]] = {}
        self.best_step = 0
        self._best_mean = self._mean = math.inf
        self._best = _copy_of(module)
        self._last_good = _copy_of(module)
        self._generators: dict[str, Any] | None = None  # of the state that was loaded

    @property
    def losses(self) -> dict[str, float]:
        """The losses of the latest step, and their ``"total"``."""
        return {name: values[-1] for name, values in self.history.items() if values}

    def losses_in_words(self) -> str:
        """The losses in a line; the total comes first, as a narrow terminal cuts the end off."""
        ordered = {TOTAL: self.losses[TOTAL], **self.losses}
        return ", ".join(f"{name} {value:.5f}" for name, value in ordered.items())

    def stop(self) -> None:
        """End the fit before its next step; callbacks still get their ``on_end``."""
        self.stopped = True

    def wait(self) -> None:
        """Keep the other processes of the fit waiting while a callback of the first one pauses.

        An ``on_start`` or ``on_step`` that takes minutes calls this at least every few minutes; otherwise the others
        take this process for dead. Afterwards ``stopped`` also tells whether another process has stopped.
        """
        self._agree(waiting=True)

    def load_best(self) -> None:
        """Restore the module's parameters of the best step so far."""
        self.module.load_state_dict(self._best)

    def state_dict(self) -> dict[str, Any]:
        """All that a fit needs to resume as if it had not been interrupted; of types that are safe to load."""
        return {
            "step": self.step,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "history": {name: torch.tensor(values, dtype=torch.float64) for name, values in self.history.items()},
            "best": {"step": self.best_step, "mean": self._best_mean, "module": self._best},
            "mean": self._mean,
            "generators": generator_states(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a :meth:`state_dict`.

        Raises:
            ValueError: it is the state of another kind of fit, or damaged; nothing has changed.
        """
        scheduler = self.scheduler.state_dict() if self.scheduler else None
        before = copy.deepcopy((self.module.state_dict(), self.optimizer.state_dict(), scheduler))
        check_state(state, before[1]["param_groups"], scheduler)
        try:
            self.module.load_state_dict(state["best"]["module"])  # as a fit does at its end
            self._load(state["module"], state["optimizer"], state["scheduler"])
        except Exception as error:  # torch raises all kinds of errors
            self._load(*before)
            fail("checkpoint", "the state of this fit", f"that of another ({' '.join(str(error).split())})")
        self.step = state["step"]
        self.history = {name: values.tolist() for name, values in state["history"].items()}
        self.best_step, self._best_mean = state["best"]["step"], state["best"]["mean"]
        self._best, self._mean = state["best"]["module"], state["mean"]
        self._last_good = _copy_of(self.module)
        self._generators = state["generators"]
        set_generator_states(state["generators"])

    def _load(self, module: Mapping[str, Any], optimizer: Any, scheduler: Any) -> None:
        self.module.load_state_dict(module)
        groups = self.optimizer.param_groups
        self.optimizer.load_state_dict(optimizer)
        check_optimizer(self.optimizer, groups)
        if self.scheduler:
            self.scheduler.load_state_dict(scheduler)

    # --- for the loop ---

    def _begin(self) -> bool:
        """Give all processes the state that a callback of the first has loaded; whether to go on."""
        if self._generators is not None:
            set_generator_states(self._generators)
        going = self._agree()
        if distributed.world() > 1:
            self.load_state_dict(distributed.from_main(self.state_dict()))
        return going

    def _agree(self, waiting: bool = False) -> bool:
        """Whether to go on; all processes decide alike, once none of them waits any more."""
        while True:
            stopped, interrupted, any_waiting = distributed.any_process(self.stopped, self.interrupted, waiting)
            # set, but never cleared: a signal may set them at any moment
            if stopped:
                self.stopped = True
            if interrupted:
                self.interrupted = True
            if waiting or not any_waiting:
                return not stopped

    def _record(self, losses: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Add a step's losses to the history and return their weighted sum."""
        if not losses or TOTAL in losses:
            fail("losses", f"at least one, none of the name {TOTAL!r}", list(losses))
        if unknown := self.weights.keys() - losses.keys():
            fail("weights", f"names among {sorted(losses)}", sorted(unknown))
        terms = [loss if name not in self.weights else loss * self.weights[name] for name, loss in losses.items()]
        total = torch.stack(terms).sum() if len(terms) > 1 else terms[0]
        values = torch.stack([*(loss.detach() for loss in losses.values()), total.detach()])
        distributed.average([values])
        named = dict(zip([*losses, TOTAL], values.tolist()))
        if bad := [f"{name} is {value}" for name, value in named.items() if not math.isfinite(value)]:
            self._give_up(f"the loss {bad[0]}")
        for name, value in named.items():
            self.history.setdefault(name, []).append(value)
        return total

    def _check_gradients(self) -> None:
        """Stop before a gradient that is not finite reaches the parameters."""
        for name, parameter in self.module.named_parameters():
            grad = parameter.grad
            if grad is not None and not all_finite(grad):
                self._give_up(f"the gradient of {name} is not finite", restore=False)

    def check_parameters(self) -> None:
        """Stop where the last update has left a parameter that is not finite: no later loss would tell.

        Raises:
            NonFiniteLoss: with the parameters of the step before.
        """
        for name, parameter in self.module.named_parameters():
            if not all_finite(parameter.detach()):
                self._give_up(f"{name} is not finite")

    def _remember(self) -> None:
        """Keep the parameters, whose losses and gradients are finite, and compare them with the best."""
        _copy_into(self._last_good, self.module)
        total, smoothing = self.history[TOTAL][-1], self.config.smoothing
        self._mean = total if math.isinf(self._mean) else smoothing * self._mean + (1 - smoothing) * total
        if self._mean < self._best_mean:
            self.best_step, self._best_mean = self.step, self._mean
            _copy_into(self._best, self.module)

    def _give_up(self, why: str, restore: bool = True) -> NoReturn:
        good = self.step
        if restore and self.step > 0:
            good -= 1
            self.module.load_state_dict(self._last_good)
        message = f"step {self.step}: {why}; stopped, with the parameters of step {good}. Try a lower learning rate."
        raise NonFiniteLoss(message, self)


def _copy_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _copy_into(copies: dict[str, torch.Tensor], module: nn.Module) -> None:
    for name, value in module.state_dict().items():
        if copies[name].shape == value.shape:
            copies[name].copy_(value)
        else:  # a grid has become finer
            copies[name] = value.detach().clone()
