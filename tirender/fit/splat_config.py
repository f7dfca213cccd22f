"""Settings of fits of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

from tirender.checks import check_choice, check_integer, fail
from tirender.fit.exposure import EXPOSURES
from tirender.fit.run import FitConfig

GROWTH = ("mcmc", "split", "none")


@dataclass(frozen=True)
class SplatConfig(FitConfig):
    """Settings of :func:`~tirender.fit.fit_splats`; learning rates are those of the original.

    Attributes:
        steps, seed, progress, smoothing: see :class:`FitConfig`.
        degree: of the harmonics, 0 to 4; one more every ``degree_every`` steps.
        degree_every: as above.
        growth: ``"mcmc"`` moves Gaussians that have become transparent and adds parts of opaque ones (Kheradmand et
            al. 2024); ``"split"`` clones, splits and prunes by the gradient in the image, as the original; ``"none"``
            keeps them as they are.
        max_gaussians: the greatest number of them.
        grow_from, grow_until: the fractions of the steps between which they grow.
        grow_every: the steps from one growth to the next.
        opacity: of a Gaussian at first.
        first_size: of a Gaussian at first, in units of the distance of its neighbours.
        n_random: Gaussians at random places, where no points are known.
        photos_per_step: photos that a step compares with. Several processes share them.
        background: the colour behind the scene, three numbers; None for black. Views with silhouettes are then fitted
            on a random colour each step: on black alone, black Gaussians could stand where there is nothing.
        antialiased: whether small Gaussians become transparent instead of larger (Yu et al. 2024).
        refine_cameras: whether cameras are fitted with the scene: their places, directions and focal lengths.
        exposure: of each photo: "none", "gain" or "affine", see :class:`~tirender.fit.exposure.Exposure`.
        lr_cameras, lr_exposure: learning rates of Adam, of these.
        lr_means: at the first step, in units of the scene; it falls geometrically to a hundredth.
        lr_scales, lr_quats, lr_opacities, lr_colors: learning rates of Adam; harmonics but the first have a twentieth.
        w_ssim: weight of 1 - SSIM; the absolute difference has what is left to 1.
        w_opacity, w_scale: weights of mean opacity and size, which let Gaussians vanish that are not needed.
    """

    steps: int = 7000
    degree: int = 3
    degree_every: int = 1000
    growth: str = "mcmc"
    max_gaussians: int = 100_000
    grow_from: float = 0.07
    grow_until: float = 0.83
    grow_every: int = 100
    opacity: float = 0.1
    first_size: float = 1.0
    n_random: int = 20_000
    photos_per_step: int = 1
    background: tuple[float, float, float] | None = None
    antialiased: bool = False
    refine_cameras: bool = False
    exposure: str = "none"
    lr_cameras: float = 5e-4
    lr_exposure: float = 1e-3
    lr_means: float = 1.6e-4
    lr_scales: float = 5e-3
    lr_quats: float = 1e-3
    lr_opacities: float = 5e-2
    lr_colors: float = 2.5e-3
    w_ssim: float = 0.2
    w_opacity: float = 0.01
    w_scale: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("growth", self.growth, GROWTH)
        check_choice("exposure", self.exposure, EXPOSURES)
        check_integer("degree", self.degree, 0)
        for name in ("degree_every", "max_gaussians", "grow_every", "n_random", "photos_per_step"):
            check_integer(name, getattr(self, name), 1)
        if self.degree > 4:
            fail("degree", "0 to 4", self.degree)
        if not 0 < self.opacity < 1:
            fail("opacity", "a number between 0 and 1", self.opacity)
        if not 0 <= self.w_ssim <= 1:
            fail("w_ssim", "a number in [0, 1]", self.w_ssim)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss, by its name."""
        weights = {"l1": 1 - self.w_ssim, "dssim": self.w_ssim}
        if self.growth == "mcmc":
            weights |= {"opacity": self.w_opacity, "scale": self.w_scale}
        return weights

    def grows(self, step: int) -> bool:
        """Whether Gaussians grow before a step."""
        is_time = self.grow_from * self.steps < step < self.grow_until * self.steps and step % self.grow_every == 0
        return is_time and self.growth != "none"


BEST_SPLATS = SplatConfig(steps=30_000, max_gaussians=1_000_000)
"""A preset of better quality: the original's number of steps."""
