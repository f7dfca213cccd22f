"""Photos of any number and size: made ready when asked for, kept as bytes, in memory or in a temporary file."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from tirender.budget import allowed, budget, spend
from tirender.captures.photo_cache import SLOW, keep, kept
from tirender.checks import check_choice, check_tensor, fail
from tirender.progress import followed

Size = tuple[int, int]
Make = Callable[[int], torch.Tensor]
MAX_WORKERS = 8
MASKS = ("none", "alpha", "given")
SHARE = 0.5  # of the budget, that photos may have in memory


class Photos:
    """N photos, made ready at their first use.

    Args:
        make: returns the photo of an index, (H, W, C) uint8: its colours, and with C = 4 what it shows of the object,
            by which the colours are multiplied already. It is called from several threads.
        sizes: height and width of each, known before.
        masks: where they come from: "given" and "alpha" make C 4, "none" makes it 3.
        name: of the folder, for messages.
        key: under which photos that took long are kept for later runs, see ``photo_cache``; None to keep none.
    Attributes:
        sizes: height and width of each.
    """

    def __init__(
        self,
        make: Make,
        sizes: Sequence[Size],
        masks: str = "none",
        name: str = "photos",
        key: str | None = None,
    ) -> None:
        self.sizes: tuple[Size, ...] = tuple(sizes)
        self.masks = check_choice("masks", masks, MASKS)
        self._store = _Store(make, self.sizes, 3 if masks == "none" else 4, name)
        self._key = key
        self._rows = range(len(self.sizes))

    @classmethod
    def of(cls, images: torch.Tensor, masks: torch.Tensor | None = None) -> Photos:
        """Photos from tensors: (N, H, W, 3) in [0, 1], on black, and masks (N, H, W)."""
        check_tensor("images", images, ("N", "H", "W", 3))
        if masks is not None:
            check_tensor("masks", masks, images.shape[:3])
            images = torch.cat([images, masks[..., None]], 3)
        pixels = images.detach()
        sizes = [(images.shape[1], images.shape[2])] * len(images)
        photos = cls(lambda i: pixels[i], sizes, "none" if masks is None else "given")
        photos._store.keep(pixels.reshape(-1, pixels.shape[3]))
        return photos

    def __len__(self) -> int:
        return len(self._rows)

    def subset(self, index: Sequence[int]) -> Photos:
        """Some of the photos, which share what is made ready."""
        other = object.__new__(Photos)
        other._store, other._rows = self._store, [self._rows[i] for i in index]  # type: ignore[assignment]
        other.masks, other._key = self.masks, self._key
        other.sizes = tuple(self.sizes[i] for i in index)
        return other

    def __getitem__(self, i: int) -> torch.Tensor:
        """The photo (H, W, 3 or 4), uint8 (or as it was given to ``of``), not to be written to."""
        return self._store.photo(self._rows[i])

    @functools.cached_property
    def has_masks(self) -> bool:
        """Whether there are masks, or alpha that is not opaque; makes photos ready until one has some."""
        return (
            self.masks == "given"
            or self.masks == "alpha"
            and any(bool((self[i][..., 3] < 255).any()) for i in range(len(self)))
        )

    def cropped(self, height: int, width: int) -> Photos:
        """The middle of each photo, of one size."""

        def middle(i: int) -> torch.Tensor:
            top, left = (self.sizes[i][0] - height) // 2, (self.sizes[i][1] - width) // 2
            return self[i][top : top + height, left : left + width]

        return Photos(middle, [(height, width)] * len(self), self.masks, self._store.name)

    def prepare(self, label: str = "photos") -> None:
        """Make all photos ready, in parallel and with progress, or take them from an earlier run.

        Raises:
            ValueError, OSError: as the files have them, the first by number.
        """
        if self._key is not None and self._store.is_empty:
            pixels = kept(self._key, self._store.shape)
            if pixels is not None:
                self._store.keep(torch.from_numpy(pixels))
        began = time.monotonic()
        self._store.make_all(self._rows, label)
        if self._key is not None and self._store.is_full and time.monotonic() - began > SLOW:
            keep(self._key, self._store.flat.numpy())

    def pixels(self, photo: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        """Pixels (R, 3 or 4), as of the photos, each at a row and a column: three integer tensors (R,)."""
        self._store.make_all([self._rows[i] for i in photo.unique().tolist()])
        rows = torch.tensor([*self._rows])[photo]
        place = self._store.starts[rows] + row * self._store.widths[rows] + column
        return self._store.flat[place.to(self._store.flat.device)]


class _Store:
    """All photos, one after the other, and which of them are made."""

    def __init__(self, make: Make, sizes: Sequence[Size], channels: int, name: str) -> None:
        self.make, self.sizes, self.channels, self.name = make, sizes, channels, name
        counts = torch.tensor([0, *(height * width for height, width in sizes)]).cumsum(0)
        self.starts, self.widths = counts[:-1], torch.tensor([width for _, width in sizes])
        self._made = [False] * len(sizes)
        self._locks = [threading.Lock() for _ in sizes]
        self._each = max((allowed() if sizes else 0), 1)  # bytes that making a photo may take

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of all photos, and their channels."""
        return sum(height * width for height, width in self.sizes), self.channels

    @property
    def is_empty(self) -> bool:
        """Whether no photo is made."""
        return not any(self._made)

    @property
    def is_full(self) -> bool:
        """Whether all photos are made."""
        return all(self._made)

    @functools.cached_property
    def flat(self) -> torch.Tensor:
        """(P, C) bytes, in memory if they fit into a part of the budget, else in a file that vanishes with them."""
        n_pixels, channels = self.shape
        n_bytes = n_pixels * channels
        if n_bytes <= SHARE * self._each:
            with budget(self._each):
                spend(self.name, n_bytes, f"{len(self.sizes)} photos")
            return torch.empty(n_pixels, self.channels, dtype=torch.uint8)
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
        if n_bytes > 0.9 * free:
            needed = f"{n_bytes / 1e9:.1f} GB for {len(self.sizes)} photos (TMPDIR names another disk)"
            fail(f"{self.name}, space in {folder}", needed, f"{free / 1e9:.1f} GB")
        with tempfile.TemporaryFile(dir=folder) as file:  # the map keeps what is in it
            return torch.from_numpy(np.memmap(file, np.uint8, "w+", shape=(n_pixels, self.channels)))

    def keep(self, flat: torch.Tensor) -> None:
        """Have all photos from the start, in a tensor of any kind."""
        self.__dict__["flat"], self._made = flat, [True] * len(self.sizes)

    def photo(self, i: int) -> torch.Tensor:
        height, width = self.sizes[i]
        place = self.flat[self.starts[i] : self.starts[i] + height * width].view(height, width, self.channels)
        with self._locks[i]:
            if not self._made[i]:
                with budget(self._each):  # threads do not know the caller's
                    place.copy_(check_tensor(f"{self.name}, photo {i}", self.make(i), place.shape))
                self._made[i] = True
        return place

    def make_all(self, index: Iterable[int], label: str = "") -> None:
        missing = [i for i in index if not self._made[i]]
        if len(missing) < 2:
            for i in missing:
                self.photo(i)
            return
        _ = self.flat  # in this thread
        with ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_WORKERS)) as pool:
            waiting = [pool.submit(self.photo, i) for i in missing]
            try:
                for future in followed(waiting, label) if label else waiting:
                    future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
