"""Imports point down only, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [  # from the bottom; names in one tuple lie side by side and do not know one another
    ("checks", "progress", "signals"),
    ("transforms", "budget"),
    ("engine",),
    ("structures",),
    ("ops",),
    ("renderer", "loss", "fields"),
    ("io", "utils"),
    ("vis", "datasets", "captures"),
    ("fit",),
    ("fit_kinds",),
    ("scenes",),
    ("bench", "tour", "gsplat", "pytorch3d", "nvdiffrast"),
    ("commands",),
    ("cli", "examples"),
    ("__main__",),
]
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}
EXCEPTIONS = {  # methods of PyTorch3D's that need what lies above; imported when called
    "tirender.ops.cubify": ["tirender.renderer.mesh.textures_atlas.TexturesAtlas"],
}
KERNEL_MODULES = {"taichi", "math", "typing"}  # what a kernel file may import beside other kernel files
CHOICE_OF_TAICHI = "tirender.engine.compiler.choose"  # which kernels/__init__.py makes

PACKAGE = sorted((ROOT / "tirender").rglob("*.py"))
SOURCES = PACKAGE + sorted((ROOT / "examples").glob("*.py"))
KERNELS = [
    path for path in (ROOT / "tirender" / "engine" / "kernels").glob("*.py") if "@ti.kernel" in path.read_text("utf-8")
]


def imports(source: str, module: str, with_types: bool = True) -> Iterator[str]:
    """The full names of all modules and members that the source of a module imports, at any depth.

    Those that only a type checker imports are left out where not ``with_types``.
    """
    tree = ast.parse(source)
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if not with_types and id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names)


def module_of(path: Path) -> str:
    """The dotted name of a file; a package's ``__init__`` stays in it, for relative imports."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def upward(source: str, module: str) -> list[str]:
    """The imports of a module that do not point down, nor stay in its own package."""
    parts = module.removeprefix("tirender.").split(".")
    own = parts[0]
    if own == "__init__":  # of tirender itself: re-exports the runtime's init
        return [name for name in imports(source, module) if name.startswith("tirender.") and "runtime" not in name]
    found = []
    for name in imports(source, module):
        package, _, rest = name.partition(".")
        target = rest.split(".")[0]
        if package == "tirender" and target in HEIGHT and target != own and HEIGHT[target] >= HEIGHT[own]:
            found.append(name)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_point_down(path):
    module = module_of(path)
    assert upward(path.read_text("utf-8"), module) == EXCEPTIONS.get(module, [])


def test_no_file_imports_itself_through_others():
    names = {module_of(path).removesuffix(".__init__") for path in PACKAGE}
    graph: dict[str, set[str]] = {}
    for path in PACKAGE:
        module = module_of(path)
        taken = imports(path.read_text("utf-8"), module, with_types=False)
        found = {next((m for m in (name, name.rpartition(".")[0]) if m in names), "") for name in taken}
        graph[module.removesuffix(".__init__")] = found - {"", "tirender"}
    assert circle(graph) == []


def test_this_test_sees_circles():
    assert circle({"a": {"b"}, "b": {"c"}, "c": set(), "d": {"a"}}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"d", "b"}, "d": set()}) == ["b", "c", "b"]


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A way through the graph that ends where it began; empty where there is none."""
    done: set[str] = set()

    def search(way: list[str]) -> list[str]:
        if way[-1] in way[:-1]:
            return way[way.index(way[-1]) :]
        for name in sorted(graph.get(way[-1], ()) - done):
            if found := search([*way, name]):
                return found
        done.add(way[-1])
        return []

    return next((found for name in sorted(graph) if (found := search([name]))), [])


def test_every_module_has_a_layer():
    assert {module_of(path).removeprefix("tirender.").split(".")[0] for path in SOURCES} <= {"__init__", *HEIGHT}


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("tirender.ops.x", "from tirender.renderer import cameras", ["tirender.renderer.cameras"]),
        ("tirender.ops.x", "def f():\n    import tirender.io.obj_io", ["tirender.io.obj_io"]),
        ("tirender.ops.x", "from ..vis import image_grid", ["tirender.vis.image_grid"]),
        ("tirender.ops.x", "from tirender import loss", ["tirender.loss"]),
        ("tirender.engine.kernels.x", "from tirender.structures import meshes", ["tirender.structures.meshes"]),
        ("tirender.ops.__init__", "from . import x\nfrom .x import y\nfrom ..checks import fail", []),
        ("tirender.vis.x", "import torch\nfrom tirender import io, engine\nimport tirender", []),
        ("tirender.engine.x", "from tirender.structures import meshes", ["tirender.structures.meshes"]),
    ],
)
def test_this_test_sees_upward_imports(module, source, found):
    assert upward(source, module) == found


@pytest.mark.parametrize("path", [p for p in PACKAGE if p.parent.name == "kernels"], ids=module_of)
def test_kernels_know_taichi_and_nothing_of_torch(path):
    for name in imports(path.read_text("utf-8"), module_of(path)):
        is_choice = name == CHOICE_OF_TAICHI and path.name == "__init__.py"
        assert is_choice or name.startswith("tirender.engine.kernels.") or name.split(".")[0] in KERNEL_MODULES, name


@pytest.mark.parametrize("path", PACKAGE, ids=module_of)
def test_taichi_is_imported_by_kernels_what_runs_them_and_windows_only(path):
    module = module_of(path)
    runs_them = (
        "tirender.engine.compiler",
        "tirender.engine.device_arrays",
        "tirender.engine.device_copies",
        "tirender.engine.launcher",
        "tirender.engine.runtime",
        "tirender.vis.window",
    )
    if module not in runs_them and not module.startswith("tirender.engine.kernels."):
        assert "taichi" not in {name.split(".")[0] for name in imports(path.read_text("utf-8"), module)}


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.stem)
def test_kernels_operation_and_test_share_a_stem(path):
    assert (ROOT / "tirender" / "engine" / path.name).is_file()
    assert (ROOT / "tests" / f"test_{path.name}").is_file()
