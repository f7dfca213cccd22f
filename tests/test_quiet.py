"""No network unless a download is asked for, and no warnings: everything imported, drawn and fitted in a fresh process.

Taichi's own check for new versions is of what must not happen; its import's warning is the one that is let pass.
"""

from __future__ import annotations

import subprocess
import sys

CODE = """
import importlib, pkgutil, sys

def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise SystemExit(f"{event} {args}")

sys.addaudithook(refuse)
import tirender

names = [module.name for module in pkgutil.walk_packages(tirender.__path__, "tirender.")]
for name in names:
    importlib.import_module(name)
tirender.init("cpu")
import torch
from tirender import datasets
from tirender.fit import MeshConfig, fit_mesh, render_views
from tirender.io import load_objs_as_meshes
mesh = load_objs_as_meshes([datasets.creature()])
images = render_views(mesh, 1, 16).images
run = fit_mesh(mesh, config=MeshConfig(steps=2, level=1, n_samples=50, progress=False))
print(len(names), tuple(images.shape), run.step)
"""
OF_TAICHI = [
    "ignore:'locale.getdefaultlocale' is deprecated:DeprecationWarning",
    "ignore:invalid escape sequence:DeprecationWarning",
    "ignore:invalid escape sequence:SyntaxWarning",
]
NETWORK = "import socket; socket.create_connection(('192.0.2.1', 9), 1)"  # an address that is nobody's


def run(code: str) -> subprocess.CompletedProcess[str]:
    options = ["-W", "error", *(word for entry in OF_TAICHI for word in ("-W", entry))]
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=300)


def test_nothing_is_asked_of_the_network_and_nothing_is_warned_of() -> None:
    done = run(CODE)
    assert done.returncode == 0, done.stderr
    n_modules, *rest = done.stdout.split(maxsplit=1)
    assert int(n_modules) > 150
    assert rest == ["(1, 16, 16, 3) 2\n"]
    assert [line for line in done.stderr.splitlines() if not line.startswith("tirender: compiling")] == []


def test_this_test_sees_the_network() -> None:
    done = run(CODE.split("import tirender")[0] + NETWORK)
    assert done.returncode == 1
    assert done.stderr.startswith("socket.")
