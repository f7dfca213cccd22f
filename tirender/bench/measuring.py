"""How long a piece of work takes, run after run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tirender.engine import runtime
from tirender.fit import Callback, FitRun

MIN_RUNS, MAX_RUNS = 3, 1000  # beside the first


class Stopwatch:
    """Times laps until a budget is used up.

    Args:
        budget: seconds for the laps after the first, of which there are at least ``MIN_RUNS``.
        clock: gives seconds.
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
        """End a lap, when all its work is done, and begin another; whether there is time for one."""
        runtime.synchronize()
        now = self.clock()
        self.laps.append(now - self._since)
        self._since = now
        n_steady = len(self.laps) - 1
        return n_steady < MIN_RUNS or (n_steady < MAX_RUNS and sum(self.laps[1:]) < self.budget)


@dataclass(frozen=True)
class Work:
    """Something to measure, ready to start.

    Attributes:
        run: goes on until the stopwatch says that it is enough.
        n_units: of work in a lap.
        needs: a limit of the machine (see ``limits``), and how much of it a unit of work needs at the least.
    """

    run: Callable[[Stopwatch], None]
    n_units: int
    needs: tuple[str, float] | None = None

    @classmethod
    def of(cls, function: Callable[[], Any], n_units: int, needs: tuple[str, float] | None = None) -> Work:
        """A function that is called again and again."""

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
        """The steps of a fit that takes callbacks."""

        def run(watch: Stopwatch) -> None:
            fit([_Laps(watch)])

        return cls(run, n_units, needs)


class _Laps(Callback):
    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_start(self, run: FitRun) -> None:
        self.watch.start()

    def on_step(self, run: FitRun) -> None:
        if not self.watch.lap():
            run.stop()


def summary(laps: Sequence[float]) -> dict[str, float]:
    """Of laps in seconds: the first, and of the others the median, the minimum and the quartiles.

    Of two or more laps.
    """
    first, *steady = laps
    low, median, high = statistics.quantiles(steady, n=4, method="inclusive") if len(steady) > 1 else steady * 3
    return {"first": first, "median": median, "min": min(steady), "quartile_1": low, "quartile_3": high}
