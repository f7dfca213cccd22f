"""Lenses: every camera model against COLMAP's own projection, and straight pictures against its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tirender.captures import undistortion
from tirender.captures.lenses import COLMAP_MODELS, Lens, n_parameters
from tirender.captures.undistortion import straight_lens, undistorted

WIDTH, HEIGHT = 96, 72
FOCAL, CENTRE = (70.0, 75.0), (49.3, 34.6)
COEFFICIENTS = {
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": (0.07,),
    "RADIAL": (-0.11, 0.03),
    "OPENCV": (0.08, -0.05, 0.011, -0.007),
    "OPENCV_FISHEYE": (0.03, -0.02, 0.01, -0.004),
    "FULL_OPENCV": (0.11, -0.06, 0.004, -0.006, 0.02, 0.05, -0.03, 0.01),
    "FOV": (0.8,),
    "SIMPLE_RADIAL_FISHEYE": (-0.04,),
    "RADIAL_FISHEYE": (0.05, -0.02),
    "THIN_PRISM_FISHEYE": (0.03, -0.02, 0.004, -0.003, 0.01, -0.004, 0.006, -0.005),
    "RAD_TAN_THIN_PRISM_FISHEYE": (
        0.03,
        -0.02,
        0.01,
        -0.004,
        0.002,
        -0.001,
        0.004,
        -0.003,
        0.006,
        -0.005,
        0.003,
        0.002,
    ),
    "SIMPLE_DIVISION": (-0.09,),
    "DIVISION": (-0.12,),
    "SIMPLE_FISHEYE": (),
    "FISHEYE": (),
    "EUCM": (0.55, 1.1),
}


def pycolmap():
    return pytest.importorskip("pycolmap", reason="needs pycolmap: pip install 'tirender[photos]'")


def parameters(model: str) -> list[float]:
    has_one_focal = n_parameters(model) - len(COEFFICIENTS[model]) == 3
    return [*(FOCAL[:1] if has_one_focal else FOCAL), *CENTRE, *COEFFICIENTS[model]]


def lens_of(model: str) -> Lens:
    return Lens.of_parameters(model, WIDTH, HEIGHT, parameters(model))


def camera_of(model: str):
    return pycolmap().Camera(model=model, width=WIDTH, height=HEIGHT, params=parameters(model))


def test_the_names_are_those_of_colmap_in_its_order():
    numbers = {str(name): int(value.value) for name, value in pycolmap().CameraModelId.__members__.items()}
    assert {name: numbers[name] for name in COLMAP_MODELS} == {name: i for i, name in enumerate(COLMAP_MODELS)}
    assert set(numbers) - set(COLMAP_MODELS) == {"INVALID", "EQUIRECTANGULAR"}


@pytest.mark.parametrize("model", COLMAP_MODELS)
@pytest.mark.parametrize("n_zero", [0, 99])
def test_projections_are_those_of_colmap(model: str, n_zero: int):
    x, y = np.meshgrid(np.linspace(-0.9, 0.9, 31), np.linspace(-0.7, 0.7, 25))
    points = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3) * np.linspace(0.5, 8, x.size)[:, None]
    values = parameters(model)
    if n_zero and model != "EUCM":  # no distortion, at which some models divide by zero
        values[len(values) - len(COEFFICIENTS[model]) :] = [0.0] * len(COEFFICIENTS[model])
    theirs = pycolmap().Camera(model=model, width=WIDTH, height=HEIGHT, params=values).img_from_cam(points)
    ours = Lens.of_parameters(model, WIDTH, HEIGHT, values).project(torch.from_numpy(points)).numpy()
    assert np.abs(ours - theirs).max() < 1e-4


def test_brown_is_opencv_with_two_more_coefficients():
    """With k3 alone, it is OpenCV's full model; k4 is of r^8, as nerfstudio has it."""
    brown = Lens("BROWN", WIDTH, HEIGHT, FOCAL, CENTRE, (0.1, -0.05, 0.02, 0.0, 0.01, -0.02))
    full = Lens("FULL_OPENCV", WIDTH, HEIGHT, FOCAL, CENTRE, (0.1, -0.05, 0.01, -0.02, 0.02, 0.0, 0.0, 0.0))
    points = torch.rand(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.2
    torch.testing.assert_close(brown.project(points), full.project(points))
    k4 = Lens("BROWN", WIDTH, HEIGHT, FOCAL, CENTRE, (0.0, 0.0, 0.0, 0.3, 0.0, 0.0))
    place = k4.project(torch.tensor([[0.5, 0.0, 1.0]], dtype=torch.float64))
    assert place[0, 0].item() == pytest.approx(CENTRE[0] + FOCAL[0] * 0.5 * (1 + 0.3 * 0.5**8))


def picture() -> np.ndarray:
    """A smooth picture, so that methods of interpolation agree."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = [np.sin(x / 7 + i) * np.cos(y / 9 - i) for i in range(3)]
    return ((np.stack(waves, -1) + 1) * 127.5).round().astype(np.uint8)


@pytest.mark.parametrize("model", [model for model in COLMAP_MODELS if COEFFICIENTS[model] or "FISHEYE" in model])
def test_straight_pictures_are_those_of_colmap(model: str):
    camera, image = camera_of(model), picture()
    undistort = pycolmap().undistort_image
    theirs, pinhole = undistort(pycolmap().UndistortCameraOptions(), pycolmap().Bitmap.from_array(image), camera)
    target = Lens.of_parameters("PINHOLE", pinhole.width, pinhole.height, list(pinhole.params))
    ours = undistorted(torch.from_numpy(image), lens_of(model), target).numpy()
    off = np.abs(ours.astype(float) - theirs.to_array())[4:-4, 4:-4]
    assert off.mean() < 1


@pytest.mark.parametrize("model", [model for model in COLMAP_MODELS if COEFFICIENTS[model] or "FISHEYE" in model])
def test_straight_pictures_show_nothing_but_the_photo(model: str):
    """The borders are in the photo, and one that is 3 % larger would leave it, or be larger than is allowed."""
    lens = lens_of(model)
    straight = straight_lens(lens)
    assert straight.model == "PINHOLE"
    assert straight.focal == lens.focal

    def is_inside(scale: float) -> bool:
        u = torch.linspace(0, 1, 200, dtype=torch.float64)
        o, size = torch.zeros_like(u), torch.tensor([straight.width, straight.height], dtype=torch.float64)
        border = torch.cat([torch.stack(pair, 1) for pair in ((u, o), (u, o + 1), (o, u), (o + 1, u))]) * size
        rays = scale * (border - torch.tensor(straight.centre)) / torch.tensor(straight.focal)
        place = lens.project(torch.cat([rays, torch.ones_like(rays[:, :1])], 1))
        return bool(((place > -0.02) & (place < torch.tensor([WIDTH + 0.02, HEIGHT + 0.02]))).all())

    assert is_inside(1.0)
    assert not is_inside(1.03) or straight.width >= 2 * WIDTH - 2


def test_pinholes_stay_as_they_are():
    lens = lens_of("PINHOLE")
    assert straight_lens(lens) is lens
    image = torch.from_numpy(picture())
    assert undistorted(image, lens) is image
    zero = Lens.of_parameters("OPENCV", WIDTH, HEIGHT, [*FOCAL, *CENTRE, 0.0, 0.0, 0.0, 0.0])
    assert straight_lens(zero) is zero
    assert undistorted(image, zero) is image


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        ("EQUIRECTANGULAR", {}, "camera model: expected one of SIMPLE_PINHOLE, .*, got EQUIRECTANGULAR"),
        ("BROWN", {}, "camera model: expected one of .*, got BROWN"),
        ("PINHOLE", {"values": [1.0, 1.0, 1.0]}, "camera: expected 4 parameters of PINHOLE, got 3"),
        ("PINHOLE", {"values": [0.0, 1.0, 1.0, 1.0]}, "focal lengths above 0"),
        ("PINHOLE", {"values": [1.0, 1.0, float("nan"), 1.0]}, "finite parameters"),
        ("PINHOLE", {"width": 0}, "images of up to 65536 x 65536 pixels, got 0 x 72"),
    ],
)
def test_what_no_lens_is(model: str, change: dict, message: str):
    given = {"width": WIDTH, "values": [1.0, 1.0, 1.0, 1.0]} | change
    with pytest.raises(ValueError, match=message):
        Lens.of_parameters(model, given["width"], HEIGHT, given["values"])


def test_a_folded_picture_is_refused():
    lens = Lens.of_parameters("SIMPLE_RADIAL", WIDTH, HEIGHT, [70.0, 48.0, 36.0, -60.0])
    with pytest.raises(ValueError, match="a straight image of at least 0.2 times the size"):
        straight_lens(lens)


@pytest.mark.parametrize("model", COEFFICIENTS)
def test_interpolated_places_are_near_the_true_ones(model: str, monkeypatch: pytest.MonkeyPatch):
    lens = lens_of(model).resized(10 * WIDTH, 10 * HEIGHT)
    straight = straight_lens(lens)
    found = undistortion._sampling_grid(lens, straight, 3, 190)
    monkeypatch.setattr(undistortion, "OFF", 0.0)
    exact = undistortion._sampling_grid(lens, straight, 3, 190)
    assert found.shape == exact.shape == (1, 187, straight.width, 2)
    off = (found - exact).abs() * exact.new_tensor([lens.width, lens.height]) / 2
    assert float(off.max()) < 0.01
    assert model != "OPENCV" or not torch.equal(found, exact)  # these are interpolated
