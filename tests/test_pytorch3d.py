"""The name pytorch3d: import paths, what is missing, and the ways to install it, each in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINES = (Path(__file__).parent / "data" / "pytorch3d_names.txt").read_text("utf-8").splitlines()
NAMES = {module: names.split() for module, names in (line.split(":") for line in LINES)}
TWO_LINES = "import tirender.pytorch3d\ntirender.pytorch3d.install()\n"


def run(*arguments: str, cwd: Path | None = None, path: Path | None = None) -> str:
    """What Python prints; ``path`` goes to PYTHONPATH."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(p) for p in (path, ROOT) if p)}
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def outcomes(statements: list[str], folder: Path) -> dict[str, str]:
    """What came of each import, from one process: "found", or the error."""
    script = folder / "imports.py"
    script.write_text(
        f"for statement in {statements!r}:\n"
        "    try:\n"
        "        exec(statement)\n"
        "        print(statement, '|', 'found')\n"
        "    except ImportError as error:\n"
        "        print(statement, '|', type(error).__name__, error)\n",
        "utf-8",
    )
    return dict(line.split(" | ") for line in run("-m", "tirender.pytorch3d", str(script)).splitlines())


def imports(module: str) -> list[str]:
    return [f"import {module}", *(f"from {module} import {name}" for name in NAMES[module])]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    return outcomes([statement for module in NAMES for statement in imports(module)], tmp_path_factory.mktemp("names"))


@pytest.mark.parametrize("module", NAMES)
def test_path_and_its_names_are_found(imported, module):
    assert {statement: imported[statement] for statement in imports(module)} == dict.fromkeys(imports(module), "found")


def test_every_module_is_in_the_table():
    from tirender.pytorch3d.modules import PATHS

    assert {*NAMES} == {"pytorch3d", *(f"pytorch3d.{path}" for path in PATHS)}


def result(statements: str) -> str:
    """What statements print after the name was installed."""
    return run("-c", TWO_LINES + statements).strip()


def test_modules_are_tirenders_own_or_forward_to_them():
    code = """
import sys
import pytorch3d.structures.meshes, pytorch3d.renderer.materials, pytorch3d.transforms.math
import tirender.structures.meshes, tirender.renderer.materials, tirender.transforms.math
for path in ("structures", "structures.meshes", "renderer.materials", "transforms.math"):
    assert sys.modules["pytorch3d." + path] is sys.modules["tirender." + path]
import pytorch3d, pytorch3d.renderer.cameras, tirender.renderer.cameras
assert pytorch3d.renderer.cameras is not tirender.renderer.cameras
assert pytorch3d.renderer.cameras.PerspectiveCameras is tirender.renderer.cameras.PerspectiveCameras
tirender.renderer.cameras.set_later = 5  # no copy: what is set later is there
assert pytorch3d.renderer.cameras.set_later == 5
print(pytorch3d.__version__, pytorch3d.__name__, pytorch3d.renderer.cameras.__name__)
"""
    assert result(code) == "0.7.9 pytorch3d pytorch3d.renderer.cameras"


def test_a_function_is_not_hidden_by_the_module_of_its_name():
    code = """
import pytorch3d.ops.cubify, pytorch3d.loss.mesh_edge_loss, pytorch3d.utils.ico_sphere, pytorch3d.ops.knn
from pytorch3d.ops.cubify import cubify
assert pytorch3d.ops.cubify is cubify and callable(pytorch3d.loss.mesh_edge_loss)
assert callable(pytorch3d.utils.ico_sphere)
import pytorch3d.ops.knn as knn
print(knn._KNN.__name__)
"""
    assert result(code) == "KNN"


@pytest.mark.parametrize(
    "package", ["io", pytest.param("loss", marks=pytest.mark.long), pytest.param("ops", marks=pytest.mark.long)]
)
def test_one_import_makes_the_others_reachable(package):
    assert result(f"import pytorch3d.{package}; print(pytorch3d.renderer.MeshRenderer.__name__)") == "MeshRenderer"
    assert run("-c", f"import tirender.{package}; print(tirender.renderer.MeshRenderer.__name__)") == "MeshRenderer\n"


def test_tirender_has_no_other_names():
    code = "import tirender\nprint(hasattr(tirender, 'renderers'), hasattr(tirender, 'cameras'))"
    assert run("-c", code) == "False False\n"


def test_stars():
    code = """
from pytorch3d.renderer import *
from pytorch3d.renderer.cameras import *
from pytorch3d.ops import *
from pytorch3d.datasets import *
print(MeshRenderer.__name__, look_at_view_transform.__name__, Transform3d.__name__, cubify.__name__)
assert "check_tensor" not in dir() and "collate_batched_meshes" in dir()
"""
    assert result(code) == "MeshRenderer look_at_view_transform Transform3d cubify"


