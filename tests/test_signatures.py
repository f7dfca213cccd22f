"""Calls that fit PyTorch3D's signatures fit these: names and order of arguments, defaults, and what may be left out."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from tirender.renderer import PointsRasterizationSettings, RasterizationSettings

LINES = (Path(__file__).parent / "data" / "pytorch3d_signatures.txt").read_text("utf-8").splitlines()
SIGNATURES = [line for line in LINES if not line.startswith("#")]
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def resolve(path: str) -> Any:
    """The object at a path below tirender: a module, then a class or function, then perhaps a method."""
    parts = path.split(".")
    module = importlib.import_module(f"tirender.{parts[0]}")
    for i, part in enumerate(parts[1:], start=2):
        try:  # a module is found before a function of its name, which its package exports
            found = importlib.import_module(f"tirender.{'.'.join(parts[:i])}") if i < len(parts) else None
        except ModuleNotFoundError:
            found = None
        module = getattr(module, part) if found is None else found
    return module


def parameters_of(called: Any) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(called.__init__ if inspect.isclass(called) else called).parameters.values())
    is_tuple = inspect.isclass(called) and issubclass(called, tuple)
    if is_tuple:
        return list(inspect.signature(called).parameters.values())
    return parameters[1:] if parameters and parameters[0].name == "self" else parameters


@pytest.mark.parametrize("line", SIGNATURES, ids=lambda line: line.partition("(")[0])
def test_a_call_of_pytorch3d_fits(line: str) -> None:
    path, _, rest = line.partition("(")
    theirs = ast.parse(f"def f({rest}: pass").body[0].args  # type: ignore[attr-defined]
    ours = parameters_of(resolve(path))
    if [p.name for p in ours] == ["args", "kwargs"] and not theirs.args:
        return  # of torch.nn.Module
    by_name = {p.name: p for p in ours}
    order = [p.name for p in ours if p.kind in POSITIONAL]
    names = [arg.arg for arg in theirs.args]
    assert order[: len(names)] == names
    defaults = [None] * (len(names) - len(theirs.defaults)) + theirs.defaults
    wanted = dict(zip(names, defaults)) | {arg.arg: d for arg, d in zip(theirs.kwonlyargs, theirs.kw_defaults)}
    for name, default in wanted.items():
        assert name in by_name, name
        if default is None:
            continue  # required there
        value = by_name[name].default
        assert value is not inspect.Parameter.empty, name
        if not (isinstance(default, ast.Constant) and default.value is ...):
            assert value == eval(ast.unparse(default), {"torch": torch}), name
    for name in set(by_name) - set(wanted):
        variadic = by_name[name].kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        assert variadic or by_name[name].default is not inspect.Parameter.empty, f"{name} is required here alone"
    assert theirs.kwarg is None or any(p.kind == inspect.Parameter.VAR_KEYWORD for p in ours)
    assert theirs.vararg is None or any(p.kind == inspect.Parameter.VAR_POSITIONAL for p in ours)


def test_the_table_covers_the_public_names() -> None:
    names = (Path(__file__).parent / "data" / "public_names.txt").read_text("utf-8").split()
    assert set(names) <= {line.partition("(")[0] for line in SIGNATURES}


def test_settings_by_position() -> None:
    settings = RasterizationSettings(16, 0.0, 1, 0, 100, 50)
    assert (settings.bin_size, settings.max_faces_opengl, settings.max_faces_per_bin) == (0, 100, 50)
    assert settings.perspective_correct is None
    assert PointsRasterizationSettings(16, 0.1, 2, 0, 50).max_points_per_bin == 50
