"""How well to draw when: quick pictures while something moves, good ones at rest."""

from __future__ import annotations

import time

FRAME_SECONDS = 1 / 35  # the longest time for a picture while something moves
REST_SECONDS = 0.15  # after this time at rest, pictures may take longer
STILL_SECONDS = 0.4  # a picture at rest that takes less is drawn at once, a slower one in steps
HOPE = 0.95  # factor of a sample's cost while pictures are too small to measure it
RESOLUTIONS = (0.06, 0.12, 0.25, 0.35, 0.5, 0.7, 1.0)  # fractions of the picture's width, with one sample a pixel


class Pace:
    """Chooses the quality of pictures.

    A quality is a fraction of the picture's width to render, and the n of n x n samples a pixel.

    Args:
        supersample: the n of the best picture, on a screen whose pixels can be seen.
        moving: the longest time in seconds for a picture while something moves.
        still: the longest time for a picture at rest; None: whatever the best takes. It may be set anew.
    """

    def __init__(self, supersample: int, moving: float = FRAME_SECONDS, still: float | None = None) -> None:
        self.size, self.density = (512, 512), 1.0
        self.cost = 2e-3, 1e-7  # seconds a picture, and a sample
        self.still = still
        self._supersample, self._moving = supersample, moving
        self._drawn: int | None = None  # index of the last picture's quality; None: it is out of date
        self._moved = 0.0

    @property
    def is_moving(self) -> bool:
        return time.perf_counter() - self._moved < REST_SECONDS

    def move(self) -> None:
        """The camera or the light moves."""
        self._moved, self._drawn = time.perf_counter(), None

    def change(self) -> None:
        """Something else has changed."""
        self._drawn = None

    def next(self, size: tuple[int, int], density: float = 1.0) -> tuple[float, int] | None:
        """The quality of the next picture, for a display of this size and density; None if none is due."""
        if (size, density) != (self.size, self.density):
            self.size, self.density, self._drawn = size, density, None
        qualities = self._qualities()
        if self._drawn is None:
            longest = self._moving if self.still is None or self.is_moving else self.still
            self._drawn = self._best(qualities, longest)
        else:
            last = len(qualities) - 1 if self.still is None else self._best(qualities, self.still)
            if self.is_moving or self._drawn >= last:
                return None
            self._drawn = min(max(self._best(qualities, STILL_SECONDS), self._drawn + 2), last)
        return qualities[self._drawn]

    def measure(self, quality: tuple[float, int], seconds: float) -> None:
        """Learn from the time of a picture; one that compiles kernels counts little."""
        fixed, a_sample = self.cost
        of_samples = self._n_samples(quality) * a_sample
        expected = fixed + of_samples
        error = 0.3 * (min(seconds / expected, 3) - 1)
        # The larger part takes most of the error. Small pictures tell little of samples, so a larger one is tried.
        hope = HOPE if of_samples < fixed and quality != self._qualities()[-1] else 1
        self.cost = fixed * (1 + error * fixed / expected), a_sample * (1 + error * of_samples / expected) * hope

    def _qualities(self) -> list[tuple[float, int]]:
        n = round(self._supersample / self.density)
        return [(share, 1) for share in RESOLUTIONS] + [(1.0, n)] * (n > 1)

    def _best(self, qualities: list[tuple[float, int]], seconds: float) -> int:
        """The index of the best quality that takes at most this time."""
        fixed, a_sample = self.cost
        fits = [i for i, quality in enumerate(qualities) if fixed + self._n_samples(quality) * a_sample <= seconds]
        return max(fits, default=0)

    def _n_samples(self, quality: tuple[float, int]) -> float:
        share, n = quality
        return (share * n) ** 2 * self.size[0] * self.size[1]