MISSING = {
    "import pytorch3d.fields": ("ModuleNotFoundError", "pytorch3d.fields"),
    "import pytorch3d.renderer.cameras_base": ("ModuleNotFoundError", "cameras_base"),
    "import pytorch3d.structures.topology": ("ModuleNotFoundError", "topology"),
    "import pytorch3d.vis.window": ("ModuleNotFoundError", "window"),
    "from pytorch3d import fields": ("ImportError", "fields"),
    "from pytorch3d.renderer import cameras_base": ("ImportError", "cameras_base"),
    "from pytorch3d.renderer import TexturesUVs": ("ImportError", "TexturesUVs"),
    "from pytorch3d.structures.meshes import Mesh": ("ImportError", "Mesh"),
    "from pytorch3d.vis.plotly_vis import plot": ("ImportError", "plot"),
    "from pytorch3d.datasets import creature": ("ImportError", "creature"),
    "from pytorch3d.renderer import PulsarPointsRenderer": ("ImportError", "Pulsar is not part of tirender"),
    "from pytorch3d.renderer.points.pulsar import Renderer": ("ImportError", "Pulsar is not part of tirender"),
    "from pytorch3d.renderer.points.pulsar.unified import PulsarPointsRenderer": ("ImportError", "Pulsar is not"),
    "from pytorch3d.utils import pulsar_from_opencv_projection": ("ImportError", "Pulsar is not part of tirender"),
    "import pytorch3d.implicitron": ("ImportError", "implicitron is not part of tirender"),
    "from pytorch3d.implicitron.tools.config import registry": ("ImportError", "implicitron is not part"),
    "from pytorch3d.renderer.opengl import EGLContext": ("ImportError", "the OpenGL rasterizer is not part"),
    "from pytorch3d.datasets import R2N2": ("ImportError", "loaders of R2N2 and ShapeNet are not part of tirender"),
    "from pytorch3d._C import rasterize_meshes": ("ImportError", "rasterize_meshes"),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    return outcomes(list(MISSING), tmp_path_factory.mktemp("missing"))


@pytest.mark.parametrize("statement", MISSING)
def test_what_is_missing(refused, statement):
    error, says = MISSING[statement]
    assert refused[statement].split()[0] == error
    assert says in refused[statement]


def test_looking_for_the_module_finds_it():
    code = "from importlib.util import find_spec\nprint(find_spec('pytorch3d').name, find_spec('pytorch3d.io').name)"
    assert result(code) == "pytorch3d pytorch3d.io"


def test_installing_is_quick_to_repeat_and_loads_no_matplotlib():
    code = """
import sys
tirender.pytorch3d.install()
import pytorch3d.vis.plotly_vis
print(len([p for p in sys.path if p.endswith("site")]), "matplotlib" in sys.modules)
from pytorch3d.vis import plot_scene
print("matplotlib" in sys.modules)
"""
    assert result(code).split() == ["1", "False", "False"]


def test_figures_are_plotlys():
    code = """
from pytorch3d.utils import ico_sphere
from pytorch3d.vis import plot_scene
from pytorch3d.vis.plotly_vis import AxisArgs, plot_batch_individually
figure = plot_scene({"a": {"b": ico_sphere(1)}}, axis_args=AxisArgs(showgrid=True), xaxis={"range": [-1, 1]})
figures = plot_batch_individually(ico_sphere(1).extend(2), ncols=2)
print(type(figure).__module__.split(".")[0], len(figures.data), len(figure.data[0].x))  # three corners a face
"""
    assert result(code) == "plotly 2 240"


def test_pytorch3d_itself_is_not_replaced(tmp_path):
    (tmp_path / "pytorch3d.py").write_text("", "utf-8")
    code = """
import pytorch3d, tirender.pytorch3d
try:
    tirender.pytorch3d.install()
except ImportError as error:
    print(error)
"""
    assert "already imported" in run("-c", code, path=tmp_path)


PROGRAM = """
import sys
from multiprocessing import get_context
from subprocess import check_output

from helper import mesh_of


def in_another_process(level):
    return mesh_of(level).verts_packed().shape[0]


if __name__ == "__main__":
    print(sys.argv[1:], mesh_of(0).verts_packed().shape[0])
    with get_context("spawn").Pool(1) as pool:
        print(pool.map(in_another_process, [1]))
    print(check_output([sys.executable, "-c", "import pytorch3d.ops; print(pytorch3d.__version__)"], text=True))
"""
HELPER = "from pytorch3d.utils import ico_sphere\n\n\ndef mesh_of(level):\n    return ico_sphere(level)\n"


@pytest.mark.parametrize("how", [["folder/program.py"], ["-m", "program"]])
def test_programs_and_the_processes_they_start(tmp_path, how):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM, "utf-8")
    (folder / "helper.py").write_text(HELPER, "utf-8")
    cwd = folder if how[0] == "-m" else tmp_path
    printed = run("-m", "tirender.pytorch3d", *how, "--size", "3", cwd=cwd)
    assert printed.split("\n")[:3] == ["['--size', '3'] 12", "[42]", "0.7.9"]


def test_without_a_program_it_says_how_to_call_it():
    done = subprocess.run([sys.executable, "-m", "tirender.pytorch3d"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.split()[:2]) == (1, ["usage:", "python"])


def test_two_lines_in_a_conftest(tmp_path):
    (tmp_path / "conftest.py").write_text(TWO_LINES, "utf-8")
    (tmp_path / "test_it.py").write_text(
        "from pytorch3d.renderer.mesh.shader import ShaderBase\n\n\ndef test_it():\n    assert ShaderBase\n", "utf-8"
    )
    assert "1 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)


def test_two_lines_in_a_sitecustomize(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(TWO_LINES, "utf-8")
    assert run("-c", "import pytorch3d; print(pytorch3d.__version__)", path=tmp_path) == "0.7.9\n"
