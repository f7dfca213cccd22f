"""The loop of every fit: losses, gradients, a step of the optimizer; history, progress, a stop at what is not finite.

::

    run = fit(losses, module, optimizer, FitConfig(steps=2000), weights={"normal": 0.01}, callbacks=[...])

``losses(step)`` returns named scalars, whose weighted sum is minimised over the parameters of ``module``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from tirender.checks import all_finite, fail
from tirender.fit import distributed
from tirender.fit.generators import generator_states, seeded, set_generator_states, undisturbed
from tirender.fit.interrupts import interruptible

Losses = Callable[[int], Mapping[str, torch.Tensor]]
Images = Callable[[], Mapping[str, torch.Tensor]]
TOTAL = "total"  # the weighted sum, beside the losses in a history


@dataclass(frozen=True)
class FitConfig:
    """Settings of the loop.

    Attributes:
        steps: updates of the parameters in all, those before a resumed checkpoint included.
        seed: of the generators of torch, numpy and Python during the fit; None leaves them alone.
        progress: show a bar with the losses on stderr; None: where that is a terminal.
        smoothing: of the running mean of the total by which the best step is told; 0 takes single steps.
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
    """What a fit calls on its way; subclasses override what they need.

    The random numbers that they draw are none of the fit's: its generators are set back after each call.

    Where several processes fit together, the first one alone calls them; then they may look at the run and stop it, but
    what they change in its module is not known to the others.
    """

    def on_start(self, run: FitRun) -> None:
        """Before the first step; may load an earlier state into the run."""

    def on_losses(self, run: FitRun) -> None:
        """At each step, when its losses are known and the parameters not yet updated."""

    def on_step(self, run: FitRun) -> None:
        """After each update; ``run.step`` updates have been made."""

    def on_end(self, run: FitRun) -> None:
        """At the end, also where the fit was stopped or failed, which ``run.error`` tells: close what is open."""


class NonFiniteLoss(RuntimeError):
    """A loss or gradient was infinite or NaN; ``run.module`` holds the parameters of the last good step."""

    def __init__(self, message: str, run: FitRun) -> None:
        super().__init__(message)
        self.run = run


