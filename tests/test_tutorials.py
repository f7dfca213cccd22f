"""The tutorials, section by section: the code runs, and what it draws is what the text says.

``TIRENDER_TUTORIAL_FIGURES=folder`` keeps the figures, to look at.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

SECTIONS = Path(__file__).parent / "tutorials"


@pytest.fixture(autouse=True)
def _pyplot(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Figures are kept instead of shown, and closed in the end."""
    with plt.rc_context({"figure.max_open_warning": 0}):
        plt.switch_backend("agg")
        monkeypatch.setattr(plt, "show", lambda *args, **kwargs: None)
        yield
        plt.close("all")


def run_section(number: int, folder: Path) -> tuple[list[Figure], dict[str, Any]]:
    """The figures that a section draws, and its variables; each figure is saved and seen to be no blank."""
    variables = runpy.run_path(str(SECTIONS / f"section{number}.py"))
    figures = [plt.figure(i) for i in plt.get_fignums()]
    folder = Path(os.environ.get("TIRENDER_TUTORIAL_FIGURES") or folder)
    folder.mkdir(parents=True, exist_ok=True)
    for i, figure in enumerate(figures):
        path = folder / f"section{number}_{i + 1}.png"
        figure.savefig(path, dpi=50)
        assert np.ptp(plt.imread(path)) > 0.5, f"{path} is blank"
    return figures, variables


def images_of(figure: Figure) -> list[np.ndarray]:
    """What ``imshow`` drew in a figure, axes by axes."""
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.get_images()]


def test_section_2_render_textured_meshes(tutorial_data: Path, tmp_path: Path) -> None:
    figures, variables = run_section(2, tmp_path)
    texture, lit, unlit, grid = map(images_of, figures)

    assert texture[0].shape == (1024, 1024, 3)
    (circles,) = figures[0].axes[0].collections
    assert len(circles.get_paths()) == len(variables["mesh"].textures.verts_uvs_padded()[0])

    cow = lit[0].min(-1) < 1  # on white
    assert lit[0].shape == (512, 512, 3)
    assert 0.1 < cow.mean() < 0.15
    np.testing.assert_allclose(cow[:, :256].mean(), cow[:, ::-1][:, :256].mean(), rtol=0.02)  # seen from the front
    assert (cow == (unlit[0].min(-1) < 1)).mean() > 0.98
    assert unlit[0][cow].mean() < 0.75 * lit[0][cow].mean()
    assert np.ptp(lit[0][cow]) > 0.9  # highlights

    assert len(grid) == 20
    assert all(view.shape == (512, 512, 3) for view in grid)
    assert all(np.abs(a - b).max() > 0.5 for i, a in enumerate(grid) for b in grid[:i])
    np.testing.assert_allclose(grid[0], lit[0], atol=1e-3)  # azimuth -180 is azimuth 180
