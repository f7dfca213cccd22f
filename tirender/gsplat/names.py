"""gsplat's name for tirender's modules."""

from __future__ import annotations

import sys
from importlib import import_module

MODULES = (
    "",
    ".compression",
    ".cuda",
    ".cuda._wrapper",
    ".distributed",
    ".exporter",
    ".optimizers",
    ".relocation",
    ".rendering",
    ".strategy",
    ".strategy.base",
    ".strategy.default",
    ".strategy.mcmc",
    ".strategy.ops",
    ".utils",
    ".version",
)


OTHER_NAMES = {
    "._torch_impl": ".legacy",
    ".cuda_legacy": ".legacy",
    ".cuda_legacy._torch_impl": ".legacy",
    ".cuda_legacy._wrapper": ".legacy",
    ".project_gaussians": ".legacy",
    ".rasterize": ".legacy",
    ".sh": ".legacy",
}
"""Modules that earlier versions of gsplat had, and where their functions are here."""


def install() -> None:
    """Make ``import gsplat``, and its modules, mean ``tirender.gsplat`` in this process.

    A second call does nothing.

    Raises:
        ImportError: gsplat itself is already imported.
    """
    ours = import_module("tirender.gsplat")
    if sys.modules.get("gsplat", ours) is not ours:
        raise ImportError("gsplat is already imported: call tirender.gsplat.install() before that")
    for name, own in ({name: name for name in MODULES} | OTHER_NAMES).items():
        sys.modules[f"gsplat{name}"] = import_module(f"tirender.gsplat{own}")
