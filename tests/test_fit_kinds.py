"""The records of the kinds of fits: complete, and all that the command line, scenes and the tour read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tirender.cli import main, make_parser
from tirender.fit import FitConfig
from tirender.fit.nerf import HARMONIC_NERF
from tirender.fit_kinds import KINDS, PRESETS, FitKind
from tirender.fit_kinds.silhouette import SilhouetteFit
from tirender.io import IO
from tirender.scenes import load_scene
from tirender.tour import TourConfig
from tirender.utils import torus


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> FitKind:
    return KINDS[request.param]


def test_presets_are_settings_of_one_class(kind: FitKind) -> None:
    presets = kind.presets()
    assert tuple(presets) == PRESETS
    assert len({type(config) for config in presets.values()}) == 1
    assert all(isinstance(config, FitConfig) for config in presets.values())


def test_arguments_that_are_given_replace_the_presets(kind: FitKind) -> None:
    for preset in PRESETS:
        config = kind.configure(preset, {"steps": None, "seed": 3, "frames": 5})
        assert config == dataclasses.replace(kind.presets()[preset], seed=3)
        assert kind.configure(preset, {"steps": 7}).steps == 7


@pytest.mark.parametrize(
    ("preset", "field", "expected"),
    [
        ("tutorial", None, "harmonic"),
        ("best", None, "hashgrid"),
        ("tutorial", "hashgrid", "hashgrid"),
    ],
)
def test_each_radiance_field_has_its_own_preset(preset: str, field: str | None, expected: str) -> None:
    presets = {config.field: config for config in KINDS["nerf"].presets().values()}
    assert KINDS["nerf"].configure(preset, {"field": field}) == presets[expected]


def test_the_best_preset_of_the_network_skips_empty_cells() -> None:
    assert KINDS["nerf"].configure("best", {"field": "harmonic", "steps": 5}) == dataclasses.replace(
        HARMONIC_NERF, steps=5
    )
    assert HARMONIC_NERF.skip_empty


def test_options_are_arguments_of_the_command_line(kind: FitKind, capsys: pytest.CaptureFixture[str]) -> None:
    required = [option for option in kind.options if option.required]
    given = make_parser().parse_args(["fit", kind.name, *(f"the {option.name}" for option in required)])
    for option in kind.options:
        expected = f"the {option.name}" if option.required else option.default
        assert getattr(given, option.name.replace("-", "_")) == expected
    with pytest.raises(SystemExit, match="0"):
        main(["fit", kind.name, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"Find {kind.finds}, so that {kind.so_that}." in text
    for option in kind.options:
        assert (option.metavar if option.required else f"--{option.name}") in text
        if isinstance(option.values, range):
            bad = str(option.values[-1] + 1)
            with pytest.raises(SystemExit, match="2"):
                main(["fit", kind.name, *(option.name for option in required), f"--{option.name}", bad])
            expected = f"expected {option.values[0]} to {option.values[-1]}"
            assert expected in capsys.readouterr().err


class Outline(SilhouetteFit):
    """A kind of fit that somebody adds."""

    name = "outline"
    finds, so_that = "an outline", "it is a new kind"

    def quality(self, run, target, watch=None) -> dict[str, float]:
        return {"novelty": 1.0}


def test_a_new_kind_is_one_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(KINDS, "outline", Outline())
    IO().save_mesh(torus(0.3, 1.0, 10, 20), tmp_path / "ring.obj")
    few = ["--steps", "2", "--level", "1", "--views", "2", "--size", "16"]
    out = tmp_path / "out"
    assert main(["fit", "outline", str(tmp_path / "ring.obj"), "-o", str(out), *few]) == 0
    assert "mesh.obj after 2 steps" in capsys.readouterr().out
    assert '"novelty": 1.0' in (out / "losses.json").read_text()
    assert load_scene(out).facts == "80 faces"
    assert TourConfig().fits["outline"] == KINDS["silhouette"].presets()["tutorial"]
