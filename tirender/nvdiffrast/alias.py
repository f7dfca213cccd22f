"""nvdiffrast's name for ``tirender.nvdiffrast``, put into ``sys.modules``."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

VERSION = "0.4.0"
"""The version of nvdiffrast whose names and behaviour these are."""
SITE = Path(__file__).parent / "site"
"""The folder whose ``nvdiffrast`` installs the name in processes that are started later."""
_ROOT_FILE = str(SITE / "nvdiffrast" / "__init__.py")


def install() -> None:
    """Make ``import nvdiffrast.torch`` mean tirender in this process.

    A second call does nothing. ``sys.path`` gets the folder from which processes that ``multiprocessing`` spawns
    install the name too.

    Raises:
        ImportError: nvdiffrast itself is already imported.
    """
    from tirender.nvdiffrast import torch as functions

    found = sys.modules.get("nvdiffrast")
    if found is not None and found.__dict__.get("torch") is functions:
        return
    if found is not None and found.__file__ != _ROOT_FILE:
        raise ImportError("nvdiffrast is already imported: call tirender.nvdiffrast.install() before that")
    root = ModuleType("nvdiffrast", "nvdiffrast, as tirender has it.")
    root.__spec__ = ModuleSpec("nvdiffrast", None, is_package=True)
    root.__path__ = []
    root.__dict__.update(__file__=_ROOT_FILE, __version__=VERSION, torch=functions)
    sys.modules.update({"nvdiffrast": root, "nvdiffrast.torch": functions, "nvdiffrast.torch.ops": functions})
    sys.path.insert(1, str(SITE))
