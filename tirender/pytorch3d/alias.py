"""Modules under PyTorch3D's names, put into ``sys.modules`` beforehand."""

from __future__ import annotations

import pkgutil
import sys
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from tirender.pytorch3d.modules import ALIAS_ONLY, LEFT_OUT, LOADED_LATE, PACKAGES, PATHS

VERSION = "0.7.9"
"""The version of PyTorch3D whose names and behaviour these are."""
SITE = Path(__file__).parent / "site"
"""The folder whose ``pytorch3d`` installs the names in processes that are started later."""
_ROOT_FILE = str(SITE / "pytorch3d" / "__init__.py")
_SHIMS = "tirender.pytorch3d.shims"


def install() -> None:
    """Make ``import pytorch3d``, and any path below it, mean tirender in this process.

    A second call does nothing. ``sys.path`` gets the folder from which processes that ``multiprocessing`` spawns
    install the names too.

    Raises:
        ImportError: PyTorch3D itself is already imported.
    """
    root, modules = sys.modules.get("pytorch3d"), _modules()
    if root is modules["pytorch3d"]:
        return
    if root is not None and root.__file__ != _ROOT_FILE:
        raise ImportError("pytorch3d is already imported: call tirender.pytorch3d.install() before that")
    sys.modules.update(modules)
    sys.path.insert(1, str(SITE))


@cache
def _modules() -> dict[str, ModuleType]:
    """All modules by their full names; None for those that must not be found."""
    shims = _shims()
    modules: dict[str, Any] = {}
    for path in reversed(["", *PATHS]):  # what a package holds comes before it
        name = _full_name("pytorch3d", path)
        held = {child: modules[f"{name}.{child}"] for child in PACKAGES.get(path, "").split()}
        differs = any(module.__name__.startswith("pytorch3d") for module in held.values())
        if differs or path in shims or path in LEFT_OUT or path in LOADED_LATE or path == "":
            modules[name] = _own_module(path, held, path in shims)
        else:
            modules[name] = twin = import_module(_full_name("tirender", path))
            if path in PACKAGES:
                others = {found.name for found in pkgutil.iter_modules(twin.__path__)} - {*held}
                modules.update(dict.fromkeys(f"{name}.{other}" for other in others))
    return modules


def _shims() -> set[str]:
    """The paths of the modules that ``shims`` adds to; none of them is loaded for this."""
    folder = Path(__file__).parent / "shims"
    files = [file.relative_to(folder).with_suffix("").parts for file in folder.rglob("*.py")]
    return {".".join(parts).removesuffix("__init__").rstrip(".") for parts in files} - {""}


def _full_name(package: str, path: str) -> str:
    return f"{package}.{path}".rstrip(".")


def _own_module(path: str, held: dict[str, ModuleType], has_shim: bool) -> ModuleType:
    """A module that shows the names of its shim and, below them, those of its twin in tirender.

    Args:
        path: below ``pytorch3d``.
        held: what a package holds, by name.
        has_shim: whether ``shims`` has a module of this path.
    """
    name, is_package = _full_name("pytorch3d", path), path in PACKAGES
    sources = [_full_name(_SHIMS, path)] if has_shim else []
    if not any(f"{path}.".startswith(f"{only}.") for only in ALIAS_ONLY):
        sources.append(_full_name("tirender", path))

    def look_up(attribute: str) -> Any:
        if attribute == "__all__":
            return [public for public in listed() if not public.startswith("_")]
        if attribute in LEFT_OUT.get(path, {}):
            raise ImportError(f"{name}.{attribute}: {LEFT_OUT[path][attribute]}", name=name)
        for source in map(import_module, sources if not attribute.startswith("__") else ()):
            value = getattr(source, attribute, module)
            if value is not module and not _is_ours(value):
                return value
        raise AttributeError(f"module {name!r} has no attribute {attribute!r}")

    def listed() -> list[str]:
        shown = {attribute for source in map(import_module, sources) for attribute in _shown(source)}
        return sorted(shown.union(module.__dict__))

    module = ModuleType(name, f"{name}, as tirender has it.")
    module.__spec__ = ModuleSpec(name, None, is_package=is_package)
    module.__dict__.update(__getattr__=look_up, __dir__=listed, __file__=str(_file(sources[0])))
    if is_package:
        module.__path__ = module.__spec__.submodule_search_locations = [
            str(SITE / "pytorch3d" / path.replace(".", "/"))
        ]
    if not path:
        module.__dict__.update(__file__=_ROOT_FILE, __version__=VERSION)
    for child, value in held.items():
        # where a function has the name of a module, such as ops.cubify, a package shows the function
        if path in ("", *LOADED_LATE) or not callable(getattr(module, child, None)):
            setattr(module, child, value)
    return module


def _file(name: str) -> Path:
    """The source of a module of tirender's, which need not be loaded for this."""
    folder = Path(__file__).parents[1].joinpath(*name.split(".")[1:])
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def _shown(source: ModuleType) -> list[str]:
    """The names that a module of tirender's adds to a listing."""
    names = getattr(source, "__all__", dir(source))
    return [name for name in names if not name.startswith("__") and not _is_ours(getattr(source, name, None))]


def _is_ours(value: Any) -> bool:
    """Whether a value is one of tirender's modules, which are no part of PyTorch3D."""
    return isinstance(value, ModuleType) and value.__name__.split(".")[0] == "tirender"
