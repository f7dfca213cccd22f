"""Lenses: how the directions of points become places in an image, for all camera models of COLMAP that cameras have.

All models share focal lengths and a principal point; they differ in what they do to a direction before. Sources: the
documentation of COLMAP's camera models, OpenCV's of its pinhole and fisheye cameras; Devernay and Faugeras 2001 (FOV);
Fitzgibbon 2001 (division); Khomutenko, Garcia and Martinet 2016 (EUCM); Project Aria's FisheyeRadTanThinPrism.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from tirender.checks import check_choice, fail

MAX_SIDE = 1 << 16  # of images in pixels
MAX_FOCAL = 1e7  # in pixels
Coefficients = tuple[float, ...]


@dataclass(frozen=True)
class Lens:
    """A lens and the size of its images; (0, 0) is the upper left corner of the upper left pixel.

    Attributes:
        model: one of ``MODELS``, which are COLMAP's, or ``BROWN``.
        width, height: of its images in pixels.
        focal: along x and y, in pixels.
        centre: the principal point in pixels.
        coefficients: of the distortion, in the order of COLMAP. ``BROWN`` has k1, k2, k3, k4, p1, p2 of the offset
            (k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8) (u, v), with OpenCV's tangential distortion, as nerfstudio has them.
    Raises:
        ValueError: an unknown model, a wrong number of coefficients, or numbers that no lens has.
    """

    model: str
    width: int
    height: int
    focal: tuple[float, float]
    centre: tuple[float, float]
    coefficients: Coefficients = ()

    def __post_init__(self) -> None:
        check_choice("model", self.model, tuple(MODELS))
        numbers = torch.tensor([*self.focal, *self.centre, *self.coefficients], dtype=torch.float64)
        if not (0 < self.width <= MAX_SIDE and 0 < self.height <= MAX_SIDE):
            fail("lens", f"images of up to {MAX_SIDE} x {MAX_SIDE} pixels", f"{self.width} x {self.height}")
        if not bool(numbers.isfinite().all()):
            fail("lens", "finite parameters", numbers.tolist())
        if not (min(self.focal) > 0 and max(self.focal) <= MAX_FOCAL):
            fail("lens", f"focal lengths above 0, up to {MAX_FOCAL:g}", self.focal)
        if max(map(abs, self.centre)) > MAX_FOCAL:
            fail("lens", f"a principal point within {MAX_FOCAL:g} pixels", self.centre)
        if len(self.coefficients) != MODELS[self.model].n:
            fail("lens", f"{MODELS[self.model].n} coefficients of {self.model}", len(self.coefficients))

    @classmethod
    def of_parameters(cls, model: str, width: int, height: int, parameters: Sequence[float]) -> Lens:
        """A lens from the parameters that COLMAP writes for a model.

        Raises:
            ValueError: as of the class, with the name of a model that has no closed form or is not known.
        """
        if model not in MODELS or model == "BROWN":
            fail("camera model", f"one of {', '.join(COLMAP_MODELS)}", model)
        n, n_focal = n_parameters(model), 1 if MODELS[model].has_one_focal else 2
        focal, centre = parameters[:n_focal], parameters[n_focal : n_focal + 2]
        if len(parameters) != n:
            fail("camera", f"{n} parameters of {model}", len(parameters))
        return cls(
            model, width, height, (focal[0], focal[-1]), (centre[0], centre[1]), tuple(parameters[n_focal + 2 :])
        )

    @property
    def is_pinhole(self) -> bool:
        """Whether nothing is distorted."""
        model = MODELS[self.model]
        return model.identity is not None and self.coefficients == model.identity

    @property
    def is_fisheye(self) -> bool:
        """Whether the model is made for angles of up to 180 degrees."""
        return MODELS[self.model].is_fisheye

    def project(self, points: torch.Tensor) -> torch.Tensor:
        """Places (..., 2) in pixels of points (..., 3): x to the right, y down, z forward; NaN or inf where none is."""
        model = MODELS[self.model]
        image = model.distort(points, self.coefficients)
        return image * image.new_tensor(self.focal) + image.new_tensor(self.centre)

    def resized(self, width: int, height: int) -> Lens:
        """The lens for the same images of another size."""
        scale = (width / self.width, height / self.height)
        focal, centre = ((v[0] * scale[0], v[1] * scale[1]) for v in (self.focal, self.centre))
        return replace(self, width=width, height=height, focal=focal, centre=centre)

    def intrinsics_ndc(self) -> list[float]:
        """Focal lengths and principal point, x and y each, in NDC."""
        half = min(self.width, self.height) / 2
        (fx, fy), (cx, cy) = self.focal, self.centre
        return [fx / half, fy / half, (self.width / 2 - cx) / half, (self.height / 2 - cy) / half]


Distort = Callable[[torch.Tensor, Coefficients], torch.Tensor]


@dataclass(frozen=True)
class _Model:
    n: int  # coefficients
    distort: Distort  # from points (..., 3) to places (..., 2) for focal lengths of 1
    identity: Coefficients | None  # coefficients that make it a pinhole
    has_one_focal: bool = False
    is_fisheye: bool = False


def _straight(points: torch.Tensor) -> torch.Tensor:
    return points[..., :2] / points[..., 2:]


def _by_angle(points: torch.Tensor) -> torch.Tensor:
    """As far from the principal point as the angle to the axis, in radians: an equidistant fisheye."""
    r = points[..., :2].norm(dim=-1, keepdim=True)
    factor = torch.where(r > 0, torch.atan2(r, points[..., 2:]) / r.clamp(min=1e-300), 1 / points[..., 2:])
    return points[..., :2] * factor


def _polynomial(squares: torch.Tensor, coefficients: Sequence[float]) -> torch.Tensor:
    """k1 s + k2 s^2 + ..."""
    total = torch.zeros_like(squares)
    for k in reversed(coefficients):
        total = (total + k) * squares
    return total


def _tangential(u: torch.Tensor, p1: float, p2: float) -> torch.Tensor:
    """OpenCV's offset by lens elements that are not centred."""
    squares = u.square()
    r2 = squares.sum(-1, keepdim=True)
    return 2 * u.prod(-1, keepdim=True) * u.new_tensor([p1, p2]) + u.new_tensor([p2, p1]) * (r2 + 2 * squares)


