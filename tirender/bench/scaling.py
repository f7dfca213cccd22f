"""How cost grows with size: one workload at several sizes, slopes on logarithmic axes, and a figure."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tirender.bench.table import quantity
from tirender.checks import check_choice
from tirender.io.files import write_file


@dataclass(frozen=True)
class Series:
    """A workload at several sizes.

    Attributes:
        title: what is timed.
        axis: what the sizes count.
        workload: the workload's name.
        points: each size, and the settings of the workload that have it.
    """

    title: str
    axis: str
    workload: str
    points: Sequence[tuple[float, Mapping[str, Any]]]


def _along(setting: str, *sizes: int) -> list[tuple[float, Mapping[str, Any]]]:
    return [(size, {setting: size}) for size in sizes]


SERIES: dict[str, Series] = {
    "scale-image": Series(
        "render a mesh", "pixels", "render", [(s**2, {"image_size": s}) for s in (128, 256, 512, 1024, 2048)]
    ),
    "scale-faces": Series(
        "fit to silhouettes", "faces", "silhouette", [(20 * 4**n, {"level": n}) for n in (2, 3, 4, 5, 6)]
    ),
    "scale-views": Series("fit to silhouettes", "views a step", "silhouette", _along("views", 1, 2, 4, 8, 16)),
    "scale-k": Series(
        "faces of soft images", "faces a pixel", "op-soft-faces", _along("faces_per_pixel", 1, 4, 16, 64)
    ),
    "scale-splat": Series("splat points", "points", "points", _along("n_points", 10**4, 10**5, 10**6)),
    "scale-knn": Series("nearest neighbours", "points", "op-knn-100k", _along("n_points", 10**3, 10**4, 10**5, 10**6)),
}


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The exponent e of seconds ~ size ** e, by least squares of the logarithms."""
    fitted = statistics.linear_regression([math.log(s) for s in sizes], [math.log(s) for s in seconds])
    return fitted.slope


def check_format(path: Path) -> None:
    """Raise ``ValueError`` if matplotlib cannot write a figure with this ending."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    check_choice("--plot", _format(path), sorted(FigureCanvasAgg.get_supported_filetypes()))


def _format(path: Path) -> str:
    return path.suffix[1:].lower() or "png"


def plot(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw a small plot for each series.

    Args:
        results: ``sizes``, ``medians`` in seconds, and ``slope`` of each series, by its name.
        path: of the figure.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    n_columns = min(len(results), 3)
    n_rows = math.ceil(len(results) / n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(3.2 * n_columns, 2.6 * n_rows), squeeze=False)
    for ax in axes.flat[len(results) :]:
        ax.remove()
    for ax, (name, result) in zip(axes.flat, results.items()):
        sizes, milliseconds = result["sizes"], [1000 * s for s in result["medians"]]
        ax.loglog(sizes, milliseconds, "o-", color="#3b6ea5", markersize=4, linewidth=1.5)
        ax.set_title(SERIES[name].title, fontsize=10)
        ax.set_xlabel(SERIES[name].axis, fontsize=9)
        ax.set_ylabel("ms", fontsize=9)
        ax.text(0.05, 0.93, f"slope {result['slope']:.2f}", transform=ax.transAxes, va="top", fontsize=9)
        ax.set_xticks(sizes, [quantity(size) for size in sizes])
        low, high = math.log10(min(milliseconds) / 1.5), math.log10(max(milliseconds) * 1.5)
        ax.set_ylim(10 ** math.floor(low), 10 ** math.ceil(high))  # whole decades, so that some ticks have labels
        ax.minorticks_off()
        ax.grid(linewidth=0.5, alpha=0.4)
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    picture = io.BytesIO()
    figure.savefig(picture, format=_format(path), dpi=110)
    plt.close(figure)
    write_file(path, [picture.getvalue()])
