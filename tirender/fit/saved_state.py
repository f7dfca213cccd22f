"""Checks of a saved state of a fit before it is loaded: checkpoints are files, and files may say anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tirender.checks import FLOATS, check_kind, fail
from tirender.fit.generators import set_generator_states, undisturbed

MOMENTS = {
    torch.optim.SGD: {"momentum_buffer"},
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
}  # what these optimizers keep of each parameter
N_WORDS = 624  # of the state of a Mersenne Twister
TOTAL = "total"  # the history's name of the weighted sum


def check_state(state: Any, groups: Any, scheduler: Any) -> None:
    """Check all parts of a state but those that only the module and its optimizer can judge.

    Args:
        state: as :meth:`~tirender.fit.FitRun.state_dict` returns it.
        groups: the optimizer's own ``param_groups``.
        scheduler: the scheduler's own state; None without one.
    Raises:
        ValueError: the message begins with the name of the part.
    """
    check_kind("checkpoint", state, Mapping)
    step = check_step("step", _part(state, "step"))
    _check_history(_part(state, "history"), step)
    check_parameters("module", _part(state, "module"))
    best = _part(state, "best")
    check_kind("best", best, Mapping)
    if check_step("best step", _part(best, "step", "best ")) > step:
        fail("best step", f"one of the {step} steps", best["step"])
    check_parameters("best module", _part(best, "module", "best "))
    if best["module"].keys() != state["module"].keys():
        fail("best module", f"the names {sorted(state['module'])}", sorted(map(str, best["module"])))
    for name, mean in (("best mean", _part(best, "mean", "best ")), ("mean", _part(state, "mean"))):
        if not isinstance(mean, float) or not (math.isfinite(mean) or (mean == math.inf and step == 0)):
            fail(name, "a finite number", mean)
    check_kind("optimizer", _part(state, "optimizer"), Mapping)
    check_kind("optimizer state", _part(state["optimizer"], "state", "optimizer "), Mapping)
    saved = _part(state["optimizer"], "param_groups", "optimizer ")
    _check_like("optimizer param_groups", saved, groups)
    for group, own in zip(saved, groups):
        for key, value in own.items():  # another algorithm keeps other moments, or runs on other devices
            if isinstance(value, bool | None) and group.get(key, value) is not value:
                fail(f"optimizer param_groups {key}", str(value), group[key])
    _check_like("scheduler", _part(state, "scheduler"), scheduler)
    _check_generators(_part(state, "generators"))


def check_step(name: str, step: Any) -> int:
    """Return a whole number of 0 or more, else raise ``ValueError``."""
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        fail(name, "a whole number of 0 or more", step)
    return step


def check_parameters(name: str, parameters: Any) -> None:
    """Raise ``ValueError`` unless these are tensors by name, with finite numbers."""
    check_kind(name, parameters, Mapping)
    for key, value in parameters.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            fail(f"{name} {key}", "a dense tensor of this name", type(value).__name__)
        if value.is_floating_point() and not bool(value.isfinite().all()):
            fail(f"{name} {key}", "finite numbers", "NaN or infinity")


def check_optimizer(optimizer: torch.optim.Optimizer, groups: Sequence[Mapping[str, Any]]) -> None:
    """Raise ``ValueError`` unless what an optimizer has loaded fits its parameters.

    Args:
        optimizer: with the loaded state.
        groups: its ``param_groups`` before.
    """
    for group, before in zip(optimizer.param_groups, groups):
        if lacking := sorted(before.keys() - group.keys()):
            fail("optimizer param_groups", f"the settings {lacking}", "none")
        for parameter in group["params"]:
            moments = optimizer.state.get(parameter, {})
            names = MOMENTS.get(type(optimizer))
            check_kind("optimizer state", moments, Mapping)
            if not names or not moments:
                _check_numbers("optimizer state", moments)
                continue
            if moments.keys() != names:
                fail("optimizer state", f"the parts {sorted(names)}", sorted(map(str, moments)))
            for name, value in moments.items():
                if value is not None or name != "momentum_buffer":  # None without momentum
                    _check_moment(name, value, parameter.shape)


def _check_moment(name: str, value: Any, shape: torch.Size) -> None:
    what = f"optimizer state {name}"
    if not isinstance(value, torch.Tensor) or value.shape != (torch.Size() if name == "step" else shape):
        fail(what, "a tensor of the parameter's shape", _described(value))
    if value.dtype not in FLOATS or not bool(value.isfinite().all()):
        fail(what, "finite floats", f"{value.dtype}, perhaps NaN or infinite")
    if name in ("step", "exp_avg_sq") and bool((value < 0).any()):
        fail(what, "numbers of 0 or more", "others")


def check_settings(settings: Any) -> None:
    """Raise ``ValueError`` unless these are numbers, strings, None, or tuples of them, by name."""
    check_kind("settings", settings, Mapping)
    for name, value in settings.items():
        items = value if isinstance(value, (tuple, list)) else [value]
        if not isinstance(name, str) or not all(isinstance(item, (int, float, str, type(None))) for item in items):
            fail(f"settings {name}", "a number or a string of this name", type(value).__name__)


def check_same_kind(name: str, value: Any, default: Any) -> None:
    """Raise ``ValueError`` unless a setting is None or of the kind of its default.

    A float may be whole; where the default is None, any number will do.
    """
    kinds = {float: (float, int), type(None): (float, int), tuple: (tuple, list)}.get(type(default), (type(default),))
    if value is not None and type(value) not in kinds:
        fail(name, kinds[0].__name__, repr(value)[:100])
    _check_numbers(name, value)


def _part(state: Mapping[str, Any], name: str, of: str = "") -> Any:
    if name not in state:
        fail(f"{of}{name}", "a part of the checkpoint", "none")
    return state[name]


def _check_history(history: Any, step: int) -> None:
    check_kind("history", history, Mapping)
    for name, values in history.items():
        is_list = isinstance(name, str) and isinstance(values, torch.Tensor) and values.dim() == 1
        if not is_list or values.layout != torch.strided or values.dtype not in FLOATS or len(values) > step:
            fail(f"history {name}", f"at most {step} floats, one a step", _described(values))
        if not bool(values.isfinite().all()):
            fail(f"history {name}", "finite numbers", "NaN or infinity")
    if len(history.get(TOTAL, ())) != step:
        fail(f"history {TOTAL}", f"{step} floats, one a step", len(history.get(TOTAL, ())))


def _described(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


def _check_numbers(name: str, value: Any) -> None:
    """Raise ``ValueError`` if nested dicts, lists and tuples hold a number that is not finite, or is beyond 2^63."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_numbers(f"{name} {key}", item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            _check_numbers(name, item)
    elif isinstance(value, torch.Tensor):
        if value.is_floating_point() and not bool(value.isfinite().all()):
            fail(name, "finite numbers", "NaN or infinity")
    elif isinstance(value, (int, float)) and not abs(value) < 2**63:
        fail(name, "a finite number", str(value)[:100])


