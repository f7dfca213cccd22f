"""Every example runs, small, and makes the figures it promises."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run_example(name: str, *args: object) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]([str(arg) for arg in args])


def test_render_textured_mesh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_example("render_textured_mesh", "--size", 64, "--output", tmp_path)
    names = ["figure4_texture", "figure5a_light_in_front", "figure5b_light_behind", "figure6_batch"]
    assert capsys.readouterr().out == f"{tmp_path}: " + ", ".join(f"{name}.png" for name in names) + "\n"
    texture, lit, unlit, batch = (plt.imread(tmp_path / f"{name}.png")[..., :3] for name in names)
    assert np.ptp(texture) > 0.5
    creature = unlit.min(-1) < 0.99
    assert lit.shape == unlit.shape == (64, 64, 3)
    assert 0.05 < creature.mean() < 0.3
    assert unlit[creature].mean() < 0.75 * lit[creature].mean()
    rows, columns = batch.shape[0] // 4, batch.shape[1] // 5
    views = [batch[r * rows : (r + 1) * rows, c * columns : (c + 1) * columns] for r in range(4) for c in range(5)]
    assert all(np.abs(a - b).max() > 0.2 for i, a in enumerate(views) for b in views[:i])


def test_render_textured_mesh_of_the_cow(tutorial_data: Path, tmp_path: Path) -> None:
    run_example("render_textured_mesh", "--mesh", "cow", "--size", 32, "--output", tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_examples_are_all_here() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested
