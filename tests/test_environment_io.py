"""Pictures of light: Radiance's format against bytes worked out by hand, and damaged files."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from tirender.io import budget, load_environment, save_environment

SMALL = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n"
RED, GREEN = bytes([128, 0, 0, 129]), bytes([0, 64, 0, 128])  # 1 and 1/4


def load(data: bytes) -> torch.Tensor:
    return load_environment(io.BytesIO(data))


def test_pixels_are_mantissas_and_an_exponent():
    picture = load(SMALL + b"-Y 1 +X 3\n" + RED + GREEN + bytes([255, 255, 0, 138]))
    assert torch.equal(picture, torch.tensor([[[1.0, 0, 0], [0, 0.25, 0], [1020.0, 1020.0, 0]]]))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("-Y 2 +X 2", [[1, 0], [0, 0]]),
        ("+Y 2 +X 2", [[0, 0], [1, 0]]),
        ("-Y 2 -X 2", [[0, 1], [0, 0]]),
        ("+Y 2 -X 2", [[0, 0], [0, 1]]),
        ("+X 2 -Y 2", [[1, 0], [0, 0]]),
        ("-X 2 -Y 2", [[0, 1], [0, 0]]),
        ("+X 2 +Y 2", [[0, 0], [1, 0]]),
        ("-X 2 +Y 2", [[0, 0], [0, 1]]),
    ],
)
def test_the_first_pixel_lies_where_the_header_says(size, expected):
    black = bytes(4)
    picture = load(SMALL + f"{size}\n".encode() + RED + black + black + black)
    assert picture[..., 0].tolist() == expected


def test_a_transposed_picture_has_its_columns_one_after_the_other():
    picture = load(SMALL + b"+X 2 -Y 3\n" + RED + GREEN + bytes(4) + bytes(12))
    assert picture.shape == (3, 2, 3)
    assert picture[0, 0].tolist() == [1, 0, 0]
    assert picture[1, 0].tolist() == [0, 0.25, 0]


def test_runs_of_components_and_of_pixels():
    run = bytes([128 + 9, 128]), bytes([128 + 9, 0]), bytes([3, 1, 2, 3, 128 + 6, 7]), bytes([128 + 9, 129])
    picture = load(SMALL + b"-Y 1 +X 9\n" + bytes([2, 2, 0, 9]) + b"".join(run))
    assert (picture[0, :, 0] == 1).all()
    assert torch.equal(picture[0, :, 2] * 128, torch.tensor([1.0, 2, 3, 7, 7, 7, 7, 7, 7]))
    older = load(SMALL + b"-Y 1 +X 5\n" + RED + bytes([1, 1, 1, 3]) + GREEN)
    assert older[0, :, 0].tolist() == [1, 1, 1, 1, 0]
    assert older[0, 4, 1] == 0.25


def test_exposures_divide():
    data = b"#?RGBE\nEXPOSURE=2\nEXPOSURE= 4\nVIEW= x\n\n-Y 1 +X 1\n" + RED
    assert load(data)[0, 0, 0] == 1 / 8


@pytest.mark.parametrize("width", [5, 8, 300])
def test_what_is_written_is_read(tmp_path, width):
    picture = (
        torch.rand(3, width, 3, generator=torch.Generator().manual_seed(0))
        * 10.0 ** torch.arange(-3, 4, 3)[:, None, None]
    )
    picture[0, 0] = 0
    save_environment(tmp_path / "a.hdr", picture)
    found = load_environment(tmp_path / "a.hdr")
    assert (found - picture).abs().le(picture.amax(-1, keepdim=True) / 127).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SMALL[:-1], "empty line"),
        (SMALL + b"-Y 1 +Y 1\n", "a size as"),
        (SMALL + b"-Y 0 +X 1\n", "sides of"),
        (SMALL + b"-Y 9 +X 9\n" + RED, "rows"),
        (SMALL + b"-Y 2 +X 2\n" + RED * 3, "whole"),
        (SMALL + b"-Y 1 +X 9\n" + bytes([2, 2, 0, 9, 128 + 20, 1]), "rows of 9"),
        (SMALL + b"-Y 1 +X 9\n" + bytes([2, 2, 0, 9, 0, 1]), "whole"),
        (SMALL + b"-Y 1 +X 2\n" + bytes([1, 1, 1, 2]) + RED, "rows of 2"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_xyze\n\n-Y 1 +X 1\n" + RED, "rgbe"),
        (b"#?RADIANCE\nEXPOSURE=0\n\n-Y 1 +X 1\n" + RED, "EXPOSURE"),
    ],
)
def test_damaged_files_are_named(data, message):
    with pytest.raises(ValueError, match=f"BytesIO.*{message}"):
        load(data)


def test_large_ones_exceed_the_budget():
    row = bytes([2, 2, 4, 0]) + bytes([255, 0] * 8 + [128 + 8, 0]) * 4
    with budget(1e6), pytest.raises(ValueError, match="too large"):
        load(SMALL + b"-Y 1000 +X 1024\n" + row * 1000)


def test_other_pictures_are_decoded_from_srgb(tmp_path):
    from PIL import Image

    Image.fromarray(np.full((2, 4, 3), 188, np.uint8)).save(tmp_path / "a.png")
    assert torch.allclose(load_environment(tmp_path / "a.png"), torch.full((2, 4, 3), 0.5029), atol=1e-3)


def test_exr(tmp_path):
    openexr = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")
    light = np.random.default_rng(0).random((4, 8, 3), np.float32) * 50
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    openexr.File(header, {"RGB": light}).write(str(tmp_path / "a.exr"))
    assert torch.equal(load_environment(tmp_path / "a.exr"), torch.from_numpy(light))
    openexr.File(header, {"Y": light[..., 0].copy()}).write(str(tmp_path / "y.exr"))
    assert torch.equal(load_environment(tmp_path / "y.exr")[..., 2], torch.from_numpy(light[..., 0]))
    (tmp_path / "b.exr").write_bytes((tmp_path / "a.exr").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"b\.exr"):
        load_environment(tmp_path / "b.exr")


def test_light_of_an_exr_that_no_lamp_has_is_cut_with_a_warning(tmp_path):
    openexr = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")
    light = np.array([[[-1e-3, 0.5, 2], [np.inf, np.inf, 3]]], np.float32)
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    openexr.File(header, {"RGB": light}).write(str(tmp_path / "sun.exr"))
    with pytest.warns(UserWarning, match="sun.exr: negative or infinite light is cut in 2 pixels"):
        picture = load_environment(tmp_path / "sun.exr")
    assert torch.equal(picture, torch.tensor([[[0, 0.5, 2], [65504, 65504, 3]]]))
    light[0, 0] = np.nan
    openexr.File(header, {"RGB": light}).write(str(tmp_path / "sun.exr"))
    with pytest.raises(ValueError, match="sun.exr: expected light, got NaN"):
        load_environment(tmp_path / "sun.exr")


def test_all_parts_of_an_exr_count(tmp_path):
    openexr = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    black = {"RGB": np.zeros((256, 256, 3), np.float32)}
    openexr.File([openexr.Part({**header, "name": name}, black) for name in "ab"]).write(str(tmp_path / "parts.exr"))
    openexr.File(header, black).write(str(tmp_path / "one.exr"))
    assert load_environment(tmp_path / "parts.exr").shape == (256, 256, 3)
    with budget(3e6):
        load_environment(tmp_path / "one.exr")
        with pytest.raises(ValueError, match="too large"):
            load_environment(tmp_path / "parts.exr")


def test_light_must_be_finite():
    with pytest.raises(ValueError, match="picture"):
        save_environment(io.BytesIO(), torch.full((1, 1, 3), -1.0))
    with pytest.raises(ValueError, match="picture"):
        save_environment(io.BytesIO(), torch.full((1, 1, 3), torch.inf))