def _radial(u: torch.Tensor, coefficients: Sequence[float]) -> torch.Tensor:
    return u * (1 + _polynomial(u.square().sum(-1, keepdim=True), coefficients))


def _opencv(points: torch.Tensor, c: Coefficients) -> torch.Tensor:
    u = _straight(points)
    return _radial(u, c[:2]) + _tangential(u, *c[2:])


def _brown(points: torch.Tensor, c: Coefficients) -> torch.Tensor:
    u = _straight(points)
    return _radial(u, c[:4]) + _tangential(u, *c[4:])


def _full_opencv(points: torch.Tensor, c: Coefficients) -> torch.Tensor:
    u = _straight(points)
    k1, k2, p1, p2, k3, k4, k5, k6 = c
    s = u.square().sum(-1, keepdim=True)
    return u * (1 + _polynomial(s, (k1, k2, k3))) / (1 + _polynomial(s, (k4, k5, k6))) + _tangential(u, p1, p2)


def _field_of_view(points: torch.Tensor, c: Coefficients) -> torch.Tensor:
    u = _straight(points)
    omega = u.new_tensor(c[0])
    if abs(c[0]) < 1e-4:  # the first terms of its series
        return u * (1 + omega**2 * (1 / 12 - u.square().sum(-1, keepdim=True) / 3))
    r = u.norm(dim=-1, keepdim=True)
    at_centre = 2 * (omega / 2).tan() / omega
    return u * torch.where(r > 1e-9, torch.atan(2 * r * (omega / 2).tan()) / (r * omega).where(r > 0, omega), at_centre)


