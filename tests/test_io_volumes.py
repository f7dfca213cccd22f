"""Volumes in .npz files: what is saved is loaded, what is wrong is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tirender.io import load_volume, save_volume
from tirender.scenes import load_scene
from tirender.structures import Volumes

DENSITIES, FEATURES = torch.rand(1, 1, 3, 4, 5), torch.rand(1, 2, 3, 4, 5)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("features", [FEATURES, None])
def test_round_trip(tmp_path, features, align_corners):
    volume = Volumes(
        DENSITIES, features, voxel_size=(0.1, 0.2, 0.3), volume_translation=(1, 2, 3), align_corners=align_corners
    )
    save_volume(tmp_path / "volume.npz", volume)
    again = load_volume(tmp_path / "volume.npz")
    assert torch.equal(again.densities(), DENSITIES)
    assert (again.features() is None) == (features is None)
    assert features is None or torch.equal(again.features(), features)
    torch.testing.assert_close(again.get_coord_grid(), volume.get_coord_grid())


def test_an_archive_made_by_hand(tmp_path):
    path = tmp_path / "volume.npz"
    np.savez(path, densities=np.full((2, 3, 4), 51, np.uint8), features=np.full((3, 2, 3, 4), 0.5), voxel_size=0.5)
    volume = load_volume(path)
    torch.testing.assert_close(volume.densities(), torch.full((1, 1, 2, 3, 4), 0.2))
    torch.testing.assert_close(volume.features(), torch.full((1, 3, 2, 3, 4), 0.5))
    expected = Volumes(volume.densities(), voxel_size=0.5).get_coord_grid()
    torch.testing.assert_close(volume.get_coord_grid(), expected)


GRID = np.full((2, 3, 4), 0.5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"verts": GRID}, "expected an array 'densities', got none of that name"),
        ({"densities": GRID[0]}, "array 'densities': expected a shape of 0 or 1 or 3 or 4 dimensions"),
        ({"densities": GRID[0, 0]}, r"array 'densities': expected shape \(D, H, W\), got \(4,\)"),
        ({"densities": np.stack([GRID] * 2)}, r"array 'densities': expected shape \(D, H, W\), got \(2, 2, 3, 4\)"),
        ({"densities": 3 * GRID}, r"array 'densities': expected opacities in \[0, 1\], got 1.5 to 1.5"),
        ({"densities": GRID * np.nan}, "array 'densities': expected values finite in float32"),
        ({"densities": GRID, "features": GRID}, r"array 'features': expected shape \(C, D, H, W\), got \(2, 3, 4\)"),
        ({"densities": GRID, "features": GRID[None, :1]}, "volume.npz, features: expected the grid sizes of densities"),
        ({"densities": GRID, "voxel_size": [1.0, 2]}, r"array 'voxel_size': expected one number or three, got \(2,\)"),
        ({"densities": GRID, "voxel_size": 0.0}, "volume.npz, voxel_size: expected positive numbers"),
        ({"densities": GRID, "volume_translation": 1.0}, r"'volume_translation': expected three numbers, got \(\)"),
    ],
)
def test_wrong_arrays(tmp_path, arrays, message):
    np.savez(tmp_path / "volume.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_volume(tmp_path / "volume.npz")


def test_a_batch_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"volume's densities: expected shape \(1, 1, D, H, W\), got \(2, 1, 3, 4, 5\)"
    ):
        save_volume(tmp_path / "volume.npz", Volumes(DENSITIES.expand(2, 1, 3, 4, 5)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("placed", "match"),
    [
        (
            {"volume_translation": np.array([1e38, 0, 0])},
            r"v\.npz: expected voxels that float32 tells apart where they",
        ),
        (
            {"volume_translation": np.array([1e20, 0, 0])},
            r"v\.npz: expected voxels that float32 tells apart where they",
        ),
        ({"voxel_size": 1e38}, r"v\.npz: expected finite points"),
        ({"voxel_size": 1e-45}, r"v\.npz, voxel_size: expected positive numbers"),
        (
            {"voxel_size": np.array([1, 1e-9, 1])},
            r"v\.npz: expected a volume of at most 4096 times its least voxel side",
        ),
    ],
)
def test_scenes_name_the_file_of_numbers_out_of_range(tmp_path, placed, match):
    np.savez(tmp_path / "v.npz", densities=GRID, **placed)
    with pytest.raises(ValueError, match=match):
        load_scene(tmp_path / "v.npz")