def _check_like(name: str, value: Any, like: Any) -> None:
    """Raise ``ValueError`` if nested dicts and lists differ from others in kind, or hold numbers out of range.

    Keys that only one side has are left to torch, whose versions differ in them.
    """
    if isinstance(like, Mapping):
        check_kind(name, value, Mapping)
        for key in value.keys() & like.keys():
            _check_like(f"{name} {key}", value[key], like[key])
    elif isinstance(like, (list, tuple)):
        if not isinstance(value, (list, tuple)) or len(value) != len(like):
            fail(name, f"{len(like)} items", len(value) if isinstance(value, (list, tuple)) else type(value).__name__)
        for item, own in zip(value, like):
            _check_like(name, item, own)
    else:
        kinds = {float: (float, int), int: (int, float), type(None): (type(None), bool)}.get(type(like), (type(like),))
        if type(value) not in kinds:
            fail(name, " or ".join(kind.__name__ for kind in kinds), type(value).__name__)
        _check_numbers(name, value)


def _check_generators(states: Any) -> None:
    """Set the generators, and what they were again."""
    try:
        if not 0 <= states["numpy"][1] <= N_WORDS:  # numpy would read beyond its words
            raise ValueError(f"position {states['numpy'][1]}")
        with undisturbed():
            set_generator_states(states)
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError, OverflowError, IndexError) as error:
        fail("generators", "states of the random generators", " ".join(str(error).split())[:200])