def _division(points: torch.Tensor, c: Coefficients) -> torch.Tensor:
    """The place d with d / (1 + k |d|^2) = u."""
    k, (xy, z) = c[0], (points[..., :2], points[..., 2:])
    r2 = xy.square().sum(-1, keepdim=True)
    return 2 * xy / (z + (z.square() - 4 * k * r2).sqrt())


def _fisheye(points: torch.Tensor, c: Coefficients) -> torch.Tensor:
    return _radial(_by_angle(points), c)


def _thin_prism(points: torch.Tensor, c: Coefficients) -> torch.Tensor:
    u = _by_angle(points)
    k1, k2, p1, p2, k3, k4, sx, sy = c
    s = u.square().sum(-1, keepdim=True)
    return _radial(u, (k1, k2, k3, k4)) + _tangential(u, p1, p2) + s * u.new_tensor([sx, sy])


def _aria(points: torch.Tensor, c: Coefficients) -> torch.Tensor:
    u = _radial(_by_angle(points), c[:6])
    p0, p1, s0, s1, s2, s3 = c[6:]
    s = u.square().sum(-1, keepdim=True)
    tangential = 2 * u * (u * u.new_tensor([p0, p1])).sum(-1, keepdim=True) + s * u.new_tensor([p0, p1])
    return u + tangential + s * u.new_tensor([s0, s2]) + s.square() * u.new_tensor([s1, s3])


def _unified(points: torch.Tensor, c: Coefficients) -> torch.Tensor:
    """EUCM."""
    alpha, beta = c
    xy, z = points[..., :2], points[..., 2:]
    return xy / (alpha * (beta * xy.square().sum(-1, keepdim=True) + z.square()).sqrt() + (1 - alpha) * z)


MODELS: dict[str, _Model] = {
    "SIMPLE_PINHOLE": _Model(0, lambda x, c: _straight(x), (), has_one_focal=True),
    "PINHOLE": _Model(0, lambda x, c: _straight(x), ()),
    "SIMPLE_RADIAL": _Model(1, lambda x, c: _radial(_straight(x), c), (0.0,), has_one_focal=True),
    "RADIAL": _Model(2, lambda x, c: _radial(_straight(x), c), (0.0,) * 2, has_one_focal=True),
    "OPENCV": _Model(4, _opencv, (0.0,) * 4),
    "OPENCV_FISHEYE": _Model(4, _fisheye, None, is_fisheye=True),
    "FULL_OPENCV": _Model(8, _full_opencv, (0.0,) * 8),
    "FOV": _Model(1, _field_of_view, (0.0,)),
    "SIMPLE_RADIAL_FISHEYE": _Model(1, _fisheye, None, has_one_focal=True, is_fisheye=True),
    "RADIAL_FISHEYE": _Model(2, _fisheye, None, has_one_focal=True, is_fisheye=True),
    "THIN_PRISM_FISHEYE": _Model(8, _thin_prism, None, is_fisheye=True),
    "RAD_TAN_THIN_PRISM_FISHEYE": _Model(12, _aria, None, is_fisheye=True),
    "SIMPLE_DIVISION": _Model(1, _division, (0.0,), has_one_focal=True),
    "DIVISION": _Model(1, _division, (0.0,)),
    "SIMPLE_FISHEYE": _Model(0, _fisheye, None, has_one_focal=True, is_fisheye=True),
    "FISHEYE": _Model(0, _fisheye, None, is_fisheye=True),
    "EUCM": _Model(2, _unified, (0.0, 1.0), is_fisheye=True),
    "BROWN": _Model(6, _brown, (0.0,) * 6),
}
"""By name. COLMAP's numbers in binary files are the places of the names in this dictionary."""
COLMAP_MODELS = tuple(MODELS)[:-1]


def n_parameters(model: str) -> int:
    """How many parameters COLMAP writes for a model."""
    return MODELS[model].n + (3 if MODELS[model].has_one_focal else 4)
