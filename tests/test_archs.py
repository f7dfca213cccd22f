"""CPU and Vulkan agree, kernel by kernel, on the same discrete choices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import arch_worker
import numpy as np
import pytest
import torch
from conftest import random_scene, rasterization

from tirender.engine.gaussian_tiles import Gaussians2D, list_tiles
from tirender.engine.rasterize_points import PointRasterization, select_points

WORKER = Path(arch_worker.__file__)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config):
    if pytestconfig.getoption("--arch") != "cpu":
        pytest.skip("compares with the cpu, which this run does not use")
    folder = tmp_path_factory.mktemp("vulkan")
    ours = {k: v.numpy() for k, v in arch_worker.outputs(None).items()}
    selection, output = folder / "selection.npz", folder / "output.npz"
    np.savez(selection, **{k: ours[k] for prefix in ("", "point_") for k in (f"{prefix}offsets", f"{prefix}index")})
    command = [sys.executable, str(WORKER), "vulkan", str(selection), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if "found no usable vulkan driver" in done.stderr:
        pytest.skip("no Vulkan driver on this machine (Debian: libvulkan1 mesa-vulkan-drivers)")
    assert done.returncode == 0, done.stderr
    with np.load(output) as data:
        return ours, {k: data[k] for k in data.files}


def test_values_and_gradients_agree(results):
    ours, theirs = results
    assert set(ours) == set(theirs)
    compared = [k for k in ours if "offsets" not in k and "index" not in k]
    assert len(compared) > 15
    for name in compared:
        scale = max(float(np.abs(ours[name]).max()), 1e-12)
        assert np.abs(ours[name] - theirs[name]).max() <= 1e-4 * scale, name


@pytest.mark.parametrize("prefix", ["", "hard_", "point_", "occupied_"])
def test_the_same_primitives_are_chosen_but_for_ties(results, prefix):
    rows = []
    for result in results:
        offsets, index = result[f"{prefix}offsets"], result[f"{prefix}index"]
        pixel = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        rows.append(set(zip(pixel.tolist(), index.tolist())))
    assert len(rows[0]) > 400
    assert len(rows[0] ^ rows[1]) <= 4


def test_the_cpu_gives_the_same_bits_with_one_thread(results, tmp_path):
    ours, _ = results
    code = (
        f"import sys; sys.path.insert(0, {str(WORKER.parent)!r})\n"
        "import torch; torch.set_num_threads(1)\n"
        "import tirender; tirender.init('cpu', cpu_max_num_threads=1)\n"
        "import arch_worker, numpy as np\n"
        f"np.savez({str(tmp_path / 'one.npz')!r}, **{{k: v.numpy() for k, v in arch_worker.outputs(None).items()}})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, capture_output=True)
    with np.load(tmp_path / "one.npz") as one:
        for name in ours:
            assert np.array_equal(ours[name], one[name]), name


def large_lists() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """What each pixel keeps of five million points, and of 300 thousand faces, hard and soft; and the tiles of a
    million Gaussians."""
    size, generator = (512, 512), torch.Generator().manual_seed(0)
    points = torch.rand(5_000_000, 3, generator=generator) * 2 - torch.tensor([1.0, 1.0, -1.0])
    one = torch.zeros(len(points), dtype=torch.int32)
    cloud = PointRasterization(points, torch.full((len(points),), 0.003), one, 1, size, 10)
    scene = random_scene(300_000, n_images=1, size=0.02)
    faces = {
        "hard faces": rasterization(*scene, n_images=1, image_size=size, faces_per_pixel=1),
        "soft faces": rasterization(*scene, n_images=1, image_size=size, faces_per_pixel=50, blur_radius=1e-5),
    }
    tiles = list_tiles(million_gaussians(), *size, 1, torch.tensor([0.999, 1 / 255, 1e-4])).lists
    lists = {"points": select_points(cloud), "Gaussians": (tiles.offsets, tiles.entries[:, 0])}
    return lists | {name: found.selection() for name, found in faces.items()}


def pairs(lists: tuple[torch.Tensor, torch.Tensor]) -> np.ndarray:
    """The number of each list times 2^32, and of its member."""
    offsets, members = (x.long().numpy() for x in lists)
    return (np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)) << 32) + members


def million_gaussians() -> Gaussians2D:
    """A few pixels wide each, and one in a hundred as large as the image of 512 x 512."""
    n, generator = 1_000_000, torch.Generator().manual_seed(0)
    means2d, widths = torch.rand(n, 2, generator=generator) * 512, 0.5 + torch.rand(n, 2, generator=generator)
    widths[::100] *= 200
    conics = torch.stack([widths[:, 0] ** -2, 0 * widths[:, 0], widths[:, 1] ** -2], 1)
    opacities, depths = torch.rand(2, n, generator=generator)
    image = torch.zeros(n, dtype=torch.int32)
    return Gaussians2D(means2d, conics, means2d[:, :0], opacities, image, depths, 1 + image[:, None])


@pytest.mark.long
def test_large_lists_agree(pytestconfig, tmp_path):
    """Within the 65,535 rounds after which lavapipe ends a thread's loops."""
    if pytestconfig.getoption("--arch") != "cpu":
        pytest.skip("compares with the cpu, which this run does not use")
    code = (
        f"import sys; sys.path.insert(0, {str(WORKER.parent)!r})\n"
        "import tirender; tirender.init('vulkan')\n"
        "import test_archs, torch\n"
        f"torch.save(test_archs.large_lists(), {str(tmp_path / 'lists.pt')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    if "found no usable vulkan driver" in done.stderr:
        pytest.skip("no Vulkan driver on this machine (Debian: libvulkan1 mesa-vulkan-drivers)")
    assert done.returncode == 0, done.stderr
    theirs = torch.load(tmp_path / "lists.pt")
    for name, ours in large_lists().items():
        assert len(ours[1]) > 200_000
        if name == "Gaussians":  # a last bit of a logarithm decides which tiles the smallest alpha reaches
            both = pairs(ours), pairs(theirs[name])
            assert all((np.diff(keys) > 0).all() for keys in both)  # tile after tile, and in each the nearest first
            assert len(np.setxor1d(*both, assume_unique=True)) <= 1e-5 * len(both[0])
            continue
        for a, b in zip(ours, theirs[name]):
            assert (a != b).sum() <= 4, name  # but for ties