class FitRun:
    """The state of a fit.

    Attributes:
        module: what is fitted.
        optimizer, scheduler, config, weights: as given to :func:`fit`.
        step: how many updates have been made.
        history: each loss, unweighted, and ``"total"``, their weighted sum: one float a step.
        images: gives named images (H, W), (H, W, C) or (1, H, W, C) of the current state, for who wants to show them.
        stopped: whether the fit ends before its last step, see :meth:`stop`.
        interrupted: whether that was Ctrl-C, in this process or another one of the fit.
        error: what ended the fit in the midst of a step, whose state may then be no good one; None in all other cases.
        best_step: the step with the lowest running mean of the total; its parameters are kept, see :meth:`load_best`.
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
        self._generators: dict[str, Any] | None = None  # of the loaded state

    @property
    def losses(self) -> dict[str, float]:
        """The losses of the latest step, and their ``"total"``."""
        return {name: values[-1] for name, values in self.history.items() if values}

    def stop(self) -> None:
        """Make no further step; callbacks get their ``on_end``."""
        self.stopped = True

    def wait(self) -> None:
        """Tell the other processes of the fit, if any, that its first one pauses, lest they take it for dead.

        To be called every few minutes at least, by an ``on_start`` or ``on_step`` that takes long. It also learns here
        whether another process has ``stopped``.
        """
        self._agree(waiting=True)

    def load_best(self) -> None:
        """Set the module back to the best step so far."""
        self.module.load_state_dict(self._best)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed fit needs to go on as if it had not been interrupted; of types safe to load."""
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
        """Continue from a :meth:`state_dict`.

        Raises:
            ValueError: where it belongs to another kind of fit.
        """
        try:
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scheduler:
                self.scheduler.load_state_dict(state["scheduler"])
            self.step = state["step"]
            self.history = {name: values.tolist() for name, values in state["history"].items()}
            self.best_step, self._best_mean = state["best"]["step"], state["best"]["mean"]
            self._best, self._mean = state["best"]["module"], state["mean"]
            self._last_good = _copy_of(self.module)
            self._generators = state["generators"]
            set_generator_states(state["generators"])
        except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
            fail("checkpoint", "the state of this fit", f"that of another ({' '.join(str(error).split())})")

    def _agree(self, waiting: bool = False) -> bool:
        """Whether to go on, which all processes decide alike, once none waits any more."""
        while True:
            stopped, interrupted, any_waiting = distributed.any_process(self.stopped, self.interrupted, waiting)
            # only ever set, as a signal may set them at any moment
            if stopped:
                self.stopped = True
            if interrupted:
                self.interrupted = True
            if waiting or not any_waiting:
                return not stopped

    def _record(self, losses: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The total of a step's losses, which go into the history."""
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
            self._stop(f"the loss {bad[0]}")
        for name, value in named.items():
            self.history.setdefault(name, []).append(value)
        return total

    def _check_gradients(self) -> None:
        """Stop before gradients that are not finite reach the parameters."""
        for name, parameter in self.module.named_parameters():
            grad = parameter.grad
            if grad is not None and not all_finite(grad):
                self._stop(f"the gradient of {name} is not finite", restore=False)

    def _remember(self) -> None:
        """Keep the parameters, which have proved good, and compare them with the best."""
        _copy_into(self._last_good, self.module)
        total, smoothing = self.history[TOTAL][-1], self.config.smoothing
        self._mean = total if math.isinf(self._mean) else smoothing * self._mean + (1 - smoothing) * total
        if self._mean < self._best_mean:
            self.best_step, self._best_mean = self.step, self._mean
            _copy_into(self._best, self.module)

    def _stop(self, what: str, restore: bool = True) -> None:
        good = self.step
        if restore and self.step > 0:
            good -= 1
            self.module.load_state_dict(self._last_good)
        message = f"step {self.step}: {what}; stopped, with the parameters of step {good}. Try a lower learning rate."
        raise NonFiniteLoss(message, self)


def fit(
    losses: Losses,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: FitConfig,
    *,
    weights: Mapping[str, float] | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    callbacks: Sequence[Callback] = (),
    images: Images | None = None,
) -> FitRun:
    """Minimise the weighted sum of losses over the parameters of a module.

    With a seed the result is a function of the arguments: to the bit on the CPU, if the losses draw their random
    numbers from the global generators of torch, numpy or Python.

    Within :func:`~tirender.fit.process_group` several processes fit together: see :mod:`tirender.fit.distributed`.

    Ctrl-C ends the fit after the step, when its state is whole, and a second one at once; in one process it ends that
    of all.

    Args:
        losses: called with the number of the step, returns named scalar losses computed from ``module``.
        module: holds the parameters.
        optimizer: over the module's parameters.
        config: see :class:`FitConfig`.
        weights: of the losses by name; 1 for those left out.
        scheduler: stepped after each update.
        callbacks: called in this order.
        images: gives named images of the current state, which a :class:`~tirender.fit.Preview` shows.
    Returns:
        the finished run; ``run.history`` has the losses of each step.
    Raises:
        NonFiniteLoss: a loss or gradient is not finite.
        Interrupted: a ``KeyboardInterrupt``, after Ctrl-C.
        ValueError: weights for losses that there are not.
    """
    run = FitRun(module, optimizer, config, weights, scheduler, images)
    callbacks = callbacks if distributed.is_main() else ()
    with seeded(config.seed), interruptible(run), _ending(run, callbacks):
        for callback in callbacks:
            _call(callback, "on_start", run)
        if run._generators is not None:  # one has loaded a state
            set_generator_states(run._generators)
        going = run._agree()
        if distributed.world() > 1:
            run.load_state_dict(distributed.from_main(run.state_dict()))
        hidden = not distributed.is_main() or (None if config.progress is None else not config.progress)
        with tqdm(total=config.steps, initial=run.step, disable=hidden) as bar:
            while run.step < config.steps and going:
                optimizer.zero_grad()
                total = run._record(losses(run.step))
                for callback in callbacks:
                    _call(callback, "on_losses", run)
                total.backward()
                del total  # and the graph: the next losses may change the shapes of parameters
                distributed.average_gradients(module)
                run._check_gradients()
                run._remember()
                optimizer.step()
                if scheduler is not None:
                    scheduler.step()
                run.step += 1
                for callback in callbacks:
                    _call(callback, "on_step", run)
                going = run._agree()
                if not bar.disable:
                    bar.set_postfix_str(_in_words(run.losses), refresh=False)
                bar.update()
    return run


def _in_words(losses: Mapping[str, float]) -> str:
    """The total first, since a narrow terminal cuts the end off."""
    ordered = {TOTAL: losses[TOTAL], **losses}
    return ", ".join(f"{name} {value:.5f}" for name, value in ordered.items())


@contextlib.contextmanager
def _ending(run: FitRun, callbacks: Sequence[Callback]) -> Iterator[None]:
    """At the end, however it comes, call every callback's ``on_end``, also where that of another fails."""
    with contextlib.ExitStack() as stack:
        for callback in reversed(callbacks):
            stack.callback(_call, callback, "on_end", run)
        try:
            yield
        except BaseException as error:
            run.error = error
            raise


def _call(callback: Callback, moment: str, run: FitRun) -> None:
    """Call a callback, if it has something to do; a fit is the same with it and without."""
    method = getattr(callback, moment)
    if getattr(method, "__func__", method) is not getattr(Callback, moment):
        with undisturbed():
            method(run)


def _copy_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _copy_into(copies: dict[str, torch.Tensor], module: nn.Module) -> None:
    for name, value in module.state_dict().items():
        if copies[name].shape == value.shape:
            copies[name].copy_(value)
        else:  # a grid has become finer
            copies[name] = value.detach().clone()
