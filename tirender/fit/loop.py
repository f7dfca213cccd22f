"""The loop of every fit: losses, gradients, optimizer steps, history, progress; it stops at values that are not finite.

::

    run = fit(losses, module, optimizer, FitConfig(steps=2000), weights={"normal": 0.01}, callbacks=[...])

``losses(step)`` returns named scalars. The fit minimises their weighted sum over the parameters of ``module``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import nn
from tqdm import tqdm

from tirender.fit import distributed
from tirender.fit.generators import seeded, undisturbed
from tirender.fit.interrupts import interruptible
from tirender.fit.run import Callback, FitConfig, FitRun, Images

Losses = Callable[[int], Mapping[str, torch.Tensor]]


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

    With a seed, the same arguments give the same result, bit for bit on the CPU. This holds if the losses draw random
    numbers only from the global generators of torch, numpy and Python.

    Within :func:`~tirender.fit.process_group` several processes fit together: see :mod:`tirender.fit.distributed`.

    The first Ctrl-C ends the fit after the current step, when its state is consistent; a second one ends it at once.
    Ctrl-C in one process ends the fit in all of them.

    Args:
        losses: called with the number of the step; returns named scalar losses computed from ``module``.
        module: holds the parameters.
        optimizer: over the module's parameters.
        config: see :class:`FitConfig`.
        weights: of the losses by name; losses that it leaves out have weight 1.
        scheduler: stepped after each update.
        callbacks: called in this order.
        images: returns named images of the current state, for :class:`~tirender.fit.Preview`.
    Returns:
        the finished run; ``run.history`` has the losses of each step.
    Raises:
        NonFiniteLoss: a loss, a gradient or the result is not finite.
        Interrupted: a ``KeyboardInterrupt``, after Ctrl-C.
        ValueError: a weight has no loss of its name.
    """
    run = FitRun(module, optimizer, config, weights, scheduler, images)
    callbacks = callbacks if distributed.is_main() else ()
    with seeded(config.seed), interruptible(run), _ending(run, callbacks):
        _call(callbacks, "on_start", run)
        going = run._begin()
        hidden = not distributed.is_main() or (None if config.progress is None else not config.progress)
        with tqdm(total=config.steps, initial=run.step, disable=hidden) as bar:
            while run.step < config.steps and going:
                _step(run, losses, callbacks)
                going = run._agree()
                if not bar.disable:
                    bar.set_postfix_str(run.losses_in_words(), refresh=False)
                bar.update()
        run.check_parameters()
    return run


def _step(run: FitRun, losses: Losses, callbacks: Sequence[Callback]) -> None:
    """One update of the parameters."""
    run.optimizer.zero_grad()
    total = run._record(losses(run.step))
    _call(callbacks, "on_losses", run)
    total.backward()
    del total  # and with it the graph, before callbacks or losses change the shapes of parameters
    distributed.average_gradients(run.module)
    run._check_gradients()
    run._remember()
    run.optimizer.step()
    if run.scheduler is not None:
        run.scheduler.step()
    run.step += 1
    _call(callbacks, "on_step", run)


@contextlib.contextmanager
def _ending(run: FitRun, callbacks: Sequence[Callback]) -> Iterator[None]:
    """At the end, whatever its cause, call the ``on_end`` of every callback, even if that of another fails."""
    with contextlib.ExitStack() as stack:
        for callback in reversed(callbacks):
            stack.callback(_call, [callback], "on_end", run)
        try:
            yield
        except BaseException as error:
            run.error = error
            raise


def _call(callbacks: Sequence[Callback], moment: str, run: FitRun) -> None:
    """Call a method of the callbacks that override it; their random numbers do not change the fit."""
    for callback in callbacks:
        method = getattr(callback, moment)
        if getattr(method, "__func__", method) is not getattr(Callback, moment):
            with undisturbed():
                method(run)
