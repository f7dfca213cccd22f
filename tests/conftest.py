"""Shared fixtures: the arch that the suite runs on, the reference cases, small scenes, the tutorials' data."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

if n_workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # share the cores, before torch counts them
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(n_workers))))

import numpy as np
import pytest
import torch
from long_loops import count_rounds

import tirender
from tirender.engine import runtime
from tirender.engine.mesh_rasterization import MeshRasterization
from tirender.engine.rasterize_meshes import RasterMode

REFERENCE = Path(__file__).parent / "data" / "reference"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--arch", default="cpu", choices=("cpu", "cuda", "vulkan"), help="the Taichi arch to test on")


def pytest_configure(config: pytest.Config) -> None:
    # matrix products rounded alike on every CPU, as in the reference cases: where a coordinate lies on the border of
    # two cells of an atlas, the last bit decides
    os.environ.setdefault("MKL_CBWR", "COMPATIBLE")
    os.environ["TIRENDER_CACHE"] = "off"  # photos of the tests are no one's
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    tirender.init(config.getoption("--arch"))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def needs_f64(pytestconfig: pytest.Config) -> None:
    """Skips where the arch has no float64 mathematics."""
    if pytestconfig.getoption("--arch") == "vulkan":
        pytest.skip("float64 exp is not available on Vulkan")


@pytest.fixture(scope="session")
def tutorial_data() -> Path:
    """The folder with the tutorials' meshes, which are not ours to ship."""
    folder = os.environ.get("TIRENDER_DATA")
    if not folder:
        pytest.skip("the tutorials' data: set TIRENDER_DATA to a folder with cow_mesh/, dolphin.obj, teapot.obj")
    return Path(folder)


def rounding() -> float:
    """Factor on tolerances: a GPU may fuse, reorder and approximate what a CPU rounds step by step."""
    return 1.0 if runtime.arch() == "cpu" else 50.0


@pytest.fixture(scope="session")
def needs_long_loops() -> None:
    """Skips where the driver ends loops early, which gives wrong images of large clouds (see the README)."""
    if runtime.arch() == "vulkan" and (found := count_rounds(100_000)) != 100_000:
        pytest.skip(f"this Vulkan driver ends loops after {found} rounds, as Mesa's lavapipe does")


def load_reference(name: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Arrays and meta of a case computed with PyTorch3D 0.7.9."""
    with np.load(REFERENCE / f"{name}.npz") as data:
        arrays = {k: torch.from_numpy(data[k]) for k in data.files if k != "meta"}
        return arrays, json.loads(str(data["meta"]))


def random_scene(
    n_faces: int, *, n_images: int = 2, dtype: torch.dtype = torch.float32, seed: int = 0, size: float = 0.6
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Separate triangles in NDC: verts (V, 3) as (x, y, z_view), faces (F, 3) int32 and their ascending images (F,)."""
    g = torch.Generator().manual_seed(seed)
    centre = torch.rand(n_faces, 1, 3, generator=g, dtype=dtype) * 2 - 1
    corners = centre + size * (torch.rand(n_faces, 3, 3, generator=g, dtype=dtype) - 0.5)
    corners[..., 2] += 3
    faces = torch.arange(3 * n_faces, dtype=torch.int32).view(-1, 3)
    image = (torch.arange(n_faces) * n_images // max(n_faces, 1)).int()
    return corners.reshape(-1, 3), faces, image


def rasterization(
    verts: torch.Tensor, faces: torch.Tensor, image: torch.Tensor, *, n_images: int = 2, **mode: object
) -> MeshRasterization:
    """The rasterization of triangles in NDC; ``mode`` has the fields of ``RasterMode``."""
    clip = torch.cat([verts[:, :2], torch.ones_like(verts[:, :1]), verts[:, 2:]], 1)
    return MeshRasterization(clip, faces, image, n_images, RasterMode(**mode), None, False)  # type: ignore[arg-type]
