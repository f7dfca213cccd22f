"""Time a workload again and again."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tirender.engine import runtime
from tirender.fit import Callback, FitRun

MIN_RUNS, MAX_RUNS = 3, 1000  # without the first


class Stopwatch:
    """Times laps until a budget is spent.

    Args:
        budget: seconds for the laps after the first; at least ``MIN_RUNS`` laps are timed.
        clock: returns seconds.
    """

    def __init__(self, budget: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.budget, self.clock = budget, clock
        self.laps: list[float] = []
        self._since = clock()

    def start(self) -> None:
        """Begin the first lap."""
        runtime.synchronize()
        self._since = self.clock()

    def lap(self) -> bool:
        """Wait until the work of this lap is done, end it, and begin another; whether there is time for that one."""
        runtime.synchronize()
        now = self.clock()
        self.laps.append(now - self._since)
        self._since = now
        n_steady = len(self.laps) - 1
        return n_steady < MIN_RUNS or (n_steady < MAX_RUNS and sum(self.laps[1:]) < self.budget)


@dataclass(frozen=True)
class Work:
    """A workload, ready to start.

    Attributes:
        run: runs laps until the stopwatch stops it.
        n_units: units of work in a lap.
        needs: the name of a limit (see ``limits``), and how much of it a unit of work needs at least.
    """

    run: Callable[[Stopwatch], None]
    n_units: int
    needs: tuple[str, float] | None = None

    @classmethod
    def of(cls, function: Callable[[], Any], n_units: int, needs: tuple[str, float] | None = None) -> Work:
        """A function, to be called once a lap."""

        def run(watch: Stopwatch) -> None:
            watch.start()
            function()
            while watch.lap():
                function()

        return cls(run, n_units, needs)

    @classmethod
    def of_fit(
        cls,
        fit: Callable[[Sequence[Callback]], FitRun],
        n_units: int,
        needs: tuple[str, float] | None = None,
    ) -> Work:
        """A fit, called with callbacks; a step is a lap."""

        def run(watch: Stopwatch) -> None:
            fit([_Laps(watch)])

        return cls(run, n_units, needs)


class _Laps(Callback):
    """Makes each step of a fit a lap."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_start(self, run: FitRun) -> None:
        self.watch.start()

    def on_step(self, run: FitRun) -> None:
        if not self.watch.lap():
            run.stop()


def summary(laps: Sequence[float]) -> dict[str, float]:
    """The first of two or more laps, and the median, the minimum and the quartiles of the others, in seconds."""
    first, *steady = laps
    low, median, high = statistics.quantiles(steady, n=4, method="inclusive") if len(steady) > 1 else steady * 3
    return {"first": first, "median": median, "min": min(steady), "quartile_1": low, "quartile_3": high}
